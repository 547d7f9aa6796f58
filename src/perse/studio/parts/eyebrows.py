"""Eyebrows: the photo's own are cleaned from the skin, then hairs are rooted along the brow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from perse.studio.groups import SurfaceDiscs
from perse.studio.parts import _colours
from perse.studio.parts._params import Params
from perse.studio.parts._shade import tint_skin
from perse.studio.parts._sitter import Array, Roots, Sitter, smoothstep, unit
from perse.studio.parts._strands import rooted, segments_of
from perse.studio.puppet import Puppet, label_code
from perse.studio.regions import LEFT_BROW, RIGHT_BROW

GROUP = "eyebrows"
STEPS = 40


@dataclass(frozen=True)
class BrowParams(Params):
    """Eyebrows as numbers."""

    thickness: float = 0.0040
    """Half the height at the inner end in metres."""
    taper: float = 0.55
    """How much of it is lost towards the outer end."""
    arch: float = 0.0
    """Metres that the peak is raised."""
    straight: float = 0.0
    """1 takes the photo's own arch away."""
    hairs: float = 1100.0
    """Hairs of both brows."""
    length: float = 0.0072
    """Metres of a hair."""
    width: float = 0.00020
    """Sigma across a hair in metres."""
    wild: float = 0.10
    """How much hairs disagree on their direction."""
    tint: float = 0.30
    """How much the skin below takes the colour."""
    red: float = 0.27
    green: float = 0.165
    blue: float = 0.10


_THICKNESS: dict[str, BrowParams] = {
    "thick": BrowParams(thickness=0.0036, hairs=1300, length=0.0062, width=0.00015, tint=0.36),
    "thin": BrowParams(
        thickness=0.0014, taper=0.40, hairs=820, length=0.0040, width=0.00011, wild=0.06, tint=0.50
    ),
    "bushy": BrowParams(
        thickness=0.0042, taper=0.35, hairs=1500, length=0.0078, width=0.00016, wild=0.20, tint=0.30
    ),
}


def params_from(adjectives: Sequence[str]) -> BrowParams:
    """The eyebrows of the words, e.g. ("thin", "arched", "brown")."""
    params = _THICKNESS[next((w for w in adjectives if w in _THICKNESS), "thick")]
    if "arched" in adjectives:
        params = params.but(arch=0.0030)
    if "straight" in adjectives:
        params = params.but(straight=0.85)
    colour = next((w for w in adjectives if w in _colours.HAIR), "brown")
    return params.painted(_colours.HAIR[colour])


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Replace the eyebrows by those the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: BrowParams, seed: int, detail: float = 1.0) -> None:
    """Replace the eyebrows; ``detail`` scales the number of hairs."""
    sitter = Sitter(puppet)
    rng = np.random.default_rng([seed, 21])
    clean_photo_brows(puppet)
    line = _BrowLine(sitter, params)
    count = max(16, round(params.hairs * detail))
    roots = sitter.grow_roots(line.density, count, rng)
    segments = segments_of(
        _grow(params, roots, line, rng), params.width / np.sqrt(min(detail, 1.0)), taper=0.6, overlap=0.6
    )
    tone = np.exp(rng.normal(0, 0.16, len(roots)))[segments.strand]
    env = np.clip(sitter.shade(roots.normals[segments.strand]), 0.5, 1.15)
    albedo = np.array([params.red, params.green, params.blue]) * 0.85 + 0.04
    colours = np.clip(albedo * (tone * env)[:, None] * sitter.exposure, 0, 1)
    puppet.add(GROUP, rooted(puppet, segments, roots, colours, 0.72, "eyebrows"))
    _tint(sitter, params, line)


def clean_photo_brows(puppet: Puppet) -> None:
    """Fill the photo's own brows from the skin around them (the lift keeps such a skin as ``clean``)."""
    puppet.remove(GROUP)
    skin = puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs) or "clean" not in skin.extras:
        return
    template = puppet.template_points(skin)
    weight = puppet.regions.brows(template, soft=0.0025, grow=0.0045)[:, None]
    colors = skin.colors.lerp(skin.extras["clean"], weight)
    closed = None if skin.closed_colors is None else skin.closed_colors.lerp(skin.extras["clean"], weight)
    brow, bare = label_code("eyebrows"), label_code("skin")
    labels = torch.where(skin.labels == brow, torch.full_like(skin.labels, bare), skin.labels)
    puppet.add("skin", replace(skin, colors=colors, closed_colors=closed, labels=labels))


