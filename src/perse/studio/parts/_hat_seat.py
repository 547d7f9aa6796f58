"""Where a hat sits: the plane of its edge, how wide the head is there, and the hair that yields."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perse.studio.parts._sitter import Array, Sitter, unit
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

SECTORS = 48


class Seat:
    """The plane in which a hat's edge lies, and how wide the head with its hair is there."""

    def __init__(self, sitter: Sitter, front: float, back: float) -> None:
        rest68 = sitter.rest68
        brow = float(rest68[17:27, 1].mean())
        eye = float(sitter.landmarks[[33, 133, 362, 263], 1].mean())
        skull = skull_points(sitter)
        middle = skull[np.abs(skull[:, 0]) < 0.02]
        front_edge = self._edge(middle, brow + front, 1)
        back_edge = self._edge(middle, eye + back, -1)
        self.centre = (front_edge + back_edge) / 2
        self.forward = unit(front_edge - back_edge)
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

    def press_hair(self, puppet: Puppet, top: float, squeeze: float = 1.0) -> None:
        """Remove the hair between the hat's edge and ``top`` metres above it, and squeeze the rest towards it.

        Below the edge hair is pressed less and less with distance; so it is above ``top``, where a hat is open.
        """

        def change(means: Array) -> tuple[Array, NDArray[np.bool_]]:
            angle, radius, height = self.cylinder(means)
            inner, hair = at_angle(self.inner, angle), at_angle(self.hair, angle)
            away = np.maximum(-height, 0) + 0.6 * np.maximum(height - top - 0.004, 0)
            room = inner - 0.001 + 0.75 * away + 2.0 * away**2 / 0.1
            factor = np.minimum(1, room / np.maximum(hair, room * 0.5))
            pressed = np.minimum(radius * factor, room)
            pressed = np.maximum(pressed, np.minimum(radius, at_angle(self.head, angle) + 0.0015))
            pressed = np.where(height > 0.5 * top, np.minimum(radius, room), pressed)
            moved = self.place(angle, radius + squeeze * (pressed - radius), height)
            return moved, (height < 0.001) | (height > top)

        reshape_hair(puppet, change)
