"""The three ways a group of Gaussians can be bound to the head.

A group is an immutable record of equally long tensors. Never write into a group's tensors: puppets share them
(copies are shallow); make a new group with :func:`dataclasses.replace` or :meth:`Group.select`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from perse.studio._geometry import left_matrix

GroupT = TypeVar("GroupT", bound="Group")

DISC_SPREAD = 1.75
"""Sigma of a surface disc over the sigma of its piece of triangle: closed surfaces without holes."""
DISC_THICKNESS = 2e-4
"""Metres: surface discs are this thick."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """What every kind of group holds, one row a Gaussian."""

    opacities: Tensor  # [N] in 0..1
    colors: Tensor  # [N, 3] sRGB in 0..1, light included
    labels: Tensor  # [N] uint8, codes of perse.dataset.LABELS
    closed_colors: Tensor | None = None
    """[N, 3] colours when the eye is closed (lids); None: the same."""
    lid: Tensor | None = None
    """[N, 2] how far ``closed_colors`` replaces ``colors`` as the left / right eye closes."""
    strands: Tensor | None = None
    """[N, 4] what looks of one seed have in common: of hair, three numbers in metres that tell a strand from others
    (where it begins) and the share of its length at which a Gaussian lies; of a solid part, which sheet it is of and
    where on it, of cloth the place of the body below, and 0. None (or NaN): nothing is told."""
    extras: dict[str, Tensor] = field(default_factory=dict)
    """More values per Gaussian that edits need. The group "skin" has ``bald`` [N, 3] colours without hair,
    ``clean`` [N, 3] colours without brows and lashes, ``scalp`` [N] where hair grows, ``known`` [N] how much the
    photo says about the colour, ``shade`` [N] the light, ``inner`` [N] 1 inside the mouth."""

    def __len__(self) -> int:
        return len(self.opacities)

    def select(self: GroupT, index: Tensor) -> GroupT:
        """The rows that ``index`` (mask or indices) picks, as a new group."""
        changes: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                changes[item.name] = value[index]
        changes["extras"] = {name: value[index] for name, value in self.extras.items()}
        return replace(self, **changes)

    def current_colors(self, closure: Tensor) -> Tensor:
        """Colours [N, 3] for an eye closure [2] (left, right; 0 open, 1 closed)."""
        if self.closed_colors is None or self.lid is None or float(closure.max()) < 0.03:
            return self.colors
        rows = self._lid_rows
        blend = (self.lid[rows] * closure).sum(1, keepdim=True).clamp(0, 1)
        colors = self.colors.clone()
        colors[rows] = colors[rows].lerp(self.closed_colors[rows], blend)
        return colors

    @cached_property
    def _lid_rows(self) -> Tensor:
        assert self.lid is not None
        return (self.lid.amax(1) > 1e-3).nonzero().squeeze(1)


@dataclass(frozen=True, kw_only=True)
class SurfaceDiscs(Group):
    """Discs on triangles of the head: piece ``1 / k`` of triangle ``face`` around the point ``bary``.

    The covariance is that of the posed triangle itself, so the surface stretches without holes.
    """

    face: Tensor  # [N] int64
    bary: Tensor  # [N, 3]
    k: Tensor  # [N] float: the triangle was cut into k * k pieces


@dataclass(frozen=True, kw_only=True)
class Rooted(Group):
    """Gaussians carried by the frame of a triangle (beard, brows, lashes): they ride on the moving skin.

    ``offsets`` and ``quats`` are in the frame of :func:`perse.studio._geometry.triangle_frames`.
    """

    face: Tensor  # [N] int64
    bary: Tensor  # [N, 3]
    offsets: Tensor  # [N, 3] metres
    quats: Tensor  # [N, 4] wxyz
    scales: Tensor  # [N, 3] metres


@dataclass(frozen=True, kw_only=True)
class Skinned(Group):
    """Gaussians at the rest head (expr = 0, pose = 0) moved by joints only (hair, hats, clothes...)."""

    means: Tensor  # [N, 3] metres
    quats: Tensor  # [N, 4] wxyz
    scales: Tensor  # [N, 3] metres
    weights: Tensor  # [N, 5] root, neck, jaw, left eye, right eye; rows sum to one

    @cached_property
    def single_joint(self) -> int | None:
        """The joint that moves all of the group rigidly, if there is one."""
        if not len(self):
            return None
        joint = int(self.weights[0].argmax())
        return joint if bool((self.weights[:, joint] > 0.9999).all()) else None

    def pose(self, joint_transforms: Tensor, joint_quats: Tensor) -> tuple[Tensor, Tensor]:
        """Means [N, 3] and quats [N, 4] after joint transforms [5, 3, 4] and rotations [5, 4]."""
        if not len(self):
            return self.means, self.quats
        joint = self.single_joint
        used = self._joints if joint is None else [joint]
        first = used[0]
        base, turn = joint_transforms[first], joint_quats[first]
        means = torch.addmm(base[:, 3], self.means, base[:, :3].T)
        quats = self.quats @ left_matrix(turn).T
        if joint is not None:
            return means, quats
        # Weights sum to one: what the first joint does, and how far the others do otherwise. (Quaternions are
        # blended in one hemisphere, and the product is linear in them.)
        for index in used[1:]:
            other = joint_quats[index]
            other = -other if bool(other @ turn < 0) else other
            weight = self.weights[:, index : index + 1]
            apart = joint_transforms[index] - base
            means.addcmul_(weight, torch.addmm(apart[:, 3], self.means, apart[:, :3].T))
            quats.addcmul_(weight, self.quats @ left_matrix(other - turn).T)
        return means, torch.nn.functional.normalize(quats, dim=1)

    @cached_property
    def _joints(self) -> list[int]:
        return (self.weights.amax(0) > 1e-4).nonzero().squeeze(1).tolist()
