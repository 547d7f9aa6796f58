"""Earrings: metal, stones, feathers and threads at the lobes and on the rim of the ear.

They are carried by the head like the ear itself and do not swing: an avatar learns what joints carry, and a
pendulum would be a joint that the head model has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from perse.studio.parts import _colours
from perse.studio.parts._colours import RGB
from perse.studio.parts._params import Params
from perse.studio.parts._shade import shade_skin
from perse.studio.parts._sitter import Array, Sitter, smoothstep, unit
from perse.studio.parts._surface import (
    METAL,
    Material,
    Sheet,
    density_of,
    ellipsoid_sheet,
    lit,
    named,
    tube_sheet,
)
from perse.studio.parts._worn import ear_lobe, ear_vertices, tuck_hair
from perse.studio.puppet import Puppet

GROUP = "earrings"
THREAD = Material(sheen=0.35, nap=0.2)
UP = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True)
class EarringParams(Params):
    """Earrings as numbers (metres). What is 0 is not there; it grows from nothing in a mix."""

    hoop: float = 0.0
    """Radius of a hoop."""
    wire: float = 0.0012
    """Radius of the hoop's wire."""
    stud: float = 0.0
    """Radius of a stud."""
    drop: float = 0.0
    """Radius of a hanging drop."""
    chain: float = 0.0
    """Length from the lobe to what hangs."""
    fan: float = 0.0
    """Width of a chandelier: a fan of chains with drops below a plate."""
    tassel: float = 0.0
    """Length of a tassel."""
    feather: float = 0.0
    """Length of a feather."""
    cuff: float = 0.0
    """Radius of a band around the rim of the ear."""
    stone: float = 0.0
    """1: stud and drops are stones set in metal."""
    sparkle: float = 0.0
    """Strength of a stone's facets."""
    red: float = 1.0
    green: float = 0.76
    blue: float = 0.33
    metal_red: float = 1.0
    metal_green: float = 0.76
    metal_blue: float = 0.33

    @property
    def colour(self) -> Array:
        """[3] of stones, feathers and threads; the metal's where there are none."""
        return np.array([self.red, self.green, self.blue])

    @property
    def metal(self) -> Array:
        """[3] of wires, plates and settings."""
        return np.array([self.metal_red, self.metal_green, self.metal_blue])


KINDS: dict[str, EarringParams] = {
    "hoop": EarringParams(hoop=0.017, wire=0.0013),
    "stud": EarringParams(stud=0.0042),
    "drop": EarringParams(stud=0.0021, drop=0.0054, chain=0.015),
    "chandelier": EarringParams(stud=0.0030, drop=0.0021, chain=0.009, fan=0.023),
    "tassel": EarringParams(stud=0.0026, chain=0.008, tassel=0.030),
    "feather": EarringParams(stud=0.0018, chain=0.007, feather=0.048),
    "cuff": EarringParams(cuff=0.0048),
}
_LENGTHS = ("hoop", "stud", "drop", "chain", "fan", "tassel", "feather", "cuff")
_DULL = ("pearl", "turquoise")


def params_from(adjectives: Sequence[str]) -> EarringParams:
    """The earrings of the words, e.g. ("large", "gold", "hoop")."""
    kind = next((word for word in adjectives if word in KINDS), "hoop")
    params = KINDS[kind]
    scale = 1.4 if "large" in adjectives else 0.68 if "small" in adjectives else 1.0
    params = params.but(
        wire=params.wire * scale**0.5, **{name: getattr(params, name) * scale for name in _LENGTHS}
    )
    metal = next((word for word in adjectives if word in _colours.METAL), None)
    stone = next((word for word in adjectives if word in _colours.STONE), None)
    if kind in ("tassel", "feather"):
        colour = _colours.CLOTH[next((word for word in adjectives if word in _colours.CLOTH), "white")]
        return _made_of(params, "gold", colour)
    if stone is not None:
        setting = metal or ("gold" if stone in ("emerald", "ruby", "turquoise") else "silver")
        params = params.but(stone=1.0, sparkle=float(stone not in _DULL))
        return _made_of(params, setting, _colours.STONE[stone])
    return _made_of(params, metal or "gold", _colours.METAL[metal or "gold"])


