"""The prompts of the vocabulary, drawn small: each without error.

Every word is built, and every pair of words that are not colours. ``PERSE_ALL_PROMPTS=1`` builds every prompt.
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

DETAIL = 0.006
"""So few Gaussians that all prompts build in well under a minute."""


def covering(every: tuple[Attribute, ...]) -> list[Attribute]:
    """Prompts that hold every word, and every pair of words other than colours, that any prompt holds."""
    if os.environ.get("PERSE_ALL_PROMPTS"):
        return list(every)
    seen: set[frozenset[str]] = set()
    chosen = []
    for attribute in sorted(every, key=lambda a: -len(a.adjectives)):
        colours = {
            word for axis in TABLES[attribute.category].axes if axis.name == "colour" for word in axis.words
        }
        shapes = [word for word in attribute.adjectives if word not in colours]
        pairs = {frozenset(pair) for pair in itertools.combinations_with_replacement(shapes, 2)}
        pairs |= {frozenset({word}) for word in attribute.adjectives}
        if not pairs <= seen:
            seen |= pairs
            chosen.append(attribute)
    return chosen


@pytest.fixture(scope="module")
def plain() -> Puppet:
    """One puppet for all; every edit gets a copy."""
    return plain_puppet()


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
