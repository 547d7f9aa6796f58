"""The prompts of the vocabulary, drawn small: as many as the paper's Table 4, each without error.

Every word is built, and of pairs of words other than colours as many as a few prompts can hold.
``PERSE_ALL_PROMPTS=1`` builds every prompt.
"""

from __future__ import annotations

import itertools
import os

import pytest
import torch

from perse.dataset import Attribute
from perse.dataset._vocabulary_tables import TABLES
from perse.dataset.labels import CATEGORIES
from perse.dataset.vocabulary import Vocabulary
from perse.studio import parts
from perse.studio.puppet import Puppet
from test_studio_parts import plain_puppet

PAPER = {
    "hair": 395,
    "hat": 110,
    "mouth": 75,
    "nose": 75,
    "beard": 69,
    "earrings": 59,
    "headphones": 59,
    "eyebrows": 58,
    "clothes": 57,
}
"""Prompts a category in Table 4: 957 in all."""
FEW = 36
"""After so many prompts of a category only words that none of them holds are sought."""
DETAIL = 0.006
"""So few Gaussians that all prompts build in well under a minute."""


def covering(every: tuple[Attribute, ...]) -> list[Attribute]:
    """Prompts that hold every word, and (the first FEW of them) as many pairs of words as they can."""
    if os.environ.get("PERSE_ALL_PROMPTS"):
        return list(every)
    waiting = {attribute: _pairs(attribute) for attribute in every}
    missing = set().union(*waiting.values())
    chosen = []
    while missing:
        few = itertools.islice(waiting, 0, None, max(1, len(waiting) // 400))
        best = max(few, key=lambda attribute: len(waiting[attribute] & missing))
        if not waiting[best] & missing:  # what is left is rare: look everywhere
            best = max(waiting, key=lambda attribute: len(waiting[attribute] & missing))
        missing -= waiting.pop(best)
        chosen.append(best)
        if len(chosen) >= FEW:
            missing = {pair for pair in missing if len(pair) == 1}
    return chosen


def _pairs(attribute: Attribute) -> set[frozenset[str]]:
    axes = TABLES[attribute.category].axes
    colours = {word for axis in axes if axis.name == "colour" for word in axis.words}
    shapes = [word for word in attribute.adjectives if word not in colours]
    pairs = {frozenset(pair) for pair in itertools.combinations(shapes, 2)}
    return pairs | {frozenset({word}) for word in attribute.adjectives}


@pytest.fixture(scope="module")
def plain() -> Puppet:
    """One puppet for all; every edit gets a copy."""
    return plain_puppet()


def test_as_wide_as_the_paper() -> None:
    """A failure means that a category offers fewer prompts than the paper's."""
    counts = {category: len(Vocabulary().all(category)) for category in CATEGORIES}
    assert sum(PAPER.values()) == 957
    assert not {category: n for category, n in counts.items() if n < PAPER[category]}


@pytest.mark.parametrize("category", CATEGORIES)
def test_prompts_build(plain: Puppet, category: str) -> None:
    """A failure means that a prompt which a dataset may draw stops its build, or draws something impossible."""
    every = Vocabulary().all(category)
    for attribute in covering(every):
        puppet = plain.copy()
        parts.apply(puppet, attribute, 0, detail=DETAIL)
        for name, group in puppet.groups.items():
            if group is plain.groups.get(name):
                continue
            where = f"{attribute.prompt}: {name}"
            assert len(group), where
            assert bool(torch.isfinite(group.colors).all()), where
            assert float(group.colors.min()) >= 0, where
            assert float(group.colors.max()) <= 1, where
            means = getattr(group, "means", None)
            if means is not None:
                assert float(means.abs().max()) < 0.7, where
                assert float(group.scales.min()) > 0, where
