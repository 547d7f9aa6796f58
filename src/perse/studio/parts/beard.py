"""Beards: hairs rooted in the skin, so that they ride on the moving jaw and lips; stubble is many short ones.

Every hair has a fixed root, rank and character; a look decides up to which rank hairs grow in each zone and how
long. So two looks with one seed share their hairs, and a beard grows out of the bare skin without dissolving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from perse.studio.groups import Rooted, SurfaceDiscs
from perse.studio.parts import _colours
from perse.studio.parts._beard_places import ZONES, BeardMap, Zones
from perse.studio.parts._params import Params
from perse.studio.parts._shade import Density, hair_light, segment_areas, self_shadow, tint_skin
from perse.studio.parts._sitter import Array, Roots, Sitter, smoothstep, tensor, unit, wander
from perse.studio.parts._strands import Segments, gather, lock_of, rooted, segments_of
from perse.studio.puppet import Puppet

GROUP = "beard"
Index = NDArray[np.int64]
HAIRS = 24_000
"""Hairs of a beard everywhere at density 1."""
SILVER = np.array([0.50, 0.49, 0.47])
"""What greying hairs turn to."""
REBIND = 0.007
"""Metres from the skin up to which a piece of hair follows the skin beside it, not that at its root."""


@dataclass(frozen=True)
class BeardParams(Params):
    """A beard as numbers. The nine zones (0 to 1) say where it grows."""

    moustache: float = 1.0
    soul: float = 1.0
    """The small patch below the lower lip."""
    chin: float = 1.0
    """The chin and below it."""
    beside: float = 1.0
    """The strips beside the mouth that join moustache and chin."""
    sideburns: float = 1.0
    """In front of the ears."""
    strap: float = 1.0
    """Along the jaw on both sides of the chin."""
    jaw: float = 1.0
    """Along the jaw from there to the ears."""
    flank: float = 1.0
    """Between mouth, chin and strap."""
    cheeks: float = 1.0
    """The lower cheeks between moustache and jaw."""
    density: float = 0.62
    """Share of the hairs that grow."""
    length: float = 0.0095
    """Metres of the longest hairs."""
    chin_length: float = 1.2
    """Length at the chin relative to the rest."""
    lip_length: float = 0.8
    """Length of the moustache relative to the rest."""
    band: float = 0.030
    """Metres above the lip to which a moustache reaches (little: a pencil moustache)."""
    over: float = 0.0
    """1: the moustache hangs over the upper lip, never over the opening of the mouth."""
    handle: float = 0.0
    """1: the moustache's ends are long and turned up."""
    width: float = 0.00020
    """Sigma across a hair in metres."""
    lift: float = 0.30
    """How far hairs stand off the skin."""
    wild: float = 0.10
    """How much hairs disagree on their direction."""
    locks: float = 0.40
    """How much hairs gather at the tip."""
    trim: float = 0.0
    """1: sharp borders and even lengths."""
    tint: float = 0.50
    """How much the skin below takes the colour of the hair."""
    opacity: float = 0.62
    grey: float = 0.0
    """Share of hairs that have turned grey."""
    red: float = 0.27
    green: float = 0.165
    blue: float = 0.10


def _only(*zones: str, **more: float) -> BeardParams:
    """A beard in some zones, the others bare."""
    return BeardParams(**{zone: float(zone in zones) for zone in ZONES}, **more)


