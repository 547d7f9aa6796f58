"""What a dataset's subjects mean to the latent space: entries, their features, and which parts are there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perse.avatar import LatentConfig, LatentSpace, LearnedSubject
from perse.dataset import ABSENTABLE, CATEGORIES, CATEGORY_LABEL, LABEL_CODE, Attribute, Dataset

MIN_PIXELS = 4
"""Labelled pixels a frame, on average, below which a part counts as absent."""
POINT_CATEGORIES = tuple(c for c in CATEGORIES if c not in ("mouth", "nose"))
"""Categories that draw something of their own; mouth and nose reshape the head."""

SHARES = {
    "base": 0.34,
    "hair": 0.37,
    "clothes": 0.10,
    "beard": 0.05,
    "hat": 0.05,
    "headphones": 0.04,
    "eyebrows": 0.03,
    "earrings": 0.02,
}
"""Share of all points a layer gets."""
YIELDS = (("hair", "hat"), ("hair", "headphones"), ("hair", "earrings"))
"""Layers that give way to another category: pressed by a hat, tucked behind an ear."""


@dataclass(frozen=True)
class Entry:
    """One attribute to learn, and the subject that shows it best (alone, where there is such a subject)."""

    attribute: Attribute
    subject: int
    """Number of the subject in the dataset."""
    present: bool
    """Whether it draws anything; a bald head does not."""


@dataclass(frozen=True)
class Cast:
    """All subjects of a dataset, as learning sees them."""

    entries: tuple[Entry, ...]
    subjects: tuple[LearnedSubject, ...]
    reference_present: tuple[bool, ...]
    """For every category: does the reference have the part?"""

    @staticmethod
    def of(dataset: Dataset) -> Cast:
        """Read attributes and labels; the first subject must be the reference."""
        frames = _spread(dataset.train_indices.tolist(), 3)
        shows = [_labels_shown(dataset, index, frames) for index in range(len(dataset.subjects))]
        best: dict[tuple[str, str], int] = {}
        for index, subject in sorted(enumerate(dataset.subjects), key=lambda pair: len(pair[1].attributes)):
            for attribute in subject.attributes:
                best.setdefault((attribute.category, attribute.prompt), index)
        order = sorted(best, key=lambda key: (best[key], key))
        number = {key: i for i, key in enumerate(order)}
        attributes = {(a.category, a.prompt): a for subject in dataset.subjects for a in subject.attributes}
        entries = tuple(
            Entry(attributes[key], best[key], _present(key[0], shows[best[key]])) for key in order
        )
        subjects = tuple(
            LearnedSubject(s.id, s.attributes, tuple(number[a.category, a.prompt] for a in s.attributes))
            for s in dataset.subjects
        )
        reference = tuple(_present(c, shows[0]) for c in CATEGORIES)
        return Cast(entries, subjects, reference)

    def known_subjects(self, category: str) -> list[int | None]:
        """Latent entries of a category; None, the reference, first where it has the part."""
        entries: list[int | None] = [
            i for i, e in enumerate(self.entries) if e.attribute.category == category
        ]
        return [None, *entries] if self.reference_present[CATEGORIES.index(category)] else entries

    def subject_index(self, entry: int | None) -> int:
        """Number of the subject that shows an entry; 0 for the reference."""
        return 0 if entry is None else self.entries[entry].subject


def _spread(indices: list[int], count: int) -> list[int]:
    """About `count` of the indices, evenly."""
    return indices[:: max(1, len(indices) // count)][:count]


def _labels_shown(dataset: Dataset, subject: int, frames: list[int]) -> Tensor:
    """Mean pixels a frame that carry each label. [L]"""
    labels = dataset.load_frames(subject, frames)[2]
    return torch.bincount(labels.flatten().long(), minlength=256).float() / len(frames)


def _present(category: str, shown: Tensor) -> bool:
    """Whether a part that can be absent is there. Others always are: a bald head has hair of no length, so that a
    blend with long hair grows it."""
    if category not in ABSENTABLE:
        return True
    return float(shown[LABEL_CODE[CATEGORY_LABEL[category]]]) >= MIN_PIXELS


def feature_sizes(dataset: Dataset) -> tuple[int, int]:
    """Widths of f_I and f_T."""
    image, text = dataset.subjects[0].features
    return len(image), len(text)


def encoder_name(dataset: Dataset) -> str | None:
    """Who made the features; None if the dataset does not say so of all its subjects."""
    makers = [subject.maker for subject in dataset.subjects]
    names = {maker.get("encoder") if isinstance(maker, dict) else None for maker in makers}
    name = names.pop() if len(names) == 1 else None
    return name if isinstance(name, str) else None


def initialize_latent(latent: LatentSpace, dataset: Dataset, cast: Cast, generator: torch.Generator) -> None:
    """Features, categories and presences of all entries; random weights."""
    config: LatentConfig = latent.config
    width = sum(latent.split)
    features = torch.zeros(len(cast.entries), width)
    for i, entry in enumerate(cast.entries):
        features[i] = torch.cat([f.float() for f in dataset.subjects[entry.subject].features])
    reference = [float(cast.reference_present[i]) for i in range(len(CATEGORIES))]
    latent.initialize(
        features,
        [config.categories.index(e.attribute.category) for e in cast.entries],
        [float(e.present) for e in cast.entries],
        reference + [1.0] * (len(config.categories) - len(CATEGORIES)),
        generator,
    )
