"""Clothes: a garment over the bust takes the place of the photo's; its collar says what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from perse.studio.parts import _colours
from perse.studio.parts._garment import Cloth, Edge, bare_skin, drape, neck_ring, take_off, weights_near
from perse.studio.parts._params import Params
from perse.studio.parts._shade import shade_skin
from perse.studio.parts._sitter import Array, Sitter, smoothstep, unit
from perse.studio.parts._surface import MATT, PLASTIC, Sheet, density_of, ellipsoid_sheet, lit, tube_sheet
from perse.studio.puppet import Puppet

GROUP = "garment"
COLLAR = "garment_collar"


@dataclass(frozen=True)
class ClothesParams(Params):
    """A garment as numbers: shares of the four cuts, the pattern and the colour."""

    crew: float = 1.0
    turtle: float = 0.0
    hood: float = 0.0
    shirt: float = 0.0
    thickness: float = 0.004
    """Metres outside the body."""
    folds: float = 0.0020
    """Height of the folds in metres."""
    stripes: float = 0.0
    """Strength of horizontal stripes."""
    checks: float = 0.0
    """Strength of checks."""
    red: float = 0.70
    green: float = 0.09
    blue: float = 0.10


_GARMENTS: dict[str, ClothesParams] = {
    "crew-neck": ClothesParams(),
    "turtleneck": ClothesParams(crew=0, turtle=1, thickness=0.0045),
    "hoodie": ClothesParams(crew=0, hood=1, thickness=0.006, folds=0.0034),
    "shirt": ClothesParams(crew=0, shirt=1, thickness=0.003, folds=0.0028),
}


def params_from(adjectives: Sequence[str]) -> ClothesParams:
    """The garment of the words, e.g. ("red", "striped", "crew-neck")."""
    params = _GARMENTS[next((w for w in adjectives if w in _GARMENTS), "crew-neck")]
    params = params.but(stripes=float("striped" in adjectives), checks=float("checked" in adjectives))
    colour = next((w for w in adjectives if w in _colours.CLOTH), "grey")
    return params.painted(_colours.CLOTH[colour])


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Put on the garment that the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: ClothesParams, seed: int, detail: float = 1.0) -> None:
    """Put on a garment instead of the photo's clothes; ``detail`` scales the number of discs."""
    sitter = Sitter(puppet)
    cut = max(
        (params.crew, "crew"), (params.turtle, "turtle"), (params.hood, "hood"), (params.shirt, "shirt")
    )[1]
    edge = _EDGES[cut]
    covered = take_off(sitter)
    puppet.remove(COLLAR)
    bare_skin(sitter, covered, edge)
    colour = np.array([params.red, params.green, params.blue])
    cloth = Cloth(params.thickness, params.folds, _pattern(params, colour))
    puppet.add(GROUP, drape(sitter, edge, cloth, seed, detail))
    sheets = _COLLARS[cut](sitter, params, edge, colour, detail)
    points = np.concatenate([sheet.points.reshape(-1, 3) for sheet in sheets])
    collar = lit(sitter, sheets, "clothes", weights_near(sitter, points))
    puppet.add(COLLAR, collar)
    shade_skin(sitter, density_of(collar), strength=0.12, darkest=0.7)


_EDGES = {
    "crew": Edge(front=-0.122, back=-0.080),
    "turtle": Edge(front=-0.112, back=-0.072),
    "hood": Edge(front=-0.120, back=-0.074),
    "shirt": Edge(front=-0.112, back=-0.074),
}


def _pattern(params: ClothesParams, colour: Array) -> Callable[[Array], Array]:
    """Rest points [N, 3] to albedo [N, 3]."""
    pale = np.array(_colours.CLOTH["cream"]) if colour.mean() < 0.6 else np.array(_colours.CLOTH["navy"])

    def paint(points: Array) -> Array:
        down = (points[:, 1] + 0.10 * np.abs(points[:, 0])) / 0.034
        across = points[:, 0] / 0.034
        stripe = smoothstep(np.abs((down % 1) - 0.5), 0.23, 0.27) * params.stripes
        albedo = colour * (1 - stripe[:, None]) + pale * stripe[:, None]
        bar_1 = smoothstep(np.abs((down % 1) - 0.5), 0.23, 0.26)
        bar_2 = smoothstep(np.abs((across % 1) - 0.5), 0.23, 0.26)
        thin = np.maximum(_line(down), _line(across))
        check = (1 - 0.42 * (bar_1 + bar_2)) * (1 - thin) + 1.6 * thin
        lines = 0.20 * thin * params.checks  # thin light lines show on dark cloth too
        return albedo * (1 + params.checks * (check - 1))[:, None] + lines[:, None]

    return paint


