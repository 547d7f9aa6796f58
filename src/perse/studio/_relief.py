"""From a depth map to Gaussians: reliefs of what the head model does not have (hair, clothes)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perse.studio._geometry import quat_multiply, tangent_discs
from perse.studio._image import Array
from perse.studio._view import View
from perse.studio.binding import look_at_camera, unpose
from perse.studio.groups import Skinned


@dataclass(frozen=True)
class PoseAtPhoto:
    """The joints in the photo's pose, to bring what is lifted there back to rest."""

    transforms: Tensor  # [5, 3, 4]
    quats: Tensor  # [5, 4]


def relief_group(
    depth: Array,
    mask: Array,
    colors: Array,
    opacities: Array,
    label: int,
    view: View,
    pose: PoseAtPhoto,
    weights: Callable[[Tensor], Tensor],
    *,
    step: float = 1,
    cap: float = 0.006,
) -> Skinned:
    """One disc for each pixel of ``mask`` [H, W] on the surface ``depth`` [H, W] (metres).

    colours [M, 3] and opacities [M] are in the order of ``mask.nonzero()``; a disc covers ``step`` pixels.
    """
    points = view.unproject(depth)
    du = np.gradient(points, axis=1)[mask] * step
    dv = np.gradient(points, axis=0)[mask] * step
    quats, scales = tangent_discs(torch.from_numpy(du).float(), torch.from_numpy(dv).float(), cap=cap)
    means = torch.from_numpy(view.world(points[mask])).float()
    return place(means, quats, scales, colors, opacities, label, view, pose, weights)


def place(
    means: Tensor,
    camera_quats: Tensor,
    scales: Tensor,
    colors: Array,
    opacities: Array,
    label: int,
    view: View,
    pose: PoseAtPhoto,
    weights: Callable[[Tensor], Tensor],
) -> Skinned:
    """A skinned group at rest from world means and camera-frame rotations at the photo's pose."""
    to_world = look_at_camera(torch.from_numpy(view.rotation).float())
    quats = quat_multiply(to_world, camera_quats)
    joint_weights = weights(means)
    rest, rest_quats = unpose(means, quats, joint_weights, pose.transforms, pose.quats)
    return Skinned(
        means=rest,
        quats=rest_quats,
        scales=scales,
        weights=joint_weights,
        opacities=torch.from_numpy(np.asarray(opacities)).float(),
        colors=torch.from_numpy(np.asarray(colors)).float().clamp(0, 1),
        labels=torch.full((len(means),), label, dtype=torch.uint8),
    )


def steepness(depth: Array, view: View) -> Array:
    """[H, W] metres a relief falls from one pixel to the next."""
    points = view.unproject(depth)
    return np.hypot(np.gradient(points, axis=1)[..., 2], np.gradient(points, axis=0)[..., 2])
