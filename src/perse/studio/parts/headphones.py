"""Headphones: an arc with cups over hair and ears, or buds with a cable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline

from perse.studio.parts import _colours
from perse.studio.parts._params import Params
from perse.studio.parts._shade import shade_skin
from perse.studio.parts._sitter import NECK, Array, Sitter, smoothstep
from perse.studio.parts._surface import PLASTIC, Material, Sheet, density_of, ellipsoid_sheet, lit, tube_sheet
from perse.studio.parts._worn import (
    ear_centre,
    hair_points,
    radius_around,
    reshape_hair,
    skull_points,
    tuck_hair,
)
from perse.studio.puppet import Puppet

GROUP = "headphones"
ROUND = 2.5
"""Exponent of the arch: 2 is an ellipse, more is squarer."""
LEATHER = Material(gloss=0.10, sharpness=10)


@dataclass(frozen=True)
class HeadphoneParams(Params):
    """Headphones as numbers (metres)."""

    cup: float = 0.041
    """Half the height of a cup; 0: buds in the ears."""
    depth: float = 0.017
    """Half the thickness of a cup."""
    pad: float = 0.0095
    """Radius of the ear pads."""
    band: float = 0.012
    """Half the width of the band over the head."""
    bud: float = 0.0
    """Radius of a bud; 0: cups."""
    red: float = 0.095
    green: float = 0.095
    blue: float = 0.105


_KINDS: dict[str, HeadphoneParams] = {
    "over-ear": HeadphoneParams(),
    "on-ear": HeadphoneParams(cup=0.029, depth=0.011, pad=0.008, band=0.0075),
    "in-ear": HeadphoneParams(cup=0.0, depth=0.0, pad=0.0, band=0.0, bud=0.0075),
}


def params_from(adjectives: Sequence[str]) -> HeadphoneParams:
    """The headphones of the words, e.g. ("black", "over-ear")."""
    params = _KINDS[next((w for w in adjectives if w in _KINDS), "over-ear")]
    scale = 1.18 if "large" in adjectives else 0.84 if "slim" in adjectives else 1.0
    params = params.but(
        cup=params.cup * scale, depth=params.depth * scale, pad=params.pad * scale, band=params.band * scale
    )
    colour = next((w for w in adjectives if w in _colours.CLOTH), "black")
    return params.painted(_colours.CLOTH[colour])


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Put on the headphones that the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: HeadphoneParams, seed: int, detail: float = 1.0) -> None:
    """Put on headphones; ``detail`` scales the number of discs along each side of the grids."""
    sitter = Sitter(puppet)
    if params.bud > params.cup:
        _buds(sitter, params, detail)
        return
    seat = _Seat(sitter, params)
    sheets = [_band(seat, params, detail)]
    for side in (1, -1):
        sheets += _cup(seat, params, side, detail)
    seat.press_hair(puppet, params)
    group = lit(sitter, sheets, "headphones")
    puppet.add(GROUP, group)
    shade_skin(sitter, density_of(group), strength=0.15, darkest=0.6)


class _Seat:
    """Where cups and band sit on this head with its hair."""

    def __init__(self, sitter: Sitter, params: HeadphoneParams) -> None:
        ears = [ear_centre(sitter, side) for side in (1, -1)]
        self.x = float(np.mean([abs(ear[0]) for ear in ears]))
        self.y = float(np.mean([ear[1] for ear in ears])) + 0.002
        self.z = float(np.mean([ear[2] for ear in ears])) + 0.004
        self.cup_x = self.x + params.pad * 0.55 + 0.001
        self._arc(sitter, params)

    def _arc(self, sitter: Sitter, params: HeadphoneParams) -> None:
        """The band's radius over angles from the person's left (0) over the top to the right (pi)."""
        self.angles = np.linspace(0, np.pi, 121)
        directions = np.stack([np.cos(self.angles), np.sin(self.angles), 0 * self.angles], 1)
        centre = np.array([0.0, self.y, self.z])
        skull = radius_around(skull_points(sitter), centre, directions)
        hair = self._hair_radius(sitter, centre, skull, params)
        over = skull + np.clip(0.55 * (hair - skull), 0.004, 0.045)
        # a band is a spring: one smooth arch through cups and top, it does not follow every bump
        side = self.cup_x + params.depth * 0.6
        top = float(over[52:69].mean())
        cos, sin = np.abs(np.cos(self.angles)), np.abs(np.sin(self.angles))
        arch = ((cos / side) ** ROUND + (sin / top) ** ROUND) ** (-1 / ROUND)
        clear = np.where(sin > 0.45, skull + 0.005, 0)
        self.radius = ndimage.gaussian_filter1d(np.maximum(arch, clear), 3.0)

    def _hair_radius(self, sitter: Sitter, centre: Array, skull: Array, params: HeadphoneParams) -> Array:
        """How far the hair reaches in the band's plane at every angle."""
        hair = hair_points(sitter.puppet)
        offset = hair - centre
        close = (np.abs(offset[:, 2]) < params.band + 0.004) & (offset[:, 1] > 0)
        if close.sum() < 50:
            return skull
        angle = np.arctan2(offset[close, 1], offset[close, 0])
        length = np.hypot(offset[close, 0], offset[close, 1])
        reach = skull.copy()
        for k, a in enumerate(self.angles):
            near = length[np.abs(angle - a) < 0.07]
            if len(near) > 4:
                reach[k] = max(skull[k], float(np.quantile(near, 0.97)))
        return reach

    def press_hair(self, puppet: Puppet, params: HeadphoneParams) -> None:
        """Hair under the band and the cups is pressed in, softly towards their edges."""

        def change(means: Array) -> tuple[Array, NDArray[np.bool_]]:
            moved = means.copy()
            dy, dz = means[:, 1] - self.y, means[:, 2] - self.z
            length = np.hypot(means[:, 0], dy)
            angle = np.arctan2(np.maximum(dy, 1e-6), means[:, 0])
            beside = np.maximum(np.abs(dz) - params.band - 0.003, 0)
            room = np.interp(angle, self.angles, self.radius) - 0.005 + 0.55 * beside + 8 * beside**2
            factor = np.where(dy > 0.0, np.minimum(1, room / np.maximum(length, 1e-6)), 1)
            moved[:, 0] *= factor
            moved[:, 1] = self.y + dy * factor
            ring = np.hypot((moved[:, 1] - self.y) / params.cup, dz / (0.86 * params.cup))
            outside = np.maximum(ring - 1.0, 0) * params.cup
            limit = self.cup_x - 0.006 + 0.9 * outside + 20 * outside**2
            moved[:, 0] = np.sign(moved[:, 0]) * np.minimum(np.abs(moved[:, 0]), limit)
            return moved, np.ones(len(means), bool)

        reshape_hair(puppet, change)