_STYLES: dict[str, BeardParams] = {
    "full": BeardParams(),
    "stubble": BeardParams(
        length=0.0019, density=0.90, width=0.00007, lift=0.45, locks=0.0, tint=0.33, opacity=0.17,
        chin_length=1.0, lip_length=1.0,
    ),
    "goatee": _only("soul", "chin", chin_length=1.6, locks=0.5),
    "van dyke": _only("moustache", "soul", "chin", chin_length=1.7, lip_length=0.9, handle=0.25, locks=0.55),
    "circle beard": _only("moustache", "soul", "chin", "beside", length=0.0075, chin_length=1.1),
    "soul patch": _only("soul", length=0.0080, density=0.8),
    "chin curtain": _only("chin", "strap", "jaw", "sideburns", length=0.0100, chin_length=1.25),
    "mutton chops": _only("sideburns", "jaw", "cheeks", length=0.0110, density=0.66, locks=0.5),
    "sideburns": _only("sideburns", length=0.0060, density=0.66),
    "moustache": _only("moustache", length=0.0100, lip_length=1.0, density=0.78),
    "pencil moustache": _only(
        "moustache", length=0.0048, lip_length=1.0, density=0.85, band=0.0040, trim=0.8, wild=0.05, tint=0.60
    ),
    "handlebar moustache": _only("moustache", length=0.0115, lip_length=1.0, density=0.80, handle=1.0, locks=0.75),
    "walrus moustache": _only("moustache", length=0.0150, lip_length=1.0, density=0.95, over=1.0, lift=0.42),
}  # fmt: skip
_LENGTH = {"short": (0.55, 1.0), "long": (1.9, 1.35)}
"""Words for the length: factors of ``length`` and ``chin_length``."""
SALT_AND_PEPPER = (0.115, 0.105, 0.10)


def params_from(adjectives: Sequence[str]) -> BeardParams:
    """The beard of the words, e.g. ("full", "brown")."""
    params = _STYLES[next((w for w in adjectives if w in _STYLES), "full")]
    scale, stretch = next((_LENGTH[w] for w in adjectives if w in _LENGTH), (1.0, 1.0))
    params = params.but(length=params.length * scale, chin_length=params.chin_length * stretch)
    if "bushy" in adjectives:
        params = params.but(
            length=1.25 * params.length,
            density=1.25 * params.density,
            lift=0.55,
            wild=0.20,
            locks=0.3,
            width=0.00023,
        )
    if "trimmed" in adjectives:
        params = params.but(length=0.60 * params.length, trim=1.0, wild=0.05, lift=0.22, tint=0.58)
    if "sparse" in adjectives:
        params = params.but(density=0.30 * params.density, tint=0.45 * params.tint)
    if "salt-and-pepper" in adjectives:
        return params.painted(SALT_AND_PEPPER).but(grey=0.45)
    colour = next((w for w in adjectives if w in _colours.HAIR), "brown")
    return params.painted(_colours.HAIR[colour])


def absent(params: BeardParams) -> BeardParams:
    """The bare skin from which a beard of this look grows."""
    return params.but(length=0.0, density=0.0, tint=0.0)


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Grow the beard that the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: BeardParams, seed: int, detail: float = 1.0) -> None:
    """Grow a beard; ``detail`` scales the number of hairs."""
    sitter = Sitter(puppet)
    places = BeardMap(sitter)
    plan = _Plan.draw(sitter, places, max(40, round(HAIRS * detail)), seed)
    zones = places.zones(plan.roots.template, params.band, params.trim)
    cover = _cover(params, zones)
    wanted = cover * params.density * (1 + 0.45 * zones.upper)  # a moustache is denser than the rest
    grown = np.clip((wanted - plan.rank) / 0.08, 0, 1)
    _tint(sitter, params, places)
    rows = np.flatnonzero((grown > 0) & (params.length > 1e-4))
    if not len(rows):
        puppet.remove(GROUP)
        return
    hairs = _grow(params, places, plan, zones, cover, rows, grown[rows])
    fine = (0.55 + 0.45 * cover[rows]) / np.sqrt(min(detail, 1.0))
    segments = segments_of(hairs, params.width * fine, taper=0.6, overlap=0.6)
    roots = plan.roots.take(rows)
    colours = _colour(sitter, params, segments, roots, plan, rows)
    group = _bind(puppet, segments, plan.roots, rows, colours, params, places)
    fade = (grown[rows] * (0.30 + 0.70 * np.sqrt(cover[rows])))[segments.strand] * (
        1 - 0.5 * segments.along**3
    )
    puppet.add(GROUP, replace(group, opacities=group.opacities * tensor(fade)))


def _cover(params: BeardParams, zones: Zones) -> Array:
    """0..1 how densely hair grows at the zones' points, for a look."""
    total = sum(getattr(params, name) * share for name, share in zones.share.items())
    return np.clip(np.asarray(total), 0, 1) ** (1.7 - 0.9 * params.trim)


