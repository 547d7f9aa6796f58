"""Hats: lit grids around the skull; the hair under them yields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from perse.studio.parts import _colours
from perse.studio.parts._params import Params
from perse.studio.parts._shade import shade_skin
from perse.studio.parts._sitter import Array, Sitter, smoothstep, unit
from perse.studio.parts._surface import FELT, MATT, Sheet, density_of, lit
from perse.studio.parts._worn import (
    at_angle,
    hair_points,
    radius_around,
    reshape_hair,
    ring_profile,
    skull_points,
    smooth_ring,
)
from perse.studio.puppet import Puppet

GROUP = "hat"
SECTORS = 48


@dataclass(frozen=True)
class HatParams(Params):
    """A hat as numbers: shares of the three shapes, and their measures in metres."""

    beanie: float = 1.0
    """1: a beanie (a dome with ribs and a fold)."""
    cap: float = 0.0
    """1: a baseball cap (a smooth dome with a visor)."""
    fedora: float = 0.0
    """1: a fedora (a pinched crown, a brim all around, a band)."""
    front: float = 0.024
    """Height of the edge above the brows."""
    back: float = -0.012
    """Height of the edge at the back, relative to the eyes."""
    thickness: float = 0.006
    slack: float = 0.014
    """Room above the skull's top."""
    ribs: float = 0.0012
    """Depth of knitted ribs."""
    fold: float = 0.005
    """How far the turned-up edge stands off."""
    visor: float = 0.0
    """Length of the visor."""
    brim: float = 0.0
    """Width of the brim."""
    crown: float = 0.0
    """Height of the crown above the edge."""
    red: float = 0.14
    green: float = 0.32
    blue: float = 0.66


_KINDS: dict[str, HatParams] = {
    "beanie": HatParams(ribs=0.0004, fold=0.0025, thickness=0.005),
    "knitted beanie": HatParams(ribs=0.0014, fold=0.0055, thickness=0.0065),
    "baseball cap": HatParams(
        beanie=0, cap=1, front=0.034, back=0.006, thickness=0.005, slack=0.012, ribs=0, fold=0, visor=0.072
    ),
    "fedora": HatParams(
        beanie=0, fedora=1, front=0.032, back=0.006, thickness=0.004, ribs=0, fold=0, brim=0.054, crown=0.094
    ),
}


def params_from(adjectives: Sequence[str]) -> HatParams:
    """The hat of the words, e.g. ("blue", "knitted", "beanie")."""
    kind = next((w for w in adjectives if w in _KINDS), "beanie")
    if kind == "beanie" and "knitted" in adjectives:
        kind = "knitted beanie"
    colour = next((w for w in adjectives if w in _colours.CLOTH), "blue")
    return _KINDS[kind].painted(_colours.CLOTH[colour])


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Put on the hat that the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: HatParams, seed: int, detail: float = 1.0) -> None:
    """Put on a hat; ``detail`` scales the number of discs along each side of its grids."""
    sitter = Sitter(puppet)
    seat = _Seat(sitter, params)
    grid = _Grid(max(16, round(120 * detail)), max(24, round(300 * detail)))
    if params.fedora > max(params.beanie, params.cap):
        sheets = _fedora(seat, params, grid)
    elif params.cap > params.beanie:
        sheets = _cap(seat, params, grid)
    else:
        sheets = _beanie(seat, params, grid)
    seat.press_hair(puppet)
    group = lit(sitter, sheets, "hat")
    puppet.add(GROUP, group)
    shade_skin(sitter, density_of(group), strength=0.13, darkest=0.70)


@dataclass(frozen=True)
class _Grid:
    rows: int
    columns: int

    def angles(self) -> Array:
        """[columns] around the head, 0 at the front, growing to the person's left."""
        return np.linspace(0, 2 * np.pi, self.columns, endpoint=False)


