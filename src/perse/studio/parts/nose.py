"""The nose: smooth displacements of the head; the skin with its photo colours follows and is shaded anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perse.studio.parts._params import Params
from perse.studio.parts._shape import bump, reshape
from perse.studio.parts._sitter import Array, Sitter, smoothstep
from perse.studio.puppet import Puppet


@dataclass(frozen=True)
class NoseParams(Params):
    """A nose as numbers; 0 is the person's own, 1 what the word says."""

    width: float = 0.0
    """Wings and bridge: wide (1) or narrow (-1)."""
    length: float = 0.0
    """Long (1) or short (-1)."""
    turn: float = 0.0
    """Upturned (1) or drooping (-1): the tip turns about the wings."""
    bridge: float = 0.0
    """A hump on the bridge (1) or a scooped bridge (-1)."""
    straight: float = 0.0
    """1: the profile from root to tip is a straight line."""
    tip: float = 0.0
    """A bulbous (1) or a pointed tip (-1)."""
    flare: float = 0.0
    """Flared (1) or pinched (-1) nostrils."""


_WORDS: dict[str, NoseParams] = {
    "wide": NoseParams(width=1.0),
    "narrow": NoseParams(width=-1.0),
    "long": NoseParams(length=1.0),
    "short": NoseParams(length=-1.0),
    "straight": NoseParams(straight=1.0),
    "humped": NoseParams(bridge=1.0),
    "hooked": NoseParams(bridge=0.9, turn=-0.9),
    "ski-slope": NoseParams(bridge=-1.0, turn=0.5),
    "upturned": NoseParams(turn=1.0, bridge=-0.2),
    "drooping": NoseParams(turn=-1.0),
    "bulbous": NoseParams(tip=1.0),
    "pointed": NoseParams(tip=-1.0),
    "flared": NoseParams(flare=1.0),
    "pinched": NoseParams(flare=-1.0),
}


def params_from(adjectives: Sequence[str]) -> NoseParams:
    """The nose of the words, e.g. ("long", "hooked"): their sum."""
    vectors = [_WORDS[word].vector() for word in adjectives if word in _WORDS]
    return NoseParams.from_vector([sum(values) for values in zip(*vectors)]) if vectors else NoseParams()


def absent(params: NoseParams) -> NoseParams:
    """The person's own nose."""
    return NoseParams()


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Change the nose as the words say."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: NoseParams, seed: int, detail: float = 1.0) -> None:
    """Change the nose's shape."""
    reshape(puppet, displacement(Sitter(puppet), params))


def displacement(sitter: Sitter, params: NoseParams) -> Array:
    """[V, 3] metres: a smooth field on the nose that fades out on cheeks and lip.

    Every term is linear in its parameter (from each side of 0), so looks mix without surprises.
    """
    place = _Place(sitter)
    field = np.zeros_like(sitter.template)
    _widen(field, place, params.width)
    _lengthen(field, place, params.length)
    _turn_tip(field, place, params.turn)
    field[:, 2] += np.where(params.bridge > 0, 0.0047, 0.0042) * params.bridge * place.ridge
    field[:, 2] += params.straight * _to_straight(sitter, place)
    _shape_tip(field, place, params.tip)
    _flare(field, place, params.flare)
    return field


class _Place:
    """Soft masks of the nose's places on the template head, each [V]."""

    def __init__(self, sitter: Sitter) -> None:
        marks = sitter.marks
        self.tip, self.base, self.top = marks[4], marks[2], marks[168]
        self.wing = np.abs(marks[[129, 358]]).mean(0)
        self.x, self.y, self.z = sitter.template.T
        x, y, z = self.x, self.y, self.z
        self.along = np.clip((y - self.tip[1]) / (self.top[1] - self.tip[1]), -0.6, 1.3)  # 0 tip, 1 root
        front = smoothstep(z, self.wing[2] - 0.014, self.wing[2] - 0.001)
        self.near = np.exp(-((x / 0.0235) ** 4)) * front
        self.low = bump(y - (self.tip[1] - 0.004), 0.0140) * self.near  # tip and wings
        on_ridge = bump(x, 0.0105) * smoothstep(z, self.top[2] - 0.012, self.top[2] - 0.002)
        self.ridge = bump(self.along - 0.50, 0.30) * on_ridge
        self.profile = smoothstep(self.along, 0.0, 0.15) * (1 - smoothstep(self.along, 0.9, 1.1)) * on_ridge
        ball = np.hypot((y - self.tip[1] + 0.002) / 1.05, x)
        self.ball = bump(ball, 0.0115) * smoothstep(z, self.tip[2] - 0.026, self.tip[2] - 0.008)


