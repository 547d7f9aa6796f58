"""A look turned into plain canonical points: playback without any network but, at wish, MLP_pose."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perse.avatar.posing import Canonical, PoseMLP, pose_canonical
from perse.splat import Camera, Gaussians, rasterize

VISIBLE = 2 / 255
"""Opacity below which a Gaussian is dropped: alone it changes an 8-bit pixel by two grey levels at most."""


@dataclass
class BakedLook:
    """One look, evaluated once; points that cannot be seen are dropped."""

    canonical: Canonical
    """The look's points in canonical space."""
    joints: Tensor
    """[5, 3] rest joints."""
    pose_mlp: PoseMLP | None
    """Pose-dependent detail; None plays faster."""
    name: str = "reference"
    """The look's caption."""

    @staticmethod
    def of(canonical: Canonical, joints: Tensor, pose_mlp: PoseMLP | None, name: str) -> BakedLook:
        """Drop what even the boldest change by MLP_pose leaves invisible."""
        margin = PoseMLP.BOUNDS[7] if pose_mlp is not None else 0.0
        opacity = (canonical.opacity + margin).sigmoid() * canonical.presence
        return BakedLook(canonical.detach().select(opacity > VISIBLE), joints, pose_mlp, name)

    def __len__(self) -> int:
        return len(self.canonical)

    @torch.no_grad()
    def pose(self, expr: Tensor, pose: Tensor) -> Gaussians:
        """expr [F, 50], pose [F, 15] -> Gaussians [F, N, .]."""
        device = self.joints.device
        return pose_canonical(self.canonical, self.joints, expr.to(device), pose.to(device), self.pose_mlp)

    @torch.no_grad()
    def render(self, expr: Tensor, pose: Tensor, camera: Camera, background: Tensor | float = 1.0) -> Tensor:
        """[F, H, W, 3] in [0, 1]."""
        device = self.joints.device
        color = torch.as_tensor(background, dtype=torch.float32, device=device).expand(3)
        return rasterize(self.pose(expr, pose), camera.to(device), color)[0].clamp(0, 1)
