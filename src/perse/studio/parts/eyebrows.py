"""Eyebrows: the photo's own are cleaned from the skin, then hairs are combed along a brow line over a soft tint.

Every hair has a fixed place ``(along, across)`` in the brow and a fixed rank; a look decides where that place lies
on the face and up to which rank hairs grow. So two looks with one seed share their hairs, and a morph grows them.
"""

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
from perse.studio.parts._sitter import Array, Roots, Sitter, smoothstep, tensor, unit
from perse.studio.parts._strands import rooted, segments_of
from perse.studio.puppet import Puppet, label_code
from perse.studio.regions import LEFT_BROW, RIGHT_BROW

GROUP = "eyebrows"
STEPS = 60
HAIRS = 1500
"""Hairs of both brows at density 1."""
INWARD = 0.30
"""How far beyond its inner end (in lengths of the brow) a brow may reach: to the middle, for a unibrow."""


@dataclass(frozen=True)
class BrowParams(Params):
    """Eyebrows as numbers."""

    thickness: float = 0.0040
    """Half the height of the inner half in metres."""
    taper: float = 0.75
    """How much of it is lost at the outer end."""
    arch: float = 0.0
    """Metres that the peak is raised over a lowered tail."""
    angle: float = 0.0
    """Metres that a sharp peak is raised."""
    round: float = 0.0
    """Metres that the middle is raised in one even curve."""
    straight: float = 0.0
    """1 takes the photo's own arch away."""
    apart: float = 0.0
    """Metres that each inner end is moved outwards (negative: inwards)."""
    joined: float = 0.0
    """Density of the hairs between the brows."""
    density: float = 0.62
    """Share of the hairs that grow."""
    length: float = 0.0072
    """Metres of a hair."""
    width: float = 0.00012
    """Sigma across a hair in metres."""
    wild: float = 0.10
    """How much hairs disagree on their direction."""
    comb: float = 0.0
    """1: combed upwards (feathered)."""
    soft: float = 0.55
    """Share of the height over which the borders thin out."""
    tint: float = 0.34
    """How much the skin below takes the colour."""
    opacity: float = 0.42
    red: float = 0.27
    green: float = 0.165
    blue: float = 0.10


_THICKNESS: dict[str, BrowParams] = {
    "thick": BrowParams(),
    "thin": BrowParams(
        thickness=0.0018, taper=0.6, density=0.34, length=0.0046, wild=0.06, tint=0.34, soft=0.7
    ),
    "bushy": BrowParams(
        thickness=0.0047,
        taper=0.55,
        density=0.80,
        length=0.0092,
        width=0.00014,
        wild=0.24,
        comb=0.15,
        tint=0.30,
    ),
}


