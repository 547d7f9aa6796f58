"""Solid parts: parametric grids turned into lit discs (hats, headphones, earrings, garments)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from perse.studio._geometry import tangent_discs
from perse.studio.groups import Skinned
from perse.studio.parts._colours import RGB
from perse.studio.parts._shade import Density, disc_areas
from perse.studio.parts._sitter import NECK, Array, Sitter, smoothstep, tensor, unit
from perse.studio.puppet import label_code


@dataclass(frozen=True)
class Material:
    """How a surface answers the light."""

    gloss: float = 0.0
    """Height of the highlight; 0 is matt."""
    sharpness: float = 30.0
    """Exponent of the highlight."""
    metal: bool = False
    """Whether it mirrors its surroundings in its own colour."""
    opacity: float = 0.97


MATT = Material()
PLASTIC = Material(gloss=0.30, sharpness=26)
FELT = Material(gloss=0.03, sharpness=6)
METAL = Material(metal=True)


@dataclass(frozen=True)
class Sheet:
    """A grid of surface points with a colour each: what a solid part is made of."""

    points: Array  # [U, V, 3]
    albedo: Array  # [U, V, 3] or [3]
    inside: Array
    """Points behind the surface, [3] or [U, V, 3] or [U, 1, 3]: normals point away from them."""
    material: Material = MATT
    closed: tuple[bool, bool] = (False, False)
    """Whether the last row (column) joins the first."""
    shade: Array | None = None
    """[U, V] multiplies the light (creases, ribs, contact shade)."""
    both_sides: bool = False
    """Whether the back is seen too: light it from whichever side faces the camera."""
    spread: float = 0.68
    """Sigma of a disc in grid cells."""
    normals: Array | None = None
    """[U, V, 3] overrides the grid's own normals (bumps)."""


def lit(sitter: Sitter, sheets: Sequence[Sheet], label: str, weights: Array | None = None) -> Skinned:
    """Discs of sheets in the photo's light; they follow the neck unless ``weights`` [N, 5] say otherwise."""
    means, quats, scales, colours, opacities = [], [], [], [], []
    for sheet in sheets:
        du, dv = _tangents(sheet)
        q, s = tangent_discs(tensor(du), tensor(dv), spread=sheet.spread, cap=0.02)
        normal = unit(np.cross(du, dv)) if sheet.normals is None else unit(sheet.normals.reshape(-1, 3))
        flat = sheet.points.reshape(-1, 3)
        behind = np.broadcast_to(sheet.inside, sheet.points.shape).reshape(-1, 3)
        sign = np.sign(((flat - behind) * normal).sum(1, keepdims=True))
        normal = normal * np.where(sign == 0, 1, sign)
        if sheet.both_sides:
            normal = normal * np.where((normal @ sitter.view)[:, None] < 0, -1, 1)
        means.append(tensor(flat))
        quats.append(q)
        scales.append(s)
        colours.append(tensor(colour_of(sitter, sheet, normal)))
        opacities.append(torch.full((len(flat),), sheet.material.opacity))
    count = sum(len(m) for m in means)
    if weights is None:
        weights = joint_weights(count, NECK)
    return Skinned(
        means=torch.cat(means),
        quats=torch.cat(quats).float(),
        scales=torch.cat(scales).float(),
        opacities=torch.cat(opacities),
        colors=torch.cat(colours).clamp(0, 1),
        labels=torch.full((count,), label_code(label), dtype=torch.uint8),
        weights=tensor(weights),
    )


def colour_of(sitter: Sitter, sheet: Sheet, normals: Array) -> Array:
    """Colours [N, 3] of a sheet with unit normals [N, 3]."""
    albedo = np.broadcast_to(np.asarray(sheet.albedo, float), sheet.points.shape).reshape(-1, 3)
    shade = np.ones(len(normals)) if sheet.shade is None else sheet.shade.ravel()
    material = sheet.material
    if material.metal:
        return albedo * _mirror(sitter, normals)[:, None] * shade[:, None] * max(sitter.exposure, 0.5)
    light = sitter.shade(normals, 0.25, 1.3) * shade
    half = unit(sitter.light + sitter.view)
    shine = material.gloss * np.maximum(normals @ half, 0) ** material.sharpness
    return albedo * light[:, None] * sitter.exposure + (shine * np.sqrt(np.maximum(shade, 0)))[:, None]


