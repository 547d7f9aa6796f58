"""A look turned into plain canonical points: playback without any network but, at wish, MLP_pose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from perse.avatar._pose_table import PoseTable
from perse.avatar.posing import MAX_LOG_SCALE, MIN_LOG_SCALE, Canonical, PoseMLP, pose_canonical
from perse.splat import Camera, Gaussians, rasterize

VISIBLE = 2 / 255
"""Opacity below which a Gaussian is dropped: alone it changes an 8-bit pixel by two grey levels at most."""
FRAMES_AT_ONCE = 8
"""Frames drawn from one posing; bounds the memory of long renders."""


@dataclass(eq=False)
class BakedLook:
    """One look, evaluated once; points that cannot be seen are dropped.

    On a CPU frames are posed by the native kernels from a packed copy of the points, made at the first frame: do not
    change `canonical` after that.
    """

    canonical: Canonical
    """The look's points in canonical space."""
    joints: Tensor
    """[5, 3] rest joints."""
    pose_mlp: PoseMLP | None
    """Pose-dependent detail; None plays faster."""
    name: str = "reference"
    """The look's caption."""
    compact: bool = True
    """Whether the packed copy keeps E and P in 16 bits: half the memory to read, the same picture to the eye."""

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
        """expr [F, 50], pose [F, 15] -> Gaussians [F, N, .]; what does not change between frames has no leading F."""
        if self._table is not None:
            return self._table.pose(expr.cpu(), pose.cpu())
        device = self.joints.device
        return pose_canonical(self.canonical, self.joints, expr.to(device), pose.to(device), self.pose_mlp)

    @torch.no_grad()
    def render(self, expr: Tensor, pose: Tensor, camera: Camera, background: Tensor | float = 1.0) -> Tensor:
        """[F, H, W, 3] in [0, 1]; `camera` is one for all frames or one for each."""
        device = self.joints.device
        color = torch.as_tensor(background, dtype=torch.float32, device=device).expand(3)
        camera = camera.to(device)
        pictures = []
        for start in range(0, len(expr), FRAMES_AT_ONCE):
            part = slice(start, start + FRAMES_AT_ONCE)
            view = camera if camera.viewmat.ndim == 2 else replace(camera, viewmat=camera.viewmat[part])
            pictures.append(self._draw(expr[part], pose[part], view, color).clamp_(0, 1))
        return pictures[0] if len(pictures) == 1 else torch.cat(pictures)

    def _draw(self, expr: Tensor, pose: Tensor, camera: Camera, color: Tensor) -> Tensor:
        if self._table is None:
            return rasterize(self.pose(expr, pose), camera, color)[0]
        # Nobody sees the posed points of a picture, so the next one may have their memory: fresh pages cost time.
        frames = len(expr)
        spare = self._spare.pop(frames, None) or self._table.buffers(frames)
        image = rasterize(self._table.pose(expr.cpu(), pose.cpu(), spare), camera, color)[0]
        self._spare[frames] = spare
        return image

    @cached_property
    def _spare(self) -> dict[int, list[Tensor]]:
        """Buffers that no call is using, by number of frames."""
        return {}

    @cached_property
    def _table(self) -> PoseTable | None:
        """The packed copy, where the native kernels can play it."""
        if not PoseTable.takes(self.canonical, self.joints, self.pose_mlp):
            return None
        limits = (MIN_LOG_SCALE, MAX_LOG_SCALE)
        with torch.no_grad():
            return PoseTable(self.canonical, self.joints, self.pose_mlp, limits, self.compact)
