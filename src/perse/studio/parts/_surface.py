"""Solid parts: parametric grids turned into lit discs (hats, headphones, earrings, garments)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from perse.studio._geometry import tangent_discs
from perse.studio.groups import Skinned
from perse.studio.parts._colours import RGB
from perse.studio.parts._shade import Density, disc_areas
from perse.studio.parts._sitter import NECK, Array, Sitter, smoothstep, tensor, unit
from perse.studio.puppet import label_code


@dataclass(frozen=True)
class Material:
    """How a surface answers the light; every number may lie between those of two materials."""

    gloss: float = 0.0
    """Height of the white highlight; 0 is matt."""
    sharpness: float = 30.0
    """Exponent of the highlight."""
    metal: float = 0.0
    """How much it mirrors its surroundings in its own colour instead of being matt."""
    nap: float = 0.0
    """How much its fibres brighten where it turns away (felt, wool)."""
    sheen: float = 0.0
    """Height of a wide highlight in its own colour (satin)."""
    coat: float = 0.0
    """How much a clear coat mirrors at grazing angles."""
    opacity: float = 0.97


MATT = Material()
PLASTIC = Material(gloss=0.34, sharpness=32, coat=0.5)
RUBBER = Material(gloss=0.05, sharpness=8, coat=0.1)
LEATHER = Material(gloss=0.14, sharpness=14, sheen=0.1, coat=0.15)
METAL = Material(metal=1.0)


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
    keep: NDArray[np.bool_] | None = None
    """[U, V] which cells are drawn; all unless given."""
    name: str = ""
    """What it is in every look: cells of one name and place belong together. Without a name none is told."""


WIDTH, HEIGHT = 0.4, 0.1
"""Metres that a sheet's columns and rows are told to span, about those of a collar or a crown."""


def named(name: str, sheets: Sheet | Sequence[Sheet]) -> list[Sheet]:
    """Sheets that are known in every look by what they are and by their order."""
    sheets = [sheets] if isinstance(sheets, Sheet) else sheets
    return [replace(sheet, name=f"{name} {i}") for i, sheet in enumerate(sheets)]


def cells(sheet: Sheet) -> Array:
    """[U, V, 4] where on which sheet its cells lie, for :attr:`Group.strands`; NaN without a name."""
    rows, columns = sheet.points.shape[:2]
    told = np.full((rows, columns, 4), np.nan)
    if sheet.name:
        told[..., 0] = 1 + zlib.crc32(sheet.name.encode()) % 4096
        told[..., 1] = np.arange(columns) / columns * WIDTH
        told[..., 2] = np.arange(rows)[:, None] / rows * HEIGHT
        told[..., 3] = 0
    return told


def lit(
    sitter: Sitter, sheets: Sequence[Sheet], label: str, weights: Callable[[Array], Array] | None = None
) -> Skinned:
    """Discs of sheets in the photo's light; they follow the neck unless ``weights`` (points to [N, 5]) says else."""
    means, quats, scales, colours, opacities, told = [], [], [], [], [], []
    for sheet in sheets:
        keep = slice(None) if sheet.keep is None else sheet.keep.ravel()
        du, dv = (tangent[keep] for tangent in _tangents(sheet))
        q, s = tangent_discs(tensor(du), tensor(dv), spread=sheet.spread, cap=0.02)
        normal = unit(np.cross(du, dv))
        flat = sheet.points.reshape(-1, 3)[keep]
        behind = np.broadcast_to(sheet.inside, sheet.points.shape).reshape(-1, 3)[keep]
        sign = np.sign(((flat - behind) * normal).sum(1, keepdims=True))
        normal = normal * np.where(sign == 0, 1, sign)
        if sheet.both_sides:
            normal = normal * np.where((normal @ sitter.view)[:, None] < 0, -1, 1)
        albedo = np.broadcast_to(np.asarray(sheet.albedo, float), sheet.points.shape).reshape(-1, 3)[keep]
        shade = np.ones(len(flat)) if sheet.shade is None else sheet.shade.ravel()[keep]
        means.append(flat)
        quats.append(q)
        scales.append(s)
        colours.append(tensor(colour_of(sitter, normal, albedo, shade, sheet.material)))
        opacities.append(torch.full((len(flat),), sheet.material.opacity))
        told.append(cells(sheet).reshape(-1, 4)[keep])
    points = np.concatenate(means)
    return Skinned(
        means=tensor(points),
        quats=torch.cat(quats).float(),
        scales=torch.cat(scales).float(),
        opacities=torch.cat(opacities),
        colors=torch.cat(colours).clamp(0, 1),
        labels=torch.full((len(points),), label_code(label), dtype=torch.uint8),
        weights=tensor(joint_weights(len(points), NECK) if weights is None else weights(points)),
        strands=tensor(np.concatenate(told)),
    )


def colour_of(sitter: Sitter, normals: Array, albedo: Array, shade: Array, material: Material) -> Array:
    """Colours [N, 3] of a surface with unit normals and albedo [N, 3] and the share of light [N] that reaches it."""
    facing = np.abs(normals @ sitter.view)
    matt = albedo * (sitter.shade(normals, 0.25, 1.3) * shade)[:, None] * sitter.exposure
    if material.nap:
        rim = material.nap * (1 - facing) ** 2.5 * np.sqrt(shade)
        matt = matt + (rim * sitter.shade(normals, 0.4, 1.2))[:, None] * (0.6 * albedo + 0.10)
    mirrored = surroundings(sitter, 2 * normals * (normals @ sitter.view)[:, None] - sitter.view)
    mirror = albedo * (mirrored * shade * max(sitter.exposure, 0.5))[:, None]
    colour = (1 - material.metal) * matt + material.metal * mirror
    toward = np.maximum(normals @ unit(sitter.light + sitter.view), 0)
    shine = material.gloss * toward**material.sharpness
    shine = shine + material.coat * (0.03 + 0.6 * (1 - facing) ** 4) * mirrored
    tinted = material.sheen * toward**5
    open_to = np.sqrt(np.maximum(shade, 0))
    return colour + (shine * open_to)[:, None] + (tinted * open_to)[:, None] * (albedo * 0.8 + 0.05)


def surroundings(sitter: Sitter, directions: Array) -> Array:
    """How bright [N] a room is in unit directions [N, 3]: a window to the light, a strip across, a dark horizon."""
    up = directions[:, 1]
    room = 0.34 + 0.42 * smoothstep(up, -0.2, 0.7) - 0.22 * np.exp(-(((up + 0.05) / 0.16) ** 2))
    window = smoothstep(directions @ sitter.light, 0.70, 0.86)
    across = sitter.light * np.array([-1.0, 0.4, 0.5])
    strip = smoothstep(directions @ unit(across), 0.86, 0.94)
    return room + 1.15 * window + 0.45 * strip


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
