"""The photo's hair where the photo does not show it: a ground on the skull, thin locks in the photo's own colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from perse.dataset import LABELS
from perse.head import Head
from perse.studio._crown import Crown, Outline, Shell
from perse.studio._geometry import matrix_to_quat
from perse.studio._image import Array, Photo, sample, smoothstep
from perse.studio._light import harmonics
from perse.studio._relief import PoseAtPhoto, place
from perse.studio._view import View, at_pixels, in_image
from perse.studio.binding import hanging_weights
from perse.studio.groups import Skinned
from perse.studio.regions import Regions

LABEL = LABELS.index("hair")
UNDER_SHADE = 0.7
"""Brightness of the ground under the locks."""
LOCKS, POINTS = 7000, 7
FALL = 0.028
"""Metres a lock falls on from the lower border of the scalp, at most."""
STRAY = 0.009
"""Metres from the scalp's last piece at which a lock has left it."""


@dataclass(frozen=True)
class HairSides:
    """What both the ground and the locks are made from."""

    crown: Crown
    outline: Outline
    thickness: Array  # [N] metres of hair over every point of the crown
    presence: Array  # [N] 0 on a bald top
    colors: Array  # [S, S, 3] solid hair's colours, everywhere
    mean: Array  # [3]
    light: Array  # [9]
    hair: Array  # [S, S] 0..1 in the photo
    skin_depth: Array  # [S, S] metres, nan where there is no head
    view: View
    pose: PoseAtPhoto

    def belied(self, points: Array) -> Array:
        """[N] bool: the photo would show hair at these points [N, 3], but shows something else."""
        pixels = self.view.project(points)
        nearest = np.nan_to_num(at_pixels(self.skin_depth, pixels), nan=9.0)
        seen = in_image(pixels, self.view) & (pixels[:, 2] < nearest + 0.004)
        return seen & (at_pixels(self.hair, pixels) < 0.4)

    @staticmethod
    def of(
        crown: Crown, outline: Outline, colors: Array, mean: Array, light: Array, photo: Photo,
        skin_depth: Array, view: View, pose: PoseAtPhoto,
    ) -> HairSides:  # fmt: skip
        """Hair as thick as its outline, and thinning out towards the lower border of the scalp."""
        thickness = crown.read(outline, outline.thickness)
        thickness = thickness * (0.35 + 0.65 * smoothstep(crown.weight, 0.2, 0.9))
        top = smoothstep(crown.angle[:, 0], 0.5, 0.8)
        presence = 1 - top * (1 - crown.read(outline, outline.covered))
        return HairSides(
            crown, outline, np.maximum(thickness, 0.002), presence, colors, mean, light, photo.hair, skin_depth,
            view, pose,
        )  # fmt: skip

    def shade(self, normals: Array, angle: Array) -> Array:
        """How much brighter [M] the light makes a surface than the outline at the same height."""
        across = np.stack([np.cos(angle), -np.sin(angle), np.zeros_like(angle)], 1) @ self.view.rotation
        here, there = (np.clip(harmonics(n) @ self.light, 0.4, 1.25) for n in (normals, across))
        return np.clip(here / there, 0.7, 1.0)  # what faces away from the camera is never lit better


def ground(sides: HairSides) -> Skinned:
    """Dark discs inside the locks, on the sides and the back: no scalp shines through."""
    rows = np.flatnonzero((sides.crown.weight > 0.15) & (sides.crown.towards < 0.45) & (sides.presence > 0.5))
    crown = sides.crown.take(rows)
    rng = np.random.default_rng(1)
    front = smoothstep(crown.towards, -0.1, 0.4)  # there it goes on below the relief of what the photo shows
    depth = np.maximum((0.7 - 0.5 * front) * sides.thickness[rows] - 0.001, 0.0015)
    points = crown.points + crown.normals * depth[:, None]
    spread = 1 + depth / 0.08  # a wider surface than the skin it stands on
    size = 0.8 * crown.size * spread
    row, column = _inside(crown.source(sides.outline, rng.uniform(0.7, 0.95, len(rows)), rng), sides)
    colors = (sides.colors[row, column] * 0.5 + 0.5 * sides.mean) * (UNDER_SHADE + 0.2 * front)[:, None]
    colors = colors * sides.shade(crown.normals, crown.angle[:, 0])[:, None]
    scales = np.stack([size, size, np.full_like(size, 4e-4)], 1)
    keep = ~sides.belied(points)
    frames = _frames(crown.normals)
    return _place(points[keep], frames[keep], scales[keep], colors[keep], np.full(keep.sum(), 0.95), sides)


