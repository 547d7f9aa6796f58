"""The mouth: smooth displacements of lips and corners (the skin follows), and make-up that stays on the lips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from perse.studio.groups import SurfaceDiscs
from perse.studio.parts import _colours
from perse.studio.parts._params import Params
from perse.studio.parts._shape import bump, reshape
from perse.studio.parts._sitter import Array, Sitter, smoothstep, unit
from perse.studio.puppet import Puppet, label_code
from perse.studio.regions import LIPS_INNER, LIPS_OUTER

LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class MouthParams(Params):
    """A mouth as numbers; shapes are 0 for the person's own."""

    upper: float = 0.0
    """The upper lip: full (1) or thin (-1)."""
    lower: float = 0.0
    """The lower lip: full (1) or thin (-1)."""
    width: float = 0.0
    """Wide (1) or narrow (-1)."""
    bow: float = 0.0
    """1: a marked cupid's bow."""
    middle: float = 0.0
    """1: lips full in the middle and thin at the sides."""
    corners: float = 0.0
    """Corners up (1) or down (-1)."""
    tint: float = 0.0
    """How much of the colour below is put on, 0 to 1."""
    gloss: float = 0.0
    """Wet highlights, 0 to 1."""
    matte: float = 0.0
    """How much the lips' own highlights are taken away, 0 to 1."""
    liner: float = 0.0
    """How strongly the border is drawn in a darker tone, 0 to 1."""
    red: float = 0.72
    green: float = 0.07
    blue: float = 0.11


_SHAPES: dict[str, MouthParams] = {
    "full": MouthParams(upper=1.0, lower=1.0),
    "thin": MouthParams(upper=-1.0, lower=-1.0),
    "wide": MouthParams(width=1.0),
    "narrow": MouthParams(width=-1.0),
    "bow-shaped": MouthParams(bow=1.0),
    "heart-shaped": MouthParams(bow=0.8, middle=1.0, upper=0.5, lower=0.6, width=-0.5),
    "pouty": MouthParams(lower=1.0, upper=0.3, middle=0.5, width=-0.25),
    "downturned": MouthParams(corners=-1.0),
    "upturned": MouthParams(corners=1.0),
    "glossy": MouthParams(gloss=1.0),
    "matte": MouthParams(matte=1.0),
    "lined": MouthParams(liner=1.0),
}


def params_from(adjectives: Sequence[str]) -> MouthParams:
    """The mouth of the words, e.g. ("full", "glossy", "red"): their sum, and a colour."""
    shapes = [_SHAPES[word] for word in adjectives if word in _SHAPES]
    names = ("upper", "lower", "width", "bow", "middle", "corners", "gloss", "matte", "liner")
    params = MouthParams(**{name: sum(getattr(shape, name) for shape in shapes) for name in names})
    colour = next((w for w in adjectives if w in _colours.LIPS), None)
    if colour is None:
        return params
    return params.but(tint=0.55 if colour == "pale" else 0.75).painted(_colours.LIPS[colour])


def absent(params: MouthParams) -> MouthParams:
    """The person's own lips, from which this look is shaped and painted."""
    return MouthParams().painted((params.red, params.green, params.blue))


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Change the mouth as the words say."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: MouthParams, seed: int, detail: float = 1.0) -> None:
    """Change the mouth's shape and colour."""
    reshape(puppet, displacement(Sitter(puppet), params))
    _paint(Sitter(puppet), params)


