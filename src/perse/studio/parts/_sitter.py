"""The person as parts see them: the rest head as numpy arrays, the photo's light, roots on the skin, collisions.

Everything here is in the rest head's frame (expr = 0, pose = 0), metres, float64. "Template points" are the same
surface points on the average head, where regions are defined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from perse.head import PARTS
from perse.studio._mouth import inner_faces
from perse.studio.groups import Skinned
from perse.studio.puppet import Puppet
from perse.studio.regions import IBUG68

Array = NDArray[np.float64]
SKIN = PARTS.index("skin")
ROOT, NECK, JAW = 0, 1, 2
CHEST = -0.22
"""y in metres of the middle of the chest."""


@dataclass(frozen=True)
class Roots:
    """Points on the skin from which something grows, N of them."""

    face: NDArray[np.int64]  # [N]
    bary: Array  # [N, 3]
    points: Array  # [N, 3]
    normals: Array  # [N, 3]
    template: Array  # [N, 3]

    def __len__(self) -> int:
        return len(self.face)

    def take(self, index: NDArray) -> Roots:
        """The chosen rows (mask or indices)."""
        return Roots(
            self.face[index],
            self.bary[index],
            self.points[index],
            self.normals[index],
            self.template[index],
        )


class Body:
    """What hair and cloth may not enter: a cloud of surface points with outward normals."""

    def __init__(self, points: Array, normals: Array) -> None:
        self.points, self.normals = points, normals
        self._tree = cKDTree(points)

    def height(self, x: Array) -> tuple[Array, NDArray[np.int64]]:
        """How far [N] points are outside the surface (negative: inside), and the nearest surface point."""
        _, near = self._tree.query(x)
        return ((x - self.points[near]) * self.normals[near]).sum(1), near

    def push_out(self, x: Array, margin: Array | float, cling: Array | float = 0.0) -> Array:
        """Points moved along the nearest normal until they are ``margin`` metres outside.

        Only points near the surface are moved, and at most 2 cm: far from it, its normals say nothing. Points
        that are farther out than ``margin`` come back by the share ``cling``.
        """
        distance, near = self._tree.query(x)
        height = ((x - self.points[near]) * self.normals[near]).sum(1)
        push = np.clip(margin - height, -0.02, 0.02) * (1 - smoothstep(distance, 0.03, 0.06))
        push = np.where(push < 0, cling * push, push)
        return x + push[:, None] * self.normals[near]


class Sitter:
    """Numpy views of a puppet's rest head and light, and the helpers that every part uses."""

    def __init__(self, puppet: Puppet) -> None:
        self.puppet = puppet
        head = puppet.head
        self.faces = head.faces.numpy()
        self.template = head.v_template.numpy().astype(float)
        self.rest = puppet.rest_vertices().numpy().astype(float)
        self.normals = puppet.rest_normals().numpy().astype(float)
        self.skin_faces = np.flatnonzero((head.face_part == SKIN).numpy())
        self.skin_vertices = np.flatnonzero((head.vertex_part == SKIN).numpy())
        self.landmarks = puppet.rest_landmarks().numpy().astype(float)  # [478, 3]
        self.marks = puppet.regions.landmarks.numpy().astype(float)  # [478, 3] on the template
        self.eye = puppet.regions.eye.numpy().astype(float)  # [3] on the template
        self.brow_y = puppet.regions.brow_height  # on the template
        self.exposure = puppet.light.exposure

    # ---- landmarks --------------------------------------------------------------------------------------

    @property
    def marks68(self) -> Array:
        """[68, 3] the iBUG-68 landmarks on the template."""
        return self.marks[list(IBUG68)]

    @property
    def rest68(self) -> Array:
        """[68, 3] the iBUG-68 landmarks on the rest head."""
        return self.landmarks[list(IBUG68)]

    # ---- light ------------------------------------------------------------------------------------------

    @cached_property
    def view(self) -> Array:
        """[3] unit vector from the head to the photo's camera."""
        viewmat = self.puppet.portrait.camera.viewmat.numpy().astype(float)
        centre = -viewmat[:3, :3].T @ viewmat[:3, 3]
        return centre / np.linalg.norm(centre)

    @cached_property
    def light(self) -> Array:
        """[3] unit vector to the light."""
        return self.puppet.light.direction.numpy().astype(float)

    def shade(self, normals: Array, low: float = 0.3, high: float = 1.3) -> Array:
        """How bright [N] a matt surface with these unit normals is."""
        n = torch.from_numpy(np.ascontiguousarray(normals, dtype=np.float32))
        return self.puppet.light.shade(n, low, high).numpy().astype(float)

    # ---- surfaces ---------------------------------------------------------------------------------------

    @cached_property
    def body(self) -> Body:
        """The skin of the head, neck and shoulders."""
        corners = self.faces[self.skin_faces]
        points = np.concatenate([self.rest[corners].mean(1), self.rest[self.skin_vertices]])
        normals = np.concatenate([self.normals[corners].mean(1), self.normals[self.skin_vertices]])
        return Body(points, unit(normals))

    @cached_property
    def dressed_body(self) -> Body:
        """Skin and clothes, for what falls on the shoulders."""
        points, normals = [self.body.points], [self.body.normals]
        for group in clothes_groups(self.puppet):
            means = group.means.numpy().astype(float)[::7]
            facing = quat_axis(group.quats.numpy().astype(float)[::7], 2)
            out = means - [0.0, CHEST, -0.03]  # clothes face outwards, on the shoulders upwards
            points.append(means)
            normals.append(facing * np.sign((facing * out).sum(1, keepdims=True) + 1e-12))
        return Body(np.concatenate(points), np.concatenate(normals))

    @cached_property
    def outer_faces(self) -> NDArray[np.int64]:
        """Triangles of the skin that do not line the mouth: where hair can grow."""
        inside = inner_faces(self.puppet.head, self.puppet.regions)
        return self.skin_faces[~inside[self.skin_faces]]

    def grow_roots(self, density: Callable[[Array], Array], count: int, rng: np.random.Generator) -> Roots:
        """``count`` roots on the outer skin, area-uniform times ``density`` (template points [M, 3] -> 0..1).

        Roots come in random order, so that the first few are spread like all.
        """
        corners = self.faces[self.outer_faces]
        at_centre = density(self.template[corners].mean(1))
        at_corners = density(self.template)[corners].max(1)
        bound = np.maximum(at_centre, at_corners)  # [F] at least the density anywhere in the triangle
        edges = self.rest[corners]
        area = np.linalg.norm(np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]), axis=1)
        weight = area * bound
        if weight.sum() <= 0:
            raise ValueError("grow_roots: the density is zero everywhere on the skin")
        found: list[tuple[NDArray, Array]] = []
        missing = count
        for _ in range(20):
            tried = max(2 * missing, 64)
            pick = rng.choice(len(corners), tried, p=weight / weight.sum())
            bary = _random_bary(tried, rng)
            template = (self.template[corners[pick]] * bary[..., None]).sum(1)
            accept = rng.random(tried) * np.maximum(bound[pick], 1e-6) < density(template)
            found.append((pick[accept], bary[accept]))
            missing -= int(accept.sum())
            if missing <= 0:
                break
        pick = np.concatenate([f[0] for f in found])[:count]
        bary = np.concatenate([f[1] for f in found])[:count]
        return self.roots_at(self.outer_faces[pick], bary)

    def roots_behind(self, places: Array) -> Roots:
        """The roots on the face straight behind template points [N, 3], seen from the front."""
        corners = self.template[self.faces[self.outer_faces]]  # [F, 3, 3]
        towards = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0
        front = np.flatnonzero(towards & (corners[..., 2].mean(1) > places[:, 2].min() - 0.02))
        a, b, c = corners[front, :, :2].swapaxes(0, 1)
        _, near = cKDTree((a + b + c) / 3).query(places[:, :2], min(12, len(front)))
        e, f, g = b[near] - a[near], c[near] - a[near], places[:, None, :2] - a[near]
        area = e[..., 0] * f[..., 1] - e[..., 1] * f[..., 0]
        v = (g[..., 0] * f[..., 1] - g[..., 1] * f[..., 0]) / area
        w = (e[..., 0] * g[..., 1] - e[..., 1] * g[..., 0]) / area
        bary = np.stack([1 - v - w, v, w], -1)  # [N, K, 3]
        best = bary.min(-1).argmax(1)  # the triangle that holds the point, or the nearest to do so
        rows = np.arange(len(places))
        inside = np.clip(bary[rows, best], 0, 1)
        return self.roots_at(self.outer_faces[front[near[rows, best]]], inside / inside.sum(1, keepdims=True))

    def roots_at(self, face: NDArray[np.int64], bary: Array) -> Roots:
        """The roots at given places of the surface."""
        corners = self.faces[face]
        return Roots(
            face=face,
            bary=bary,
            points=(self.rest[corners] * bary[..., None]).sum(1),
            normals=unit((self.normals[corners] * bary[..., None]).sum(1)),
            template=(self.template[corners] * bary[..., None]).sum(1),
        )


