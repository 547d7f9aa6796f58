"""Which looks between learned ones are shown to the avatar: pairs of one category and how far between (A.2.3)."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from perse.dataset import CATEGORIES, Attribute
from perse.errors import PerseError

STEPS = 6
"""Alphas are 1/6 to 5/6 (Eq. 36)."""
ORDER = (3, 2, 4, 1, 5)
"""The sixths in the order in which they are worth seeing: the middle is farthest from what is known."""
FROM_NOTHING = ("beard",)
"""Categories whose parts grow out of the person without them; others are put on, and fade."""
FROM_OWN = ("clothes", "hair")
"""Categories in which every learned look is blended with the person's own, too: where one begins to play."""
OWN_STEPS = (2, 4)
"""The sixths at which these are shown at the least: far ends that tell no strands need more than one."""
_ID = re.compile(r"([a-z]+)-(\d{1,6})-(\d{1,6})-([1-9])of([1-9])")


@dataclass(frozen=True)
class PlannedBlend:
    """A look between two subjects of a dataset that show one category each."""

    category: str
    first: int
    """Number of a subject; 0 is the reference."""
    second: int
    step: int
    of: int = STEPS

    @property
    def weight(self) -> float:
        """How far from the first to the second."""
        return self.step / self.of

    @property
    def id(self) -> str:
        """Its name among the blends; says all of it."""
        return f"{self.category}-{self.first:03d}-{self.second:03d}-{self.step}of{self.of}"

    @staticmethod
    def from_id(text: str) -> PlannedBlend:
        """Inverse of :attr:`id`. PerseError if it is none."""
        found = _ID.fullmatch(text)
        if found is None or found[1] not in CATEGORIES or int(found[4]) >= int(found[5]):
            raise PerseError(f"{text!r} names no blend of two subjects; make the blends again")
        return PlannedBlend(found[1], int(found[2]), int(found[3]), int(found[4]), int(found[5]))


def plan_blends(
    subjects: Sequence[tuple[Attribute, ...]],
    pairs_a_subject: int,
    alphas_a_pair: int,
    seed: int,
    categories: Sequence[str] = CATEGORIES,
) -> list[PlannedBlend]:
    """Pairs within each category: every subject with some others drawn at random, each pair at some alphas; hair and
    clothes also with the person's own.

    Args:
        subjects: attributes of every subject of the dataset, the reference first.
        pairs_a_subject: others that each subject is paired with (the paper: 40), or all there are.
        alphas_a_pair: 1 to 5 of the sixths between; with fewer than 5, pairs take different ones.
        categories: leave others out.
    """
    if not 1 <= alphas_a_pair < STEPS or pairs_a_subject < 1:
        raise PerseError(f"a pair is shown at 1 to {STEPS - 1} alphas, and a subject needs a pair")
    planned = []
    for category in categories:
        ends = [i for i, s in enumerate(subjects) if [a.category for a in s] == [category]]
        ends = [0, *ends] if category in FROM_NOTHING else ends
        rng = random.Random(f"{seed}/{category}")
        pairs = set()
        for end in ends:
            others = [other for other in ends if other != end]
            for other in rng.sample(others, min(pairs_a_subject, len(others))):
                pairs.add((min(end, other), max(end, other)))
        turn = itertools.cycle(ORDER if alphas_a_pair > 3 else ORDER[:3])
        for first, second in sorted(pairs):
            planned += [PlannedBlend(category, first, second, next(turn)) for _ in range(alphas_a_pair)]
        if category in FROM_OWN:
            steps = sorted(ORDER[:alphas_a_pair]) if alphas_a_pair > len(OWN_STEPS) else OWN_STEPS
            planned += [PlannedBlend(category, 0, end, step) for end in ends for step in steps]
    return planned
