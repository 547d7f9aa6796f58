"""Scalars and pictures of a training for TensorBoard (the optional package `tensorboard`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from perse.avatar import Avatar
from perse.dataset import Dataset
from perse.errors import PerseError

PICTURES_EVERY = 500
"""Steps between pictures."""
SUBJECTS = 8
"""Subjects in a picture, spread over the dataset."""


class Board:
    """Writes event files into a folder; goes on after an interruption without repeating steps."""

    def __init__(self, folder: Path, dataset: Dataset, step: int) -> None:
        """`step`: the step to go on with; what was written of later ones is dropped.

        Raises:
            PerseError: `tensorboard` is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise PerseError(
                "TensorBoard was asked for and is not installed; run: pip install 'perse[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=step)
        self._dataset = dataset
        indices = dataset.heldout_indices if len(dataset.heldout_indices) else dataset.train_indices
        self._frame = int(indices[len(indices) // 2])

    def scalars(self, step: int, numbers: dict[str, Any]) -> None:
        """Loss terms, and the points of every set."""
        for name, value in numbers.items():
            if isinstance(value, dict):
                for key, number in value.items():
                    self._writer.add_scalar(f"{name}/{key}", number, step)
            else:
                self._writer.add_scalar(f"loss/{name}", value, step)

    def pictures(self, step: int, avatar: Avatar) -> None:
        """One frame of some subjects: the data above, the avatar below. (A held-out frame, where there is one.)"""
        motion, count = self._dataset.motion, len(self._dataset.subjects)
        shown = sorted({round(i * (count - 1) / max(1, SUBJECTS - 1)) for i in range(SUBJECTS)})
        columns = []
        for subject in (self._dataset.subjects[i] for i in shown):
            wanted = self._dataset.frame(subject, self._frame).rgb.float() / 255
            t = slice(self._frame, self._frame + 1)
            drawn = avatar.render(avatar.look_of(subject.id), motion.expr[t], motion.pose[t])[0].cpu()
            columns.append(torch.cat([wanted, drawn], 0))
        self._writer.add_image("subjects", torch.cat(columns, 1).clamp(0, 1), step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