@dataclass(frozen=True)
class _Plan:
    """What is drawn by lot for every hair, whatever the look: S hairs."""

    roots: Roots
    rank: Array  # [S] 0..1: hairs of low rank grow first
    tone: Array  # [S] brightness
    size: Array  # [S] relative length
    silver: Array  # [S] 0..1: which hairs turn grey first
    turn: Array  # [S, 3] what makes a hair disagree on its direction
    bend: Array  # [S, 4, 3] small bends on the way
    leader: Index  # [S] the hair that leads the lock

    @staticmethod
    def draw(sitter: Sitter, places: BeardMap, count: int, seed: int) -> _Plan:
        """The lots of one seed: roots wherever any beard may grow."""
        rng = np.random.default_rng([seed, 11])
        roots = sitter.grow_roots(lambda p: smoothstep(places.zones(p).where, 0.0, 0.15), count, rng)
        count = len(roots)
        return _Plan(
            roots=roots,
            rank=rng.random(count),
            tone=np.exp(rng.normal(0, 0.20, count)),
            size=np.exp(rng.normal(0, 0.16, count)),
            silver=rng.random(count),
            turn=rng.normal(0, 1, (count, 3)),
            bend=rng.normal(0, 0.06, (count, 4, 3)),
            leader=lock_of(roots.points, 9, rng),
        )


def _grow(
    params: BeardParams, places: BeardMap, plan: _Plan, zones: Zones, cover: Array, rows: Index, grown: Array
) -> Array:
    """Hairs [S, M, 3] of the plan's ``rows``: down the cheeks, off the chin, sideways on the moustache."""
    every = plan.roots
    roots = every.take(rows)
    t, normals = roots.template, roots.normals
    ax, side = np.abs(t[:, 0]), np.sign(t[:, 0])
    upper = zones.upper[rows]
    under = np.clip(-normals[:, 1], 0, 1)
    outer = smoothstep(ax, 0.004, 0.020)
    across = upper * (0.30 + 1.15 * outer + 1.2 * params.handle * outer) + (1 - upper) * 0.10
    down = np.where(upper > 0.5, -0.75 + 0.35 * params.handle * outer, -0.95)
    flow = np.stack([side * across, down, 0.16 + 1.2 * under], 1)
    flow = unit(flow - normals * (flow * normals).sum(1, keepdims=True))
    lift = params.lift * (1 - 0.45 * upper) + 0.45 * under
    noise = wander(roots.points, 31, 90.0) * 0.16 + params.wild * plan.turn[rows]
    direction = unit(flow + normals * lift[:, None] + noise)
    length = _lengths(params, places, plan, zones, cover, rows) * (0.25 + 0.75 * grown)
    steps = 4 if params.length > 0.004 else 2
    curl = params.handle * upper * outer
    pull = np.stack([0.10 * curl * side, -0.14 * (1 - upper) - 0.05 * upper + 0.75 * curl, 0 * curl], 1)
    at, hairs = roots.points, [roots.points]
    for step in range(steps):
        direction = unit(
            direction + pull * (step / steps + 0.5) + plan.bend[rows, step] * (1 - 0.6 * params.trim)
        )
        at = at + direction * (length / steps)[:, None]
        hairs.append(at)
    strands = np.stack(hairs, 1)
    if params.locks <= 0:
        return strands
    position = np.full(len(every), -1)
    position[rows] = np.arange(len(rows))
    leader = position[plan.leader[rows]]
    alone = leader < 0
    leader[alone] = np.flatnonzero(alone)
    return gather(strands, leader, params.locks * (1 - 0.5 * params.trim), keep=0.6)