def params_from(adjectives: Sequence[str]) -> BrowParams:
    """The eyebrows of the words, e.g. ("thin", "arched", "brown")."""
    params = _THICKNESS[next((w for w in adjectives if w in _THICKNESS), "thick")]
    if "arched" in adjectives:
        params = params.but(arch=0.0042)
    if "angled" in adjectives:
        params = params.but(angle=0.0052)
    if "rounded" in adjectives:
        params = params.but(straight=0.7, round=0.0058)
    if "straight" in adjectives:
        params = params.but(straight=1.0)
    if "feathered" in adjectives:
        params = params.but(
            comb=1.0,
            density=0.62 * params.density,
            length=1.15 * params.length,
            tint=0.55 * params.tint,
            soft=0.8,
        )
    if "trimmed" in adjectives:
        params = params.but(length=0.55 * params.length, wild=0.03, soft=0.30, tint=1.35 * params.tint)
    if "sparse" in adjectives:
        params = params.but(density=0.50 * params.density, tint=0.45 * params.tint)
    if "close-set" in adjectives:
        params = params.but(apart=-0.0050)
    if "wide-set" in adjectives:
        params = params.but(apart=0.0065)
    if "unibrow" in adjectives:
        params = params.but(apart=-0.0020, joined=0.75)
    colour = next((w for w in adjectives if w in _colours.HAIR), "brown")
    return params.painted(_colours.HAIR[colour])


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Replace the eyebrows by those the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: BrowParams, seed: int, detail: float = 1.0) -> None:
    """Replace the eyebrows; ``detail`` scales the number of hairs."""
    sitter = Sitter(puppet)
    clean_photo_brows(puppet)
    brows = _Brows(sitter, params)
    plan = _Plan.draw(max(32, round(HAIRS * detail)), seed)
    grown = np.clip((brows.density(plan.along, plan.across) * params.density - plan.rank) / 0.05, 0, 1)
    plan, grown = plan.take(grown > 0), grown[grown > 0]
    _tint(sitter, params, brows)
    if not len(grown):
        return
    roots = sitter.roots_behind(brows.places(plan.along, plan.across, plan.side))
    hairs = _grow(params, roots, brows, plan, grown)
    segments = segments_of(hairs, params.width / np.sqrt(min(detail, 1.0)), taper=0.5, overlap=0.6)
    env = np.clip(sitter.shade(roots.normals), 0.5, 1.15)
    colours = np.array([params.red, params.green, params.blue]) * 0.88 * sitter.exposure
    colours = colours * (plan.tone * env)[segments.strand, None] + 0.055 * _skin_colour(puppet)
    places = np.stack([plan.side * (0.02 + 0.05 * plan.along), 0.005 * plan.across, 0 * plan.rank], 1)
    begins = places[segments.strand]
    group = rooted(puppet, segments, roots, np.clip(colours, 0, 1), params.opacity, "eyebrows", begins)
    fade = grown[segments.strand] * (1 - 0.55 * segments.along**2)
    puppet.add(GROUP, replace(group, opacities=group.opacities * tensor(fade)))


def _skin_colour(puppet: Puppet) -> Array:
    """[3] the skin's colour, which shines through thin hairs."""
    return puppet.light.skin.numpy().astype(float)


def clean_photo_brows(puppet: Puppet) -> None:
    """Fill the photo's own brows with the skin around them, keeping the grain of the lift's browless skin."""
    puppet.remove(GROUP)
    skin = puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs) or "clean" not in skin.extras:
        return
    template = puppet.template_points(skin)
    weight = puppet.regions.brows(template, soft=0.0030, grow=0.0060)
    inside = weight > 0
    ring = (puppet.regions.brows(template, grow=0.0150) > 0.5) & (
        puppet.regions.brows(template, grow=0.0090) < 0.5
    )
    ring &= template[:, 1] > _brow_height(
        puppet, template[:, 0]
    )  # the forehead; lashes and sockets are darker
    ring &= (skin.labels == label_code("skin")) & (skin.extras["known"] > 0.5)
    clean = skin.extras["clean"].clone()
    if int(ring.sum()) > 50:
        shade = skin.extras["shade"].clamp_min(0.2)[:, None]
        around = _from_around(template[inside], template[ring], (skin.colors / shade)[ring]) * shade[inside]
        smooth = _from_around(template[inside], template[inside], clean[inside])
        clean[inside] = (around * clean[inside] / smooth.clamp_min(0.02)).clamp(0, 1)
    blend = weight[:, None]
    closed = None if skin.closed_colors is None else skin.closed_colors.lerp(clean, blend)
    brow, bare = label_code("eyebrows"), label_code("skin")
    labels = torch.where(skin.labels == brow, torch.full_like(skin.labels, bare), skin.labels)
    puppet.add(
        "skin", replace(skin, colors=skin.colors.lerp(clean, blend), closed_colors=closed, labels=labels)
    )


def _brow_height(puppet: Puppet, x: torch.Tensor) -> torch.Tensor:
    """Height [N] of the brows' middle line at template coordinates x [N], level between and beyond them."""
    lower, upper = LEFT_BROW
    middle = (puppet.regions.landmarks[list(lower)] + puppet.regions.landmarks[list(upper)]).numpy()[::-1] / 2
    return torch.from_numpy(np.interp(x.abs().numpy(), middle[:, 0], middle[:, 1])).float()


