"""The shape of every hat: one family of crowns and one of brims, from numbers that may be mixed.

A crown lies between a dome that follows the skull and a free profile (a superellipse), so a beanie becomes a
fedora without a jump. A brim is a ring whose width, slope and curl depend on the angle; a visor is its front.
Grids have the same size for every hat of one detail: their points correspond.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from perse.studio.parts._fabric import GIRTH, FabricParams
from perse.studio.parts._hat_seat import Seat
from perse.studio.parts._sitter import Array, smoothstep, unit
from perse.studio.parts._worn import at_angle, radius_around, smooth_ring

LOW = 0.004
"""Metres a crown reaches below the seat's plane."""
VISOR_HALF = 1.02
"""Radians that a visor spans to each side."""


@dataclass(frozen=True)
class HatParams(FabricParams):
    """A hat as numbers; lengths in metres. What is 0 is not there."""

    front: float = 0.024
    """Height of the edge above the brows."""
    back: float = -0.012
    """Height of the edge at the back, relative to the eyes."""
    thickness: float = 0.005
    slack: float = 0.014
    """Room above the skull's top."""
    free: float = 0.0
    """0: the crown follows the skull; 1: it has a profile of its own."""
    crown: float = 0.10
    """Height of the profile above the edge."""
    square: float = 3.0
    """Exponent of the profile: 2 is a half ellipse, 8 nearly a cylinder."""
    taper: float = 1.0
    """Width at the top over width at the edge."""
    bulge: float = 0.0
    """Share by which the crown is wider half way up."""
    lean_left: float = 0.0
    """How far the top is shifted to the person's left."""
    lean_front: float = 0.0
    """How far the top is shifted to the front."""
    crease: float = 0.0
    """Depth of the crease along the top."""
    pinch: float = 0.0
    """Share by which the crown is narrower at its upper front."""
    reach: float = 1.0
    """Share of the crown that is there, from the edge up: less is open at the top."""
    spikes: float = 0.0
    """Share of the crown that its points add to ``reach``."""
    cuff: float = 0.0
    """Height of the turned-up edge."""
    cuff_out: float = 0.0
    """How far the turned-up edge stands off."""
    slouch: float = 0.0
    """Depth of loose folds."""
    panels: float = 0.0
    """Six panels with seams and rows of stitches."""
    wraps: float = 0.0
    """Depth of cloth wound around."""
    ridge: float = 0.0
    """Height of ridges from front to back."""
    vents: float = 0.0
    """Dark slots from front to back."""
    mesh: float = 0.0
    """A net behind a front in the second colour."""
    band: float = 0.0
    """Height of a ribbon in the second colour."""
    emblem: float = 0.0
    """Radius of a round patch at the front, with a star."""
    button: float = 0.0
    """Radius of a button on the top."""
    pompom: float = 0.0
    """Radius of a woollen ball on the top."""
    knot: float = 0.0
    """Length of the tails of a knot at the nape."""
    brim: float = 0.0
    """Width of the brim."""
    visor: float = 0.0
    """Length of the visor."""
    droop: float = 0.0
    """Slope of the brim in radians, down."""
    curl_sides: float = 0.0
    """How far the brim's sides turn up."""
    curl_front: float = 0.0
    """How far the brim's front and back turn up; negative: down."""
    wave: float = 0.0
    """Height of waves in the brim."""


@dataclass(frozen=True)
class Crown:
    """A crown before cloth is put on it."""

    points: Array  # [U, V, 3] rows from the edge to the top
    normals: Array  # [U, V, 3] outwards
    angle: Array  # [U, V] radians around, 0 in front
    share: Array  # [U, V] 0 at the edge, 1 at the top of the full crown
    u: Array  # [U, V] metres around at the edge
    v: Array  # [U, V] metres from the edge, along the crown