def locks(sides: HairSides, bare_ears: Array) -> Skinned:
    """Locks that fall down the surface of the hair; none over ears that the photo shows.

    bare_ears [M, 3]: points of those ears.
    """
    rng = np.random.default_rng(2)
    crown = sides.crown
    density = crown.size**2 * smoothstep(crown.weight, 0.2, 0.7) * sides.presence
    density = density * (1 - smoothstep(crown.towards, -0.1, 0.5))
    pick = rng.choice(len(density), LOCKS, p=density / density.sum())
    thickness = sides.thickness[pick]
    shell = Shell(crown, sides.thickness)
    sunk = 0.5 * smoothstep(crown.towards[pick], -0.2, 0.3) * thickness
    strands, normals, alive = _walk(shell, pick, thickness, sunk, rng)
    step = strands[:, 1:] - strands[:, :-1]  # [L, P - 1, 3]
    length = np.linalg.norm(step, axis=2)
    middle = (strands[:, 1:] + strands[:, :-1]) / 2
    normal = normals[:, 1:]
    along = step / (length[..., None] + 1e-9)
    across = np.cross(normal, along)
    across /= np.linalg.norm(across, axis=2, keepdims=True) + 1e-9
    frames = np.stack([along, across, np.cross(along, across)], -1)
    width = rng.uniform(4e-4, 8e-4, (LOCKS, 1)) * np.linspace(1.0, 0.55, POINTS - 1)
    scales = np.stack([length * 0.6, width, width * 0.7], -1)
    chosen = crown.take(pick)
    row, column = _inside(chosen.source(sides.outline, rng.uniform(0.66, 0.97, LOCKS), rng), sides)
    tone = np.exp(rng.normal(0, 0.10, LOCKS)) * sides.shade(chosen.normals, chosen.angle[:, 0])
    colors = sides.colors[row, column] * tone[:, None]  # [L, 3]
    tips = np.linspace(0.88, 1.06, POINTS - 1)
    colors = colors[:, None] * tips[None, :, None] * np.ones_like(middle)
    opacity = np.broadcast_to(np.linspace(0.9, 0.6, POINTS - 1), (LOCKS, POINTS - 1))
    keep = alive[:, 1:] & ~_over(middle, bare_ears)
    keep &= ~sides.belied(middle.reshape(-1, 3)).reshape(keep.shape)
    return _place(middle[keep], frames[keep], scales[keep], colors[keep], opacity[keep], sides)


