"""Pretended combinations: the parts of several subjects pasted into one frame, pixel by pixel.

All subjects make the same motion, so a pixel that only one of them changes (against the reference) looks, in a
person wearing all of it, as it does in that one. Where two change the same pixel we know only the obvious: a
hat or headphones lie over hair. Other conflicts are masked out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perse.avatar import LearnedSubject
from perse.dataset import LABEL_CODE
from perse.training.frames import FrameStore

CHANGED = 8
"""Grey levels of 255 a changed pixel differs by."""
MARGIN = 5
"""Side in pixels of the neighbourhood of a conflict that is left out."""
OVER_HAIR = ("hat", "headphones")


@dataclass(frozen=True)
class Combination:
    """A pasted frame."""

    entries: tuple[int, ...]
    """Latent entries of the parts worn together."""
    rgb: Tensor
    """[H, W, 3] in [0, 1]."""
    mask: Tensor
    """[H, W] 1 where the paste can be trusted."""


class Combiner:
    """Pastes random combinations of single-attribute subjects."""

    def __init__(self, subjects: tuple[LearnedSubject, ...], store: FrameStore) -> None:
        self._store = store
        self._by_category: dict[str, list[int]] = {}
        self._subjects = subjects
        for index, subject in enumerate(subjects):
            if len(subject.attributes) == 1:
                self._by_category.setdefault(subject.attributes[0].category, []).append(index)

    @property
    def possible(self) -> bool:
        """Whether there are two categories to combine."""
        return len(self._by_category) > 1

    def pick(self, rng: np.random.Generator) -> list[int]:
        """Two or three subjects of different categories."""
        names = sorted(self._by_category)
        count = min(int(rng.integers(2, 4)), len(names))
        chosen = [names[i] for i in rng.choice(len(names), count, replace=False)]
        return [int(rng.choice(self._by_category[name])) for name in chosen]

    def paste(self, picked: list[int], frame: int) -> Combination:
        """The given subjects (one category each) in one frame."""
        rgb0, _, labels0 = self._store.raw(0, frame)
        rgb, labels = rgb0.clone(), labels0.clone()
        owner_changes = torch.zeros(labels.shape, dtype=torch.uint8, device=labels.device)
        conflict = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
        # Parts that lie over hair come last and win over it.
        ordered = sorted(picked, key=lambda i: self._category(i) in OVER_HAIR)
        for index in ordered:
            new_rgb, _, new_labels = self._store.raw(index, frame)
            difference = (new_rgb.short() - rgb0.short()).abs().amax(-1)
            changed = (difference > CHANGED) | (new_labels != labels0)
            again = changed & (owner_changes > 0)
            category = self._category(index)
            if category in OVER_HAIR:
                hair = (labels == LABEL_CODE["hair"]) & (new_labels == LABEL_CODE[category])
                conflict |= again & ~hair
                again = again & ~hair
            else:
                conflict |= again
            take = changed & ~again
            rgb[take], labels[take] = new_rgb[take], new_labels[take]
            owner_changes[take] += 1
        grown = F.max_pool2d(conflict[None, None].float(), MARGIN, 1, MARGIN // 2)[0, 0]
        entries = tuple(self._subjects[i].entries[0] for i in picked)
        return Combination(entries, rgb.float() / 255, 1 - grown)

    def _category(self, index: int) -> str:
        return self._subjects[index].attributes[0].category