def _line(x: Array) -> Array:
    """Thin lines between the bars of a check."""
    return 0.35 * np.exp(-(((((x + 0.5) % 1) - 0.5) / 0.03) ** 2))


def _columns(detail: float) -> int:
    return max(48, round(420 * detail))


def _along_ring(ring: Array, count: int) -> Array:
    """A closed curve [R, 3] resampled to [count, 3]."""
    position = np.arange(count) / count * len(ring)
    low = np.floor(position).astype(int)
    share = (position - low)[:, None]
    return ring[low % len(ring)] * (1 - share) + ring[(low + 1) % len(ring)] * share


def _crew(sitter: Sitter, params: ClothesParams, edge: Edge, colour: Array, detail: float) -> list[Sheet]:
    """A ribbed band around the neck."""
    columns, rows = _columns(detail), max(8, round(18 * detail))
    ring, normal = (_along_ring(a, columns) for a in neck_ring(sitter, edge))
    up = unit(np.array([0.0, 1.0, 0.35]) - normal * (normal @ np.array([0.0, 1.0, 0.35]))[:, None])
    share = np.linspace(0, 1, rows)[:, None]
    rise = 0.017 * share - 0.005
    bulge = params.thickness + 0.0035 * np.sin(np.pi * share) ** 0.6 - 0.0035 * smoothstep(share, 0.8, 1.0)
    points = ring[None] + up[None] * rise[..., None] + normal[None] * bulge[..., None]
    return [_ribbed(sitter, points, colour, 72, 0.22, smoothstep(share, 0.0, 0.12) * 0.25 + 0.75)]


def _ribbed(sitter: Sitter, points: Array, colour: Array, ribs: int, depth: float, shade: Array) -> Sheet:
    """A knitted band [U, V, 3] with ribs."""
    columns = points.shape[1]
    rib = np.abs(np.sin(np.arange(columns) / columns * np.pi * ribs))[None] ** 0.7
    axis = points.mean((0, 1)) + 0 * points
    axis[..., 1] = points[..., 1] - 0.002
    return Sheet(
        points,
        colour,
        axis,
        MATT,
        closed=(False, True),
        shade=shade * (1 - depth * (1 - rib)),
        spread=0.8,
    )


def _turtle(sitter: Sitter, params: ClothesParams, edge: Edge, colour: Array, detail: float) -> list[Sheet]:
    """A tube up the neck, folded over at the top."""
    columns, rows = _columns(detail), max(16, round(60 * detail))
    top = Edge(front=edge.front + 0.036, back=edge.back + 0.034)
    low, low_normal = (_along_ring(a, columns) for a in neck_ring(sitter, edge))
    high, high_normal = (_along_ring(a, columns) for a in neck_ring(sitter, top))
    share = np.linspace(-0.12, 1, rows)[:, None, None]
    middle = low[None] * (1 - share) + high[None] * share
    normal = unit(low_normal[None] * (1 - share) + high_normal[None] * share)
    flat = share[..., 0]
    out = (
        params.thickness + 0.0025 + 0.0045 * smoothstep(flat, 0.28, 0.36) * (1 - smoothstep(flat, 0.93, 1.0))
    )
    out = out + 0.0015 * np.sin(np.pi * np.clip((flat - 0.3) / 0.7, 0, 1))
    points = sitter.body.push_out(
        (middle + normal * out[..., None]).reshape(-1, 3), np.repeat(out.ravel(), columns) * 0.85
    ).reshape(rows, columns, 3)
    crease = 1 - 0.40 * np.exp(-(((flat - 0.30) / 0.035) ** 2))
    edge_shade = 1 - 0.30 * smoothstep(flat, 0.94, 1.0)
    lip = points[-1][None] * (1 - np.linspace(0, 1, 4)[:, None, None]) + (
        high[None] * np.linspace(0, 1, 4)[:, None, None]
    )
    return [
        _ribbed(sitter, points, colour, 76, 0.25, crease * edge_shade),
        Sheet(
            lip, colour * 0.4, lip - np.array([0, 0.05, 0]), closed=(False, True), both_sides=True, spread=0.8
        ),
    ]


