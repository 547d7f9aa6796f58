"""Does what is worn together look worn together? Looks of two or three categories never seen together in training,
against the maker's own rendering, beside the single edits that they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from perse.avatar import Avatar
from perse.dataset import Attribute, Dataset, combinations_of, from_uint8, load_maker
from perse.errors import PerseError
from perse.evaluation.metrics import psnr


@dataclass(frozen=True)
class Combination:
    """What one combined look is compared in."""

    attributes: tuple[Attribute, ...]
    drawn: Tensor
    """[F, H, W, 3] by the avatar."""
    truth: Tensor
    """[F, H, W, 3] by the maker."""
    psnr: float
    """Mean over the frames, dB."""
    singles: float
    """Mean PSNR of the single edits involved, in the same frames."""


def draw_combinations(
    avatar: Avatar,
    dataset: Dataset,
    count: int = 24,
    *,
    frames: int = 3,
    seed: int = 0,
    progress: bool = True,
) -> Iterator[Combination]:
    """Draw looks never seen together, by the avatar and by the dataset's own editor, in held-out frames.

    Raises:
        PerseError: the dataset says no editor, or has no two categories that cover one another.
    """
    maker = dataset.settings.get("maker")
    if not isinstance(maker, dict) or "editor" not in maker or "animator" not in maker:
        raise PerseError(f"{dataset.path}: does not say which editor and animator made it")
    chosen = combinations_of([s.attributes for s in dataset.subjects], count, f"measure/{seed}")
    if not chosen:
        raise PerseError(f"{dataset.path}: has no two categories that cover one another")
    editor, animator = load_maker("editor", maker["editor"]), load_maker("animator", maker["animator"])
    heldout = dataset.heldout_indices
    rows = heldout[torch.linspace(0, len(heldout) - 1, min(frames, len(heldout))).round().long()]
    motion = dataset.motion.select(rows)
    subject_seed = dataset.subjects[0].seed
    alone: dict[str, float] = {}
    for attributes in tqdm(chosen, desc="combine", unit="look", disable=not progress, mininterval=1.0):
        edited = editor.edit(dataset.portrait, attributes, subject_seed)
        truth = torch.stack([from_uint8(f.rgb) for f in animator.animate(edited, motion, dataset.camera)])
        look = avatar.look(**{a.category: a.prompt for a in attributes})
        drawn = _draw(avatar, look, motion, dataset)
        for attribute in attributes:
            if attribute.prompt not in alone:
                subject = next(s for s in dataset.subjects if s.attributes == (attribute,))
                single = from_uint8(dataset.load_frames(subject, rows)[0])
                own = _draw(avatar, avatar.look_of(subject.id), motion, dataset)
                alone[attribute.prompt] = float(psnr(own, single).mean())
        singles = sum(alone[a.prompt] for a in attributes) / len(attributes)
        yield Combination(attributes, drawn, truth, float(psnr(drawn, truth).mean()), singles)


def _draw(avatar: Avatar, look: Any, motion: Any, dataset: Dataset) -> Tensor:
    return avatar.render(look, motion.expr, motion.pose, motion.camera(dataset.camera)).cpu().clamp(0, 1)


def combination_figures(found: Sequence[Combination]) -> dict[str, Any]:
    """For JSON: `psnr` and `psnr_singles`, means over the looks; `looks`; the same for each look."""
    return {
        "psnr": sum(c.psnr for c in found) / len(found),
        "psnr_singles": sum(c.singles for c in found) / len(found),
        "looks": len(found),
        "per_look": {
            " + ".join(a.prompt for a in c.attributes): {"psnr": c.psnr, "psnr_singles": c.singles}
            for c in found
        },
    }