def _from_around(points: torch.Tensor, known: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
    """Colours [N, 3] at points [N, 3], averaged from known ones by nearness."""
    thin = max(1, len(known) // 1500)
    tree = cKDTree(known[::thin].numpy())
    distance, near = tree.query(points.numpy(), min(48, tree.n))
    weight = torch.from_numpy(1 / (distance**2 + 0.003**2)).float()[..., None]
    return (colors[::thin][torch.from_numpy(near)] * weight).sum(1) / weight.sum(1)


@dataclass(frozen=True)
class _Plan:
    """What is drawn by lot for every hair, whatever the look: S hairs."""

    along: Array  # [S] place from the inner (0) to the outer end (1); below 0 between the brows
    across: Array  # [S] -1 on the lower border, 1 on the upper
    side: Array  # [S] -1 or 1
    rank: Array  # [S] 0..1: hairs of low rank grow first
    tone: Array  # [S] brightness
    size: Array  # [S] relative length
    turn: Array  # [S, 3] what makes a hair disagree on its direction

    @staticmethod
    def draw(count: int, seed: int) -> _Plan:
        """The lots of one seed."""
        rng = np.random.default_rng([seed, 21])
        return _Plan(
            along=rng.uniform(-INWARD, 1.0, count),
            across=rng.uniform(-1.0, 1.0, count),
            side=np.where(rng.random(count) < 0.5, -1.0, 1.0),
            rank=rng.random(count),
            tone=np.exp(rng.normal(0, 0.20, count)),
            size=np.exp(rng.normal(0, 0.20, count)),
            turn=rng.normal(0, 1, (count, 3)),
        )

    def take(self, index: np.ndarray) -> _Plan:
        """The chosen hairs."""
        return _Plan(*(value[index] for value in vars(self).values()))


class _Brows:
    """The brows of a look on the template: their middle lines, heights and densities."""

    def __init__(self, sitter: Sitter, params: BrowParams) -> None:
        self.params = params
        self.along = np.linspace(-INWARD, 1, STEPS)
        self.lines = {}
        for sign, (lower, upper) in ((1.0, LEFT_BROW), (-1.0, RIGHT_BROW)):
            middle = (sitter.marks[list(lower)] + sitter.marks[list(upper)])[::-1] / 2  # inner end first
            self.lines[sign] = self._line(middle * [sign, 1, 1]) * [sign, 1, 1]
        self._trees = {sign: cKDTree(line[:, :2]) for sign, line in self.lines.items()}
        self.tangents = {sign: unit(np.gradient(line, axis=0)) for sign, line in self.lines.items()}

    def _line(self, middle: Array) -> Array:
        """[STEPS, 3] the middle line of the left brow (x > 0) from five points."""
        p, u = self.params, np.clip(self.along, 0, 1)
        curve = CubicSpline(np.linspace(0, 1, 5), middle, axis=0)(u)
        chord = middle[0, 1] + (middle[-1, 1] - middle[0, 1]) * u * 0.5
        curve[:, 1] += p.straight * (chord - curve[:, 1])
        curve[:, 1] += p.arch * (np.exp(-(((u - 0.62) / 0.26) ** 2)) - 0.45 * u**3)
        peak = np.where(u < 0.66, u / 0.66, 1 - (u - 0.66) / 0.34 * 1.25)
        curve[:, 1] += p.angle * (0.75 * peak - 0.15)
        curve[:, 1] += p.round * (np.sin(np.pi * u) - 0.35)
        curve[:, 0] += p.apart * (1 - u) ** 1.5
        between = np.clip(-self.along / INWARD, 0, 1)  # 1 in the middle of the face
        curve[:, 0] *= 1 - between
        curve[:, 1] -= 0.0012 * between
        return curve

    def half(self, along: Array) -> Array:
        """Half the height in metres at places along a brow."""
        full = 1 - self.params.taper * smoothstep(along, 0.45, 1.05)
        return self.params.thickness * full * (0.80 + 0.20 * smoothstep(along, 0.0, 0.25))

    def density(self, along: Array, across: Array) -> Array:
        """0..1: full in the body, thin at the inner end and above, some between joined brows."""
        soft = self.params.soft
        edge = np.where(across > 0, soft, 0.75 * soft)
        inside = 1 - smoothstep(np.abs(across), 1 - edge, 1.0)
        start = 0.30 + 0.70 * smoothstep(along, 0.0, 0.20)
        end = 1 - 0.6 * smoothstep(along, 0.80, 1.0)
        between = self.params.joined * (0.55 + 0.45 * smoothstep(along, -INWARD, 0.0))
        inner = np.where(along < 0, between, np.maximum(start, between))
        return inside * inner * end

    def places(self, along: Array, across: Array, side: Array) -> Array:
        """[S, 3] template points of places in the brows."""
        found = np.zeros((len(along), 3))
        for sign, line in self.lines.items():
            mine = side == sign
            at = np.stack([np.interp(along[mine], self.along, line[:, axis]) for axis in range(3)], 1)
            at[:, 1] += across[mine] * self.half(along[mine])
            found[mine] = at
        return found

    def tangent(self, along: Array, side: Array) -> Array:
        """[S, 3] unit directions outwards along the brows."""
        found = np.zeros((len(along), 3))
        for sign, tangents in self.tangents.items():
            mine = side == sign
            found[mine] = np.stack(
                [np.interp(along[mine], self.along, tangents[:, axis]) for axis in range(3)], 1
            )
        return unit(found)

    def cover(self, points: Array) -> Array:
        """How dense [N] the hairs are over template points [N, 3]."""
        total = np.zeros(len(points))
        for sign, line in self.lines.items():
            mine = np.flatnonzero((points[:, 0] * sign > -0.002) & (points[:, 2] > line[:, 2].min() - 0.015))
            distance, near = self._trees[sign].query(points[mine, :2])
            above = np.sign(points[mine, 1] - line[near, 1])
            along = self.along[near]
            across = above * distance / np.maximum(self.half(along) * 1.12, 1e-4)
            total[mine] = np.maximum(total[mine], self.density(along, across))
        return total


def _grow(params: BrowParams, roots: Roots, brows: _Brows, plan: _Plan, grown: Array) -> Array:
    """Hairs [S, 4, 3]: upright at the inner end, slanting outwards over the body, along the brow at the tail.

    Hairs of the lower half rise to the middle line, those of the upper half bend down to it.
    """
    u = np.clip(plan.along, 0, 1)
    rise = np.interp(u, [0.0, 0.12, 0.40, 0.75, 1.0], [78.0, 58.0, 27.0, 6.0, -8.0])
    meet = np.interp(u, [0.0, 0.15, 0.5, 1.0], [4.0, 14.0, 24.0, 12.0])
    rise = rise - meet * plan.across + params.comb * (1 - u) * np.clip(62 - rise, 0, 40)
    angle = np.radians(rise)[:, None]
    tangent = brows.tangent(plan.along, plan.side)
    tangent = unit(tangent - roots.normals * (tangent * roots.normals).sum(1, keepdims=True))
    up = np.cross(roots.normals, tangent) * plan.side[:, None]
    direction = np.cos(angle) * tangent + np.sin(angle) * up
    direction = unit(direction + roots.normals * 0.16 + params.wild * plan.turn)
    length = (
        params.length
        * plan.size
        * (0.72 + 0.28 * smoothstep(u, 0.0, 0.2))
        * (1 - 0.5 * smoothstep(u, 0.6, 1))
    )
    stride = (length * (0.3 + 0.7 * grown) / 3)[:, None]
    at = roots.points + roots.normals * 0.00015
    hairs = [at]
    for _ in range(3):
        at = at + direction * stride
        hairs.append(at)
        direction = unit(direction - 0.12 * roots.normals + 0.16 * (1 - 0.7 * params.comb) * tangent)
    return np.stack(hairs, 1)


def _tint(sitter: Sitter, params: BrowParams, brows: _Brows) -> None:
    """A breath of the hair's colour on the skin below."""
    skin = sitter.puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs):
        return
    template = sitter.puppet.template_points(skin).numpy().astype(float)
    weight = np.zeros(len(template))
    close = np.flatnonzero(np.abs(template[:, 1] - sitter.brow_y) < 0.03)
    weight[close] = brows.cover(template[close]) * params.tint
    hair = np.array([params.red, params.green, params.blue]) * 0.95 * sitter.exposure
    tint_skin(sitter, weight, skin.colors.numpy() * 0.15 + 0.85 * hair)
