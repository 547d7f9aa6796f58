"""How true is a transferred look, and does anything else change? (4.4; ours)"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from perse.avatar import Avatar, Look
from perse.dataset import Dataset, Subject, from_uint8
from perse.errors import PerseError
from perse.evaluation.leakage import Leakage, foreground
from perse.evaluation.metrics import psnr
from perse.training.regions import part_region


def evaluate_transfer(
    avatar: Avatar, dataset: Dataset, look: Dataset, name: str, category: str
) -> dict[str, Any]:
    """Compare a transferred look with its animated edit, on the frames that nothing was learned from.

    Args:
        dataset: what the avatar was learned from. look: the reference and the look (`perse transfer` makes it).

    Returns:
        a dict for JSON: ``part_psnr`` dB inside the part's region, ``part_psnr_before`` the same of the unedited
        person, ``part_psnr_learned`` the same of the learned looks of the category against their own videos (None if
        there are none), ``elsewhere`` mean absolute difference to the unedited person outside the region.

    Raises:
        PerseError: no frame is held out.
    """
    frames = look.heldout_indices
    if len(frames) == 0:
        raise PerseError(f"{look.path}: its motion holds out no frame, there is nothing to measure on")
    reference, worn = avatar.reference, avatar.look(**{category: name})
    part, elsewhere = _compare(avatar, look, look.subjects[1], worn, category)
    before, _ = _compare(avatar, look, look.subjects[1], reference, category)
    learned = [s for s in dataset.subjects if [a.category for a in s.attributes] == [category]]
    others = [_compare(avatar, dataset, s, avatar.look_of(s.id), category)[0] for s in learned]
    return {
        "part_psnr": part,
        "part_psnr_before": before,
        "part_psnr_learned": sum(others) / len(others) if others else None,
        "elsewhere": elsewhere,
        "frames": len(frames),
    }


@torch.no_grad()
def _compare(
    avatar: Avatar, dataset: Dataset, subject: Subject, look: Look, category: str
) -> tuple[float, float | None]:
    """PSNR inside the part's region against the subject's frames, and the change outside against the reference."""
    frames = dataset.heldout_indices
    motion = dataset.motion.select(frames)
    camera = motion.camera(dataset.camera)
    old, _, old_labels = dataset.load_frames(dataset.subjects[0], frames)
    new, _, labels = dataset.load_frames(subject, frames)
    region = part_region(category, (labels, old_labels), (new, old))
    drawn, plain = (
        avatar.render_layers(one, motion.expr, motion.pose, camera) for one in (look, avatar.reference)
    )
    person = foreground(drawn.alpha.cpu(), plain.alpha.cpu())
    inside = psnr(drawn.rgb.cpu(), from_uint8(new), _at_least_one(region & (person | (labels > 0))))
    change = Leakage()
    change.add(drawn.rgb.cpu(), plain.rgb.cpu(), person, region)
    return float(inside.mean()), change.mean


def _at_least_one(mask: Tensor) -> Tensor:
    """A mask [F, H, W]; the whole frame where it is empty."""
    empty = ~mask.flatten(1).any(1)
    return mask | empty[:, None, None]
