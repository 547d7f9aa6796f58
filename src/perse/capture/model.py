"""The head seen through its 478 landmarks: the small model that photos and videos are fitted with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from perse.errors import PerseError
from perse.head import Head, pose_transforms, rotation_matrices

FOCAL = 1.2 * 2.12  # focal length of a portrait in picture widths: puts the head about 1 m away

_ANGLE_STEP = 1e-5  # radians by which joint angles are differenced; float64 leaves ten digits


class FitResult(NamedTuple):
    """What explains one set of landmarks."""

    rotation: Tensor
    """[3] axis-angle of the head against facing the camera, in the camera's frame turned y up."""
    translation: Tensor
    """[3] head origin in OpenCV camera coordinates, metres."""
    betas: Tensor
    """[100]"""
    expr: Tensor
    """[50]"""
    pose: Tensor
    """[15] with root and neck at zero."""
    error: float
    """Mean distance to the landmarks, in percent of the interocular distance."""


@dataclass(frozen=True)
class ShapedLandmarks:
    """Landmarks of one shape as a function of expression and pose."""

    rest: Tensor
    """[478, 3]"""
    joints: Tensor
    """[5, 3]"""
    E: Tensor
    """[478, 3, 50]"""
    P: Tensor
    """[478, 3, 36]"""
    W: Tensor
    """[478, 5]"""

    def select(self, rows: Sequence[int]) -> ShapedLandmarks:
        """Some of the landmarks alone."""
        chosen = list(rows)
        return replace(self, rest=self.rest[chosen], E=self.E[chosen], P=self.P[chosen], W=self.W[chosen])

    def points(self, expr: Tensor, pose: Tensor) -> Tensor:
        """Landmarks in the head frame: expr [..., 50], pose [..., 15] -> [..., 478, 3] metres (Eqs. 21, 22)."""
        transforms, _, feature = pose_transforms(self.joints, pose)
        return self.skinned(self.moved(expr, feature), transforms)

    def moved(self, expr: Tensor, feature: Tensor) -> Tensor:
        """Before skinning: [..., 478, 3]."""
        bent = expr @ self.E.flatten(0, 1).T + feature @ self.P.flatten(0, 1).T
        return self.rest + bent.unflatten(-1, (-1, 3))

    def matrices(self, transforms: Tensor) -> Tensor:
        """Blended joint transforms at every landmark: [..., 5, 3, 4] -> [..., 478, 3, 4]."""
        return (self.W @ transforms.flatten(-2)).unflatten(-1, (3, 4))

    def skinned(self, moved: Tensor, transforms: Tensor) -> Tensor:
        """[..., 478, 3]"""
        matrix = self.matrices(transforms)
        return (matrix[..., :3] @ moved[..., None])[..., 0] + matrix[..., 3]

    def linearized(self, expr: Tensor, pose: Tensor, angles: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Points [T, 478, 3], d point / d expr [T, 478, 3, 50] and d point / d theta[angles] [T, 478, 3, A]."""
        transforms, _, feature = pose_transforms(self.joints, pose)
        moved = self.moved(expr, feature)
        matrix = self.matrices(transforms)
        points = (matrix[..., :3] @ moved[..., None])[..., 0] + matrix[..., 3]
        step = pose.new_zeros(len(angles), 2, pose.shape[-1])
        for row, angle in enumerate(angles):
            step[row, 0, angle], step[row, 1, angle] = _ANGLE_STEP, -_ANGLE_STEP
        joints, _, features = pose_transforms(self.joints, pose[:, None, None] + step)
        by_joint = (joints[:, :, 0] - joints[:, :, 1]) / (2 * _ANGLE_STEP)  # [T, A, 5, 3, 4]
        by_feature = (features[:, :, 0] - features[:, :, 1]) / (2 * _ANGLE_STEP)  # [T, A, 36]
        bent = (by_feature @ self.P.flatten(0, 1).T).unflatten(-1, (-1, 3))  # [T, A, 478, 3]
        linear = matrix[..., :3]
        by_angle = self.skinned(moved[:, None], by_joint) + (linear[:, None] @ bent[..., None])[..., 0]
        return points, linear @ self.E, by_angle.permute(0, 2, 3, 1)


class LandmarkModel:
    """Landmarks of the head as a differentiable function of shape, expression, pose and camera (float64).

    Shape, expression and skinning are interpolated at the landmarks themselves, so one evaluation moves 478 points
    instead of the whole mesh.
    """

    def __init__(self, head: Head) -> None:
        if head.landmark_faces.numel() == 0:
            raise PerseError(f"{head.name} has no landmark embedding, so it cannot be fitted to a photo")
        head = head.to("cpu").to(torch.float64)
        corners = head.faces[head.landmark_faces]  # [478, 3]
        bary = head.landmark_bary
        self.template = (head.v_template[corners] * bary[..., None]).sum(1)  # [478, 3]
        self.shapedirs = (head.shapedirs[corners] * bary[..., None, None]).sum(1)  # [478, 3, 100]
        self.E, self.P, self.W = head.interpolate(head.landmark_faces, bary)
        self.joint_template = head.joints()
        count = self.shapedirs.shape[-1]
        self.joint_dirs = (
            head.joints(torch.eye(count, dtype=torch.float64)) - self.joint_template
        )  # [100, 5, 3]

    def shaped(self, betas: Tensor) -> ShapedLandmarks:
        """The landmarks of one shape [100]."""
        joints = self.joint_template + torch.einsum("k,kjc->jc", betas, self.joint_dirs)
        return ShapedLandmarks(self.template + self.shapedirs @ betas, joints, self.E, self.P, self.W)

    def points(self, betas: Tensor, expr: Tensor, pose: Tensor) -> Tensor:
        """Landmarks in the head frame: betas [100], expr [..., 50], pose [..., 15] -> [..., 478, 3] metres."""
        return self.shaped(betas).points(expr, pose)

    def project(
        self, rotation: Tensor, translation: Tensor, points: Tensor, focal: float, centre: tuple[float, float]
    ) -> Tensor:
        """Pixels [..., 478, 2] of points [..., 478, 3] in the head frame; rotation and translation are [..., 3]."""
        turned = points @ rotation_matrices(rotation).mT
        x = turned[..., 0] + translation[..., :1]
        y = -turned[..., 1] + translation[..., 1:2]
        z = -turned[..., 2] + translation[..., 2:]
        return torch.stack([centre[0] + focal * x / z, centre[1] + focal * y / z], -1)


def view_matrix(rotation: Tensor, translation: Tensor) -> Tensor:
    """World-to-camera [4, 4] (OpenCV) of a head turned by `rotation` (y up) and standing at `translation`."""
    flip = torch.diag(rotation.new_tensor([1.0, -1.0, -1.0]))
    matrix = torch.eye(4, dtype=rotation.dtype)
    matrix[:3, :3] = flip @ rotation_matrices(rotation)
    matrix[:3, 3] = translation
    return matrix


def intrinsics(focal: float, centre: tuple[float, float]) -> Tensor:
    """K [3, 3] in pixels."""
    return torch.tensor([[focal, 0.0, centre[0]], [0.0, focal, centre[1]], [0.0, 0.0, 1.0]])