def _band(seat: _Seat, params: HeadphoneParams, detail: float) -> Sheet:
    """The arc over the head."""
    angles = np.linspace(-0.10, np.pi + 0.10, max(40, round(260 * detail)))
    radius = np.interp(angles, seat.angles, seat.radius)
    out = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)
    path = np.array([0.0, seat.y, seat.z]) + out * radius[:, None]
    around = np.linspace(0, 2 * np.pi, max(16, round(40 * detail)), endpoint=False)
    narrow = 0.62 + 0.38 * smoothstep(np.sin(angles), 0.0, 0.5)
    section_out, section_side = (
        0.0038 * _power(np.cos(around), 0.7),
        params.band * _power(np.sin(around), 0.7),
    )
    points = (
        path[:, None]
        + (section_out[None, :, None] + 0.0036) * out[:, None]
        + (section_side[None] * narrow[:, None])[..., None] * np.array([0.0, 0.0, 1.0])
    )
    colour = np.array([params.red, params.green, params.blue])
    inside = path[:, None] + 0.0036 * out[:, None]
    return Sheet(points, colour, inside, PLASTIC, closed=(False, True), spread=0.75)


def _cup(seat: _Seat, params: HeadphoneParams, side: int, detail: float) -> list[Sheet]:
    """A cup with a cap in a second tone, and its pad."""
    colour = np.array([params.red, params.green, params.blue])
    dark = colour * 0.45 if colour.mean() > 0.25 else colour * 0.7
    cap = np.clip(colour * 1.25 + 0.03, 0, 1)
    centre = np.array([side * (seat.cup_x + params.depth * 0.75), seat.y, seat.z])
    rows, columns = max(16, round(60 * detail)), max(24, round(110 * detail))
    polar, around = np.meshgrid(
        np.linspace(0.02, np.pi - 0.02, rows),
        np.linspace(0, 2 * np.pi, columns, endpoint=False),
        indexing="ij",
    )
    across = np.sin(polar) ** 0.65
    shell = np.stack(
        [
            side * params.depth * _power(np.cos(polar), 0.8),
            params.cup * across * np.sin(around),
            0.86 * params.cup * across * np.cos(around),
        ],
        -1,
    )
    ring = np.hypot(shell[..., 1] / params.cup, shell[..., 2] / (0.86 * params.cup))
    outer = shell[..., 0] * side > 0
    plate = smoothstep(0.74 - ring, 0.0, 0.03) * outer
    groove = np.exp(-(((ring - 0.76) / 0.02) ** 2)) * outer
    albedo = colour * (1 - plate[..., None]) + cap * plate[..., None]
    cup = Sheet(
        centre + shell, albedo, centre, PLASTIC, closed=(False, True), shade=1 - 0.5 * groove, spread=0.75
    )
    turn = np.linspace(0, 2 * np.pi, max(30, round(110 * detail)), endpoint=False)
    path = np.stack(
        [
            np.full(len(turn), side * seat.cup_x),
            seat.y + (params.cup - params.pad * 0.8) * np.sin(turn),
            seat.z + (0.86 * params.cup - params.pad * 0.8) * np.cos(turn),
        ],
        1,
    )
    pad = tube_sheet(path, params.pad, dark, material=LEATHER, closed=True, sides=max(10, round(26 * detail)))
    return [cup, pad]