class _Seat:
    """The plane in which a hat's edge lies, and how wide the head with its hair is there."""

    def __init__(self, sitter: Sitter, params: HatParams) -> None:
        rest68 = sitter.rest68
        brow = float(rest68[17:27, 1].mean())
        eye = float(sitter.landmarks[[33, 133, 362, 263], 1].mean())
        skull = skull_points(sitter)
        middle = skull[np.abs(skull[:, 0]) < 0.02]
        front = self._edge(middle, brow + params.front, 1)
        back = self._edge(middle, eye + params.back, -1)
        self.centre = (front + back) / 2
        self.forward = unit(front - back)
        self.up = unit(np.cross(self.forward, np.array([1.0, 0.0, 0.0])))
        self.left = np.array([1.0, 0.0, 0.0])
        self.skull = skull
        self._measure(sitter)

    @staticmethod
    def _edge(middle: Array, y: float, side: int) -> Array:
        """The point [3] of the skull's middle line at height y, in front (+1) or behind (-1)."""
        half = middle[middle[:, 2] * side > 0.02]
        order = np.argsort(np.abs(half[:, 1] - y))[:6]
        weight = 1 / (np.abs(half[order, 1] - y) + 0.002)
        z = float((half[order, 2] * weight).sum() / weight.sum())
        return np.array([0.0, y, z])

    def _measure(self, sitter: Sitter) -> None:
        """Width of skull, ears' top and hair in every direction of the edge."""
        angles = (np.arange(SECTORS) + 0.5) / SECTORS * 2 * np.pi
        directions = self.directions(angles, np.full(SECTORS, np.pi / 2))
        self.head = smooth_ring(radius_around(self.skull, self.centre, directions), 1.0)
        hair = hair_points(sitter.puppet)
        angle, radius, height = self.cylinder(hair)
        close = (np.abs(height) < 0.025) & (radius > 0.02)
        self.hair = at_angle(self.head, angles)
        if close.any():
            measured = ring_profile(angle[close], radius[close], SECTORS, 0.93, missing=np.nan)
            self.hair = np.fmax(self.hair, np.where(np.isnan(measured), 0, measured))
        self.inner = self.head + 0.0015 + np.clip(0.35 * (self.hair - self.head), 0, 0.007)
        self.inner = smooth_ring(self.inner, 1.5)

    def directions(self, angle: Array, polar: Array) -> Array:
        """Unit vectors [..., 3]: ``polar`` from the top, ``angle`` around from the front."""
        out = np.cos(angle)[..., None] * self.forward + np.sin(angle)[..., None] * self.left
        return np.cos(polar)[..., None] * self.up + np.sin(polar)[..., None] * out

    def place(self, angle: Array, radius: Array, height: Array) -> Array:
        """Points [..., 3] from cylinder coordinates around the seat."""
        out = np.cos(angle)[..., None] * self.forward + np.sin(angle)[..., None] * self.left
        return self.centre + out * radius[..., None] + self.up * height[..., None]

    def cylinder(self, points: Array) -> tuple[Array, Array, Array]:
        """Angle, radius and height [N] of points around the seat."""
        offset = points - self.centre
        forward, left = offset @ self.forward, offset @ self.left
        return np.arctan2(left, forward), np.hypot(forward, left), offset @ self.up

    def press_hair(self, puppet: Puppet) -> None:
        """Remove the hair above the edge; below it the hair is squeezed, less and less with distance."""

        def change(means: Array) -> tuple[Array, NDArray[np.bool_]]:
            angle, radius, height = self.cylinder(means)
            inner, hair = at_angle(self.inner, angle), at_angle(self.hair, angle)
            below = np.maximum(-height, 0)
            room = inner - 0.001 + 0.75 * below + 2.0 * below**2 / 0.1
            factor = np.minimum(1, room / np.maximum(hair, room * 0.5))
            pressed = np.minimum(radius * factor, room)
            pressed = np.maximum(pressed, np.minimum(radius, at_angle(self.head, angle) + 0.0015))
            moved = self.place(angle, pressed, height)
            keep = height < 0.004
            return moved, keep

        reshape_hair(puppet, change)


def _dome(seat: _Seat, params: HatParams, grid: _Grid, low: float) -> tuple[Array, Array, Array, Array]:
    """A dome over the skull: polar [U, V], angle [U, V], directions [U, V, 3] and inner radius [U, V].

    It ends ``low`` metres below the seat's plane.
    """
    end = np.pi / 2 + low / 0.085
    polar, angle = np.meshgrid(np.linspace(0.012, end, grid.rows), grid.angles(), indexing="ij")
    directions = seat.directions(angle, polar)
    skull = radius_around(seat.skull, seat.centre, directions)
    inner = at_angle(seat.inner, angle)
    blend = smoothstep(polar, 0.9, 1.45)
    radius = np.maximum(skull + 0.004, 0) * (1 - blend) + blend * np.maximum(inner, skull + 0.0015)
    sigma = (grid.rows / 26, grid.columns / 42)
    padded = np.concatenate([radius, radius, radius], 1)
    smooth = ndimage.gaussian_filter(padded, sigma, mode=("nearest", "wrap"))
    radius = smooth[:, grid.columns : 2 * grid.columns]
    return polar, angle, directions, radius + params.slack * np.exp(-((polar / 0.75) ** 2))


