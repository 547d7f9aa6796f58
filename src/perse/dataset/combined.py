"""Which edits are worn together: combinations of the single ones of a dataset."""

import random
from collections.abc import Sequence

from perse.dataset.records import Attribute

OVERLAPPING = (
    ("hair", "hat"),
    ("hair", "headphones"),
    ("hair", "earrings"),
    ("beard", "clothes"),
    ("hat", "headphones"),
    ("hair", "clothes"),
)
"""Categories whose parts cover one another; every look has one of these pairs."""


def combinations_of(
    subjects: Sequence[tuple[Attribute, ...]], count: int, seed: int | str
) -> list[tuple[Attribute, ...]]:
    """`count` different combinations of two or three single edits that no subject shows together, or as many as found.

    Args:
        subjects: attributes of every subject of a dataset; combinations are made of those that show one.
        seed: chooses them; the same seed, the same ones.
    """
    singles: dict[str, list[Attribute]] = {}
    for attributes in subjects:
        if len(attributes) == 1:
            singles.setdefault(attributes[0].category, []).append(attributes[0])
    seen = [frozenset(a.prompt for a in attributes) for attributes in subjects if len(attributes) > 1]
    pairs = [pair for pair in OVERLAPPING if all(category in singles for category in pair)]
    rng = random.Random(f"combinations/{seed}")
    chosen: list[tuple[Attribute, ...]] = []
    for turn in range(50 * count if pairs else 0):
        if len(chosen) == count:
            break
        categories = list(pairs[turn % len(pairs)])
        if turn % 3 == 2:
            others = sorted(set(singles) - set(categories))
            categories += rng.sample(others, min(1, len(others)))
        attributes = tuple(rng.choice(singles[category]) for category in categories)
        prompts = frozenset(a.prompt for a in attributes)
        if not any(prompts <= other or other <= prompts for other in seen):
            chosen.append(attributes)
            seen.append(prompts)
    return chosen
