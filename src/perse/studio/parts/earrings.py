"""Earrings: metal and stones at the lobes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perse.studio.parts import _colours
from perse.studio.parts._params import Params
from perse.studio.parts._sitter import Array, Sitter
from perse.studio.parts._surface import METAL, Material, Sheet, ellipsoid_sheet, lit, tube_sheet
from perse.studio.parts._worn import ear_lobe, tuck_hair
from perse.studio.puppet import Puppet

GROUP = "earrings"
STONE = Material(gloss=0.75, sharpness=50)


@dataclass(frozen=True)
class EarringParams(Params):
    """Earrings as numbers (metres)."""

    hoop: float = 0.0
    """Radius of a hoop; 0: none."""
    wire: float = 0.0012
    """Radius of the hoop's wire."""
    stud: float = 0.0
    """Radius of a stud; 0: none."""
    drop: float = 0.0
    """Radius of a hanging drop; 0: none."""
    chain: float = 0.0
    """Length from lobe to drop."""
    metal: float = 1.0
    """1: the body is metal; 0: it is a stone in a metal setting."""
    red: float = 1.0
    green: float = 0.76
    blue: float = 0.33


_SHAPES: dict[str, EarringParams] = {
    "hoop": EarringParams(hoop=0.017, wire=0.0013),
    "stud": EarringParams(stud=0.0042),
    "drop": EarringParams(stud=0.0021, drop=0.0054, chain=0.017),
}


def params_from(adjectives: Sequence[str]) -> EarringParams:
    """The earrings of the words, e.g. ("large", "gold", "hoop")."""
    params = _SHAPES[next((w for w in adjectives if w in _SHAPES), "hoop")]
    scale = 1.4 if "large" in adjectives else 0.68 if "small" in adjectives else 1.0
    params = params.but(
        hoop=params.hoop * scale,
        stud=params.stud * scale,
        drop=params.drop * scale,
        chain=params.chain * scale,
        wire=params.wire * scale**0.5,
    )
    stone = next((w for w in adjectives if w in _colours.STONE), None)
    if stone is not None:
        return params.but(metal=0.0).painted(_colours.STONE[stone])
    return params.painted(_colours.METAL[next((w for w in adjectives if w in _colours.METAL), "gold")])


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Put on the earrings that the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: EarringParams, seed: int, detail: float = 1.0) -> None:
    """Put on earrings; ``detail`` scales the number of discs along each side of the grids."""
    sitter = Sitter(puppet)
    tuck_hair(sitter)
    sheets: list[Sheet] = []
    for side in (1, -1):
        sheets += _one(params, _hook(sitter, side), side, detail)
    puppet.add(GROUP, lit(sitter, sheets, "earrings"))


def _hook(sitter: Sitter, side: int) -> Array:
    """Where an earring hangs [3]: on the lobe, a little to the outside."""
    return ear_lobe(sitter, side) + np.array([side * 0.001, 0.003, 0.002])


def _one(params: EarringParams, hook: Array, side: int, detail: float) -> list[Sheet]:
    """The sheets of one earring."""
    colour = np.array([params.red, params.green, params.blue])
    body = METAL if params.metal > 0.5 else STONE
    setting = colour if params.metal > 0.5 else np.array(_colours.METAL["silver"])
    many = max(8, round(26 * detail))
    sheets: list[Sheet] = []
    if params.hoop > 0.002:
        turn = np.linspace(0, 2 * np.pi, max(40, round(180 * detail)), endpoint=False)
        centre = hook + np.array([0.0, 0.002 - params.hoop, 0.0])
        path = centre + params.hoop * np.stack(
            [0.30 * side * np.sin(turn), np.cos(turn), 0.96 * np.sin(turn)], 1
        )
        sheets.append(tube_sheet(path, params.wire, colour, material=METAL, closed=True, sides=12))
    if params.stud > 0.0005:
        radii = params.stud * np.array([0.75, 1.0, 1.0])
        kind = body if params.drop < 0.0005 else METAL
        tone = colour if params.drop < 0.0005 else setting
        sheets.append(
            ellipsoid_sheet(hook + np.array([side * 0.001, 0, 0]), radii, tone, many, many * 2, material=kind)
        )
    if params.drop > 0.0005:
        end = hook + np.array([side * 0.002, -params.chain, 0.0])
        wire = hook + (end - hook) * np.linspace(0, 1, max(12, round(40 * detail)))[:, None]
        sheets.append(tube_sheet(wire, 0.0006, setting, material=METAL, sides=8))
        sheets.append(_teardrop(end, params.drop, colour, many, body))
    return sheets


def _teardrop(top: Array, radius: float, colour: Array, many: int, material: Material) -> Sheet:
    """A drop that hangs from a point."""
    centre = top + np.array([0.0, -radius, 0.0])
    sheet = ellipsoid_sheet(centre, np.array([radius, radius * 1.25, radius]), colour, many, many * 2)
    points = sheet.points.copy()
    height = np.clip((points[..., 1] - centre[1]) / (1.25 * radius), -1, 1)
    pinch = 1 - 0.55 * np.clip(height, 0, 1) ** 1.3
    points[..., 0] = centre[0] + (points[..., 0] - centre[0]) * pinch
    points[..., 2] = centre[2] + (points[..., 2] - centre[2]) * pinch
    return Sheet(points, colour, centre, material, closed=(False, True))
