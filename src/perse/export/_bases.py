"""E and P of all points in few columns: what expressions and poses really do to this head."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perse.dataset import Motion
from perse.head import Head, arkit_names, arkit_to_motion, pose_transforms

TURN = (math.radians(30), math.radians(45), math.radians(25))
"""Pitch, yaw and roll of the neck that the columns must serve."""


def drivers(head: Head, motion: Motion, rest: tuple[Tensor, Tensor]) -> Tensor:
    """Coefficients of E and P [S, 86] that a player will ask for: the motion, the rest, every blendshape, turns.

    E's share is psi [50], P's the pose feature [36] of `perse.head.pose_transforms`.
    """
    expr, pose = [motion.expr, rest[0][None]], [motion.pose, rest[1][None]]
    for name in arkit_names(head):
        unit_expr, unit_pose = arkit_to_motion(head, {name: 1.0})
        expr.append(unit_expr[None])
        pose.append(unit_pose[None])
    for axis, angle in enumerate(TURN):
        for sign in (-1.0, 1.0):
            turned = torch.zeros(1, 15)
            turned[0, 3 + axis] = sign * angle
            expr.append(torch.zeros(1, 50))
            pose.append(turned)
    joints = head.joints()
    _, _, feature = pose_transforms(joints, torch.cat(pose))
    return torch.cat([torch.cat(expr), feature], 1)


def fewer_columns(bases: Tensor, samples: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """The best approximation ``bases @ c ~ columns @ (mix @ c)`` for the samples' c.

    Args:
        bases: E and P side by side [N, 3, 86]. samples: [S, 86]. tolerance: metres, root mean square over points
            and samples, and three times that in the worst sample.

    Returns:
        columns [N, 3, R], of which no sample asks for more than once their length, and mix [R, 86].
    """
    flat = bases.reshape(-1, bases.shape[-1]).double()  # [3N, 86]
    asked = samples.double()
    # Directions that no sample asks for are kept at a hundredth of the smallest weight, not at zero.
    covariance = asked.T @ asked / len(asked)
    covariance += 1e-8 * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    root = torch.linalg.cholesky(covariance)  # c has the spread root @ noise
    gram = root.T @ (flat.T @ flat) @ root
    energy, vectors = torch.linalg.eigh(gram)
    order = energy.argsort(descending=True)
    vectors = vectors[:, order]
    inverse = torch.linalg.solve_triangular(root, torch.eye(len(root), dtype=torch.float64), upper=False)
    full_columns = flat @ root @ vectors  # [3N, 86]
    full_mix = vectors.T @ inverse  # [86, 86]
    sizes = full_columns.square().sum(0) / len(bases)  # [86] mean square a point and unit of coefficient
    asked_sizes = (asked @ full_mix.T).square() * sizes  # [S, 86]
    left = asked_sizes.flip(1).cumsum(1).flip(1)  # [S, 86] squared error without columns k..
    errors = torch.cat([left, left.new_zeros(len(left), 1)], 1).sqrt()  # [S, 87]
    good = (errors.square().mean(0).sqrt() <= tolerance) & (errors.amax(0) <= 3 * tolerance)
    rank = max(1, int(good.int().argmax()))
    columns, mix = full_columns[:, :rank], full_mix[:rank]
    largest = (asked @ mix.T).abs().amax(0).clamp_min(1e-9)
    columns = (columns * largest).reshape(len(bases), 3, rank).float()
    return columns, (mix / largest[:, None]).float()