def _beanie(seat: _Seat, params: HatParams, grid: _Grid) -> list[Sheet]:
    """A knitted dome with a turned-up edge."""
    polar, angle, directions, radius = _dome(seat, params, grid, low=0.004)
    height = polar[-1, 0] - polar
    fold = smoothstep(0.40 - height, 0, 0.035)
    ribs = np.abs(np.sin(angle * 48)) * smoothstep(polar, 0.12, 0.5)
    knit = params.ribs / 0.0014
    rim = np.sqrt(np.clip(1 - ((height - 0.20) / 0.205) ** 2, 0.05, 1))
    folds = 0.0012 * np.sin(angle * 5 + 1.3) * np.exp(-(((polar - 0.55) / 0.3) ** 2))
    radius = (
        radius + params.thickness + params.fold * fold * rim + params.ribs * ribs * (1 + 0.3 * fold) + folds
    )
    points = seat.centre + directions * radius[..., None]
    stitches = 1 + 0.05 * knit * np.sin(polar * 330) + 0.05 * knit * np.sin(polar * 165 + angle * 96)
    shade = (1 - 0.42 * knit * (1 - ribs**0.6) * smoothstep(polar, 0.12, 0.5)) * stitches
    shade *= 1 - 0.40 * np.exp(-(((height - 0.415) / 0.022) ** 2))
    shade *= 1 - 0.35 * (1 - smoothstep(height, 0.0, 0.06))
    inner_edge = _edge_strip(seat, points[-1], grid, params)
    colour = np.array([params.red, params.green, params.blue])
    return [
        Sheet(points, colour, seat.centre, MATT, closed=(False, True), shade=shade, spread=0.75),
        Sheet(inner_edge, colour * 0.35, seat.centre + seat.up * 0.05, closed=(False, True), both_sides=True),
    ]


def _edge_strip(seat: _Seat, edge: Array, grid: _Grid, params: HatParams) -> Array:
    """A strip [5, V, 3] from the outer edge in to the head, so that no light shines in between."""
    angle, radius, height = seat.cylinder(edge)
    inner = at_angle(seat.head, angle) - 0.001
    share = np.linspace(0, 1, 5)[:, None]
    return seat.place(
        np.broadcast_to(angle, (5, len(angle))),
        radius * (1 - share) + inner * share,
        np.broadcast_to(height + 0.001, (5, len(angle))),
    )


def _cap(seat: _Seat, params: HatParams, grid: _Grid) -> list[Sheet]:
    """A dome of six panels with a button, and a visor."""
    polar, angle, directions, radius = _dome(seat, params, grid, low=0.002)
    seam = np.abs((angle / (2 * np.pi) * 6 + 0.5) % 1 - 0.5) / 6 * 2 * np.pi * np.sin(polar) * 0.09  # metres
    groove = np.exp(-((seam / 0.0011) ** 2))
    stitch = np.exp(-(((seam - 0.0035) / 0.0006) ** 2))
    front = 0.010 * np.maximum(np.cos(angle), 0) ** 2 * np.exp(-(((polar - 0.95) / 0.45) ** 2))
    radius = radius + params.thickness - 0.0008 * groove + front
    points = seat.centre + directions * radius[..., None]
    shade = (
        (1 - 0.30 * groove)
        * (1 - 0.12 * stitch)
        * (1 - 0.25 * smoothstep(polar, polar[-1, 0] - 0.05, polar[-1, 0]))
    )
    colour = np.array([params.red, params.green, params.blue])
    sheets = [
        Sheet(points, colour, seat.centre, FELT, closed=(False, True), shade=shade, spread=0.75),
        Sheet(
            _edge_strip(seat, points[-1], grid, params),
            colour * 0.3,
            seat.centre + seat.up * 0.05,
            closed=(False, True),
            both_sides=True,
        ),
    ]
    top = seat.centre + seat.up * radius[0].mean()
    button = np.stack([seat.left, seat.up * 0.55, seat.forward]) * 0.008
    around, down = np.meshgrid(np.linspace(0, 2 * np.pi, 30, endpoint=False), np.linspace(0.05, 1.7, 12))
    ball = np.stack([np.sin(down) * np.sin(around), np.cos(down), np.sin(down) * np.cos(around)], -1) @ button
    sheets.append(Sheet(top + ball, colour * 0.95, top, FELT, closed=(False, True)))
    sheets += _visor(seat, params, grid, points[-1], colour)
    return sheets


