"""The puppet: a person as named groups of Gaussians bound to the head, posed and drawn in milliseconds.

A puppet is what the studio makes of a photo (:func:`perse.studio.lift`) and what edits change. Everything
that is not on the head's surface lives at the **rest head**: the person's own shape at expr = 0, pose = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from perse.dataset import LABELS, Portrait, SubjectPoints
from perse.head import PARTS, Head, pose_transforms, vertex_normals
from perse.splat import Camera, Gaussians, Rendering, render
from perse.studio._geometry import (
    luminance,
    matrix_to_quat,
    normalize,
    quat_conjugate,
    quat_multiply,
    rotate,
    spherical_harmonics,
    triangle_frames,
)
from perse.studio._posing import Poser
from perse.studio.groups import Group, Rooted, Skinned, SurfaceDiscs
from perse.studio.regions import Regions

EYE_LANDMARKS = ((386, 374), (159, 145))  # upper and lower lid of the left (+x) and the right eye
PHOTO_HAIR = ("hair", "hair_inner", "hair_back", "hair_rim", "hair_edge", "hair_ground", "hair_locks")
"""Groups that hold the hair of the photo."""
PHOTO_CLOTHES = ("clothes", "clothes_back", "clothes_under")
"""Groups that hold the clothes of the photo."""
PHOTO_WORN = {
    "hair": ("worn_hat", "worn_hat_back"),
    "hat": ("worn_hat", "worn_hat_back"),
    "earrings": ("trinkets",),
}
"""Groups that hold what the photo's person wears on the head, by the category of the edit that takes it off."""
EYE_PARTS = (PARTS.index("left_eye"), PARTS.index("right_eye"))
EYE_SINK = 0.003
"""Metres an eyeball moves back as its lids close."""


@dataclass(frozen=True)
class Light:
    """The light of the photo, as the skin shows it."""

    sh: Tensor
    """[9] coefficients of :func:`spherical_harmonics`; the median lit skin has shade 1."""
    skin: Tensor
    """[3] median colour of the well-lit skin."""

    def shade(self, normals: Tensor, low: float = 0.4, high: float = 1.25) -> Tensor:
        """How bright [N] a matt surface with unit normals [N, 3] is."""
        return (spherical_harmonics(normals) @ self.sh).clamp(low, high)

    @property
    def direction(self) -> Tensor:
        """[3] unit vector to the light, pulled a little up and to the front."""
        return normalize(self.sh[1:4] + self.sh.new_tensor([0.0, 0.05, 0.10]))

    @property
    def exposure(self) -> float:
        """Brightness of the photo relative to a well-exposed one: multiply generated colours by it."""
        return float(luminance(self.skin)) / 0.62


@dataclass(frozen=True)
class FaceRig:
    """The little that posing needs beyond the head: how far lids are open when the eye is."""

    lid_gap: Tensor
    """[2] metres between the lids of the left and right eye when open."""