def _widen(field: Array, at: _Place, amount: float) -> None:
    amount = amount if amount > 0 else 0.68 * amount
    side = np.tanh(at.x / 0.009)
    upper = bump(at.along - 0.62, 0.38) * at.near
    field[:, 0] += amount * side * (0.0062 * at.low + 0.0024 * upper)
    field[:, 2] -= amount * (0.0016 if amount > 0 else 0.0006) * at.ball


def _lengthen(field: Array, at: _Place, amount: float) -> None:
    """The tip goes down (up) with everything on the way to the root, and the nose stands out more (less)."""
    amount = amount if amount > 0 else 0.85 * amount
    slide = smoothstep(1 - at.along, 0.0, 1.0) * smoothstep(at.y, at.base[1] - 0.012, at.base[1] + 0.001)
    field[:, 1] -= amount * 0.0062 * slide * at.near
    out = (1 - smoothstep(at.along, -0.1, 0.9)) * smoothstep(at.y, at.base[1] - 0.006, at.base[1] + 0.004)
    reach = np.exp(-((at.x / 0.013) ** 2)) * smoothstep(at.z, at.wing[2] - 0.002, at.tip[2] - 0.004)
    field[:, 2] += amount * 0.0040 * out * reach


def _turn_tip(field: Array, at: _Place, amount: float) -> None:
    """Turn the tip about an axis from wing to wing."""
    angle = -np.radians(21.0) * amount if amount > 0 else -np.radians(19.0) * amount
    y, z = at.y - (at.tip[1] - 0.001), at.z - (at.wing[2] + 0.001)
    share = bump(np.hypot(at.y - (at.tip[1] - 0.003), 0.75 * at.x), 0.0135) * at.near
    share *= smoothstep(at.y, at.base[1] - 0.010, at.base[1] + 0.002)
    field[:, 1] += share * (np.cos(angle) * y - np.sin(angle) * z - y)
    field[:, 2] += share * (np.sin(angle) * y + np.cos(angle) * z - z)


def _to_straight(sitter: Sitter, at: _Place) -> Array:
    """[V] metres forward that make this person's profile from root to tip a straight line."""
    bridge = sitter.landmarks[[4, 5, 195, 197, 6, 168]]  # from the tip to the root
    share = (bridge[:, 1] - bridge[0, 1]) / (bridge[-1, 1] - bridge[0, 1])
    missing = bridge[0, 2] + share * (bridge[-1, 2] - bridge[0, 2]) - bridge[:, 2]
    template = sitter.marks[[4, 5, 195, 197, 6, 168], 1]
    return np.interp(at.y, template, missing) * at.profile


def _shape_tip(field: Array, at: _Place, amount: float) -> None:
    swell = amount * at.ball
    field[:, 0] += swell * (0.0036 if amount > 0 else 0.0026) * np.tanh(at.x / 0.006)
    field[:, 1] += swell * (0.0018 if amount > 0 else 0.0004) * np.tanh((at.y - at.tip[1] + 0.002) / 0.006)
    sharp = bump(np.hypot(at.x, 0.8 * (at.y - at.tip[1])), 0.0085) * at.ball
    field[:, 2] += np.where(amount > 0, 0.0020 * swell, -0.0040 * amount * sharp)


def _flare(field: Array, at: _Place, amount: float) -> None:
    """The wings: out, a little forward and up (or pressed to the middle)."""
    amount = amount if amount > 0 else 0.75 * amount
    distance = np.hypot(np.abs(at.x) - at.wing[0] + 0.001, 1.1 * (at.y - at.wing[1] + 0.001))
    wing = bump(distance, 0.0075) * at.near
    field[:, 0] += amount * 0.0042 * np.sign(at.x) * wing
    field[:, 1] += amount * 0.0014 * wing * smoothstep(at.y, at.wing[1] - 0.004, at.wing[1] + 0.004)
    field[:, 2] += amount * 0.0012 * wing
