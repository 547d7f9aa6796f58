"""The parametric head: FLAME-shaped tensors and what they can do."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from perse.errors import PerseError

from .skinning import Binding, pose_transforms
from .surface import closest_point

PARTS = ("none", "skin", "left_eye", "right_eye", "upper_teeth", "lower_teeth", "tongue", "lashes")
"""Names of the part codes in ``Head.vertex_part`` and ``Head.face_part``: code = index."""


@dataclass(frozen=True, eq=False)
class Head:
    """A parametric head. Metres; y up, z out of the face, +x the person's left, origin at the skull base."""

    v_template: Tensor
    """The mean head, [V, 3]."""
    shapedirs: Tensor
    """Shape directions, [V, 3, 100]; coefficients (betas) of a natural face are about N(0, 1)."""
    expdirs: Tensor
    """Expression directions, [V, 3, 50]; zero is neutral."""
    posedirs: Tensor
    """Pose correctives, [36, V * 3], driven by ``R - I`` of neck, jaw, left eye, right eye."""
    J_regressor: Tensor
    """Joints out of vertices, [5, V]."""
    lbs_weights: Tensor
    """Skinning weights, [V, 5]; rows sum to 1."""
    faces: Tensor
    """Triangles, [F, 3] int64, counter-clockwise seen from outside."""
    uv: Tensor
    """Texture coordinates, [T, 2] in [0, 1], v up."""
    faces_uv: Tensor
    """Texture corners of each triangle, [F, 3] int64."""
    vertex_part: Tensor
    """Part code of each vertex, [V] int64, see PARTS."""
    face_part: Tensor
    """Part code of each triangle, [F] int64, see PARTS."""
    landmark_faces: Tensor
    """Triangle of each of the 478 landmarks, [478] int64; empty if the head has no landmark embedding."""
    landmark_bary: Tensor
    """Barycentric coordinates of each landmark, [478, 3]."""
    unit_names: tuple[str, ...] = ()
    """Names of the face units that :meth:`expr_from_units` knows."""
    unit_to_expr: Tensor | None = None
    """Expression coefficients of each unit at 1, [units, 50]."""
    region_names: tuple[str, ...] = ()
    """Names of the soft skin regions, for :meth:`region`: lips, mouth (its inside), eyelids, ears."""
    regions: Tensor | None = None
    """How much each vertex lies in each region, [V, regions] in [0, 1]."""
    jaw_open: float = 0.0
    """Jaw angle in radians at which ARKit's jawOpen is 1; 0 if unknown."""
    name: str = "head"
    """What the head is, for messages."""

    def __len__(self) -> int:
        return self.v_template.shape[0]

    def __repr__(self) -> str:
        return f"Head({self.name!r}, vertices={len(self)}, triangles={len(self.faces)}, device={self.device})"

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.v_template.device

    def to(self, target: torch.device | torch.dtype | str) -> Head:
        """A copy on another device, or with another floating dtype (indices stay int64)."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                is_index = isinstance(target, torch.dtype) and not value.is_floating_point()
                moved[field.name] = value if is_index else value.to(target)
        return replace(self, **moved)

    # ---- shape and motion

    @functools.cached_property
    def _joint_basis(self) -> tuple[Tensor, Tensor]:
        """The regressor applied to the template and to every shape direction: [5, 3] and [5, 3, 100]."""
        template = self.J_regressor @ self.v_template
        directions = torch.einsum("jv,vcs->jcs", self.J_regressor, self.shapedirs)
        return template, directions

    def joints(self, betas: Tensor | None = None) -> Tensor:
        """Rest joints of a shape: betas [..., 100] -> [..., 5, 3]. Fewer coefficients are read as the first ones."""
        template, directions = self._joint_basis
        if betas is None:
            return template
        return template + (directions[..., : betas.shape[-1]] @ betas[..., None, :, None])[..., 0]

    def rest_vertices(self, betas: Tensor | None = None, offsets: Tensor | None = None) -> Tensor:
        """The unposed, neutral mesh ``T + B_S(beta) + offsets``: [..., V, 3]."""
        vertices = self.v_template
        if betas is not None:
            vertices = vertices + _combine(self.shapedirs, betas)
        return vertices if offsets is None else vertices + offsets

    def vertices(
        self,
        betas: Tensor | None = None,
        expr: Tensor | None = None,
        pose: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> Tensor:
        """The posed mesh (paper Eqs. 21-22 at the head's own vertices).

        Args:
            betas: shape [..., 100] or None for the mean head.
            expr: psi [..., 50] or None for neutral.
            pose: theta [..., 15], axis-angle of root, neck, jaw, left eye, right eye; None: rest.
            offsets: free displacements added to the rest shape, [..., V, 3]. They do not move the joints.

        Returns:
            [..., V, 3]; leading dims of the arguments broadcast.
        """
        moved = self.rest_vertices(betas, offsets)
        if expr is not None:
            moved = moved + _combine(self.expdirs, expr)
        if pose is None:
            return moved
        transforms, _, feature = pose_transforms(self.joints(betas), pose)
        moved = moved + (feature @ self.posedirs).unflatten(-1, (-1, 3))
        blended = (self.lbs_weights @ transforms.flatten(-2)).unflatten(-1, (3, 4))  # [..., V, 3, 4]
        return (blended[..., :3] * moved[..., None, :]).sum(-1) + blended[..., 3]

    def landmarks(self, vertices: Tensor) -> Tensor:
        """The 478 face-landmarker points on a mesh: [..., V, 3] -> [..., 478, 3].

        Raises:
            PerseError: the head came without a landmark embedding.
        """
        if self.landmark_faces.numel() == 0:
            raise PerseError(
                f"{self.name} has no landmark embedding, so landmarks cannot be placed on it. "
                "Load it with load_flame(..., landmarks=FILE): an .npz with landmark_faces [478], "
                "landmark_bary [478, 3]."
            )
        corners = vertices[..., self.faces[self.landmark_faces], :]  # [..., 478, 3, 3]
        return (corners * self.landmark_bary[..., None]).sum(-2)

    # ---- points that ride on the head

    def part_faces(self, parts: str | Sequence[str] | None) -> Tensor:
        """Which triangles belong to the named parts: [F] bool. None: all of them."""
        if parts is None:
            return torch.ones_like(self.face_part, dtype=torch.bool)
        names = [parts] if isinstance(parts, str) else list(parts)
        unknown = [name for name in names if name not in PARTS]
        if unknown:
            raise PerseError(f"unknown head part {unknown[0]!r}; known: {', '.join(PARTS[1:])}")
        codes = torch.tensor([PARTS.index(name) for name in names], device=self.device)
        return torch.isin(self.face_part, codes)

    def region(self, name: str) -> Tensor:
        """How much each vertex lies in a soft skin region (``lips``, ``mouth``, ``eyelids``, ``ears``): [V] in [0, 1].

        Raises:
            PerseError: the head has no such region.
        """
        if self.regions is None or name not in self.region_names:
            known = ", ".join(self.region_names) or "none"
            raise PerseError(f"{self.name} has no region {name!r}; it has: {known}.")
        return self.regions[:, self.region_names.index(name)]

    def interpolate(self, face: Tensor, bary: Tensor) -> Binding:
        """E, P, W at points of the surface: face [N], bary [N, 3] -> Binding of [N, 3, 50], [N, 3, 36], [N, 5]."""
        corners = self.faces[face]  # [N, 3]
        n = len(face)
        posedirs = self.posedirs.unflatten(-1, (-1, 3))  # [36, V, 3]
        E = sum(bary[:, k, None, None] * self.expdirs[corners[:, k]] for k in range(3))
        P = sum(bary[:, k, None, None] * posedirs[:, corners[:, k]].permute(1, 2, 0) for k in range(3))
        W = sum(bary[:, k, None] * self.lbs_weights[corners[:, k]] for k in range(3))
        assert isinstance(E, Tensor)
        assert isinstance(P, Tensor)
        assert isinstance(W, Tensor)
        return Binding(E.reshape(n, 3, -1), P.reshape(n, 3, -1), W)

    def bind(
        self, points: Tensor, rest_vertices: Tensor, parts: str | Sequence[str] | None = ("skin",)
    ) -> Binding:
        """Let points ride on the nearest place of the surface.

        Args:
            points: [N, 3] metres, in the rest pose of the same shape as `rest_vertices`.
            rest_vertices: that shape's mesh [V, 3], from :meth:`rest_vertices`.
            parts: names of the parts that may carry a point; None: all. Skin alone unless told, so that a moustache
                does not move with the teeth.

        Returns:
            E [N, 3, 50], P [N, 3, 36], W [N, 5]: interpolated at the nearest surface points (exact projection).
        """
        face, bary, _ = closest_point(points, rest_vertices, self.faces, self.part_faces(parts))
        return self.interpolate(face, bary)

    # ---- named expressions

    def expr_from_units(self, units: Mapping[str, float]) -> Tensor:
        """Expression coefficients of named face units, e.g. ``{"mouthSmileLeft": 0.8}`` -> psi [50].

        Jaw opening and gaze are joints: set them in the pose (`jaw_open` is the angle of ARKit's jawOpen).

        Raises:
            PerseError: a name is not among ``unit_names``.
        """
        if self.unit_to_expr is None:
            raise PerseError(f"{self.name} has no named face units; give expression coefficients instead.")
        expr = torch.zeros(self.unit_to_expr.shape[1], dtype=self.unit_to_expr.dtype, device=self.device)
        for unit, amount in units.items():
            if unit not in self.unit_names:
                near = difflib.get_close_matches(unit, self.unit_names, n=3)
                hint = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(self.unit_names)}"
                raise PerseError(
                    f"unknown face unit {unit!r}; {hint}. jawOpen and eyeLook* are joint rotations."
                )
            expr = expr + amount * self.unit_to_expr[self.unit_names.index(unit)]
        return expr


def _combine(directions: Tensor, coefficients: Tensor) -> Tensor:
    """Blend shapes: directions [V, 3, K], coefficients [..., k <= K] -> [..., V, 3]."""
    k = coefficients.shape[-1]
    flat = directions.flatten(0, 1)[:, :k]  # [V * 3, k]
    return (coefficients @ flat.T).unflatten(-1, (-1, 3))