def clothes_groups(puppet: Puppet) -> list[Skinned]:
    """The groups that are clothes."""
    from perse.studio.puppet import label_code

    code = label_code("clothes")
    return [
        group
        for group in puppet.groups.values()
        if isinstance(group, Skinned) and len(group) and bool((group.labels == code).float().mean() > 0.5)
    ]


def _random_bary(count: int, rng: np.random.Generator) -> Array:
    """Uniform barycentric coordinates [N, 3]."""
    ab = rng.random((count, 2))
    ab = np.where(ab.sum(1, keepdims=True) > 1, 1 - ab, ab)
    return np.c_[1 - ab.sum(1), ab]


def unit(vectors: Array) -> Array:
    """Vectors [..., 3] divided by their length."""
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12)


def smoothstep(x: Any, low: Any, high: Any) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between (``low`` < ``high``)."""
    t = np.clip((np.asarray(x, dtype=float) - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def wander(points: Array, seed: int, frequency: float) -> Array:
    """Smooth vector noise [N, 3] of about unit size; ``frequency`` in radians a metre."""
    rng = np.random.default_rng(seed)
    total = np.zeros_like(points)
    for _ in range(5):
        wave = rng.normal(0, frequency, 3)
        for axis in range(3):
            total[:, axis] += np.sin(points @ np.roll(wave, axis) + rng.random() * 2 * np.pi)
    return total / 3


def tensor(array: Array) -> torch.Tensor:
    """The array as float32 torch."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def quat_axis(quats: Array, axis: int) -> Array:
    """The images [N, 3] of a basis vector under unit quaternions [N, 4]."""
    w, x, y, z = quats.T
    columns = {
        0: (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        1: (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        2: (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    }
    return np.stack(columns[axis], 1)


def regions_mask(function: Callable[..., torch.Tensor]) -> Callable[[Array], Array]:
    """A torch mask of :class:`perse.studio.regions.Regions` as a numpy function."""

    def mask(points: Array) -> Array:
        return (
            function(torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32))).numpy().astype(float)
        )

    return mask
