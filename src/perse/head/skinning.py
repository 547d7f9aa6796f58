"""Linear blend skinning of any points: one function for mesh vertices and avatar points (paper Eqs. 21, 22, 29)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from perse.head import _native_skinning

JOINT_NAMES = ("root", "neck", "jaw", "left_eye", "right_eye")
"""Joints in the order of theta: 3 axis-angle numbers each."""

PARENTS = (-1, 0, 1, 1, 1)
"""Parent of every joint: the root is the base of the neck, the neck joint turns the skull, the others hang on it."""


class Binding(NamedTuple):
    """How points move with the head; hand it to :func:`skin` or :func:`skin_runs`."""

    E: Tensor
    """Expression directions [N, 3, 50]."""
    P: Tensor
    """Pose corrective directions [N, 3, 36]."""
    W: Tensor
    """Skinning weights [N, 5], rows sum to 1."""


def rotation_matrices(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula, smooth through zero. [..., 3] -> [..., 3, 3]."""
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))  # [..., 3, 3]
    square = (axis_angle * axis_angle).sum(-1)
    small = square < 1e-6
    angle = torch.where(
        small, torch.ones_like(square), square
    ).sqrt()  # never sqrt(0): its gradient is infinite
    first = torch.where(small, 1 - square / 6, torch.sin(angle) / angle)
    second = torch.where(small, 0.5 - square / 24, (1 - torch.cos(angle)) / (angle * angle))
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + first[..., None, None] * cross + second[..., None, None] * (cross @ cross)


def axis_angle_to_quaternion(axis_angle: Tensor) -> Tensor:
    """[..., 3] -> unit quaternion wxyz [..., 4], smooth through zero."""
    square = (axis_angle * axis_angle).sum(-1, keepdim=True)
    small = square < 1e-6
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    ratio = torch.where(small, 0.5 - square / 48, torch.sin(angle / 2) / angle)
    scalar = torch.where(small, 1 - square / 8, torch.cos(angle / 2))
    return torch.cat([scalar, ratio * axis_angle], -1)