class HatShape:
    """Crown and brim of a hat on a head."""

    def __init__(self, seat: Seat, params: HatParams, rows: int, columns: int) -> None:
        self.seat, self.params = seat, params
        self.rows, self.columns = rows, columns
        self.angles = np.linspace(0, 2 * np.pi, columns, endpoint=False)

    # ---- the crown --------------------------------------------------------------------------------------

    @cached_property
    def crown(self) -> Crown:
        """The crown that the parameters describe, clear of the skull."""
        params, seat = self.params, self.seat
        points3 = np.abs((self.angles / (2 * np.pi) * 9) % 1 - 0.5) * 2  # 0 at a spike, 1 between
        reach = np.clip(params.reach + params.spikes * (1 - points3) ** 1.3, 0.02, 1)
        share = np.linspace(0, 1, self.rows)[:, None] * reach
        angle = np.broadcast_to(self.angles, share.shape)
        points = (1 - params.free) * self._dome(share, angle) + params.free * self._profile(share, angle)
        points = self._clear(points)
        lift = smoothstep(share, 0.1, 1.0)[..., None]
        points = points + lift * (params.lean_left * seat.left + params.lean_front * seat.forward)
        rough = _along(points)
        points = points + _outward(points, seat) * self._folds(share, angle, rough)[..., None]
        length = _along(points)
        return Crown(points, _outward(points, seat), angle, share, angle * (GIRTH / (2 * np.pi)), length)

    def _dome(self, share: Array, angle: Array) -> Array:
        """Points [U, V, 3] that follow the skull."""
        polar = self._polar_end * (1 - share) + 0.012
        radius = _grid_at(self._dome_radius, polar / (self._polar_end + 0.012), angle)
        radius = radius + self.params.slack * np.exp(-((polar / 0.75) ** 2)) + self.params.thickness
        return self.seat.centre + self.seat.directions(angle, polar) * radius[..., None]

    @property
    def _polar_end(self) -> float:
        return np.pi / 2 + LOW / 0.085

    @cached_property
    def _dome_radius(self) -> Array:
        """[64, 128] radius of the covered skull over polar angle (0 to the edge) and angle around."""
        seat = self.seat
        polar, angle = np.meshgrid(
            np.linspace(0.0, self._polar_end + 0.012, 64), np.arange(128) / 128 * 2 * np.pi, indexing="ij"
        )
        skull = radius_around(seat.skull, seat.centre, seat.directions(angle, np.maximum(polar, 0.012)))
        blend = smoothstep(polar, 0.9, 1.45)
        radius = (skull + 0.004) * (1 - blend) + blend * np.maximum(
            at_angle(seat.inner, angle), skull + 0.0015
        )
        return ndimage.gaussian_filter(radius, (2.4, 3.0), mode=("nearest", "wrap"))

    def _profile(self, share: Array, angle: Array) -> Array:
        """Points [U, V, 3] of the free profile."""
        params, seat = self.params, self.seat
        edge = self.edge_radius(angle)
        out, up = _superellipse(params.square, params.crown / 0.09, share)
        height = params.crown * up
        radius = edge * out * (1 + (params.taper - 1) * up) * (1 + params.bulge * np.sin(np.pi * up**0.6))
        x, z = radius * np.sin(angle), radius * np.cos(angle)
        upper = smoothstep(up, 0.5, 1.0)
        x = x * (1 - params.pinch * np.exp(-(((z - 0.055) / 0.035) ** 2)) * upper)
        crease = np.exp(-((x / 0.024) ** 2)) * np.exp(-(((z + 0.01) / 0.075) ** 4))
        height = height - params.crease * crease * smoothstep(up, 0.75, 1.0)
        return (
            seat.centre + seat.left * x[..., None] + seat.forward * z[..., None] + seat.up * height[..., None]
        )

    def edge_radius(self, angle: Array) -> Array:
        """How far the crown's edge is from the seat's centre."""
        ring = smooth_ring(at_angle(self.seat.inner, self.angles), self.columns / 60)
        return at_angle(ring, angle + np.pi / len(ring)) + self.params.thickness

    def _clear(self, points: Array) -> Array:
        """Push points out of the skull and the hair left on it."""
        offset = points - self.seat.centre
        length = np.linalg.norm(offset, axis=-1)
        polar = np.arccos(np.clip(offset @ self.seat.up / np.maximum(length, 1e-6), -1, 1))
        angle = np.arctan2(offset @ self.seat.left, offset @ self.seat.forward)
        least = _grid_at(self._dome_radius, polar / (self._polar_end + 0.012), angle) + self.params.thickness
        return self.seat.centre + offset * (np.maximum(length, least) / np.maximum(length, 1e-6))[..., None]

    def _folds(self, share: Array, angle: Array, length: Array) -> Array:
        """Height [U, V] of what is larger than the weave: cuff, wound cloth, ridges, loose folds."""
        params = self.params
        height = np.zeros(share.shape)
        if params.cuff > 0:
            rim = np.sqrt(np.clip(1 - ((length / params.cuff - 0.5) / 0.52) ** 2, 0.04, 1))
            height += params.cuff_out * rim * smoothstep(params.cuff - length, 0, 0.0035)
        if params.wraps > 0:
            height += params.wraps * self.wrap(angle, length) * smoothstep(share, 0.0, 0.04)
        if params.ridge > 0:
            x = np.sin(angle) * 0.09 * np.cos(share * np.pi / 2)
            lines = sum(np.exp(-(((x - at) / 0.0085) ** 4)) for at in (-0.032, 0.0, 0.032))
            height += params.ridge * lines * smoothstep(share, 0.16, 0.4)
        if params.slouch > 0:
            waves = np.sin(angle * 5 + 1.3 + 3 * share) + 0.6 * np.sin(angle * 8 + 4.1 - 4 * share)
            height += params.slouch * waves * np.sin(np.pi * share) ** 2
        return height

    @staticmethod
    def wrap(angle: Array, length: Array) -> Array:
        """0 to 1: bands of cloth that cross over the forehead."""
        turned = (angle + np.pi) % (2 * np.pi) - np.pi
        phase = (length + 0.024 * np.sqrt(turned**2 + 0.02)) / 0.028
        return np.sin(np.pi * (phase % 1) ** 1.4) ** 0.6

    # ---- the brim ---------------------------------------------------------------------------------------

    def brim(self) -> tuple[Array, Array, Array]:
        """The brim as a closed cross-section [R, V, 3], its middle [R, V, 3] and how far out rows are [R, V].

        Rows run out on the upper side, around the rim, and back on the underside.
        """
        many = max(8, self.rows // 5)
        out = np.concatenate([np.linspace(0, 1, many), [1.0], np.linspace(1, 0, many)])
        side = np.concatenate([np.ones(many - 1), [0.7, 0.0, -0.7], -np.ones(many - 1)])
        share = np.broadcast_to(out[:, None], (len(out), self.columns))
        middle = self._brim_middle(share)
        normal = unit(np.cross(np.gradient(middle[:many], axis=1), np.gradient(middle[:many], axis=0)))
        normal = normal * np.sign((normal @ self.seat.up)[..., None] + 1e-9)
        normal = np.concatenate([normal, normal[-1:], normal[::-1]])
        half = 0.0013 + 0.0012 * self.params.felt
        points = middle + normal * (half * side)[:, None, None]
        tip = np.abs(side)[:, None, None] < 0.9
        outward = unit(np.gradient(middle[:many], axis=0)[-1])
        points = points + np.where(tip, outward * half * 0.6, 0)
        return points, middle - np.where(tip, outward * half, 0), share

    def _brim_middle(self, share: Array) -> Array:
        params, seat = self.params, self.seat
        angle = np.broadcast_to(self.angles, share.shape)
        turned = (angle + np.pi) % (2 * np.pi) - np.pi
        start = self.edge_radius(angle) - 0.004 * (1 - share)
        width = params.brim
        curl = params.curl_sides * np.sin(angle) ** 2 + params.curl_front * np.cos(angle) * np.abs(
            np.cos(angle)
        )
        wave = params.wave * (np.sin(3 * angle + 0.6) + 0.5 * np.sin(5 * angle + 2.0))
        radius = start + share * width * np.cos(params.droop) - np.maximum(curl, 0) * 0.5 * share**2
        height = 0.002 - LOW - share * width * np.sin(params.droop) + share**1.7 * curl + share * wave
        length = params.visor * np.sqrt(np.clip(1 - (turned / VISOR_HALF) ** 4, 0, 1))
        x, z = radius * np.sin(angle), radius * np.cos(angle)
        bent = (0.010 * share**1.5 + 2.4 * x**2 * share) * np.clip(length / 0.06, 0, 1)
        z = z + share * length
        x = x * (1 - 0.10 * share * np.clip(length / 0.06, 0, 1))
        height = height - bent
        return (
            seat.centre + seat.left * x[..., None] + seat.forward * z[..., None] + seat.up * height[..., None]
        )


def _superellipse(exponent: float, aspect: float, share: Array) -> tuple[Array, Array]:
    """Radius and height (0..1) at shares of the arc length of a superellipse of height over radius ``aspect``."""
    turn = np.linspace(0, np.pi / 2, 400)
    out, up = np.cos(turn) ** (2 / exponent), np.sin(turn) ** (2 / exponent)
    steps = np.hypot(np.diff(out), aspect * np.diff(up))
    length = np.concatenate([[0], np.cumsum(steps)])
    length /= length[-1]
    at = np.clip(share, 0, 0.995)
    return np.interp(at, length, out), np.interp(at, length, up)


def _grid_at(grid: Array, down: Array, angle: Array) -> Array:
    """A grid [R, C] read at ``down`` 0..1 along its rows and at angles around its columns."""
    rows, columns = grid.shape
    padded = np.concatenate([grid, grid[:, :1]], 1)
    at = np.stack([np.clip(down, 0, 1) * (rows - 1), (angle % (2 * np.pi)) / (2 * np.pi) * columns])
    return ndimage.map_coordinates(padded, at.reshape(2, -1), order=1, mode="nearest").reshape(angle.shape)


def _along(points: Array) -> Array:
    """[U, V] metres along the columns of a grid from its first row, the mean of all columns."""
    step = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    return np.concatenate([np.zeros((1, step.shape[1])), np.cumsum(step, 0)])


def _outward(points: Array, seat: Seat) -> Array:
    """Unit normals [U, V, 3] of a crown, away from its middle."""
    around = np.roll(points, -1, 1) - np.roll(points, 1, 1)
    normal = unit(np.cross(np.gradient(points, axis=0), around))
    away = points - (seat.centre + 0.03 * seat.up)
    return normal * np.sign((normal * away).sum(-1, keepdims=True) + 1e-12)
