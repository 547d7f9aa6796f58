"""Light on parts: hair highlights, and shadows that parts throw on themselves and on the skin.

Shadows come from a coarse grid of optical depth: cheap, soft, and the same for hair, hats and cloth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from perse.studio.groups import Skinned, SurfaceDiscs
from perse.studio.parts._sitter import Array, Sitter, unit
from perse.studio.puppet import label_code

UP = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True)
class Density:
    """Optical depth a metre on a grid."""

    origin: Array  # [3] metres
    cell: float  # metres
    values: Array  # [X, Y, Z]

    @staticmethod
    def of(means: Array, areas: Array, cell: float = 0.005, blur: float = 0.8) -> Density:
        """From Gaussians: ``areas`` [N] is what each covers, in square metres."""
        origin = means.min(0) - 4 * cell
        shape = np.ceil((means.max(0) - origin) / cell).astype(int) + 5
        index = ((means - origin) / cell).astype(int)
        flat = np.ravel_multi_index(tuple(index.T), tuple(shape))
        total = np.bincount(flat, areas, minlength=int(np.prod(shape))).reshape(shape)
        return Density(origin, cell, ndimage.gaussian_filter(total / cell**3, blur))

    def at(self, points: Array) -> Array:
        """Optical depth a metre [N] at points [N, 3]."""
        cells = (points - self.origin) / self.cell - 0.5
        return ndimage.map_coordinates(self.values, cells.T, order=1, mode="constant")

    def depth(self, points: Array, direction: Array, start: float = 1.2, steps: int = 12) -> Array:
        """Optical depth [N] from points along a unit direction, beginning ``start`` cells away."""
        total = np.zeros(len(points))
        for k in range(steps):
            length = 1.0 + 0.18 * k  # in cells: longer strides farther away
            at = (points + direction * (self.cell * start) - self.origin) / self.cell - 0.5
            total += ndimage.map_coordinates(self.values, at.T, order=1, mode="constant") * length * self.cell
            start += length
        return total


def segment_areas(scales: Array) -> Array:
    """What elongated Gaussians cover, seen from the side [N]."""
    return 4 * scales[:, 0] * scales[:, 1]


def disc_areas(scales: Array) -> Array:
    """What flat Gaussians cover, seen from the front [N]."""
    return 2 * scales[:, 0] * scales[:, 1]


def self_shadow(sitter: Sitter, points: Array, density: Density, strength: float = 0.16) -> Array:
    """How much light [N] reaches points inside a volume of strands, 0 to 1: half direct, half from around."""
    direct = np.exp(-strength * density.depth(points, sitter.light))
    around = [
        unit(sitter.view + 0.3 * UP),
        UP,
        unit(np.array([1.0, 0.2, 0.3])),
        unit(np.array([-1.0, 0.2, 0.3])),
    ]
    ambient = np.mean([np.exp(-strength * density.depth(points, d, steps=8)) for d in around], axis=0)
    return 0.5 * direct + 0.5 * ambient


def hair_light(sitter: Sitter, tangents: Array, albedo: Array, shift: Array, gloss: float = 1.0) -> Array:
    """Kajiya-Kay strands in the photo's light: colours [N, 3] before exposure.

    A white highlight from the strand's surface and a wide coloured one from inside it; ``shift`` [N] tilts
    the strands' scales a little, which breaks the highlight up as in real hair.
    """
    light, view = sitter.light, sitter.view
    half = unit(light + view)
    tilted = unit(tangents + shift[:, None] * 0.6 * view)
    diffuse = 0.45 + 0.55 * _sine(tangents, light)
    surface = _sine(tilted, half) ** 70
    inside = _sine(unit(tangents - 0.12 * view), half) ** 16
    bright = albedo.mean(1, keepdims=True)
    coloured = 0.6 * albedo + 0.25 * np.sqrt(np.maximum(albedo, 0)) * bright + 0.02
    white = 0.55 * albedo + 0.08
    return albedo * diffuse[:, None] + gloss * (
        0.36 * inside[:, None] * coloured + 0.55 * surface[:, None] * white
    )


def _sine(tangents: Array, direction: Array) -> Array:
    """Sine of the angle between strands [N, 3] and a direction [3]."""
    return np.sqrt(np.clip(1 - (tangents @ direction) ** 2, 0, 1))


def shade_skin(sitter: Sitter, density: Density, strength: float = 0.35, darkest: float = 0.45) -> None:
    """Darken the skin where a part lies between it and the light or the sky (contact shade)."""
    puppet = sitter.puppet
    skin = puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs):
        return
    points = puppet.surface_points(skin.face, skin.bary).numpy().astype(float)
    normals = puppet.surface_normals(skin.face, skin.bary).numpy().astype(float)
    margin = 0.06
    low, high = (
        density.origin - margin,
        density.origin + density.cell * np.array(density.values.shape) + margin,
    )
    near = np.flatnonzero(((points > low) & (points < high)).all(1) & (normals[:, 2] > -0.6))
    if not len(near):
        return
    lifted = points[near] + 0.002 * normals[near]
    to_light = unit(sitter.light + 0.5 * normals[near])
    to_sky = unit(0.8 * UP + normals[near])
    tau = 0.6 * density.depth(lifted, to_light, start=0.6) + 0.4 * density.depth(lifted, to_sky, start=0.6)
    factor = np.ones(len(points))
    factor[near] = darkest + (1 - darkest) * np.exp(-strength * tau)
    multiply_skin(sitter, torch.from_numpy(factor.astype(np.float32))[:, None])


def shade_hair(sitter: Sitter, density: Density, strength: float = 0.2, darkest: float = 0.5) -> None:
    """Darken the hair where a part lies between it and the light or the sky."""
    puppet = sitter.puppet
    code = label_code("hair")
    for name, group in list(puppet.groups.items()):
        if not isinstance(group, Skinned) or not len(group) or not bool((group.labels == code).any()):
            continue
        points = group.means.numpy().astype(float)
        reach = density.cell * np.array(density.values.shape)
        near = np.flatnonzero(((points > density.origin - 0.06) & (points < density.origin + reach)).all(1))
        if not len(near):
            continue
        out = unit(points[near] * np.array([1.0, 0.0, 1.0]))
        tau = sum(
            0.5 * density.depth(points[near], unit(way + 0.5 * out), 0.8, 8) for way in (sitter.light, UP)
        )
        factor = np.ones((len(points), 1), np.float32)
        factor[near, 0] = darkest + (1 - darkest) * np.exp(-strength * tau)
        puppet.add(name, replace(group, colors=group.colors * torch.from_numpy(factor)))


def multiply_skin(sitter: Sitter, factor: torch.Tensor) -> None:
    """Multiply all colours of the skin group by ``factor`` [N, 1 or 3]."""
    puppet = sitter.puppet
    skin = puppet.groups["skin"]
    closed = None if skin.closed_colors is None else skin.closed_colors * factor
    extras = dict(skin.extras)
    for name in ("bald", "clean"):
        if name in extras:
            extras[name] = extras[name] * factor
    puppet.add("skin", replace(skin, colors=skin.colors * factor, closed_colors=closed, extras=extras))


def tint_skin(sitter: Sitter, weight: Array, colour: Array) -> None:
    """Blend the skin's colours towards ``colour`` ([3] or [N, 3]) by ``weight`` [N]."""
    target = torch.from_numpy(np.clip(colour, 0, 1).astype(np.float32))
    sitter.puppet.tint_skin(torch.from_numpy(weight.astype(np.float32)), target)