def _hood(sitter: Sitter, params: ClothesParams, edge: Edge, colour: Array, detail: float) -> list[Sheet]:
    """A hood that lies around the neck and on the back, and its two cords."""
    columns, rows = _columns(detail), max(16, round(44 * detail))
    ring, normal = (_along_ring(a, columns) for a in neck_ring(sitter, edge))
    angle = np.arange(columns) / columns * 2 * np.pi
    behind = 0.5 - 0.5 * np.cos(angle)  # 0 in front, 1 at the back
    opening = 1 - np.exp(-((np.minimum(angle, 2 * np.pi - angle) / 0.16) ** 2))
    around = np.linspace(0, 2 * np.pi, rows, endpoint=False)[:, None]
    outwards = unit(normal * np.array([1.0, 0.25, 1.0]))
    thick = (0.012 + 0.012 * behind) * (0.35 + 0.65 * opening)
    tall = (0.016 + 0.024 * behind) * (0.35 + 0.65 * opening)
    wobble = 1 + 0.10 * np.sin(angle * 7 + 2.0) * np.sin(around * 2) + 0.07 * np.sin(angle * 13 + around * 3)
    middle = (
        ring
        + outwards * (0.010 + 0.014 * behind)[:, None]
        + np.array([0, 1.0, 0]) * (0.004 + 0.012 * behind)[:, None]
    )
    middle = middle - np.array([0, 1.0, 0]) * (0.022 * (1 - opening))[:, None]
    points = (
        middle[None]
        + outwards[None] * (np.cos(around) * thick * wobble)[..., None]
        + np.array([0, 1.0, 0]) * (np.sin(around) * tall * wobble)[..., None]
    )
    inner = np.cos(around) < -0.2
    crease = (
        1 - 0.28 * np.exp(-(((around - 1.9) / 0.22) ** 2)) - 0.18 * np.exp(-(((around - 0.55) / 0.2) ** 2))
    )
    shade = crease * np.where(inner, 0.62, 1.0) * np.ones_like(angle)
    sheets = [Sheet(points, colour, middle[None] + 0 * points, closed=(True, True), shade=shade, spread=0.8)]
    return sheets + _cords(sitter, middle, colour, detail)


def _cords(sitter: Sitter, middle: Array, colour: Array, detail: float) -> list[Sheet]:
    """Two cords that hang from the front of a hood."""
    pale = np.clip(colour * 0.4 + 0.55, 0, 1)
    sheets = []
    for side in (1, -1):
        start = middle[round(len(middle) * 0.045 * side) % len(middle)] + np.array([0, -0.004, 0.010])
        t = np.linspace(0, 1, max(20, round(110 * detail)))[:, None]
        path = start + t * np.array([side * 0.006, -0.085, 0.004])
        path = sitter.body.push_out(path, 0.0115)
        sheets.append(tube_sheet(path, 0.0022, pale, sides=10))
        sheets.append(
            ellipsoid_sheet(
                path[-1], np.array([0.0030, 0.006, 0.0030]), colour * 0.5, 10, 16, material=PLASTIC
            )
        )
    return sheets


