"""Which joints carry a point that is not on the skin: hair that hangs, clothes that lie on shoulders."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from perse.head import Head
from perse.studio._geometry import matrix_to_quat, quat_conjugate, quat_multiply, smoothstep

ROOT, NECK = 0, 1


def two_joint_weights(neck: Tensor) -> Tensor:
    """Weights [N, 5] of points carried by the neck joint by ``neck`` [N] and by the root for the rest."""
    weights = torch.zeros(len(neck), 5)
    weights[:, NECK] = neck
    weights[:, ROOT] = 1 - neck
    return weights


def head_weights(count: int) -> Tensor:
    """Weights [N, 5] of points that turn with the skull (hats, headphones, short hair)."""
    return two_joint_weights(torch.ones(count))


def hanging_weights(points: Tensor) -> Tensor:
    """Weights [N, 5] of hair at rest points [N, 3]: the skull's above the jaw, the body's where it lies on it."""
    return two_joint_weights(smoothstep(points[:, 1], -0.14, -0.05))


def cloth_weights(points: Tensor, head: Head, rest_vertices: Tensor) -> Tensor:
    """Weights [N, 5] of clothes at rest points [N, 3]: the body's, and near the neck what its skin does."""
    skin = head.vertex_part == 1
    distance, near = cKDTree(rest_vertices[skin].numpy()).query(points.numpy(), 6)
    distance = torch.from_numpy(distance).float()
    closeness = 1 / (distance + 0.004)
    closeness = closeness / closeness.sum(1, keepdim=True)
    nearby = head.lbs_weights[skin][torch.from_numpy(near)]  # [N, 6, 5]
    neck = 1 - (nearby[..., ROOT] * closeness).sum(1)
    hold = torch.exp(-(distance[:, 0] - 0.01).clamp_min(0) / 0.03) * smoothstep(points[:, 1], -0.13, -0.07)
    return two_joint_weights(neck * hold)


def unpose(
    points: Tensor, quats: Tensor, weights: Tensor, transforms: Tensor, joint_quats: Tensor
) -> tuple[Tensor, Tensor]:
    """Bring posed Gaussians back to rest: the inverse of :meth:`Skinned.pose`.

    points [N, 3], quats [N, 4], weights [N, 5], transforms [5, 3, 4] and joint_quats [5, 4] of
    :func:`perse.head.pose_transforms`.
    """
    blended = (weights @ transforms.flatten(1)).unflatten(1, (3, 4))  # [N, 3, 4]
    rest = torch.linalg.solve(blended[..., :3], (points - blended[..., 3])[..., None]).squeeze(-1)
    turn = torch.nn.functional.normalize(weights @ joint_quats, dim=1)
    return rest, quat_multiply(quat_conjugate(turn), quats)


def look_at_camera(rotation: Tensor) -> Tensor:
    """The quaternion [4] that takes camera-frame rotations to the world, for a world-to-camera [3, 3]."""
    return matrix_to_quat(rotation.T)
