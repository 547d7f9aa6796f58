"""Which subject and which frames a step sees: a function of the seed and the step, so resuming needs no state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from perse.avatar import LearnedSubject
from perse.dataset import Dataset, Subject

DIFFERENT = 8
"""Grey levels of 255 by which a picture differs from the reference's."""


def step_rng(seed: int, step: int, purpose: int = 0) -> np.random.Generator:
    """The random numbers of one step, independent of every other step's."""
    return np.random.default_rng([seed, step, purpose])


def subject_weights(
    subjects: Sequence[LearnedSubject],
    reference_share: float,
    detail: np.ndarray | None = None,
    detail_share: float = 0.0,
) -> np.ndarray:
    """Probability [S] of every subject: categories alike, subjects alike within one, the reference its own share;
    subjects that show several edits count as one more category. `detail_share` of the steps go by `detail` [S] instead.

    Left alone, a category of many subjects would starve the others, and the reference, one subject among
    hundreds, would be the worst of all. A head of curls takes many more steps than a nose.
    """
    even = _even_weights(subjects, reference_share)
    if detail is None or not any(detail[i] for i, s in enumerate(subjects) if s.attributes):
        return even
    edited = np.array([bool(s.attributes) for s in subjects])
    by_detail = detail * edited
    return np.where(
        edited,
        (1 - detail_share) * even + detail_share * even[edited].sum() * by_detail / by_detail.sum(),
        even,
    )


def subject_detail(dataset: Dataset, frames: Sequence[int]) -> np.ndarray:
    """How much fine structure [S] a subject has that the reference (the first one) has not: the mean, over these
    frames, of what a small blur takes from its picture, where that differs from the reference's."""

    def pictures(subject: Subject) -> Tensor:
        return dataset.load_frames(subject, frames)[0].permute(0, 3, 1, 2).float()

    reference = pictures(dataset.subjects[0])
    found = []
    for subject in dataset.subjects:
        picture = pictures(subject)
        fine = (picture - F.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)).abs().mean(1)
        found.append(float((fine * ((picture - reference).abs().amax(1) > DIFFERENT)).mean()))
    return np.array(found)


def _even_weights(subjects: Sequence[LearnedSubject], reference_share: float) -> np.ndarray:
    keys = [
        "combined" if len(s.attributes) > 1 else "".join(a.category for a in s.attributes) for s in subjects
    ]
    counts = Counter(key for key in keys if key)
    if not counts:
        return np.full(len(subjects), 1 / len(subjects))
    references = sum(1 for key in keys if not key)
    share = reference_share if references else 0.0
    return np.array(
        [(1 - share) / len(counts) / counts[key] if key else share / references for key in keys], np.float64
    )


@dataclass(frozen=True)
class Sampler:
    """Draws (subject, frames) for every step."""

    weights: np.ndarray
    """[S] probabilities."""
    frames: np.ndarray
    """Train frames of the motion."""
    frames_per_step: int
    """Frames of one subject at a time."""
    seed: int
    """Of the whole training."""

    def draw(self, step: int, part: int = 0) -> tuple[int, np.ndarray]:
        """Subject and frames [F] (no frame twice, if there are enough) of a step's `part`-th subject.

        Subjects follow a low-discrepancy sequence: over any stretch of steps each gets its share almost exactly.
        """
        subject = self._subject(step, part)
        rng = step_rng(self.seed, step, 1 + part)
        count = self.frames_per_step
        return subject, rng.choice(self.frames, size=count, replace=count > len(self.frames))

    def _subject(self, step: int, part: int) -> int:
        offset = step_rng(self.seed, 0, 0).random()
        position = (offset + 0.6180339887498949 * (step + 0.5 * part)) % 1.0
        subject = int(np.searchsorted(np.cumsum(self.weights), position, side="right"))
        return min(subject, len(self.weights) - 1)
