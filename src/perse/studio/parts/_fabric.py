"""What things are made of: knit, straw, denim, leather, felt, satin, plastic, metal; stripes, dots, plaid, flowers.

A fabric is a few floats, each a strength from 0 to 1, so that any two fabrics can be mixed. On a surface with
coordinates ``u``, ``v`` in metres it gives colours, a relief and the shade in its hollows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from perse.studio.parts._colours import RGB
from perse.studio.parts._params import Params
from perse.studio.parts._sitter import Array, smoothstep
from perse.studio.parts._surface import Material

GIRTH = 0.576
"""Metres around a head: every repeat around a hat divides it, so that patterns close."""


@dataclass(frozen=True)
class FabricParams(Params):
    """Material, pattern and the two colours of something worn."""

    knit: float = 0.0
    """Ribs of knitted loops."""
    straw: float = 0.0
    """Rows of plaited straw."""
    denim: float = 0.0
    """Worn warp threads."""
    leather: float = 0.0
    """Grain and gloss."""
    felt: float = 0.0
    """A nap that catches light from the side."""
    satin: float = 0.0
    """A wide sheen."""
    plastic: float = 0.0
    """A hard highlight and a mirror at grazing angles."""
    metal: float = 0.0
    """Mirrors its surroundings."""
    stripes: float = 0.0
    dots: float = 0.0
    plaid: float = 0.0
    floral: float = 0.0
    red: float = 0.5
    green: float = 0.5
    blue: float = 0.5
    second_red: float = 0.93
    """The second colour: of patterns, bands and emblems."""
    second_green: float = 0.90
    second_blue: float = 0.82

    @property
    def colour(self) -> Array:
        """[3] the main colour."""
        return np.array([self.red, self.green, self.blue])

    @property
    def second(self) -> Array:
        """[3] the second colour."""
        return np.array([self.second_red, self.second_green, self.second_blue])

    def with_second(self, colour: RGB) -> Self:
        """A copy with another second colour."""
        return self.but(second_red=colour[0], second_green=colour[1], second_blue=colour[2])


@dataclass(frozen=True)
class Swatch:
    """A piece of fabric on a grid."""

    albedo: Array  # [..., 3]
    height: Array  # [...] metres above the plain surface
    shade: Array  # [...] light that reaches the hollows


def material(params: FabricParams) -> Material:
    """How the fabric answers the light."""
    hard = max(params.plastic, params.leather, params.metal)
    fibres = 1 - hard  # threads scatter a little light from everywhere: black cloth is never quite black
    return Material(
        gloss=0.02 + 0.04 * fibres + 0.34 * params.plastic + 0.16 * params.leather + 0.10 * params.satin,
        sharpness=4 + 32 * params.plastic + 14 * params.leather,
        metal=params.metal,
        nap=0.12 * fibres + 0.30 * params.felt + 0.15 * params.knit,
        sheen=0.55 * params.satin + 0.12 * params.leather,
        coat=0.5 * params.plastic + 0.15 * params.leather,
    )


def swatch(params: FabricParams, u: Array, v: Array, seed: int = 0) -> Swatch:
    """The fabric at ``u`` (around) and ``v`` (along), metres [...]; ``u`` repeats after :data:`GIRTH`."""
    albedo = _pattern(params, u, v)
    height, shade = np.zeros(u.shape), np.ones(u.shape)
    grain = 0.02 + 0.035 * params.felt + 0.03 * params.denim + 0.02 * params.knit
    grain = grain * (1 - 0.9 * max(params.plastic, params.metal, params.satin))
    tone = 1 + np.random.default_rng([seed, 41]).normal(0, 1, u.shape) * grain
    if params.knit > 0:
        rib, loop = _knit(u, v)
        height = height + 0.0013 * params.knit * rib * (0.72 + 0.28 * loop)
        shade = shade * (1 - params.knit * (0.50 * (1 - rib) + 0.20 * (1 - loop) * rib))
    if params.straw > 0:
        row, strand, tint = _straw(u, v)
        height = height + params.straw * (0.0007 * row + 0.0003 * strand)
        shade = shade * (1 - params.straw * (0.42 * (1 - row) + 0.16 * (1 - strand)))
        tone = tone * (1 + 0.13 * params.straw * tint)
    if params.denim > 0:
        warp = noise(u * 4, v * 0.35, 0.004, 5)
        worn = noise(u, v, 0.03, 6)
        tone = tone * (1 + params.denim * (0.09 * warp + 0.08 * worn))
    if params.leather > 0:
        grain_height = noise(u, v, 0.0042, 7)
        height = height + 0.00022 * params.leather * grain_height
        shade = shade * (1 - 0.10 * params.leather * smoothstep(-grain_height, 0.2, 1.2))
    return Swatch(albedo * tone[..., None], height, shade)


def _pattern(params: FabricParams, u: Array, v: Array) -> Array:
    """Albedo [..., 3] of the printed or woven pattern."""
    albedo = np.broadcast_to(params.colour, (*u.shape, 3))
    if params.stripes > 0:
        albedo = _over(albedo, params.second, params.stripes * bars(v, 0.024))
    if params.plaid > 0:
        wide = (bars(u, 0.032) + bars(v, 0.032)) / 2
        dark = params.colour * 0.45
        albedo = _over(albedo, dark, 0.75 * params.plaid * wide)
        albedo = _over(albedo, params.second, params.plaid * np.maximum(_line(u, 0.032), _line(v, 0.032)))
    if params.dots > 0:
        albedo = _over(albedo, params.second, params.dots * _dots(u, v))
    if params.floral > 0:
        for colour, share in _flowers(params, u, v):
            albedo = _over(albedo, colour, params.floral * share)
    return albedo


def _over(albedo: Array, colour: Array, share: Array) -> Array:
    return albedo * (1 - share[..., None]) + colour * share[..., None]


def bars(x: Array, period: float) -> Array:
    """1 on every other bar of half a ``period``, with soft edges."""
    return smoothstep(np.abs((x / period) % 1 - 0.5), 0.225, 0.275)


def _line(x: Array, period: float) -> Array:
    """Thin lines in the middle of the bars."""
    return 0.8 * np.exp(-((((x / period) % 1 - 0.5) / 0.045) ** 2))


def _dots(u: Array, v: Array, pitch: float = 0.018) -> Array:
    row = np.round(v / (0.86 * pitch))
    across = (u / pitch + 0.5 * (row % 2)) % 1 - 0.5
    down = v / pitch - 0.86 * row
    return smoothstep(0.27 - np.hypot(across, down), -0.04, 0.04)


def _flowers(params: FabricParams, u: Array, v: Array, pitch: float = 0.024) -> list[tuple[Array, Array]]:
    """Colours and coverage of leaves, petals and hearts, one five-petalled flower in each jittered cell."""
    i, j = np.floor(u / pitch) % round(GIRTH / pitch), np.floor(v / pitch)
    x = (u / pitch) % 1 - 0.5 - 0.30 * (scatter(i, j) - 0.5)
    y = (v / pitch) % 1 - 0.5 - 0.30 * (scatter(i + 7, j) - 0.5)
    radius, angle = np.hypot(x, y), np.arctan2(y, x) + 6.28 * scatter(i, j + 3)
    size = 0.26 + 0.10 * scatter(i + 3, j + 5)
    petals = smoothstep(size * (0.68 + 0.32 * np.cos(5 * angle)) - radius, -0.03, 0.03)
    leaf = smoothstep(0.46 - radius, -0.03, 0.03) * smoothstep(np.cos(2 * angle + 1), 0.75, 0.9)
    heart = smoothstep(0.075 - radius, -0.02, 0.02)
    return [
        (np.array([0.16, 0.36, 0.18]), leaf),
        (params.second, petals),
        (np.array([0.92, 0.70, 0.15]), heart),
    ]


def _knit(u: Array, v: Array) -> tuple[Array, Array]:
    """Ribs and loops, 0 to 1: columns of V-shaped stitches."""
    across = (u / 0.006) % 1 - 0.5
    rib = np.cos(np.pi * across) ** 0.8
    loop = 0.5 + 0.5 * np.cos(2 * np.pi * (v / 0.0048 + 1.1 * np.abs(across)))
    return rib, loop


def _straw(u: Array, v: Array) -> tuple[Array, Array, Array]:
    """Rows of braid, strands across them (0 to 1) and the tint of each strand (-1 to 1)."""
    row = v / 0.0062
    k = np.floor(row)
    across = np.sqrt(np.abs(np.sin(np.pi * row)))
    along = u / 0.009 + 0.8 * ((row % 1) - 0.5) * np.where(k % 2 == 0, 1, -1)
    tint = 2 * scatter(np.floor(along) % round(GIRTH / 0.009), k) - 1
    return across, np.abs(np.cos(np.pi * along)), tint


def noise(u: Array, v: Array, scale: float, seed: int) -> Array:
    """Smooth noise [...] of about unit size and ``scale`` metres; closes around a head."""
    rng = np.random.default_rng([seed, 43])
    total = np.zeros(u.shape)
    for _ in range(7):
        turn, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        wave = rng.uniform(0.6, 1.4) / scale
        around = np.round(wave * np.cos(turn) * GIRTH / (2 * np.pi)) * (2 * np.pi / GIRTH)
        total += np.sin(around * u + wave * np.sin(turn) * v + phase)
    return total / 2.2


def scatter(i: Array, j: Array) -> Array:
    """A fixed random number in 0..1 for every pair of integers."""
    return np.abs(np.sin(i * 127.1 + j * 311.7) * 43758.5453) % 1