class _Place:
    """Where things are around the mouth of the template head, each [V]."""

    def __init__(self, sitter: Sitter) -> None:
        outer, inner = sitter.marks[list(LIPS_OUTER)], sitter.marks[list(LIPS_INNER)]
        x, y, z = sitter.template.T
        self.corner = np.abs(outer[[0, 10]]).mean(0)  # of the left side
        self.corner[1] = outer[[0, 10], 1].mean()
        self.x, self.ax = x, np.abs(x)
        top, bottom = _height(outer[:11], self.ax), _height(outer[10:], self.ax)
        self.seam = (_height(inner[:11], self.ax) + _height(inner[10:], self.ax)) / 2
        self.above = y - self.seam
        # 0 on the seam, 1 on the border of the red; beyond it goes on in units of 8 mm, which hides fine steps
        self.up = self.above / np.maximum(top - self.seam, 0.0025)
        self.down = -self.above / np.maximum(self.seam - bottom, 0.0025)
        self.over = np.maximum(y - top, 0) + np.maximum(bottom - y, 0)
        self.across = np.clip(1 - (self.ax / (1.10 * self.corner[0])) ** 2, 0, 1) ** 0.8
        self.front = smoothstep(z, self.corner[2] - 0.026, self.corner[2] - 0.008)
        self.outside = smoothstep(z, self.corner[2] - 0.010, self.corner[2] + 0.002)

    def lip(self, share: Array) -> tuple[Array, Array]:
        """How far a lip's points move with its border, and how much they swell, for ``up`` or ``down`` [V]."""
        rise = smoothstep(share, 0.05, 0.95) * np.exp(-((self.over / 0.0065) ** 2)) * self.front
        swell = (
            np.where(share > 0, bump(share - 0.60, 0.52), float(np.exp(-((0.60 / 0.52) ** 2)))) * self.outside
        )
        return rise * (share > 0), swell * (share > -0.2) * np.exp(-((self.over / 0.004) ** 2))


def _height(line: Array, ax: Array) -> Array:
    """y [V] of half a lip line [M, 3] at distances ``ax`` [V] from the middle, both sides averaged."""
    order = np.argsort(np.abs(line[:, 0]))
    distance, y = np.abs(line[order, 0]), line[order, 1]
    return np.interp(ax, distance, y)


def displacement(sitter: Sitter, params: MouthParams) -> Array:
    """[V, 3] metres: a smooth field around the lips.

    The seam between the lips never opens: what moves it moves both lips alike, so closing is left intact.
    """
    at = _Place(sitter)
    field = np.zeros_like(sitter.template)
    profile = 1 + params.middle * (0.55 * bump(at.ax, 0.55 * at.corner[0]) - 0.42)
    for amount, share, sign in ((params.upper, at.up, 1), (params.lower, at.down, -1)):
        rise, swell = at.lip(share)
        size = amount if amount > 0 else 0.62 * amount
        taper = (at.across if amount > 0 else at.across**0.6) * profile
        field[:, 1] += sign * size * 0.0036 * rise * taper
        field[:, 2] += size * (0.0040 if sign < 0 else 0.0034) * swell * taper
    _draw_bow(field, at, params.bow + 0.35 * params.middle)
    _move_corners(field, at, params.corners)
    _spread(field, at, params.width)
    return field


def _draw_bow(field: Array, at: _Place, amount: float) -> None:
    """Two peaks and a notch on the upper border."""
    rise, _ = at.lip(at.up)
    shape = 0.0030 * bump(at.ax - 0.0062, 0.0036) - 0.0022 * bump(at.ax, 0.0030)
    field[:, 1] += amount * shape * rise * np.exp(-((at.over / 0.005) ** 2))
    field[:, 2] += amount * 0.0012 * bump(at.ax - 0.005, 0.004) * rise


def _move_corners(field: Array, at: _Place, amount: float) -> None:
    """Both lips follow the corners, less and less towards the middle."""
    amount = amount if amount > 0 else 1.1 * amount
    outer = at.ax > at.corner[0]
    along = np.where(outer, bump(at.ax - at.corner[0], 0.0090), (at.ax / at.corner[0]) ** 2.2)
    field[:, 1] += amount * 0.0052 * along * bump(at.above, 0.016) * at.front
    field[:, 0] += np.sign(at.x) * max(amount, 0) * 0.0010 * along * bump(at.above, 0.012) * at.front


