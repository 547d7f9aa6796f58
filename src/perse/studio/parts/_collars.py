"""Collars: what stands or lies around a neckline. Each grows from nothing with its size, so garments can be mixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from perse.studio.parts._fabric import GIRTH, FabricParams, material, swatch
from perse.studio.parts._garment import laid_out
from perse.studio.parts._neckline import Edge, along, contours, inward, neck_ring
from perse.studio.parts._sitter import Array, Sitter, smoothstep, unit
from perse.studio.parts._surface import PLASTIC, Sheet, ellipsoid_sheet, tube_sheet

UP = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True)
class Tailor:
    """What all collars are made with."""

    sitter: Sitter
    fabric: FabricParams
    edge: Edge
    thickness: float
    """Metres that the cloth below is outside the body."""
    seed: int
    detail: float

    @property
    def columns(self) -> int:
        """Cells around the neck."""
        return max(48, round(360 * self.detail))

    def rows(self, full: int) -> int:
        """Cells across a collar."""
        return max(6, round(full * self.detail))

    def ring(self, edge: Edge | None = None) -> tuple[Array, Array]:
        """The neckline [columns, 3] and its normals."""
        points, normals = neck_ring(self.sitter, self.edge if edge is None else edge)
        return along(points, self.columns), unit(along(normals, self.columns))

    def cloth(self, points: Array, inside: Array, shade: Array | float = 1.0, **more: object) -> Sheet:
        """A grid of this fabric, patterned as the garment is where it lies."""
        woven = swatch(self.fabric, *laid_out(points), self.seed)
        shade = woven.shade * shade
        return Sheet(points, woven.albedo, inside, material(self.fabric), shade=shade, **more)  # type: ignore[arg-type]


def band(tailor: Tailor, height: float) -> list[Sheet]:
    """A ribbed band along the neckline."""
    ring, normal = tailor.ring()
    up = inward(ring, normal)
    share = np.linspace(0, 1, tailor.rows(18))[:, None]
    rise = height * share - 0.3 * height
    bulge = tailor.thickness + 0.0030 * np.sin(np.pi * share) ** 0.6 - 0.0045 * smoothstep(share, 0.8, 1.0)
    points = ring[None] + up[None] * rise[..., None] + normal[None] * bulge[..., None]
    seam = smoothstep(share, 0.0, 0.12) * 0.35 + 0.65
    return [_ribbed(tailor, points, 84, 0.30, seam)]


def _ribbed(tailor: Tailor, points: Array, ribs: int, depth: float, shade: Array) -> Sheet:
    """A knitted band [U, V, 3] with ribs."""
    columns = points.shape[1]
    rib = np.abs(np.sin(np.arange(columns) / columns * np.pi * ribs))[None] ** 0.7
    axis = points.mean((0, 1)) + 0 * points
    axis[..., 1] = points[..., 1] - 0.002
    return Sheet(
        points, tailor.fabric.colour, axis, material(tailor.fabric), closed=(False, True),
        shade=shade * (1 - depth * (1 - rib)), spread=0.8,
    )  # fmt: skip


def binding(tailor: Tailor, radius: float) -> list[Sheet]:
    """A thin rolled hem along every edge of the cloth."""
    sheets = []
    for curve in contours(tailor.sitter, tailor.edge):
        _, near = tailor.sitter.body.height(curve)
        curve = curve + tailor.sitter.body.normals[near] * (0.6 * tailor.thickness)
        sheets.append(
            tube_sheet(
                curve, radius, tailor.fabric.colour, material=material(tailor.fabric), sides=8, spread=0.85
            )
        )
    return sheets


def ruffle(tailor: Tailor, height: float) -> list[Sheet]:
    """A gathered flounce that hangs from the neckline."""
    ring, normal = tailor.ring()
    down = -inward(ring, normal)
    share = np.linspace(0, 1, tailor.rows(24))[:, None]
    angle = np.arange(tailor.columns) / tailor.columns * 2 * np.pi
    waves = np.sin(angle * 46 + 1.5 * np.sin(angle * 5)) + 0.4 * np.sin(angle * 83 + 1)
    out = tailor.thickness + 0.003 + 0.004 * share + 0.0034 * share * waves[None]
    points = (
        ring[None] + down[None] * ((share * 1.15 - 0.1) * height)[..., None] + normal[None] * out[..., None]
    )
    shade = (0.86 + 0.14 * np.tanh(1.2 * waves))[None] * (0.7 + 0.3 * smoothstep(share, 0.0, 0.12))
    return [tailor.cloth(points, points - normal * 0.02, shade, closed=(False, True), spread=0.8)]


def turtle(tailor: Tailor, height: float) -> list[Sheet]:
    """A tube up the neck, folded over at the top."""
    edge, columns, rows = tailor.edge, tailor.columns, tailor.rows(50)
    top = Edge(front=edge.front + height, back=edge.back + 0.95 * height)
    (low, low_normal), (high, high_normal) = tailor.ring(), tailor.ring(top)
    share = np.linspace(-0.12, 1, rows)[:, None, None]
    middle = low[None] * (1 - share) + high[None] * share
    normal = unit(low_normal[None] * (1 - share) + high_normal[None] * share)
    flat = share[..., 0]
    out = (
        tailor.thickness + 0.0025 + 0.0045 * smoothstep(flat, 0.28, 0.36) * (1 - smoothstep(flat, 0.93, 1.0))
    )
    out = out + 0.0015 * np.sin(np.pi * np.clip((flat - 0.3) / 0.7, 0, 1))
    angle = np.arange(columns) / columns * 2 * np.pi
    out = out + 0.0012 * np.sin(5 * angle + 1) * np.sin(flat * 9 + 2 * np.sin(2 * angle))
    points = tailor.sitter.body.push_out(
        (middle + normal * out[..., None]).reshape(-1, 3), 0.85 * out.ravel()
    )
    points = points.reshape(rows, columns, 3)
    crease = 1 - 0.40 * np.exp(-(((flat - 0.30) / 0.035) ** 2))
    edge_shade = 1 - 0.30 * smoothstep(flat, 0.94, 1.0)
    inner = np.linspace(0, 1, 4)[:, None, None]
    lip = points[-1][None] * (1 - inner) + high[None] * inner
    dark = tailor.fabric.colour * 0.4
    return [
        _ribbed(tailor, points, 76, 0.28, crease * edge_shade),
        Sheet(lip, dark, lip - 0.05 * UP, closed=(False, True), both_sides=True, spread=0.8),
    ]


def hood(tailor: Tailor, size: float) -> list[Sheet]:
    """A hood that lies around the neck and on the back, and its two cords; ``size`` 1 is full."""
    ring, normal = tailor.ring()
    angle = np.arange(tailor.columns) / tailor.columns * 2 * np.pi
    behind = 0.5 - 0.5 * np.cos(angle)  # 0 in front, 1 at the back
    opening = 1 - np.exp(-((np.minimum(angle, 2 * np.pi - angle) / 0.16) ** 2))
    around = np.linspace(0, 2 * np.pi, tailor.rows(44), endpoint=False)[:, None]
    outwards = unit(normal * np.array([1.0, 0.25, 1.0]))
    thick = size * (0.012 + 0.012 * behind) * (0.35 + 0.65 * opening)
    tall = size * (0.016 + 0.024 * behind) * (0.35 + 0.65 * opening)
    wobble = 1 + 0.10 * np.sin(angle * 7 + 2.0) * np.sin(around * 2) + 0.07 * np.sin(angle * 13 + around * 3)
    middle = (
        ring
        + outwards * (size * (0.010 + 0.014 * behind))[:, None]
        + UP * (size * (0.004 + 0.012 * behind))[:, None]
    )
    middle = middle - UP * (size * 0.022 * (1 - opening))[:, None]
    points = (
        middle[None]
        + outwards[None] * (np.cos(around) * thick * wobble)[..., None]
        + UP * (np.sin(around) * tall * wobble)[..., None]
    )
    seam = np.exp(-(((around - 1.9) / 0.16) ** 2)) + 0.7 * np.exp(-(((around - 0.55) / 0.16) ** 2))
    shade = (1 - 0.28 * seam) * np.where(np.cos(around) < -0.2, 0.62, 1.0) * np.ones_like(angle)
    sheet = tailor.cloth(points, middle[None] + 0 * points, shade, closed=(True, True), spread=0.8)
    return [sheet, *_cords(tailor, middle, size)]


def _cords(tailor: Tailor, middle: Array, size: float) -> list[Sheet]:
    """Two cords that hang from the front of a hood."""
    pale = np.clip(tailor.fabric.colour * 0.4 + 0.55, 0, 1)
    sheets = []
    for side in (1, -1):
        start = middle[round(len(middle) * 0.045 * side) % len(middle)] + np.array([0, -0.004, 0.010])
        t = np.linspace(0, 1, max(20, round(110 * tailor.detail)))[:, None]
        path = start + t * np.array([side * 0.006, -0.085, 0.004])
        path = tailor.sitter.body.push_out(path, 0.0115)
        twist = 0.0021 * size * (1 + 0.10 * np.sin(t[:, 0] * 150))
        sheets.append(tube_sheet(path, twist, pale, sides=10))
        tip = np.array([0.0030, 0.006, 0.0030]) * size
        sheets.append(ellipsoid_sheet(path[-1], tip, tailor.fabric.colour * 0.5, 10, 16, material=PLASTIC))
    return sheets


def leaves(tailor: Tailor, size: float, spread: float = 0.024) -> list[Sheet]:
    """A shirt's collar: a stand, and two pointed leaves folded over it that meet at the throat."""
    columns, rows = tailor.columns, tailor.rows(26)
    ring, normal = tailor.ring()
    angle = (np.arange(columns) + 0.5) / columns * 2 * np.pi
    from_front = np.minimum(angle, 2 * np.pi - angle)
    side = np.sign(np.pi - angle)
    back = 0.5 - 0.5 * np.cos(angle)
    outwards = unit(normal * np.array([1.0, 0.15, 1.0]))
    rise = size * (0.014 + 0.016 * back)
    fold_line = ring + UP * rise[:, None] + outwards * 0.0055
    point = np.exp(-((from_front / 0.62) ** 2))
    share = np.linspace(0, 1, rows)[:, None]
    roll = 0.0030 * np.sin(np.pi * np.minimum(share * 3, 1))
    leaf = (
        fold_line[None]
        - UP * (share * (rise + size * (0.012 + 0.020 * point)))[..., None]
        + outwards[None] * (share**0.8 * 0.011 * size + roll)[..., None]
    )
    leaf[..., 0] += size * share**0.9 * (side * spread * point)[None]
    leaf = tailor.sitter.body.push_out(leaf.reshape(-1, 3), tailor.thickness + 0.0045).reshape(leaf.shape)
    stand = (
        ring[None]
        + UP * (np.linspace(-0.15, 1, tailor.rows(12))[:, None] * rise)[..., None]
        + outwards[None] * 0.004
    )
    axis = np.array([0.0, ring[:, 1].mean() - 0.03, ring[:, 2].mean()])
    seam = 1 - 0.16 * np.exp(-(((share - 0.88) / 0.02) ** 2)) - 0.25 * smoothstep(share, 0.95, 1.0)
    front_edge = 1 - 0.22 * (1 - smoothstep(from_front[None], 0.0, 0.06)) * smoothstep(share, 0.1, 0.3)
    shade = seam * front_edge * (0.84 + 0.16 * smoothstep(share, 0.0, 0.1))
    half = columns // 2
    found = [
        tailor.cloth(leaf[:, part], axis, shade[:, part], spread=0.8, both_sides=True)
        for part in (slice(0, half + 1), slice(half, columns))
    ]
    inside = Sheet(stand, tailor.fabric.colour * 0.8, axis, closed=(False, True), spread=0.8, both_sides=True)
    hem = tube_sheet(
        fold_line, 0.0014, tailor.fabric.colour, material=material(tailor.fabric), sides=8, spread=0.9
    )
    return [*found, inside, hem]