class _BrowLine:
    """The middle line of both brows on the template, from the inner (0) to the outer end (1)."""

    def __init__(self, sitter: Sitter, params: BrowParams) -> None:
        self.params = params
        lines, tangents = [], []
        for lower, upper in (LEFT_BROW, RIGHT_BROW):
            middle = (sitter.marks[list(lower)] + sitter.marks[list(upper)])[::-1] / 2  # inner end first
            curve = CubicSpline(np.arange(5), middle, axis=0)(np.linspace(0, 4, STEPS))
            along = np.linspace(0, 1, STEPS)
            chord = curve[0, 1] + (curve[-1, 1] - curve[0, 1]) * along * 0.5
            curve[:, 1] += params.straight * (chord - curve[:, 1])
            curve[:, 1] += params.arch * np.exp(-(((along - 0.62) / 0.30) ** 2))
            lines.append(curve)
            tangents.append(unit(np.gradient(curve, axis=0)))
        self.points = np.concatenate(lines)
        self.tangents = np.concatenate(tangents)
        self.along = np.tile(np.linspace(0, 1, STEPS), 2)
        self._tree = cKDTree(self.points[:, :2])

    def nearest(self, points: Array) -> tuple[Array, Array, np.ndarray]:
        """For template points [N, 3]: distance [N] seen from the front, height above the line [N], index [N]."""
        distance, near = self._tree.query(points[:, :2])
        return distance, points[:, 1] - self.points[near, 1], near

    def density(self, points: Array) -> Array:
        """0..1 for template points [N, 3]: dense in the middle, soft above, thinner at both ends."""
        distance, above, near = self.nearest(points)
        along = self.along[near]
        half = self.params.thickness * (1 - self.params.taper * along**1.2)
        edge = np.where(above > 0, half * 1.1, half)
        inside = 1 - smoothstep(distance / np.maximum(edge, 1e-4), 0.45, 1.15)
        start = 0.45 + 0.55 * smoothstep(along, 0.0, 0.16)
        return inside * start * (points[:, 2] > self.points[:, 2].min() - 0.02)


def _grow(params: BrowParams, roots: Roots, line: _BrowLine, rng: np.random.Generator) -> Array:
    """Hairs [S, 4, 3]: upright at the inner end, combed outwards and towards the middle farther out."""
    _, above, near = line.nearest(roots.template)
    along = line.along[near][:, None]
    up = np.array([0.0, 1.0, 0.0])
    above = np.clip(above / max(params.thickness, 1e-4), -1, 1)[:, None]
    direction = line.tangents[near] * (0.35 + 0.75 * along) + up * (
        0.85 * (1 - along) ** 1.5 - 0.40 * above * along
    )
    direction -= roots.normals * (direction * roots.normals).sum(1, keepdims=True)
    direction = unit(unit(direction) + roots.normals * 0.16 + rng.normal(0, params.wild, direction.shape))
    length = params.length * np.exp(rng.normal(0, 0.2, len(roots)))
    length *= (0.7 + 0.3 * smoothstep(along[:, 0], 0.0, 0.2)) * (1 - 0.5 * smoothstep(along[:, 0], 0.55, 1.0))
    at, hairs = roots.points + roots.normals * 0.0002, []
    hairs.append(at)
    for _ in range(3):
        at = at + direction * (length / 3)[:, None]
        hairs.append(at)
        direction = unit(direction - 0.10 * roots.normals + 0.12 * line.tangents[near])
    return np.stack(hairs, 1)


def _tint(sitter: Sitter, params: BrowParams, line: _BrowLine) -> None:
    """A breath of the hair's colour on the skin below."""
    skin = sitter.puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs):
        return
    template = sitter.puppet.template_points(skin).numpy().astype(float)
    weight = np.zeros(len(template))
    close = np.flatnonzero(np.abs(template[:, 1] - sitter.brow_y) < 0.03)
    weight[close] = line.density(template[close]) * params.tint
    hair = np.array([params.red, params.green, params.blue]) * 0.95 * sitter.exposure
    tint_skin(sitter, weight, hair)
