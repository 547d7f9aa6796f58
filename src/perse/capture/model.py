"""The head seen through its 478 landmarks: the small model that photos and videos are fitted with."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from perse.errors import PerseError
from perse.head import Head, pose_transforms, rotation_matrices, skin

FOCAL = 1.2 * 2.12  # focal length of a portrait in picture widths: puts the head about 1 m away


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

    def points(self, betas: Tensor, expr: Tensor, pose: Tensor) -> Tensor:
        """Landmarks in the head frame: betas [100], expr [50], pose [15] -> [478, 3] metres."""
        rest = self.template + self.shapedirs @ betas
        joints = self.joint_template + torch.einsum("k,kjc->jc", betas, self.joint_dirs)
        return skin(rest, self.E, self.P, self.W, joints, expr, pose)[0]

    def skinning_matrices(self, betas: Tensor, pose: Tensor) -> Tensor:
        """The linear part of skinning at every landmark: d posed / d unposed, [478, 3, 3]."""
        joints = self.joint_template + torch.einsum("k,kjc->jc", betas, self.joint_dirs)
        transforms, _, _ = pose_transforms(joints, pose)
        return torch.einsum("nj,jab->nab", self.W, transforms[..., :3])

    def project(
        self, rotation: Tensor, translation: Tensor, points: Tensor, focal: float, centre: tuple[float, float]
    ) -> Tensor:
        """Pixels [478, 2] of points in the head frame."""
        turned = points @ rotation_matrices(rotation).T
        x = turned[:, 0] + translation[0]
        y = -turned[:, 1] + translation[1]
        z = -turned[:, 2] + translation[2]
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
