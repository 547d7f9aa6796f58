"""Where headphones sit: cups on the ears, an arch over skull and hair, and the hair that yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from perse.studio.parts._params import Params
from perse.studio.parts._sitter import Array, Sitter
from perse.studio.parts._worn import ear_centre, hair_points, radius_around, reshape_hair, skull_points
from perse.studio.puppet import Puppet


@dataclass(frozen=True)
class HeadphoneParams(Params):
    """Headphones as numbers (metres). What is 0 is not there; it grows from nothing in a mix."""

    cup: float = 0.041
    """Half the height of a cup."""
    depth: float = 0.017
    """Half the thickness of a cup."""
    pad: float = 0.0095
    """Radius of the ear pads."""
    band: float = 0.012
    """Half the width of the band over the head."""
    arm: float = 0.0019
    """Radius of the steel arms."""
    ring: float = 0.0
    """How much the ring on a cup glows."""
    microphone: float = 0.0
    """Share of the way from cup to mouth that a microphone's boom reaches."""
    bud: float = 0.0
    """Radius of a bud."""
    stem: float = 0.0
    """Length of a bud's stem."""
    cable: float = 0.0
    """Radius of the cables from the buds."""
    collar: float = 0.0
    """Radius of a band around the nape."""
    metal: float = 0.0
    """How metallic the shells are."""
    red: float = 0.095
    green: float = 0.095
    blue: float = 0.105
    pad_red: float = 0.07
    pad_green: float = 0.07
    pad_blue: float = 0.08
    ring_red: float = 0.25
    ring_green: float = 1.0
    ring_blue: float = 0.35

    @property
    def colour(self) -> Array:
        """[3] of the shells."""
        return np.array([self.red, self.green, self.blue])

    @property
    def pad_colour(self) -> Array:
        """[3] of pads and cushion."""
        return np.array([self.pad_red, self.pad_green, self.pad_blue])

    @property
    def ring_colour(self) -> Array:
        """[3] of the glowing ring."""
        return np.array([self.ring_red, self.ring_green, self.ring_blue])


ROUND = 2.5
"""Exponent of the arch: 2 is an ellipse, more is squarer."""


class Seat:
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