def _mirror(sitter: Sitter, normals: Array) -> Array:
    """What polished metal mirrors [N]: a bright sky, a dark horizon, the light itself."""
    reflected = 2 * normals * (normals @ sitter.view)[:, None] - sitter.view
    sky = 0.32 + 0.5 * smoothstep(reflected[:, 1], -0.3, 0.5)
    horizon = 0.24 * np.exp(-((reflected[:, 1] / 0.15) ** 2))
    return sky - horizon + 0.9 * np.maximum(reflected @ sitter.light, 0) ** 12


def _tangents(sheet: Sheet) -> tuple[Array, Array]:
    """Tangents along columns and rows [U * V, 3], across the seam where the grid is closed."""
    return tuple(  # type: ignore[return-value]
        (
            _wrapped_gradient(sheet.points, axis)
            if sheet.closed[axis]
            else np.gradient(sheet.points, axis=axis)
        ).reshape(-1, 3)
        for axis in (1, 0)
    )


def _wrapped_gradient(grid: Array, axis: int) -> Array:
    return (np.roll(grid, -1, axis) - np.roll(grid, 1, axis)) / 2


def tube(path: Array, radius: Array | float, sides: int = 14, closed: bool = False) -> Array:
    """A tube [M, sides, 3] around a path [M, 3]; ``radius`` in metres, one or one a point [M]."""
    path = np.asarray(path, float)
    tangent = unit(_wrapped_gradient(path, 0) if closed else np.gradient(path, axis=0))
    guide = np.array([0.0, 1.0, 0.0]) if np.abs(tangent[:, 1]).mean() < 0.7 else np.array([1.0, 0.0, 0.0])
    first = unit(np.cross(tangent, guide + np.array([0.13, 0.0, 0.21])))
    second = np.cross(tangent, first)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(angle)[None, :, None] * first[:, None] + np.sin(angle)[None, :, None] * second[:, None]
    return (
        path[:, None] + np.broadcast_to(np.asarray(radius, float).reshape(-1, 1, 1), (len(path), 1, 1)) * ring
    )


def tube_sheet(path: Array, radius: Array | float, albedo: RGB | Array, **more: object) -> Sheet:
    """A tube as a sheet."""
    closed = bool(more.pop("closed", False))
    sides = int(more.pop("sides", 14))  # type: ignore[call-overload]
    path = np.asarray(path, float)
    grid = tube(path, radius, sides, closed)
    return Sheet(grid, np.asarray(albedo, float), path[:, None], closed=(closed, True), **more)  # type: ignore[arg-type]


def ellipsoid_sheet(
    centre: Array, radii: Array, albedo: RGB | Array, rows: int = 24, columns: int = 40, **more: object
) -> Sheet:
    """An ellipsoid with axes along x, y, z as a sheet."""
    polar = np.linspace(0.03, np.pi - 0.03, rows)[:, None]
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    sphere = np.stack(
        [np.sin(polar) * np.cos(around), np.cos(polar) + 0 * around, np.sin(polar) * np.sin(around)], -1
    )
    grid = np.asarray(centre) + sphere * np.asarray(radii)
    return Sheet(grid, np.asarray(albedo, float), np.asarray(centre, float), closed=(False, True), **more)  # type: ignore[arg-type]


def joint_weights(count: int, joint: int) -> Array:
    """[N, 5] everything follows one joint."""
    weights = np.zeros((count, 5))
    weights[:, joint] = 1
    return weights


def density_of(group: Skinned, cell: float = 0.006, solidity: float = 3.0) -> Density:
    """The optical depth of a solid part; ``solidity`` is that of crossing it once."""
    scales = group.scales.numpy().astype(float)
    return Density.of(group.means.numpy().astype(float), solidity * disc_areas(scales), cell)
