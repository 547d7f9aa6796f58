"""Which frames of a motion a dataset shows: few, but different, and the photo's own face among them."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from perse.dataset import Motion, Portrait
from perse.head import open_head
from perse.splat import Camera

PHOTO_TURNS = ((0, 0), (-20, 0), (20, 0), (0, -12), (0, 12))
"""Yaw and pitch (degrees) at which the photo's expression is shown."""
MOUTH_TURNS = ((0, 0, 1.0), (0, 0, 0.5), (-18, 0, 1.0), (18, 0, 0.7), (0, -10, 0.8), (0, 10, 0.9))
"""Yaw and pitch (degrees) and share of the widest opening at which the inside of the mouth is shown."""
HELD_OUT_TURNS = (-25, -12, 12, 25)
"""Yaw (degrees) of held-out frames that are added, so that the whole range of turns is measured."""
JAW = 6
"""Where theta holds the opening of the jaw."""


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
    return _with_rows(motion, portrait.expr.expand(count, -1), pose, portrait.camera.viewmat, train=True)


def with_open_mouth(motion: Motion, camera: Camera) -> Motion:
    """A motion and, after it, training frames with its widest mouth, seen from more sides and half as wide.

    What is inside a mouth shows in few frames of any motion. Learned from one or two, it is right from their side only.
    ``camera`` is that of a motion without cameras of its own.
    """
    taught = torch.nonzero(motion.train)[:, 0]
    widest = taught[motion.pose[taught, JAW].argmax()]
    count = len(MOUTH_TURNS)
    pose = motion.pose[widest].repeat(count, 1)
    pose[:, :6] = 0
    for row, (yaw, pitch, share) in zip(pose, MOUTH_TURNS):
        row[3], row[4] = math.radians(pitch), math.radians(yaw)
        row[JAW] *= share
    return _with_rows(motion, motion.expr[widest].expand(count, -1), pose, camera.viewmat, train=True)


def with_turned_heldout(motion: Motion, camera: Camera) -> Motion:
    """A motion and, after it, held-out frames with faces of its held-out ones on a head turned as far as 25 degrees.

    Few frames of a motion turn that far, and chance may leave them all to training.
    """
    unseen = torch.nonzero(~motion.train)[:, 0]
    if len(unseen) == 0:
        return motion
    rows = unseen[torch.linspace(0, len(unseen) - 1, len(HELD_OUT_TURNS)).round().long()]
    pose = motion.pose[rows].clone()
    pose[:, :6] = 0
    pose[:, 4] = torch.deg2rad(torch.tensor(HELD_OUT_TURNS, dtype=pose.dtype))
    return _with_rows(motion, motion.expr[rows], pose, camera.viewmat, train=False)


def _with_rows(motion: Motion, expr: Tensor, pose: Tensor, viewmat: Tensor, train: bool) -> Motion:
    """The motion with more frames behind it, for training or held out, seen by one camera."""
    count = len(pose)
    viewmats = motion.viewmats
    if viewmats is not None:
        viewmats = torch.cat([viewmats, viewmat.expand(count, 4, 4)])
    return replace(
        motion,
        expr=torch.cat([motion.expr, expr]),
        pose=torch.cat([motion.pose, pose]),
        train=torch.cat([motion.train, torch.full((count,), train)]),
        viewmats=viewmats,
    )