def _lengths(
    params: BeardParams, places: BeardMap, plan: _Plan, zones: Zones, cover: Array, rows: Index
) -> Array:
    """Metres [S]: shorter at the borders; a moustache ends at the lip, or hangs to the middle of it."""
    t, upper = plan.roots.template[rows], zones.upper[rows]
    even = 1 - 0.7 * params.trim
    length = params.length * plan.size[rows] ** even * (1 - 0.62 * (1 - cover[rows]) * even)
    near_chin = 1 - smoothstep(t[:, 1], places.chin[1] - 0.002, places.chin[1] + 0.026)
    near_chin *= 1 - smoothstep(np.abs(t[:, 0]), 0.018, 0.052)
    length *= 1 + (params.chin_length - 1) * near_chin
    high = smoothstep(t[:, 1], places.corner[1] + 0.002, places.base_y + 0.018) * (1 - upper)
    length *= 1 - 0.55 * high
    free = smoothstep(
        np.abs(t[:, 0]), 0.55 * places.corner[0], 0.95 * places.corner[0]
    )  # runs beside the mouth
    room = zones.border[rows] * (1.05 + 0.5 * free) + 0.0018 + 0.0054 * params.over
    room = room + params.handle * 0.016 * free
    on_lip = np.minimum(length * params.lip_length, room)
    return length * (1 - upper) + on_lip * upper


def _bind(
    puppet: Puppet,
    segments: Segments,
    every: Roots,
    rows: Index,
    colours: Array,
    params: BeardParams,
    places: BeardMap,
) -> Rooted:
    """Each piece of hair follows the skin beside it, so that a moustache lies on a smiling lip."""
    root = rows[segments.strand]
    begins = every.points[root]
    upper = every.template[:, 1] > places.corner[1]
    for part in (upper, ~upper):  # no hair of the upper lip goes down with the lower one
        mine = np.flatnonzero(part[root])
        held = np.flatnonzero(part)
        if not len(mine):
            continue
        distance, near = cKDTree(every.points[held]).query(segments.means[mine])
        close = distance < REBIND
        root[mine[close]] = held[near[close]]
    bound = replace(segments, strand=np.arange(len(root)))
    return rooted(puppet, bound, every.take(root), colours, params.opacity, "beard", begins)


def _colour(
    sitter: Sitter, params: BeardParams, segments: Segments, roots: Roots, plan: _Plan, rows: Index
) -> Array:
    """Colours [N, 3] in the photo's light."""
    own = np.array([params.red, params.green, params.blue]) * plan.tone[rows, None]
    turned = smoothstep(params.grey - plan.silver[rows], -0.06, 0.06)[:, None]
    albedo = np.clip(own * (1 - turned) + SILVER * turned, 0, 1)[segments.strand]
    shift = 0.15 * plan.turn[rows, 0][segments.strand]
    colour = hair_light(sitter, segments.tangents, albedo, shift, gloss=0.45)
    env = np.clip(sitter.shade(roots.normals[segments.strand]), 0.45, 1.2)
    density = Density.of(segments.means, segment_areas(segments.scales), cell=0.003)
    shadow = 0.50 + 0.55 * self_shadow(sitter, segments.means, density, strength=0.16)
    root = 0.72 + 0.28 * segments.along
    skin = sitter.puppet.light.skin.numpy().astype(float)  # shines through thin hairs
    return np.clip(0.95 * colour * (env * shadow * root)[:, None] * sitter.exposure + 0.045 * skin, 0, 1)


def _tint(sitter: Sitter, params: BeardParams, places: BeardMap) -> None:
    """Let the skin take some of the hair's colour: no bare skin between hairs, no cut-out edge."""
    skin = sitter.puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs) or params.tint <= 0:
        return
    template = sitter.puppet.template_points(skin).numpy().astype(float)
    near = np.flatnonzero(
        (template[:, 1] < places.eye_y + 0.02)
        & (template[:, 1] > places.chin[1] - 0.05)
        & (template[:, 2] > 0)
    )
    weight = np.zeros(len(template))
    cover = _cover(params, places.zones(template[near], params.band, params.trim))
    weight[near] = cover * params.tint
    own = np.array([params.red, params.green, params.blue])
    hair = (own + (SILVER - own) * 0.8 * params.grey) * 0.85 * sitter.exposure
    tint_skin(sitter, weight, skin.colors.numpy() * 0.30 + 0.70 * hair)