def _visor(seat: _Seat, params: HatParams, grid: _Grid, edge: Array, colour: Array) -> list[Sheet]:
    """A curved visor from the front of the edge; its upper and its lower side."""
    rows, columns = max(10, grid.rows // 2), max(16, grid.columns // 3)
    angle, radius, height = seat.cylinder(edge)
    order = np.argsort(angle)
    half = 1.02  # radians to each side
    across = np.linspace(-half, half, columns)
    start = np.interp(across, angle[order], radius[order])
    base = np.interp(across, angle[order], height[order]) + 0.004
    length = params.visor * np.sqrt(np.clip(1 - (across / half) ** 4, 0, 1))
    out = np.linspace(0, 1, rows)[:, None]
    x = start * np.sin(across)
    forward = start * np.cos(across)
    reach = forward + out * length
    droop = 0.010 * out**1.5 * (length / params.visor) + 3.6 * x**2 * (0.35 + 0.65 * out)
    narrow = 1 - 0.10 * out
    points = (
        seat.centre
        + seat.left * (x * narrow)[..., None]
        + seat.forward * reach[..., None]
        + seat.up * (base - droop + 3.6 * 0.35 * x**2 * (1 - out))[..., None]
    )
    rows_of_stitches = 1 - 0.10 * np.exp(-((((out * 7) % 1 - 0.5) / 0.12) ** 2)) * np.ones_like(x)
    edge_shade = 1 - 0.18 * smoothstep(out, 0.94, 1.0) * np.ones_like(x)
    below = points - seat.up * 0.0022
    return [
        Sheet(
            points, colour, points - seat.up * 0.02, FELT, shade=rows_of_stitches * edge_shade, spread=0.75
        ),
        Sheet(below, colour * 0.55, points + seat.up * 0.02, FELT, spread=0.75),
    ]


def _fedora(seat: _Seat, params: HatParams, grid: _Grid) -> list[Sheet]:
    """A pinched crown with a band, and a brim."""
    crown, edge = _crown(seat, params, grid)
    colour = np.array([params.red, params.green, params.blue])
    height = np.linspace(0, 1, len(crown))[:, None] * np.ones((1, grid.columns))
    band = (height > 0.02) & (height < 0.19)
    dark = colour * 0.35 if colour.mean() > 0.22 else colour * 0.35 + 0.10 * np.array([1.0, 0.9, 0.85])
    albedo = np.where(band[..., None], dark, colour)
    shade = (1 - 0.35 * np.exp(-(((height - 0.19) / 0.012) ** 2))) * (
        0.75 + 0.25 * smoothstep(height, 0.0, 0.03)
    )
    brim = _brim(seat, params, grid, edge)
    out = np.linspace(0, 1, len(brim))[:, None] * np.ones((1, grid.columns))
    contact = 0.70 + 0.30 * smoothstep(out, 0.0, 0.25)
    return [
        Sheet(
            crown, albedo, seat.centre + seat.up * 0.03, FELT, closed=(False, True), shade=shade, spread=0.75
        ),
        Sheet(brim, colour, brim - seat.up * 0.02, FELT, closed=(False, True), shade=contact, spread=0.8),
        Sheet(
            brim - seat.up * 0.002,
            colour * 0.6,
            brim + seat.up * 0.02,
            FELT,
            closed=(False, True),
            spread=0.8,
        ),
    ]


def _crown(seat: _Seat, params: HatParams, grid: _Grid) -> tuple[Array, Array]:
    """The crown [U, V, 3] from edge to top, and the radius [V] of its edge."""
    angle = grid.angles()
    edge = smooth_ring(at_angle(seat.inner, angle), grid.columns / 60) + params.thickness
    rise = np.linspace(0, 1, grid.rows)[:, None]
    wall = np.clip(rise / 0.72, 0, 1)  # the wall, then the top
    top = np.clip((rise - 0.72) / 0.28, 0, 1)
    taper = 1 - 0.13 * wall**1.5
    radius = edge * taper * np.sqrt(np.clip(1 - top**2.2, 0.0004, 1))
    height = params.crown * (0.93 * wall + 0.07 * np.sin(top * np.pi / 2))
    x = radius * np.sin(angle)
    z = radius * np.cos(angle)
    upper = smoothstep(height, 0.55 * params.crown, params.crown)
    pinch = np.exp(-(((z - 0.055) / 0.035) ** 2)) * upper
    x = x * (1 - 0.36 * pinch)
    crease = np.exp(-((x / 0.022) ** 2)) * np.exp(-(((z + 0.01) / 0.075) ** 4))
    height = height - 0.026 * crease * smoothstep(top, 0.0, 0.5) + 0.004 * smoothstep(z, 0.0, 0.1) * upper
    points = (
        seat.centre + seat.left * x[..., None] + seat.forward * z[..., None] + seat.up * height[..., None]
    )
    return points, edge


def _brim(seat: _Seat, params: HatParams, grid: _Grid, edge: Array) -> Array:
    """The brim [U, V, 3], turned down in front and up at the sides and the back."""
    angle = grid.angles()[None]
    out = np.linspace(0, 1, max(10, grid.rows // 2))[:, None]
    radius = edge[None] - 0.006 + out * (params.brim + 0.006)
    curl = -0.012 * np.cos(angle) + 0.010 * np.sin(angle) ** 2
    height = out**1.6 * curl + 0.001
    return seat.place(np.broadcast_to(angle, radius.shape), radius, height)