def _made_of(params: EarringParams, metal: str, colour: RGB) -> EarringParams:
    red, green, blue = _colours.METAL[metal]
    return params.painted(colour).but(metal_red=red, metal_green=green, metal_blue=blue)


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Put on the earrings that the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: EarringParams, seed: int, detail: float = 1.0) -> None:
    """Put on earrings; ``detail`` scales the number of discs along each side of the grids."""
    sitter = Sitter(puppet)
    hangs = max(
        2 * params.hoop, params.chain + max(2 * params.drop, params.fan, params.tassel, params.feather)
    )
    tuck_hair(sitter, below=hangs)
    sheets: list[Sheet] = []
    for side in (1, -1):
        jeweller = _Jeweller(sitter, params, side, seed, detail)
        sheets += [replace(sheet, name=f"{sheet.name} {side}") for sheet in jeweller.sheets()]
    group = lit(sitter, sheets, "earrings")
    puppet.add(GROUP, group)
    shade_skin(sitter, density_of(group, cell=0.004), strength=0.10, darkest=0.7)


class _Jeweller:
    """Makes the earring of one side (+1: the person's left)."""

    def __init__(self, sitter: Sitter, params: EarringParams, side: int, seed: int, detail: float) -> None:
        self.params, self.side, self.detail = params, side, detail
        self.ear = ear_vertices(sitter, side)
        self.rng = np.random.default_rng([seed, 45])
        self.hook = ear_lobe(sitter, side) + np.array([side * 0.001, 0.003, 0.002])
        self.across = unit(np.array([-0.5 * side, 0.0, 0.87]))
        self.many = max(8, round(26 * detail))
        self.stone = Material(
            gloss=0.45 + 0.2 * params.sparkle,
            sharpness=60,
            metal=(1 - params.stone),
            coat=0.25 * params.stone,
        )

    def sheets(self) -> list[Sheet]:
        """Everything that the parameters ask for."""
        params = self.params
        found: list[Sheet] = []
        if params.hoop > 0.001:
            found += named("hoop", self._hoop())
        if params.stud > 0.0004:
            found += named("stud", self._stud())
        end = self.hook + np.array([self.side * 0.002, -params.chain, 0.0])
        if params.chain > 0.002:
            found += named("chain", self._chain(self.hook, end))
        if params.fan > 0.002:
            found += named("fan", self._fan(end))
        elif params.drop > 0.0005:
            found += named("drop", self._drop(end, params.drop))
        if params.tassel > 0.002:
            found += named("tassel", self._tassel(end))
        if params.feather > 0.004:
            found += named("feather", self._feather(end))
        if params.cuff > 0.001:
            found += named("cuff", self._cuff())
        return found

    def _hoop(self) -> Sheet:
        params = self.params
        turn = np.linspace(0, 2 * np.pi, max(40, round(200 * self.detail)), endpoint=False)
        centre = self.hook + np.array([0.0, 0.002 - params.hoop, 0.0])
        ring = np.cos(turn)[:, None] * UP + np.sin(turn)[:, None] * self.across
        sides = max(10, round(16 * self.detail))
        path = centre + params.hoop * ring
        return tube_sheet(path, params.wire, params.metal, material=METAL, closed=True, sides=sides)

    def _stud(self) -> list[Sheet]:
        """A stone in a setting of metal, or a ball of metal."""
        params = self.params
        centre = self.hook + np.array([self.side * 0.0015, 0, 0.0005])
        alone = max(params.drop, params.tassel, params.feather) < 0.0005
        if not alone or params.stone < 0.01:
            return [self._ball(centre, params.stud * np.array([0.75, 1, 1]), params.metal, METAL)]
        setting = self._ball(centre, params.stud * np.array([0.55, 1.16, 1.16]), params.metal, METAL)
        raised = centre + np.array([self.side * 0.28 * params.stud, 0, 0.10 * params.stud])
        return [setting, self._gem(raised, params.stud * np.array([0.75, 0.98, 0.98]))]

    def _ball(self, centre: Array, radii: Array, colour: Array, material: Material) -> Sheet:
        return ellipsoid_sheet(centre, radii, colour, self.many, self.many * 2, material=material)

    def _gem(self, centre: Array, radii: Array) -> Sheet:
        """A polished stone; a sparkling one has facets that each catch another light."""
        sheet = self._ball(centre, radii, self.params.colour, self.stone)
        return self._cut(sheet, centre)

    def _cut(self, sheet: Sheet, centre: Array) -> Sheet:
        params = self.params
        direction = unit(sheet.points - centre)
        facets = unit(np.random.default_rng(46).normal(0, 1, (34, 3)))
        near = (direction @ facets.T).argmax(-1)
        bright = np.random.default_rng(47).uniform(0.35, 1.7, len(facets))[near]
        share = params.sparkle * params.stone
        albedo = params.colour * (1 + share * (bright - 1))[..., None]
        albedo = albedo + share * 0.22 * smoothstep(bright, 1.5, 1.65)[..., None]
        return Sheet(sheet.points, albedo, centre, self.stone, closed=(False, True))

    def _chain(self, start: Array, end: Array) -> Sheet:
        """A thin chain: beads on a wire."""
        t = np.linspace(0, 1, max(12, round(60 * self.detail)))
        beads = 0.00045 + 0.00035 * np.abs(np.sin(t * np.pi * np.linalg.norm(end - start) / 0.0024))
        path = start + (end - start) * t[:, None]
        return tube_sheet(path, beads, self.params.metal, material=METAL, sides=8)

    def _drop(self, top: Array, radius: float) -> Sheet:
        """A drop that hangs from a point."""
        centre = top + np.array([0.0, -radius, 0.0])
        sheet = self._gem(centre, np.array([radius, radius * 1.25, radius]))
        height = np.clip((sheet.points[..., 1] - centre[1]) / (1.25 * radius), -1, 1)
        pinch = 1 - 0.55 * np.clip(height, 0, 1) ** 1.3
        offset = (sheet.points - centre) * np.stack([pinch, np.ones_like(pinch), pinch], -1)
        return Sheet(centre + offset, sheet.albedo, centre, self.stone, closed=(False, True))

    def _fan(self, top: Array) -> list[Sheet]:
        """A half-moon plate and five chains with drops, the middle one longest."""
        params = self.params
        sheets = []
        turn = np.linspace(np.pi, 2 * np.pi, max(16, round(60 * self.detail)))
        arc = (0.55 * np.sin(turn)[:, None] * UP + np.cos(turn)[:, None] * self.across) * params.fan / 2
        sheets.append(tube_sheet(top + arc, 0.0009, params.metal, material=METAL, sides=10))
        bar = top + np.linspace(-0.5, 0.5, max(8, round(24 * self.detail)))[:, None] * np.array(
            [0, 0, params.fan]
        )
        sheets.append(tube_sheet(bar, 0.0007, params.metal, material=METAL, sides=8))
        sheets.append(self._gem(top + np.array([0, -0.0035, 0.0]), np.full(3, 0.9 * params.drop)))
        for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
            at = top + arc[round((share + 1) / 2 * (len(arc) - 1))]
            end = at - (0.75 - 0.35 * abs(share)) * params.fan * UP
            sheets += [self._chain(at, end), self._drop(end, params.drop * (1 - 0.2 * abs(share)))]
        return sheets

    def _tassel(self, top: Array) -> list[Sheet]:
        """Threads below a cap of metal."""
        params = self.params
        length = params.tassel
        cap = self._ball(top, np.array([0.0030, 0.0040, 0.0030]) * (length / 0.03), params.metal, METAL)
        columns, rows = max(24, round(90 * self.detail)), max(12, round(44 * self.detail))
        t = np.linspace(0, 1, rows)[:, None]
        angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
        threads = np.random.default_rng(48).uniform(0.45, 1.2, columns)[None]
        radius = 0.0042 * (length / 0.03) * (0.55 + 0.45 * t) * (1 + 0.10 * (threads - 0.9))
        points = np.stack(
            [radius * np.cos(angle), -t * length * (0.96 + 0.05 * threads), radius * np.sin(angle)], -1
        )
        axis = np.stack([0 * t, -t * length, 0 * t], -1)
        shade = np.clip(threads * (0.75 + 0.25 * t), 0, 1.15)
        skirt = Sheet(
            top + points, params.colour, top + axis, THREAD, closed=(False, True), shade=shade, spread=0.8
        )
        return [skirt, cap]

    def _feather(self, top: Array) -> list[Sheet]:
        """Two sides of barbs along a shaft that bends outwards."""
        params = self.params
        length = params.feather
        rows, columns = max(24, round(110 * self.detail)), max(9, round(27 * self.detail))
        t = np.linspace(0, 1, rows)[:, None]
        x = np.linspace(-1, 1, columns)[None]
        half = 0.19 * length * np.sin(np.pi * np.clip(t * 0.93 + 0.07, 0, 1) ** 0.75) ** 0.8
        barbs = np.sin(t * 95 + np.abs(x) * 7)
        ragged = 1 + 0.10 * np.sin(t * 61 + 3 * np.sign(x))
        down = -t - 0.16 * (1 - np.abs(x)) * half / length
        across = x * half * ragged
        bend = self.side * 0.10 * length * t**1.6 + self.side * 0.02 * length * np.abs(x)
        points = (
            top + np.stack([bend + 0 * x, length * down, 0 * x * t], -1) + across[..., None] * self.across
        )
        shaft = np.exp(-((x / 0.09) ** 2))
        tip = smoothstep(t, 0.62, 0.95)
        albedo = params.colour * (1 - 0.5 * tip)[..., None] * (1 + 0.35 * shaft)[..., None]
        shade = (0.88 + 0.12 * barbs) * (0.85 + 0.15 * np.abs(x))
        behind = points - np.array([self.side * 0.02, 0, 0.01])
        material = Material(sheen=0.15, nap=0.3, opacity=0.93)
        vane = Sheet(points, albedo, behind, material, shade=shade, both_sides=True, spread=0.7)
        return [vane, self._ball(top, np.full(3, 0.0016), params.metal, METAL)]

    def _cuff(self) -> Sheet:
        """A band that clasps the rim of the ear, above its middle."""
        params = self.params
        low, high = self.ear[:, 1].min(), self.ear[:, 1].max()
        height = low + 0.66 * (high - low)
        level = self.ear[np.abs(self.ear[:, 1] - height) < 0.006]
        rim = _rearmost(level)
        turn = np.linspace(0.55, 2 * np.pi - 0.55, max(24, round(90 * self.detail)))
        ring = np.stack([self.side * 0.85 * np.sin(turn), 0.10 * np.cos(turn), np.cos(turn)], 1)
        path = rim + np.array([self.side * 0.001, 0, 0.4 * params.cuff]) + params.cuff * ring
        sides = max(10, round(18 * self.detail))
        around = np.linspace(0, 2 * np.pi, sides, endpoint=False)
        outward = unit(ring * np.array([1.0, 0.0, 1.0]))
        points = (
            path[:, None]
            + 0.0008 * np.cos(around)[None, :, None] * outward[:, None]
            + 0.55 * params.cuff * np.sin(around)[None, :, None] * np.array([0.0, 1.0, 0.0])
        )
        return Sheet(points, params.metal, path[:, None], METAL, closed=(False, True))


def _rearmost(level: Array) -> Array:
    """[3] the back of the ear's rim among points of one height [N, 3]."""
    rim = level[np.abs(level[:, 0]) > 0.93 * np.abs(level[:, 0]).max()]
    return rim[np.argsort(rim[:, 2])[:3]].mean(0)
