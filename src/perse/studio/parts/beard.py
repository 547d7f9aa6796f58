"""Beards: hairs rooted in the skin, so that they ride on the moving jaw and lips; stubble is many short ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from perse.studio.groups import SurfaceDiscs
from perse.studio.parts import _colours
from perse.studio.parts._params import Params
from perse.studio.parts._shade import Density, hair_light, segment_areas, self_shadow, tint_skin
from perse.studio.parts._sitter import Array, Roots, Sitter, regions_mask, smoothstep, unit, wander
from perse.studio.parts._strands import Segments, gather, lock_of, rooted, segments_of
from perse.studio.puppet import Puppet
from perse.studio.regions import LIPS_OUTER

GROUP = "beard"


@dataclass(frozen=True)
class BeardParams(Params):
    """A beard as numbers. The four places (0 to 1) say where it grows."""

    moustache: float = 1.0
    chin: float = 1.0
    """The chin and below it."""
    jaw: float = 1.0
    """Along the jaw up to the ears."""
    cheeks: float = 1.0
    """The lower cheeks between moustache and jaw."""
    length: float = 0.010
    """Metres of the longest hairs."""
    chin_length: float = 1.0
    """Length at the chin relative to the rest."""
    hairs: float = 15000.0
    """Hairs of a full beard; patches grow their share."""
    width: float = 0.00027
    """Sigma across a hair in metres."""
    lift: float = 0.5
    """How far hairs stand off the skin."""
    locks: float = 0.45
    """How much hairs gather at the tip."""
    tint: float = 0.55
    """How much the skin below takes the colour of the hair."""
    opacity: float = 0.85
    red: float = 0.27
    green: float = 0.165
    blue: float = 0.10


_STYLES: dict[str, BeardParams] = {
    "full": BeardParams(),
    "goatee": BeardParams(jaw=0.0, cheeks=0.0, length=0.010, chin_length=1.4),
    "moustache": BeardParams(chin=0.0, jaw=0.0, cheeks=0.0, length=0.010),
    "chin curtain": BeardParams(moustache=0.0, cheeks=0.25, length=0.011),
    "stubble": BeardParams(
        length=0.0011, hairs=20000, width=0.00009, lift=0.75, locks=0.0, tint=0.34, opacity=0.36
    ),
}
_LENGTH = {"short": 0.5, "long": 1.9}


def params_from(adjectives: Sequence[str]) -> BeardParams:
    """The beard of the words, e.g. ("full", "brown")."""
    style = next((w for w in adjectives if w in _STYLES), "full")
    scale = next((_LENGTH[w] for w in adjectives if w in _LENGTH), 1.0)
    colour = next((w for w in adjectives if w in _colours.HAIR), "brown")
    params = _STYLES[style].painted(_colours.HAIR[colour])
    stretched = 1.0 + 0.35 * max(scale - 1.0, 0.0)
    return params.but(length=params.length * scale, chin_length=params.chin_length * stretched)


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Grow the beard that the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: BeardParams, seed: int, detail: float = 1.0) -> None:
    """Grow a beard; ``detail`` scales the number of hairs."""
    sitter = Sitter(puppet)
    rng = np.random.default_rng([seed, 11])
    where = _Where(sitter, params)
    everywhere = _Where(sitter, BeardParams())
    share = where.area(sitter) / max(everywhere.area(sitter), 1e-9)
    count = max(12, round(params.hairs * share * detail))
    roots = sitter.grow_roots(where.density, count, rng)
    hairs = _grow(sitter, params, roots, where, rng)
    width = params.width * (0.6 + 0.4 * where.density(roots.template)) / np.sqrt(min(detail, 1.0))
    segments = segments_of(hairs, width, taper=0.55, overlap=0.6)
    colours = _colour(sitter, params, segments, roots, rng)
    puppet.add(GROUP, rooted(puppet, segments, roots, colours, params.opacity, "beard"))
    _tint(sitter, params, where)


class _Where:
    """Where a beard of some style grows, as a density on the template head."""

    def __init__(self, sitter: Sitter, params: BeardParams) -> None:
        self.params = params
        marks = sitter.marks68
        self._lips = cKDTree(_dense(sitter.marks[list(LIPS_OUTER)]))
        self._red = regions_mask(lambda p: sitter.puppet.regions.lips(p, 0.0008))
        self.mouth_y = float(marks[48:60, 1].mean())
        self.corner_x = float(np.abs(marks[[48, 54], 0]).mean())
        self.corner_y = float(marks[[48, 54], 1].mean())
        self.base_y = float(marks[33, 1])
        self.chin = sitter.marks[152]
        self.chin_y = float(self.chin[1])
        self.tragus_y = float(sitter.marks[[234, 454], 1].mean())

    def lip_distance(self, points: Array) -> Array:
        """Metres [N] to the border of the lips."""
        return self._lips.query(points)[0]

    def full(self, points: Array) -> Array:
        """0..1 where a full beard grows: below a line from the nose over the cheeks to the ears."""
        ax, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
        c, base = self.corner_x, self.base_y
        knots = [0.0, 0.008, 0.6 * c, c, c + 0.010, c + 0.022, c + 0.032, c + 0.040]
        heights = [base - 0.0055, base - 0.003, base - 0.0035, base - 0.010, self.corner_y + 0.008]
        heights += [self.corner_y + 0.014, base + 0.012, self.tragus_y]
        top = np.interp(ax, knots, heights)
        soft = np.interp(ax, [0.0, 0.8 * c, c + 0.010], [0.0030, 0.0035, 0.0095])
        below = np.clip((top - y) / soft + 0.25, 0, 1)
        throat = smoothstep(y, self.chin_y - 0.018, self.chin_y - 0.002) * smoothstep(z, 0.010, 0.034)
        clear = smoothstep(self.lip_distance(points), 0.0010, 0.0034) * (1 - self._red(points))
        patch = smoothstep(np.abs(ax), 0.002, 0.006) * 0.4 + 0.6  # the groove under the nose is thin
        return below**2 * (3 - 2 * below) * throat * clear * np.where(y > self.corner_y + 0.004, patch, 1)

    def density(self, points: Array) -> Array:
        """0..1 for template points [N, 3]."""
        moved = points + wander(points, 21, 130.0) * 0.0016
        p = self.params
        ax, y, z = np.abs(moved[:, 0]), moved[:, 1], moved[:, 2]
        c = self.corner_x
        above_mouth = smoothstep(y, self.corner_y - 0.004, self.corner_y + 0.003)
        moustache = above_mouth * (1 - smoothstep(ax, c + 0.002, c + 0.011))
        low = 1 - smoothstep(y, self.corner_y - 0.006, self.corner_y + 0.002)
        share = np.clip((y - self.chin_y) / (self.mouth_y - self.chin_y), 0, 1)
        half = 0.70 * c + 0.20 * c * share
        chin = low * (1 - smoothstep(ax, half, half + 0.006))
        chin *= smoothstep(z, self.chin[2] - 0.022, self.chin[2] - 0.010)
        rim = smoothstep(ax, 0.035, 0.055) + (1 - smoothstep(y, self.chin_y + 0.006, self.chin_y + 0.018))
        jaw = np.clip(rim, 0, 1) * (1 - moustache) * (1 - chin * (p.chin > 0))
        cheeks = np.clip(1 - moustache - chin - jaw, 0, 1)
        handle = low * smoothstep(ax, c - 0.010, c - 0.002) * (1 - smoothstep(ax, c + 0.001, c + 0.006))
        joined = handle * min(p.moustache, p.chin)  # moustache and goatee meet beside the mouth
        grows = p.moustache * moustache + p.chin * chin + p.jaw * jaw + p.cheeks * cheeks
        return np.clip(np.maximum(grows, joined), 0, 1) * self.full(moved)

    def area(self, sitter: Sitter) -> float:
        """Square metres, weighted by density."""
        corners = sitter.faces[sitter.skin_faces]
        edges = sitter.rest[corners]
        area = np.linalg.norm(np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]), axis=1) / 2
        return float((area * self.density(sitter.template[corners].mean(1))).sum())


def _grow(
    sitter: Sitter, params: BeardParams, roots: Roots, where: _Where, rng: np.random.Generator
) -> Array:
    """Hairs [S, M, 3]: down and a little forward on the jaw, sideways on the moustache, clear of the mouth."""
    t = roots.template
    ax = np.abs(t[:, 0])
    side = np.sign(t[:, 0])
    upper_lip = smoothstep(t[:, 1], where.corner_y - 0.003, where.corner_y + 0.003)
    upper_lip *= 1 - smoothstep(ax, where.corner_x, where.corner_x + 0.012)
    outwards = 0.15 * smoothstep(ax, 0.01, 0.04) + upper_lip * (0.25 + 0.9 * smoothstep(ax, 0.002, 0.018))
    down = np.stack([side * outwards, np.full(len(t), -0.9) + 0.35 * upper_lip, np.full(len(t), 0.15)], 1)
    flow = down - roots.normals * (down * roots.normals).sum(1, keepdims=True)
    lift = params.lift * (1 - 0.6 * upper_lip)
    direction = unit(roots.normals * lift[:, None] + unit(flow) * 0.8 + wander(roots.points, 31, 90.0) * 0.22)
    length = _hair_length(params, roots, where, upper_lip, rng)
    steps = 4 if params.length > 0.004 else 2
    stride = (length / steps)[:, None]
    at = roots.points
    hairs = [at]
    for _ in range(steps):
        direction = unit(direction + np.array([0, -0.16, 0]) + rng.normal(0, 0.07, direction.shape))
        at = at + direction * stride
        hairs.append(at)
    strands = np.stack(hairs, 1)
    if params.locks > 0 and len(strands) > 20:
        strands = gather(strands, lock_of(roots.points, 7, rng), params.locks, keep=0.6)
    return strands


def _hair_length(
    params: BeardParams, roots: Roots, where: _Where, upper_lip: Array, rng: np.random.Generator
) -> Array:
    """Metres [S]: shorter at the borders; the moustache ends above the lip."""
    t = roots.template
    length = params.length * np.exp(rng.normal(0, 0.18, len(roots)))
    length *= 0.40 + 0.60 * where.density(t)
    near_chin = 1 - smoothstep(t[:, 1], where.chin_y - 0.002, where.chin_y + 0.022)
    near_chin *= 1 - smoothstep(np.abs(t[:, 0]), 0.022, 0.055)
    length *= 1 + (params.chin_length - 1) * near_chin
    length *= 1 - 0.45 * smoothstep(t[:, 1], where.corner_y + 0.004, where.base_y + 0.015) * (1 - upper_lip)
    room = where.lip_distance(t) * 1.15 + 0.0012
    return np.where(upper_lip > 0.3, np.minimum(length, room), length)


def _colour(
    sitter: Sitter, params: BeardParams, segments: Segments, roots: Roots, rng: np.random.Generator
) -> Array:
    """Colours [N, 3] in the photo's light."""
    tone = np.exp(rng.normal(0, 0.18, len(roots)))[segments.strand]
    albedo = np.clip(np.array([params.red, params.green, params.blue]) * tone[:, None], 0, 1)
    shift = rng.normal(0, 0.15, len(roots))[segments.strand]
    colour = hair_light(sitter, segments.tangents, albedo, shift, gloss=0.6)
    env = np.clip(sitter.shade(roots.normals[segments.strand]), 0.45, 1.2)
    density = Density.of(segments.means, segment_areas(segments.scales), cell=0.003)
    shadow = 0.45 + 0.62 * self_shadow(sitter, segments.means, density, strength=0.20)
    root = 0.68 + 0.32 * segments.along
    return np.clip(colour * (env * shadow * root)[:, None] * sitter.exposure, 0, 1)


def _tint(sitter: Sitter, params: BeardParams, where: _Where) -> None:
    """Let the skin take some of the hair's colour: no bare skin between hairs, no cut-out edge."""
    skin = sitter.puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs):
        return
    template = sitter.puppet.template_points(skin).numpy().astype(float)
    weight = np.zeros(len(template))
    near = np.flatnonzero((template[:, 1] < where.base_y + 0.06) & (template[:, 1] > where.chin_y - 0.05))
    weight[near] = where.density(template[near]) * params.tint
    hair = np.array([params.red, params.green, params.blue]) * 0.85 * sitter.exposure
    colour = skin.colors.numpy() * 0.25 + 0.75 * hair
    tint_skin(sitter, weight, colour)


def _dense(outline: Array, steps: int = 8) -> Array:
    """A closed polyline sampled ``steps`` times a segment."""
    t = np.arange(steps)[None, :, None] / steps
    return (outline[:, None] * (1 - t) + np.roll(outline, -1, 0)[:, None] * t).reshape(-1, 3)
