"""Posing the groups of a puppet: what no pose changes is put together once, the rest is written in place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from perse.splat import Gaussians
from perse.studio._geometry import (
    in_plane_axes,
    matrix_to_quat,
    quat_multiply,
    triangle_frames,
    turned_in_plane,
)
from perse.studio.groups import DISC_SPREAD, DISC_THICKNESS, Group, Rooted, Skinned, SurfaceDiscs


class Poser:
    """A fixed list of groups on one head. Opacities, labels and mostly colours are shared by all poses: read only."""

    def __init__(self, groups: Sequence[Group], faces: Tensor) -> None:
        self._groups = tuple(groups)
        self._faces = faces
        self._corners = {
            index: faces[group.face]
            for index, group in enumerate(self._groups)
            if isinstance(group, SurfaceDiscs | Rooted)
        }
        self._opacities = torch.cat([group.opacities for group in self._groups])
        self._colors = torch.cat([group.colors for group in self._groups])
        self.labels = torch.cat([group.labels for group in self._groups])
        """[N] uint8"""

    def poses(self, groups: Sequence[Group]) -> bool:
        """Whether these are the very groups that this poser was made for."""
        return len(groups) == len(self._groups) and all(a is b for a, b in zip(groups, self._groups))

    def place(self, vertices: Tensor, closure: Tensor, transforms: Tensor, joint_quats: Tensor) -> Gaussians:
        """All Gaussians: vertices [V, 3] of the posed head, closure [2] of the lids, joints [5, 3, 4] and [5, 4]."""
        surface = _Surface(vertices, self._faces)
        count = len(self.labels)
        means, quats, scales = (vertices.new_empty(count, size) for size in (3, 4, 3))
        colors = self._colors
        start = 0
        for index, group in enumerate(self._groups):
            rows = slice(start, start + len(group))
            start = rows.stop
            out = means[rows], quats[rows], scales[rows]
            if isinstance(group, SurfaceDiscs):
                surface.discs(group, self._corners[index], *out)
            elif isinstance(group, Rooted):
                surface.rooted(group, self._corners[index], *out)
            elif isinstance(group, Skinned):
                out[0][:], out[1][:] = group.pose(transforms, joint_quats)
                out[2][:] = group.scales
            else:
                raise TypeError(f"unknown kind of group {type(group).__name__}")
            current = group.current_colors(closure)
            if current is not group.colors:
                colors = colors.clone() if colors is self._colors else colors
                colors[rows] = current
        return Gaussians(means, quats, scales, self._opacities, colors)


class _Surface:
    """One posed head: the shared work of all groups on its triangles."""

    def __init__(self, vertices: Tensor, faces: Tensor) -> None:
        self._vertices, self._faces = vertices, faces

    @cached_property
    def _frames(self) -> tuple[Tensor, Tensor]:
        """[F, 3, 3] and their quaternions [F, 4]."""
        frames = triangle_frames(self._vertices, self._faces)
        return frames, matrix_to_quat(frames)

    @cached_property
    def _discs(self) -> tuple[Tensor, Tensor]:
        """Quaternions [F, 4] and in-plane sigmas [F, 2] of the triangles' own discs."""
        frames, quats = self._frames
        angle, sigmas = in_plane_axes(self._vertices[self._faces], frames)
        return turned_in_plane(quats, angle), sigmas

    def _points(self, corners: Tensor, bary: Tensor) -> Tensor:
        """[N, 3] points of the surface; corners [N, 3] are rows of the vertices."""
        return torch.nn.functional.embedding_bag(
            corners, self._vertices, per_sample_weights=bary.to(self._vertices.dtype), mode="sum"
        )

    def discs(
        self, group: SurfaceDiscs, corners: Tensor, means: Tensor, quats: Tensor, scales: Tensor
    ) -> None:
        of_triangle, sigmas = self._discs
        means[:] = self._points(corners, group.bary)
        torch.index_select(of_triangle, 0, group.face, out=quats)
        scales[:, :2] = torch.index_select(sigmas, 0, group.face)
        scales[:, :2] *= (DISC_SPREAD / group.k)[:, None]
        scales[:, 2] = DISC_THICKNESS

    def rooted(self, group: Rooted, corners: Tensor, means: Tensor, quats: Tensor, scales: Tensor) -> None:
        frames, of_frame = self._frames
        moved = torch.matmul(frames[group.face], group.offsets[..., None]).squeeze(-1)
        torch.add(self._points(corners, group.bary), moved, out=means)
        quats[:] = quat_multiply(of_frame[group.face], group.quats)
        scales[:] = group.scales