def placket(tailor: Tailor, length: float) -> list[Sheet]:
    """The strip with buttons down the front."""
    ring, _ = neck_ring(tailor.sitter, tailor.edge)
    start = ring[0]
    rows, columns = max(20, round(110 * tailor.detail)), max(6, round(14 * tailor.detail))
    t, x = np.meshgrid(np.linspace(0, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    points = np.stack(
        [x * 0.013 + 0.002, start[1] + 0.002 - t * length, np.full_like(x, start[2] + 0.02)], -1
    )
    points = on_body(tailor.sitter, points, tailor.thickness + 0.0018)
    shade = 1 - 0.22 * np.exp(-(((np.abs(x) - 0.97) / 0.06) ** 2))
    sheets = [tailor.cloth(points, points - np.array([0, 0, 0.02]), shade, spread=0.85)]
    colour = tailor.fabric.colour
    for share in (0.14, 0.62):
        at = points[round(share * (rows - 1)), columns // 2] + np.array([0, 0, 0.0015])
        pearl = np.array([0.86, 0.85, 0.82]) if colour.mean() < 0.7 else np.array([0.62, 0.60, 0.57])
        sheets.append(
            ellipsoid_sheet(at, np.array([0.0048, 0.0048, 0.0016]), pearl, 12, 24, material=PLASTIC)
        )
    return sheets


def on_body(sitter: Sitter, points: Array, height: Array | float) -> Array:
    """A grid [U, V, 3] in front of the chest moved back onto it, ``height`` metres above the skin."""
    flat = points.reshape(-1, 3).copy()
    up = np.broadcast_to(height, points.shape[:2]).ravel()
    for _ in range(6):
        above, near = sitter.body.height(flat)
        flat[:, 2] -= 0.7 * (above - up) / np.maximum(sitter.body.normals[near, 2], 0.4)
    laid = flat.reshape(points.shape)
    laid[..., 2] = ndimage.gaussian_filter(laid[..., 2], (2.0, 1.0), mode="nearest")
    return laid


def scarf(tailor: Tailor, size: float) -> list[Sheet]:
    """A scarf wound twice around the neck, one end hanging in front; ``size`` is its radius in metres."""
    ring, normal = tailor.ring()
    turns = np.linspace(0, 1, round(1.15 * tailor.columns))
    position = turns * 2.0 * len(ring)
    at = np.stack(
        [np.interp(position % len(ring), np.arange(len(ring) + 1), np.append(c, c[0])) for c in ring.T], 1
    )
    out = np.stack(
        [np.interp(position % len(ring), np.arange(len(ring) + 1), np.append(c, c[0])) for c in normal.T], 1
    )
    out = unit(out * np.array([1.0, 0.15, 1.0]))
    angle = turns * 4 * np.pi
    second = smoothstep(turns, 0.42, 0.60)
    path = at + out * (size * (0.85 + 0.50 * second))[:, None]
    path = path + UP * (size * (0.95 - 1.15 * second) + 0.004 * np.sin(angle * 1.5 + 1))[:, None]
    around = np.linspace(0, 2 * np.pi, tailor.rows(46), endpoint=False)
    girth = 1 + 0.10 * np.sin(3 * angle + 0.7)[:, None] + 0.07 * np.sin(around * 3 + angle[:, None] * 2.3)
    crease = np.abs(np.sin(around * 3 + 1.2 * np.sin(angle * 1.3)[:, None]))
    girth = girth * (1 - 0.16 * (1 - crease) ** 2)
    radius = size * girth
    points = (
        path[:, None]
        + out[:, None] * (0.72 * np.cos(around)[None] * radius)[..., None]
        + UP * (1.12 * np.sin(around)[None] * radius)[..., None]
    )
    woven = swatch(
        tailor.fabric, np.broadcast_to(angle[:, None] * 0.12, radius.shape), around[None] * size + 0 * radius
    )
    shade = woven.shade * (0.62 + 0.38 * crease**0.5)
    look = material(tailor.fabric)
    wound = Sheet(points, woven.albedo, path[:, None], look, closed=(False, True), shade=shade, spread=0.8)
    return [wound, _scarf_end(tailor, path[0], size)]


def _scarf_end(tailor: Tailor, start: Array, size: float) -> Sheet:
    """The end that hangs down the chest."""
    rows, columns = tailor.rows(84), tailor.rows(36)
    t, x = np.meshgrid(np.linspace(0, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    points = np.stack(
        [
            start[0] + 0.030 + x * size * 1.75 * (0.8 + 0.2 * t),
            start[1] - 0.010 - t * 0.16,
            np.full_like(x, start[2] + 0.03),
        ],
        -1,
    )
    fold = 0.5 + 0.5 * np.cos(x * 5.5 + 0.8 * np.sin(3 * t))
    points = on_body(tailor.sitter, points, tailor.thickness + 0.010 + 0.007 * fold + 0.006 * (1 - x**2))
    woven = swatch(tailor.fabric, x * size * 1.75 + GIRTH / 2, t * 0.16, tailor.seed)
    shade = woven.shade * (0.62 + 0.38 * fold**0.5)
    return Sheet(
        points,
        woven.albedo,
        points - np.array([0, 0, 0.03]),
        material(tailor.fabric),
        shade=shade,
        spread=0.85,
    )