@dataclass
class Puppet:
    """A person made of Gaussians on the head: give it groups with :meth:`add`, draw it with :meth:`render`."""

    head: Head
    portrait: Portrait
    light: Light
    rig: FaceRig
    palette: dict[str, Tensor] = field(default_factory=dict)
    """Colours [3] found in the photo: ``skin``, ``hair``, ``brows``, ``lips``, ``teeth``."""
    betas: Tensor = None  # type: ignore[assignment]
    """[100] head shape; the portrait's unless given."""
    offsets: Tensor = None  # type: ignore[assignment]
    """[V, 3] free shape offsets in metres (edits of nose and mouth); zero unless given."""
    groups: dict[str, Group] = field(default_factory=dict)
    """The groups by name, in drawing-independent order."""

    def __post_init__(self) -> None:
        if self.betas is None:
            self.betas = self.portrait.betas
        if self.offsets is None:
            self.offsets = torch.zeros_like(self.head.v_template)
        self._rest: Tensor | None = None
        self._poser: Poser | None = None

    # ---- groups -----------------------------------------------------------------------------------------

    def add(self, name: str, group: Group) -> None:
        """Add a group, or replace the one of that name."""
        self.groups[name] = group

    def remove(self, *names: str) -> None:
        """Remove groups; names that are not there are ignored."""
        for name in names:
            self.groups.pop(name, None)

    def copy(self) -> Puppet:
        """An independent puppet that shares the (immutable) groups."""
        other = replace(self, groups=dict(self.groups), palette=dict(self.palette))
        other._rest, other._poser = self._rest, self._poser
        other.__dict__["regions"] = self.regions
        return other

    def deform(self, offsets: Tensor | None = None, betas: Tensor | None = None) -> None:
        """Change the head's shape: add free vertex offsets [V, 3] (metres), shape coefficients [100]."""
        if offsets is not None:
            self.offsets = self.offsets + offsets
        if betas is not None:
            self.betas = self.betas + betas
        self._rest = None

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups.values())

    def shave(self) -> None:
        """Take the photo's hair off: remove its groups and show the bald head instead of the undercoat."""
        self.remove(*PHOTO_HAIR)
        skin = self.groups["skin"]
        known = (skin.extras["known"] > 0.3)[:, None]
        colors = torch.where(known, skin.colors, skin.extras["bald"])
        labels = torch.where(skin.labels == label_code("hair"), label_code("skin"), skin.labels)
        self.add("skin", replace(skin, colors=colors, labels=labels.to(torch.uint8)))

    def tint_skin(self, weight: Tensor, color: Tensor) -> None:
        """Blend the skin's colours towards ``color`` ([3] or [N, 3]) by ``weight`` [N] (stubble, scalp, make-up)."""
        skin = self.groups["skin"]
        blend = weight.clamp(0, 1)[:, None]
        extras = dict(skin.extras)
        for name in ("bald", "clean"):
            extras[name] = skin.extras[name].lerp(color.expand_as(skin.colors), blend)
        closed = skin.closed_colors
        self.add(
            "skin",
            replace(
                skin,
                colors=skin.colors.lerp(color.expand_as(skin.colors), blend),
                closed_colors=None if closed is None else closed.lerp(color.expand_as(closed), blend),
                extras=extras,
            ),
        )

    # ---- the rest head ----------------------------------------------------------------------------------

    @property
    def faces(self) -> Tensor:
        """[F, 3] triangles of the head."""
        return self.head.faces

    @cached_property
    def regions(self) -> Regions:
        """Where nose, lips, brows, scalp and beard are, on the template head."""
        return Regions.of(self.head)

    def rest_vertices(self) -> Tensor:
        """[V, 3] this person's head at expr = 0, pose = 0."""
        if self._rest is None:
            self._rest = self.head.rest_vertices(self.betas, self.offsets)
        return self._rest

    def rest_normals(self) -> Tensor:
        """[V, 3] unit vertex normals of the rest head."""
        return vertex_normals(self.rest_vertices(), self.faces)

    def rest_landmarks(self) -> Tensor:
        """[478, 3] the landmarks on the rest head."""
        return self.head.landmarks(self.rest_vertices())

    def template_points(self, group: SurfaceDiscs | Rooted) -> Tensor:
        """[N, 3] where a group's roots are on the template head (the frame of :attr:`regions`)."""
        return self._surface(self.head.v_template, group.face, group.bary)

    def surface_points(self, face: Tensor, bary: Tensor) -> Tensor:
        """[N, 3] points of the rest head's surface."""
        return self._surface(self.rest_vertices(), face, bary)

    def surface_normals(self, face: Tensor, bary: Tensor) -> Tensor:
        """[N, 3] smooth unit normals of the rest head's surface."""
        return normalize(self._surface(self.rest_normals(), face, bary))

    def _surface(self, values: Tensor, face: Tensor, bary: Tensor) -> Tensor:
        a, b, c = self.faces[face].unbind(1)
        u, v, w = bary.unbind(1)
        return values[a] * u[:, None] + values[b] * v[:, None] + values[c] * w[:, None]

    def root(
        self, face: Tensor, bary: Tensor, means: Tensor, quats: Tensor, scales: Tensor, **more: Tensor
    ) -> Rooted:
        """A :class:`Rooted` group from Gaussians given at the rest head (means [N, 3], quats [N, 4])."""
        frames = triangle_frames(self.rest_vertices(), self.faces)[face]
        offsets = rotate(frames.transpose(1, 2), means - self.surface_points(face, bary))
        local = quat_multiply(quat_conjugate(matrix_to_quat(frames)), quats)
        return Rooted(face=face, bary=bary, offsets=offsets, quats=local, scales=scales, **more)  # type: ignore[arg-type]

    # ---- posing -----------------------------------------------------------------------------------------

    def joints(self) -> Tensor:
        """[5, 3] joints of the rest head."""
        return self.head.joints(self.betas)

    def posed_vertices(self, expr: Tensor, pose: Tensor) -> Tensor:
        """[V, 3] the head in a pose, eyeballs sunk behind closing lids."""
        vertices = self.head.vertices(betas=self.betas, expr=expr, pose=pose, offsets=self.offsets)
        transforms, _, _ = pose_transforms(self.joints(), pose)
        return self._sink_eyes(vertices, transforms)

    def _sink_eyes(self, vertices: Tensor, transforms: Tensor) -> Tensor:
        """Move eyeballs back a little as lids close, or they show through the thin lids."""
        closure = self.closure(vertices)
        if float(closure.max()) < 0.3:
            return vertices
        vertices = vertices.clone()
        for closed, part in zip(closure, EYE_PARTS, strict=True):
            vertices[self.head.vertex_part == part] -= EYE_SINK * closed * transforms[1, :, 2]
        return vertices

    def closure(self, vertices: Tensor) -> Tensor:
        """[2] how far the left and right eye are closed, 0 to 1."""
        points = self.head.landmarks(vertices)
        gaps = torch.stack([_gap(points, pair) for pair in EYE_LANDMARKS])
        return 1 - (gaps / self.rig.lid_gap * 1.1 - 0.1).clamp(0, 1)

    def posed(
        self, expr: Tensor, pose: Tensor, names: Sequence[str] | None = None
    ) -> tuple[Gaussians, Tensor]:
        """All Gaussians (or only the groups ``names``) in a pose, expr [50] and pose [15], with labels [N]."""
        vertices = self.posed_vertices(expr, pose)
        transforms, joint_quats, _ = pose_transforms(self.joints(), pose)
        poser = self._poser_of([self.groups[name] for name in (self.groups if names is None else names)])
        return poser.place(vertices, self.closure(vertices), transforms, joint_quats), poser.labels

    def _poser_of(self, groups: Sequence[Group]) -> Poser:
        if self._poser is None or not self._poser.poses(groups):
            self._poser = Poser(groups, self.faces)
        return self._poser

    def rest_points(self, names: Sequence[str] | None = None) -> SubjectPoints:
        """Every Gaussian at expr = 0, pose = 0 with what binds it: what learning starts from."""
        groups = [self.groups[name] for name in (self.groups if names is None else names)]
        zero_expr, zero_pose = torch.zeros(50), torch.zeros(15)
        gaussians, labels = self.posed(zero_expr, zero_pose, names)
        face, bary, weights, strands = [], [], [], []
        for group in groups:
            nowhere = torch.full((len(group), 4), torch.nan)
            strands.append(nowhere if group.strands is None else group.strands)
            if isinstance(group, SurfaceDiscs | Rooted):
                face.append(group.face)
                bary.append(group.bary)
                weights.append(self._surface(self.head.lbs_weights, group.face, group.bary))
            elif isinstance(group, Skinned):
                face.append(torch.full((len(group),), -1, dtype=torch.int64))
                bary.append(torch.zeros(len(group), 3))
                weights.append(group.weights)
        return SubjectPoints(
            means=gaussians.means,
            quats=gaussians.quats,
            scales=gaussians.scales,
            opacities=gaussians.opacities,
            colors=gaussians.colors,
            labels=labels,
            face=torch.cat(face),
            bary=torch.cat(bary),
            weights=torch.cat(weights),
            strands=torch.cat(strands),
        )

    # ---- drawing ----------------------------------------------------------------------------------------

    def render(
        self,
        expr: Tensor,
        pose: Tensor,
        camera: Camera,
        background: Tensor | None = None,
        names: Sequence[str] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a pose over ``background`` [3] (white unless given).

        Returns image [H, W, 3], alpha [H, W] and labels [H, W] uint8: what most of a pixel shows.
        """
        gaussians, labels = self.posed(expr, pose, names)
        return draw(gaussians, labels, camera, background)

    def render_maps(
        self, expr: Tensor, pose: Tensor, camera: Camera, background: Tensor | None = None
    ) -> Rendering:
        """Draw a pose with all maps: image, alpha and labels as :meth:`render`, depth [H, W] and normals [H, W, 3].

        Depth is in metres, 0 where nothing is; normals are unit vectors in the head's frame.
        """
        gaussians, labels = self.posed(expr, pose)
        white = torch.ones(3) if background is None else background
        with torch.no_grad():
            return render(gaussians, camera, white, labels=labels, depth=True, normals=True)

    # ---- files ------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the puppet (all but head and portrait) as one safetensors file."""
        from perse.studio._files import save_puppet

        save_puppet(self, Path(path))

    @staticmethod
    def load(path: str | Path, head: Head, portrait: Portrait) -> Puppet:
        """Read what :meth:`save` wrote for that portrait; :class:`PerseError` if it is something else."""
        from perse.studio._files import load_puppet

        return load_puppet(Path(path), head, portrait)


def _gap(landmarks: Tensor, pair: tuple[int, int]) -> Tensor:
    return (landmarks[pair[0]] - landmarks[pair[1]]).norm()


def draw(
    gaussians: Gaussians, labels: Tensor, camera: Camera, background: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Rasterize labelled Gaussians: image [H, W, 3], alpha [H, W], labels [H, W] uint8."""
    background = torch.ones(3) if background is None else background
    with torch.no_grad():
        drawn = render(gaussians, camera, background, labels=labels)
    return drawn.image.clamp(0, 1), drawn.alpha, drawn.labels


def label_code(name: str) -> int:
    """The uint8 code of a part label."""
    return LABELS.index(name)