def _walk(
    shell: Shell, pick: Array, thickness: Array, sunk: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Lay locks down the shell: points [L, P, 3], normals [L, P, 3], and which points [L, P] there are.

    thickness [L] of the hair at the roots; ``sunk`` [L] metres below the shell.
    """
    points, normals = shell.points[pick], shell.normals[pick]
    step = np.clip(1.3 * thickness, 0.014, 0.045)[:, None] / (POINTS - 1)
    depth = -(rng.uniform(0, 1, (len(pick), 1)) ** 2) * np.minimum(0.4 * thickness, 0.006)[:, None]
    depth = depth - sunk[:, None]
    drift = _waves(points, rng) * 0.45 + rng.normal(0, 0.10, points.shape)
    fallen = np.zeros((len(pick), 1))
    strands, ups, alive = [points + normals * depth], [normals], [np.ones(len(pick), bool)]
    for k in range(1, POINTS):
        way = (
            np.array([0.0, -1.0, 0.0])
            + drift
            + [0.0, 0.0, -1.0] * (0.15 + smoothstep(normals[:, 1:2], 0.5, 0.9))
        )
        way -= normals * (way * normals).sum(1, keepdims=True)
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        ahead = points + way * step
        settled, turned, stray = shell.settle(ahead, normals)
        off = (stray > STRAY)[:, None]
        fallen = fallen + off * step
        points = np.where(off, points + (0.4 * way + [0.0, -0.6, 0.0]) * step, settled)
        normals = np.where(off, normals, turned)
        lift = depth + 0.0012 * (k / POINTS) ** 2
        strands.append(points + normals * lift)
        ups.append(normals)
        alive.append(alive[-1] & (fallen[:, 0] < np.minimum(FALL, 0.5 * thickness + 0.004)))
    return np.stack(strands, 1), np.stack(ups, 1), np.stack(alive, 1)


def _waves(points: Array, rng: np.random.Generator) -> Array:
    """[N, 3] smooth noise a few centimetres wide: neighbouring locks bend alike."""
    total = np.zeros_like(points)
    for wave in rng.normal(0, 110, (5, 3)):
        total += np.sin(points @ wave + rng.uniform(0, 2 * np.pi))[:, None] * rng.normal(0, 0.5, 3)
    return total


def bare_ears(vertices: Array, head: Head, regions: Regions, photo: Photo, view: View) -> Array:
    """[V] bool: vertices [V, 3] of the ears that the photo shows bare."""
    bare = np.zeros(len(vertices), bool)
    for side in (1, -1):
        ear = regions.ear_vertices(head, side).numpy()
        if ear.any() and np.median(sample(photo.hair, view.project(vertices[ear]))) < 0.4:
            bare |= ear
    return bare


def hair_ground(template: Array, regions: Regions, bare: Array) -> Array:
    """[V] 0..1 where hair lies on the skin: the scalp, and the side of the head down to the jaw if ears are hidden."""
    points = torch.from_numpy(template).float()
    scalp = regions.scalp(points).numpy().astype(float)
    low = float(regions.eye[1]) - 0.055
    side = smoothstep(template[:, 1], low, low + 0.02) * smoothstep(-template[:, 2], -0.05, -0.04)
    hidden = [not bare[template[:, 0] * sign > 0].any() for sign in (1, -1)]
    side = side * np.where(template[:, 0] > 0, hidden[0], hidden[1])
    return np.maximum(scalp, side)


def _over(points: Array, ears: Array) -> Array:
    """[...] bool: points in front of or around bare ears, seen from the side."""
    hidden = np.zeros(points.shape[:-1], bool)
    for side in (1, -1):
        ear = ears[ears[:, 0] * side > 0]
        if not len(ear):
            continue
        low, high = ear.min(0), ear.max(0)
        y = (points[..., 1] - (low[1] + high[1]) / 2) / (0.5 * (high[1] - low[1]) + 0.004)
        z = (points[..., 2] - (low[2] + high[2]) / 2) / (0.5 * (high[2] - low[2]) + 0.006)
        hidden |= (y * y + z * z < 1) & (points[..., 0] * side > 0.4 * abs(low[0] + high[0]) / 2)
    return hidden


def _inside(pixels: Array, sides: HairSides) -> tuple[Array, Array]:
    size = sides.colors.shape[0]
    row, column = np.clip(pixels, 0, size - 1).astype(int).T
    return row, column


def _frames(normals: Array) -> Array:
    """[N, 3, 3] rotations whose third column is the normal."""
    side = np.where(np.abs(normals[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(normals, side)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(normals, first), normals], -1)


def _place(
    points: Array, frames: Array, scales: Array, colors: Array, opacities: Array, sides: HairSides
) -> Skinned:
    quats = matrix_to_quat(torch.from_numpy(sides.view.rotation @ frames).float())
    return place(
        torch.from_numpy(points).float(),
        quats,
        torch.from_numpy(np.maximum(scales, 2e-5)).float(),
        colors,
        opacities,
        LABEL,
        sides.view,
        sides.pose,
        hanging_weights,
    )
