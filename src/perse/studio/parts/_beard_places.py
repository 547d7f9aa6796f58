"""Where beards grow, on the template head: soft zones from the moustache to the sideburns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from perse.studio.parts._sitter import Array, Sitter, regions_mask, smoothstep, wander
from perse.studio.regions import LIPS_OUTER

ZONES = ("moustache", "soul", "chin", "beside", "sideburns", "strap", "jaw", "flank", "cheeks")
"""Names of the zones, nearest the mouth first; a place belongs to the first that claims it."""


@dataclass(frozen=True)
class Zones:
    """The zones' shares of points: they add up to ``where`` a beard may grow at all."""

    share: Mapping[str, Array]  # [N] each
    where: Array  # [N]
    upper: Array  # [N] 1 on the upper lip, 0 elsewhere
    border: Array  # [N] metres to the red of the lips


class BeardMap:
    """Maps template points to zones. Angles are seen from above: 0 in front, 14 at the mouth's corner, 70 at an ear."""

    def __init__(self, sitter: Sitter) -> None:
        marks, outline = sitter.marks68, sitter.marks68[:17]
        self._lips = cKDTree(_dense(sitter.marks[list(LIPS_OUTER)]))
        self._red = regions_mask(lambda p: sitter.puppet.regions.lips(p, 0.0008))
        self._jaw = cKDTree(_dense(outline, closed=False))
        half = outline[8:] * [np.sign(outline[-1, 0]), 1, 1]
        self._edge_angle, self._edge_y = _angle(half), half[:, 1]
        self.corner = np.abs(marks[[48, 54]]).mean(0) * [1, 0, 1] + [0, marks[[48, 54], 1].mean(), 0]
        self.base_y = float(marks[33, 1])
        self.chin = sitter.marks[152]
        self.ear_y = float(sitter.marks[[234, 454], 1].mean())
        self.eye_y = float(sitter.eye[1])

    def lip_distance(self, points: Array) -> Array:
        """Metres [N] to the border of the red of the lips."""
        return self._lips.query(points)[0]

    def zones(self, points: Array, band: float = 0.03, trim: float = 0.0) -> Zones:
        """The zones at template points [N, 3].

        ``band`` metres of moustache above the lip are left (a pencil moustache); ``trim`` 1 makes borders sharp.
        """
        border, red = self.lip_distance(points), self._red(points)
        points = points + wander(points, 21, 110.0) * 0.0019 * (1 - 0.75 * trim)
        ax, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
        angle = _angle(points)
        c, corner_y = self.corner[0], self.corner[1]
        above_edge = y - np.interp(angle, np.maximum.accumulate(self._edge_angle), self._edge_y)
        upper = smoothstep(y, corner_y - 0.003, corner_y + 0.003) * (1 - smoothstep(angle, 14.5, 19.0))
        low = 1 - smoothstep(y, corner_y - 0.005, corner_y + 0.002)
        ball = self.chin[1] + 0.016  # where the chin's ball begins
        half = 0.0165 - 0.0060 * np.clip((y - self.chin[1]) / 0.022, 0, 1)
        front = smoothstep(z, self.chin[2] - 0.020, self.chin[2] - 0.007)
        edge = 1 - smoothstep(above_edge, 0.010, 0.022)
        near_chin = 1 - smoothstep(angle, 20.0, 28.0)
        claims = {
            "moustache": upper,
            "soul": low * (1 - smoothstep(ax, 0.0045, 0.0105)) * smoothstep(y, ball - 0.003, ball + 0.004),
            "chin": low
            * (1 - smoothstep(ax, half, half + 0.006))
            * front
            * (1 - smoothstep(y, ball, ball + 0.012)),
            "beside": smoothstep(ax, c - 0.009, c - 0.004)
            * (1 - smoothstep(ax, c + 0.003, c + 0.009))
            * (1 - smoothstep(y, corner_y + 0.004, corner_y + 0.010))
            * smoothstep(z, self.corner[2] - 0.030, self.corner[2] - 0.018),
            "sideburns": smoothstep(angle, 51.0, 58.0)
            * smoothstep(y, self.ear_y - 0.048, self.ear_y - 0.034),
            "strap": edge * near_chin,
            "jaw": edge,
            "flank": near_chin * low,
            "cheeks": np.ones(len(points)),
        }
        where = self._allowed(points, angle, above_edge, upper, trim)
        where = where * smoothstep(border, 0.0008, 0.0030) * (1 - red)
        where = where * np.where(upper > 0.5, 1 - smoothstep(border, band, band * 1.3 + 0.0008), 1)
        rest, share = where, {}
        for name in ZONES:
            share[name] = rest * claims[name]
            rest = rest * (1 - claims[name])
        return Zones(share, where, upper, border)

    def _allowed(self, points: Array, angle: Array, above_edge: Array, upper: Array, trim: float) -> Array:
        """0..1 below the cheek line and not down the neck."""
        ax, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
        base, corner_y = self.base_y, self.corner[1]
        angles = [0.0, 5.0, 9.0, 14.0, 17.0, 22.0, 32.0, 42.0, 50.0, 56.0, 60.0, 64.0]
        heights = [
            base - 0.0055,
            base - 0.003,
            base - 0.0035,
            base - 0.009,
            corner_y + 0.008,
            corner_y + 0.006,
        ]
        heights += [corner_y + 0.010, corner_y + 0.019, base + 0.008, self.ear_y + 0.002, self.ear_y + 0.016]
        heights += [self.eye_y + 0.012]
        top = np.interp(angle, angles, heights)
        soft = np.interp(angle, [0.0, 12.0, 20.0, 55.0, 62.0], [0.0035, 0.0035, 0.018, 0.018, 0.008])
        below = smoothstep((top - y) / (soft * (1 - 0.6 * trim)), -0.25, 0.95)
        under = np.where(above_edge < 0, self._jaw.query(points)[0], 0.0)
        near = np.interp(angle, [0.0, 30.0, 60.0], [0.018, 0.014, 0.005])
        neck = 1 - smoothstep(under, near, near * 2.1)
        back = np.where(y > self.ear_y - 0.03, 0.021, 0.009)  # the ear is behind it
        face = smoothstep(z, back, back + 0.010)
        groove = np.where(upper > 0.5, smoothstep(ax, 0.0015, 0.005) * 0.4 + 0.6, 1)  # thin under the nose
        return below * neck * face * groove


def _angle(points: Array) -> Array:
    """Degrees [N] from straight ahead, around the vertical axis."""
    return np.degrees(np.arctan2(np.abs(points[:, 0]), points[:, 2]))


def _dense(outline: Array, steps: int = 8, closed: bool = True) -> Array:
    """A polyline sampled ``steps`` times a segment."""
    start, end = (outline, np.roll(outline, -1, 0)) if closed else (outline[:-1], outline[1:])
    t = np.arange(steps)[None, :, None] / steps
    return (start[:, None] * (1 - t) + end[:, None] * t).reshape(-1, 3)