def _shirt(sitter: Sitter, params: ClothesParams, edge: Edge, colour: Array, detail: float) -> list[Sheet]:
    """A stand, two pointed leaves folded over it that meet at the throat, a placket with buttons."""
    columns, rows = _columns(detail), max(10, round(30 * detail))
    ring, normal = (_along_ring(a, columns) for a in neck_ring(sitter, edge))
    angle = (np.arange(columns) + 0.5) / columns * 2 * np.pi
    from_front = np.minimum(angle, 2 * np.pi - angle)
    side = np.sign(np.pi - angle)
    back = 0.5 - 0.5 * np.cos(angle)
    outwards = unit(normal * np.array([1.0, 0.15, 1.0]))
    up = np.array([0.0, 1.0, 0.0])
    rise = 0.014 + 0.016 * back
    fold_line = ring + up * rise[:, None] + outwards * 0.0055
    point = np.exp(-((from_front / 0.62) ** 2))
    share = np.linspace(0, 1, rows)[:, None]
    roll = 0.0030 * np.sin(np.pi * np.minimum(share * 3, 1))
    leaf = (
        fold_line[None]
        - up * (share * (rise + 0.012 + 0.020 * point))[..., None]
        + outwards[None] * (share**0.8 * 0.011 + roll)[..., None]
    )
    leaf[..., 0] += share**0.9 * (side * 0.024 * point)[None]
    leaf = sitter.body.push_out(leaf.reshape(-1, 3), params.thickness + 0.0045).reshape(leaf.shape)
    stand = (
        ring[None] + up * (np.linspace(-0.15, 1, rows)[:, None] * rise)[..., None] + outwards[None] * 0.004
    )
    axis = np.array([0.0, ring[:, 1].mean() - 0.03, ring[:, 2].mean()])
    seam = 1 - 0.14 * np.exp(-(((share - 0.88) / 0.02) ** 2)) - 0.25 * smoothstep(share, 0.95, 1.0)
    front_edge = 1 - 0.22 * (1 - smoothstep(from_front[None], 0.0, 0.06)) * smoothstep(share, 0.1, 0.3)
    shade = seam * front_edge * (0.84 + 0.16 * smoothstep(share, 0.0, 0.1))
    half = columns // 2
    leaves = [
        Sheet(
            leaf[:, part],
            _sheet_colour(params, colour, leaf[:, part]),
            axis,
            shade=shade[:, part],
            spread=0.8,
            both_sides=True,
        )
        for part in (slice(0, half + 1), slice(half, columns))
    ]
    inside = Sheet(stand, colour * 0.8, axis, closed=(False, True), spread=0.8, both_sides=True)
    return [*leaves, inside, *_placket(sitter, params, edge, colour, detail)]


def _sheet_colour(params: ClothesParams, colour: Array, points: Array) -> Array:
    return _pattern(params, colour)(points.reshape(-1, 3)).reshape(points.shape)


def _placket(sitter: Sitter, params: ClothesParams, edge: Edge, colour: Array, detail: float) -> list[Sheet]:
    """The strip with buttons down the front."""
    ring, _ = neck_ring(sitter, edge)
    start = ring[0]
    rows, columns = max(20, round(110 * detail)), max(6, round(14 * detail))
    t, x = np.meshgrid(np.linspace(0, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    points = np.stack([x * 0.013 + 0.002, start[1] + 0.002 - t * 0.11, np.full_like(x, start[2] + 0.02)], -1)
    flat = points.reshape(-1, 3)
    for _ in range(4):
        height, near = sitter.body.height(flat)
        flat = flat - (height - params.thickness - 0.0018)[:, None] * sitter.body.normals[near] * 0.8
    points = flat.reshape(points.shape)
    points[..., 2] = np.maximum(points[..., 2], points[..., 2].mean(1, keepdims=True))
    shade = 1 - 0.22 * np.exp(-(((np.abs(x) - 0.97) / 0.06) ** 2))
    sheets = [
        Sheet(
            points,
            _sheet_colour(params, colour, points),
            points - np.array([0, 0, 0.02]),
            shade=shade,
            spread=0.85,
        )
    ]
    for share in (0.14, 0.62):
        at = points[round(share * (rows - 1)), columns // 2] + np.array([0, 0, 0.0015])
        pearl = np.array([0.86, 0.85, 0.82]) if colour.mean() < 0.7 else np.array([0.62, 0.60, 0.57])
        sheets.append(
            ellipsoid_sheet(at, np.array([0.0048, 0.0048, 0.0016]), pearl, 12, 24, material=PLASTIC)
        )
    return sheets


_COLLARS = {"crew": _crew, "turtle": _turtle, "hood": _hood, "shirt": _shirt}