def _buds(sitter: Sitter, params: HeadphoneParams, detail: float) -> None:
    """A bud in each ear, and a cable from both around the back of the neck."""
    tuck_hair(sitter)
    colour = np.array([params.red, params.green, params.blue])
    sheets = []
    rows, columns = max(10, round(26 * detail)), max(14, round(40 * detail))
    for side in (1, -1):
        ear = ear_centre(sitter, side)
        bud = np.array([side * (abs(ear[0]) - 0.005), ear[1] - 0.007, ear[2] + 0.010])
        radii = params.bud * np.array([0.9, 1.0, 1.0])
        sheets.append(ellipsoid_sheet(bud, radii, colour, rows, columns, material=PLASTIC))
        cap = bud + np.array([side * params.bud * 0.75, 0.0, 0.0])
        silver = np.clip(colour * 0.4 + 0.35, 0, 1)
        sheets.append(ellipsoid_sheet(cap, radii * 0.55, silver, rows, columns, material=PLASTIC))
        path = _cable(sitter, bud, side, max(40, round(220 * detail)))
        sheets.append(tube_sheet(path, 0.0016, colour, material=PLASTIC, sides=8))
    sitter.puppet.add(GROUP, lit(sitter, sheets, "headphones"))


def _cable(sitter: Sitter, bud: Array, side: int, count: int) -> Array:
    """A cable [count, 3] from a bud, down behind the jaw and around the nape."""
    chin_y = float(sitter.landmarks[152, 1])
    joint = sitter.puppet.joints()[NECK].numpy().astype(float)
    knots = np.stack(
        [
            bud + np.array([side * 0.001, -0.004, 0.002]),
            bud + np.array([side * 0.001, -0.026, 0.002]),
            np.array([side * (abs(bud[0]) - 0.012), chin_y + 0.020, joint[2] + 0.004]),
            np.array([side * 0.058, chin_y - 0.006, joint[2] - 0.030]),
            np.array([0.0, chin_y - 0.004, joint[2] - 0.075]),
        ]
    )
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    path = CubicSpline(length, knots)(np.linspace(0, length[-1], count))
    hang = len(path) // 5
    for _ in range(4):
        path[hang:] = sitter.body.push_out(path[hang:], 0.004)
        path[2:-2] = (path[:-4] + path[1:-3] + path[2:-2] + path[3:-1] + path[4:]) / 5
    return path


def _power(x: Array, exponent: float) -> Array:
    """Signed power, for rounded boxes."""
    return np.sign(x) * np.abs(x) ** exponent