def _spread(field: Array, at: _Place, amount: float) -> None:
    """Corners out or in, and back or forward with the roundness of the jaw."""
    amount = amount if amount > 0 else 0.9 * amount
    outer = at.ax > at.corner[0]
    pull = np.where(outer, bump(at.ax - at.corner[0], 0.015), np.clip(at.ax / at.corner[0], 0, 1))
    pull = pull * bump(at.above, 0.019) * at.front
    field[:, 0] += amount * 0.0070 * np.sign(at.x) * pull
    field[:, 2] -= amount * 0.0018 * pull * bump(at.ax - at.corner[0], 0.012)


def _paint(sitter: Sitter, params: MouthParams) -> None:
    """Make-up: the colour takes the light and the texture of the lips below; gloss adds highlights of its own."""
    puppet = sitter.puppet
    skin = puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs) or not max(params.tint, params.gloss, params.matte, params.liner):
        return
    template = puppet.template_points(skin)
    weight = puppet.regions.lips(template, soft=0.0009).numpy().astype(float)
    inside = torch.isin(skin.labels, torch.tensor([label_code("mouth_interior"), label_code("eyes")]))
    weight[inside.numpy()] = 0  # teeth and tongue keep their colour
    lips = weight > 0.6
    if not lips.any():
        return
    colors = skin.colors.numpy().astype(float)
    luma = colors @ LUMA
    middle = max(float(np.median(luma[lips])), 1e-3)
    relative = np.clip(luma / middle, 0.3, 2.0)[:, None]
    bright = 0.45 * (1 - 0.75 * params.matte)  # make-up covers highlights, matte make-up most of them
    flat = np.where(relative > 1, 1 + (relative - 1) * bright, relative)
    target = np.array([params.red, params.green, params.blue]) * sitter.exposure
    own = colors * (1 + params.matte * (flat / relative - 1))
    painted = own + params.tint * (target * flat - own)
    seam = bump(puppet.regions.lip_distance(template, inner=True).numpy().astype(float), 0.0011)
    painted *= (1 - 0.35 * params.tint * seam)[:, None]  # where the lips meet, they shade each other
    painted += (params.gloss * _wet(sitter, skin, lips))[:, None]
    edge = bump(puppet.regions.lip_distance(template).numpy().astype(float), 0.0011)
    edge[inside.numpy()] = 0
    dark = (
        0.52 * (params.tint * target + (1 - params.tint) * np.median(colors[lips], 0)) * np.minimum(flat, 1)
    )
    painted = np.clip(painted, 0, 1) * (1 - 0.8 * params.liner * edge[:, None])
    painted += 0.8 * params.liner * edge[:, None] * dark
    blend = torch.from_numpy(np.maximum(weight, edge * params.liner).astype(np.float32))[:, None]
    puppet.add("skin", replace(skin, colors=skin.colors.lerp(torch.from_numpy(painted).float(), blend)))


def _wet(sitter: Sitter, skin: SurfaceDiscs, lips: NDArray[np.bool_]) -> Array:
    """Highlights [N] of a wet film: where the lips' surface, finely creased, mirrors the light to the camera."""
    puppet = sitter.puppet
    normals = puppet.surface_normals(skin.face, skin.bary).numpy().astype(float)
    points = puppet.surface_points(skin.face, skin.bary).numpy().astype(float)
    creases = 0.10 * np.sin(points[:, 0] * 2600 + 3 * np.sin(points[:, 1] * 700))
    normals = unit(normals + creases[:, None] * np.array([1.0, 0.0, 0.0]))
    shine = np.zeros(len(points))
    lamps = (
        (sitter.light, 0.45),
        (unit(np.array([0.25, 0.85, 0.75])), 0.40),
    )  # the light, and a window above
    for lamp, strength in lamps:
        shine[lips] += strength * np.maximum(normals[lips] @ unit(lamp + sitter.view), 0) ** 42
    return shine * sitter.exposure
