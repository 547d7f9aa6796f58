"""Which frames of a motion a dataset shows: few, but different, and the photo's own face among them."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from perse.dataset import Motion, Portrait
from perse.head import open_head

PHOTO_TURNS = ((0, 0), (-20, 0), (20, 0), (0, -12), (0, 12))
"""Yaw and pitch (degrees) at which the photo's expression is shown."""


def select_frames(motion: Motion, train: int, heldout: int) -> Motion:
    """Thin a motion to ``train`` + ``heldout`` frames, keeping its split and its first frame.

    Training frames are chosen to differ (the widest jaw, the closed lids and the far turns are among them), held-out
    frames evenly in time, so that they stay a fair sample.
    """
    taught = torch.nonzero(motion.train)[:, 0]
    unseen = torch.nonzero(~motion.train)[:, 0]
    taught = taught[_farthest(_pose_features(motion.select(taught)), min(train, len(taught)))]
    unseen = unseen[torch.linspace(0, len(unseen) - 1, min(heldout, len(unseen))).round().long()]
    return motion.select(torch.cat([taught, unseen]).sort().values)


def _pose_features(motion: Motion) -> torch.Tensor:
    """[T, D]: where a frame puts the mean head's landmarks (in 6 mm), and how it turns the neck (in 12 degrees)."""
    head = open_head()
    still = motion.pose.clone()
    still[:, :6] = 0
    points = [head.landmarks(head.vertices(expr=e[None], pose=p[None])) for e, p in zip(motion.expr, still)]
    return torch.cat([torch.cat(points).flatten(1) / 0.006, motion.pose[:, :6] / math.radians(12)], 1)


def _farthest(features: torch.Tensor, count: int) -> torch.Tensor:
    """Indices of ``count`` rows, each the farthest (largest single difference) from all before it; row 0 is first."""
    chosen = [0]
    distance = torch.full((len(features),), torch.inf)
    while len(chosen) < count:
        distance = torch.minimum(distance, (features - features[chosen[-1]]).abs().amax(1))
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
    return torch.tensor(chosen)


def with_photo_frames(motion: Motion, portrait: Portrait) -> Motion:
    """A motion and, after it, training frames with the photo's own expression, jaw and gaze on a turned head.

    Without them the avatar never learns the one face that it will be compared with.
    """
    count = len(PHOTO_TURNS)
    pose = torch.zeros(count, 15)
    pose[:, 6:] = portrait.pose[6:]
    for row, (yaw, pitch) in zip(pose, PHOTO_TURNS):
        row[3], row[4] = math.radians(pitch), math.radians(yaw)
    viewmats = motion.viewmats
    if viewmats is not None:
        viewmats = torch.cat([viewmats, portrait.camera.viewmat.expand(count, 4, 4)])
    return replace(
        motion,
        expr=torch.cat([motion.expr, portrait.expr.expand(count, -1)]),
        pose=torch.cat([motion.pose, pose]),
        train=torch.cat([motion.train, torch.ones(count, dtype=torch.bool)]),
        viewmats=viewmats,
    )