def quaternion_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product of wxyz quaternions, broadcast over leading dims. [..., 4] x [..., 4] -> [..., 4]."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def quaternion_to_matrix(quats: Tensor) -> Tensor:
    """Unit quaternions wxyz [..., 4] -> rotation matrices [..., 3, 3]."""
    w, x, y, z = quats.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def pose_transforms(joints: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Forward kinematics along root - neck - (jaw, left eye, right eye).

    Args:
        joints: rest positions in metres, [..., 5, 3]; broadcast against the leading dims of `pose`.
        pose: theta, axis-angle of the five joints, [..., 15].

    Returns:
        A [..., 5, 3, 4]: maps a rest point into the posed head as ``A[..., :3] @ x + A[..., 3]``;
        quats [..., 5, 4]: its rotation, wxyz, unit;
        pose_feature [..., 36]: ``R - I`` of the four joints after the root, which drives the pose correctives.
    """
    if (
        joints.dim() == 2
        and _native_skinning.takes(joints, pose)
        and not _native_skinning.needs_graph(joints, pose)
    ):
        return _native_skinning.joint_motion(joints, pose)
    return pose_transforms_torch(joints, pose)


def pose_transforms_torch(joints: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The definition of :func:`pose_transforms`, for any device and precision, with gradients."""
    axis_angle = pose.unflatten(-1, (5, 3))
    local = rotation_matrices(axis_angle)  # [..., 5, 3, 3]
    local_quats = axis_angle_to_quaternion(axis_angle)
    rotations, quats, positions = [], [], []
    for joint, parent in enumerate(PARENTS):
        if parent < 0:
            rotations.append(local[..., joint, :, :])
            quats.append(local_quats[..., joint, :])
            positions.append(joints[..., joint, :].expand(*pose.shape[:-1], 3))
            continue
        bone = joints[..., joint, :] - joints[..., parent, :]
        rotations.append(rotations[parent] @ local[..., joint, :, :])
        quats.append(quaternion_multiply(quats[parent], local_quats[..., joint, :]))
        positions.append(positions[parent] + (rotations[parent] @ bone[..., None])[..., 0])
    rotation = torch.stack(rotations, -3)  # [..., 5, 3, 3]
    translation = torch.stack(positions, -2) - (rotation @ joints[..., None])[..., 0]
    identity = torch.eye(3, dtype=pose.dtype, device=pose.device)
    feature = (local[..., 1:, :, :] - identity).flatten(-3)  # [..., 36]
    return torch.cat([rotation, translation[..., None]], -1), torch.stack(quats, -2), feature


def blend_rotations(weights: Tensor, quats: Tensor) -> Tensor:
    """Weighted joint quaternions, sign-aligned to the neck joint's and normalised.

    The blended matrix of skinning is not a rotation where weights mix; its nearest rotation (polar decomposition)
    would need an SVD per point. For two joints this normalised blend has the same axis, and its angle differs from the
    polar one by less than 0.6 degrees up to a 45 degree bend (tested), at the price of one matrix product.

    Args:
        weights: W [N, 5].
        quats: unit quaternions of the joints [..., 5, 4].

    Returns:
        Unit quaternions [..., N, 4].
    """
    agreement = (quats * quats[..., 1:2, :]).sum(-1, keepdim=True)
    aligned = torch.where(agreement < 0, -quats, quats)
    return torch.nn.functional.normalize(weights @ aligned, dim=-1)


def skin(
    points: Tensor, E: Tensor, P: Tensor, W: Tensor, joints: Tensor, expr: Tensor, pose: Tensor
) -> tuple[Tensor, Tensor]:
    """Move points with the head: expression and pose correctives, then linear blend skinning (Eqs. 21, 22, 29).

    The shape term ``B_S(beta; S)`` of Eq. 21 does not depend on the frame: add it to `points` (and to `joints`) first.

    Args:
        points: rest points in metres [N, 3].
        E: expression directions per point [N, 3, 50].
        P: pose corrective directions per point [N, 3, 36].
        W: skinning weights per point [N, 5], rows sum to 1.
        joints: rest joints [5, 3], of ``Head.joints(betas)``.
        expr: psi [..., 50].
        pose: theta [..., 15]; the leading dims of `expr` and `pose` broadcast.

    Returns:
        posed points [..., N, 3] and their rotations [..., N, 4] (wxyz, unit), the rotation part of the Jacobian
        ``d posed / d points`` as :func:`blend_rotations` approximates it. Differentiable in every argument.
    """
    batch = torch.broadcast_shapes(expr.shape[:-1], pose.shape[:-1])
    frames = [t.expand(*batch, -1).reshape(batch.numel(), t.shape[-1]) for t in (expr, pose)]
    posed, rotations, _ = skin_runs(points, [Binding(E, P, W)], joints, *frames)
    return posed.unflatten(0, batch) if batch else posed[0], rotations.unflatten(
        0, batch
    ) if batch else rotations[0]


def skin_runs(
    points: Tensor,
    bindings: Sequence[Binding],
    joints: Tensor,
    expr: Tensor,
    pose: Tensor,
    quats: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`skin` for points whose E, P, W come in runs, with what the blendshapes moved, and rotated quaternions.

    float32 on a CPU is computed by the native kernels, everything else by :func:`skin_runs_torch`: the same numbers
    (relative error below 5e-6 either way). The native one is differentiable once.

    Args:
        points: rest points in metres [N, 3].
        bindings: E, P, W of consecutive runs, which together cover the N points.
        joints: rest joints [5, 3]. expr: psi [F, 50]. pose: theta [F, 15].
        quats: rotations of the points at rest [N, 4] wxyz, any length above zero; none: the identity.

    Returns:
        posed points [F, N, 3], their rotations [F, N, 4] (unit, after those at rest), and the offsets of blendshapes
        before skinning [F, N, 3].
    """
    sizes = sum(len(b.W) for b in bindings)
    if sizes != len(points):
        raise ValueError(f"the bindings are for {sizes} points, and there are {len(points)}")
    given = [
        points,
        expr,
        pose,
        joints,
        *(t for b in bindings for t in b),
        *([] if quats is None else [quats]),
    ]
    if not _native_skinning.takes(*given) or min(*(t.shape[-1] for b in bindings for t in b[:2]), 16) < 16:
        return skin_runs_torch(points, bindings, joints, expr, pose, quats)
    return _native_skinning.skin_runs(points, quats, bindings, expr, pose_transforms(joints, pose))


def skin_runs_torch(
    points: Tensor,
    bindings: Sequence[Binding],
    joints: Tensor,
    expr: Tensor,
    pose: Tensor,
    quats: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition of :func:`skin_runs`, for any device and precision, with derivatives of any order."""
    transforms, joint_quats, feature = pose_transforms_torch(joints, pose)
    offsets, blended, rotations = [], [], []
    for E, P, W in bindings:
        n = len(W)
        moved = expr @ E.reshape(n * 3, -1).T + feature @ P.reshape(n * 3, -1).T  # [F, n * 3]
        offsets.append(moved.unflatten(-1, (n, 3)))
        blended.append(W @ transforms.flatten(-2))  # [F, n, 12]
        rotations.append(blend_rotations(W, joint_quats))
    bent = torch.cat(offsets, -2)
    moved = points + bent  # [F, N, 3], Eq. 21
    matrix = torch.cat(blended, -2).unflatten(-1, (3, 4))
    posed = (matrix[..., :3] * moved[..., None, :]).sum(-1) + matrix[..., 3]  # Eq. 22
    turned = torch.cat(rotations, -2)
    if quats is not None:
        turned = quaternion_multiply(turned, torch.nn.functional.normalize(quats, dim=-1))  # Eq. 29
    return posed, turned, bent
