"""Looks in between for subjects that are only videos: drawn from the dataset's own frames (section 4.3, Eq. 14)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from perse._ranks import ranks
from perse.dataset import Dataset, DatasetWriter, Frame, Motion, category_code, from_uint8, morph_images
from perse.training import PlannedBlend, matching_rows


def image_blends(
    dataset: Dataset, planned: Sequence[PlannedBlend], motion: Motion, out: Path, *, progress: bool = True
) -> None:
    """Write a frame between two of the dataset's for every planned blend and row of `motion`; what is there is kept.

    Blends with a look that has not the part at all (bald, no beard) are left out: how it grows, two pictures do not
    tell, and faded ones would teach ghosts.

    Args:
        motion: rows of the dataset's motion.

    Raises:
        PerseError: `motion` holds a row that the dataset does not.
    """
    rows = matching_rows(motion, dataset.motion)
    ends = {i for p in planned for i in (p.first, p.second)}
    shown = {i: _labels(dataset, i, rows) for i in sorted(ends)}
    planned = [p for p in planned if all(category_code(p.category) in shown[i] for i in (p.first, p.second))]
    with ranks() as all_ranks:
        if all_ranks.first:
            DatasetWriter.create(
                out,
                portrait=dataset.portrait,
                motion=motion,
                size=dataset.size,
                maker={"morpher": "images"},
                seed=int(dataset.settings["seed"]),
                order=[p.id for p in planned],
            )
        all_ranks.wait()
        writer = DatasetWriter.open(out)
        mine = [p for p in planned[all_ranks.rank :: all_ranks.world] if not writer.has(p.id)]
        for blend in tqdm(mine, unit="blend", desc="blends", disable=not progress, mininterval=1.0):
            _write(writer, dataset, blend, rows)
        all_ranks.wait()
        if all_ranks.first:
            writer.finish()


def _write(writer: DatasetWriter, dataset: Dataset, blend: PlannedBlend, rows: torch.Tensor) -> None:
    ends = [dataset.load_frames(dataset.subjects[i], rows) for i in (blend.first, blend.second)]
    with writer.subject(blend.id, (), 0) as subject:
        for t in range(len(rows)):
            first, second = (Frame(rgb[t], alpha[t], labels[t]) for rgb, alpha, labels in ends)
            frame = morph_images(first, second, blend.category, blend.weight)
            if t == 0:  # for people who look into the folder
                subject.portrait(from_uint8(frame.rgb))
                subject.mask((first.rgb != second.rgb).any(-1))
            subject.frame(frame)


def _labels(dataset: Dataset, subject: int, rows: torch.Tensor) -> set[int]:
    """The codes of what a subject shows in these frames."""
    return set(dataset.load_frames(dataset.subjects[subject], rows)[2].unique().tolist())
