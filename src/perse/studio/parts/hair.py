"""Hair as strands: roots on the scalp, growth under gravity around head and shoulders, locks, curls, light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from perse.studio.groups import Skinned, SurfaceDiscs
from perse.studio.parts import _colours
from perse.studio.parts._params import Params
from perse.studio.parts._shade import Density, hair_light, segment_areas, self_shadow, shade_skin, tint_skin
from perse.studio.parts._sitter import (
    NECK,
    ROOT,
    Array,
    Roots,
    Sitter,
    regions_mask,
    smoothstep,
    unit,
    wander,
)
from perse.studio.parts._strands import Segments, arc_length, frizz, gather, helix, lock_of, segments_of
from perse.studio.puppet import Puppet, label_code

GROUP = "hair_strands"


@dataclass(frozen=True)
class HairParams(Params):
    """A hairstyle as numbers."""

    length: float = 0.05
    """Metres of the longest strands; 0 is bald."""
    sides: float = 1.0
    """Length at the sides and the nape relative to the top."""
    lift: float = 0.3
    """How much strands leave the scalp upright (1) or lie on it (0)."""
    volume: float = 0.008
    """Metres that the outer layer stands off the head."""
    gravity: float = 0.25
    """How fast strands bend down."""
    flow: float = 0.0
    """0: combed forward and to the side (short styles); 1: combed from the parting down and back."""
    curl: float = 0.0
    """Radius of the curls in metres."""
    pitch: float = 0.03
    """Metres of strand a turn."""
    flatness: float = 1.0
    """1: ringlets; 0: waves in one plane."""
    locks: float = 0.5
    """How tightly strands gather into locks at the tip, 0 to 1."""
    lock_size: float = 14.0
    """Strands a lock."""
    strands: float = 9000.0
    """How many strands."""
    segments: float = 10.0
    """Gaussians a strand."""
    width: float = 0.00042
    """Sigma across a strand in metres."""
    frizz: float = 0.001
    """Metres of random bending at the tip."""
    red: float = 0.27
    green: float = 0.165
    blue: float = 0.10


_STYLES: dict[tuple[str, str], HairParams] = {
    ("short", "straight"): HairParams(
        length=0.048, sides=0.34, lift=0.34, volume=0.006, gravity=0.10, locks=0.45, strands=13000, segments=8
    ),
    ("short", "wavy"): HairParams(
        length=0.060, sides=0.42, lift=0.42, volume=0.008, gravity=0.10, curl=0.0035, pitch=0.042, flatness=0.3,
        locks=0.72, lock_size=18, strands=10000, segments=11,
    ),
    ("short", "curly"): HairParams(
        length=0.078, sides=0.55, lift=0.75, volume=0.010, gravity=0.04, curl=0.0055, pitch=0.024, locks=0.88,
        lock_size=16, strands=5600, segments=20, width=0.0005,
    ),
    ("medium", "straight"): HairParams(
        length=0.205, lift=0.30, volume=0.011, gravity=0.30, flow=1.0, locks=0.5, strands=7600, segments=17,
        width=0.00050,
    ),
    ("medium", "wavy"): HairParams(
        length=0.215, lift=0.36, volume=0.013, gravity=0.28, flow=1.0, curl=0.0065, pitch=0.072, flatness=0.25,
        locks=0.74, lock_size=26, strands=6400, segments=20, width=0.00050,
    ),
    ("medium", "curly"): HairParams(
        length=0.200, lift=0.55, volume=0.016, gravity=0.20, flow=1.0, curl=0.0075, pitch=0.030, locks=0.94,
        lock_size=13, strands=3600, segments=38, width=0.00058,
    ),
    ("long", "straight"): HairParams(
        length=0.34, lift=0.32, volume=0.012, gravity=0.30, flow=1.0, locks=0.55, strands=6400, segments=24,
        width=0.00052,
    ),
    ("long", "wavy"): HairParams(
        length=0.34, lift=0.36, volume=0.014, gravity=0.28, flow=1.0, curl=0.0075, pitch=0.080, flatness=0.25,
        locks=0.76, lock_size=28, strands=5600, segments=27, width=0.00052,
    ),
    ("long", "curly"): HairParams(
        length=0.31, lift=0.50, volume=0.017, gravity=0.22, flow=1.0, curl=0.0082, pitch=0.034, locks=0.94,
        lock_size=13, strands=3200, segments=50, width=0.00060,
    ),
}  # fmt: skip


def params_from(adjectives: Sequence[str]) -> HairParams:
    """The hairstyle of the words, e.g. ("long", "curly", "red"); words left out take a middle choice."""
    if "bald" in adjectives:
        return HairParams(length=0.0)
    length = next((w for w in adjectives if w in ("short", "medium", "long")), "medium")
    curl = next((w for w in adjectives if w in ("straight", "wavy", "curly")), "straight")
    colour = next((w for w in adjectives if w in _colours.HAIR), "brown")
    return _STYLES[length, curl].painted(_colours.HAIR[colour])


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Replace the photo's hair by the one the words describe (see :func:`perse.studio.parts.apply`)."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: HairParams, seed: int, detail: float = 1.0) -> None:
    """Replace the hair by that of ``params``; ``detail`` scales the number of strands."""
    puppet.shave()
    puppet.remove(GROUP)
    if params.length < 0.004:
        return
    sitter = Sitter(puppet)
    strands, roots, leader = _grow(sitter, params, seed, detail)
    strands, outward = _style(strands, leader, params, seed)
    keep = _clear_of_face(sitter, strands) if params.flow > 0.5 else np.ones(len(strands), bool)
    segments = segments_of(strands[keep], params.width / np.sqrt(min(detail, 1.0)))
    outward = outward[keep][:, :-1].reshape(-1, 3)
    density = Density.of(segments.means, segment_areas(segments.scales))
    colours = _colour(sitter, params, segments, outward, leader[keep], density, seed)
    puppet.add(GROUP, _group(segments, colours, params))
    _undercoat(sitter, params)
    shade_skin(sitter, density, strength=0.10, darkest=0.5)


def _grow(
    sitter: Sitter, params: HairParams, seed: int, detail: float
) -> tuple[Array, Roots, np.ndarray]:
    """Plain strands [S, M, 3] before locks and curls, their roots, and each strand's lock leader [S]."""
    rng = np.random.default_rng([seed, 1])
    count = max(24, round(params.strands * detail))
    scalp = regions_mask(sitter.puppet.regions.scalp)
    wobble = 0.0035  # metres: nobody's hairline is a ruler's

    def density(points: Array) -> Array:
        return scalp(points + wander(points, 11, 90.0) * wobble) ** 0.8

    roots = sitter.grow_roots(density, count, rng)
    leader = lock_of(roots.points, max(2, round(params.lock_size * min(1.0, detail * 2))), rng)
    lengths = _lengths(sitter, params, roots, rng)
    steps = max(4, round(params.segments))
    margin = 0.0025 + params.volume * rng.random(len(roots))
    direction = _first_direction(sitter, params, roots, seed)
    body = sitter.dressed_body if params.length > 0.12 else sitter.body
    at = roots.points + roots.normals * 0.0004
    strand = [at]
    stride = (lengths / steps)[:, None]
    for k in range(steps):
        direction = direction + params.gravity * _gravity(k, steps) * np.array([0.0, -1.0, 0.0]) * stride / 0.0125
        direction += wander(at, seed * 131 + 20 + k // 4, 35.0) * 0.05
        if params.flow > 0.5:
            direction += _part_curtain(sitter, at)
        target = body.push_out(at + unit(direction) * stride, np.minimum(margin, 0.003 + margin * (k + 1) / 4))
        direction = unit(target - at)
        at = at + direction * stride
        strand.append(at)
    return np.stack(strand, 1), roots, leader


def _gravity(step: int, steps: int) -> float:
    """Gravity grows along the strand: stiff roots, hanging tips."""
    return 0.5 + 0.7 * step / steps


def _lengths(sitter: Sitter, params: HairParams, roots: Roots, rng: np.random.Generator) -> Array:
    """Metres of each strand [S]: shorter at the sides, a soft hairline, layers."""
    t = roots.template
    height = smoothstep(t[:, 1], sitter.brow_y - 0.005, sitter.brow_y + 0.055)
    factor = params.sides + (1 - params.sides) * height
    edge = regions_mask(lambda p: sitter.puppet.regions.scalp(p, 0.030))(t)
    soft = 0.45 + 0.55 * smoothstep(edge, 0.05, 0.85)
    soft = soft if params.flow < 0.5 else 0.8 + 0.2 * soft
    return params.length * factor * soft * np.exp(rng.normal(0, 0.10, len(roots)))


def _first_direction(sitter: Sitter, params: HairParams, roots: Roots, seed: int) -> Array:
    """The direction [S, 3] in which strands leave the scalp."""
    t = roots.template
    parting = 0.018
    side = np.tanh((t[:, 0] - parting) / 0.004)
    front = smoothstep(t[:, 2], 0.02, 0.09)
    combed = np.stack([0.75 * side, -0.10 - 0.5 * smoothstep(np.abs(t[:, 0]), 0.04, 0.07), 0.75 * front - 0.35], 1)
    curtain = np.stack([side * (0.9 + 0.3 * front), np.full(len(t), -0.25), -0.45 * front - 0.1], 1)
    flow = combed * (1 - params.flow) + curtain * params.flow
    flow -= roots.normals * (flow * roots.normals).sum(1, keepdims=True)
    noise = wander(roots.points, seed * 131 + 7, 60.0) * 0.14
    return unit(roots.normals * params.lift + flow * 0.9 + noise)


def _part_curtain(sitter: Sitter, at: Array) -> Array:
    """Pushes strands in front of the face aside [S, 3], like a hand through the hair."""
    rest = sitter.rest68
    brow = float(rest[17:27, 1].mean())
    ear_z = float(sitter.rest[sitter.skin_vertices][:, 2].max()) * 0.0
    x, y, z = at.T
    above = smoothstep(z, 0.045, 0.07) * (1 - smoothstep(y, brow, brow + 0.03))
    above *= smoothstep(0.075 - np.abs(x), 0, 0.012)
    below = (1 - smoothstep(y, brow - 0.02, brow)) * smoothstep(z, ear_z - 0.035, ear_z - 0.01)
    below *= smoothstep(0.082 - np.abs(x), 0, 0.015)
    push = np.zeros_like(at)
    push[:, 0] = np.sign(x + 1e-6) * (0.9 * above + 0.8 * below)
    push[:, 2] = -0.5 * above - 0.35 * below
    return push


def _style(strands: Array, leader: np.ndarray, params: HairParams, seed: int) -> tuple[Array, Array]:
    """Locks, curls and frizz; returns strands and, for curls, the way [S, M, 3] out of the curl's axis."""
    rng = np.random.default_rng([seed, 2])
    curled = params.curl > 1e-4
    strands = gather(strands, leader, params.locks, keep=0.35 if curled else 0.5)
    outward = np.zeros_like(strands)
    if curled:
        of_leader = np.random.default_rng([seed, 3]).random((len(strands), 3))[leader]
        phase = of_leader[:, 0] * 2 * np.pi + rng.normal(0, 0.16, len(strands))
        pitch = params.pitch * (0.8 + 0.4 * of_leader[:, 1])
        grown = np.clip(arc_length(strands) / (1.2 * params.pitch), 0, 1)
        radius = params.curl * (0.75 + 0.5 * of_leader[:, 2])[:, None] * grown
        radius = radius * (1 + rng.normal(0, 0.10, (len(strands), 1)))
        strands, outward = helix(strands, radius, pitch, phase, params.flatness)
    return frizz(strands, params.frizz, rng), outward


def _clear_of_face(sitter: Sitter, strands: Array) -> np.ndarray:
    """Which strands [S] hang neither over the face nor in front of the throat."""
    brow = float(sitter.rest68[17:27, 1].mean())
    chin = float(sitter.landmarks[152, 1])
    x, y, z = np.moveaxis(strands, -1, 0)
    face = (np.abs(x) < 0.052) & (z > 0.055) & (y < brow + 0.03) & (y > chin - 0.02)
    throat = (np.abs(x) < 0.052) & (z > -0.02) & (y < chin + 0.01)
    return ~(face.any(1) | throat.any(1))


def _colour(
    sitter: Sitter,
    params: HairParams,
    segments: Segments,
    outward: Array,
    leader: np.ndarray,
    density: Density,
    seed: int,
) -> Array:
    """Colours [N, 3] of the segments in the photo's light."""
    rng = np.random.default_rng([seed, 4])
    count = int(segments.strand.max()) + 1
    per_strand = np.exp(rng.normal(0, 0.12, count))
    per_lock = np.exp(np.random.default_rng([seed, 5]).normal(0, 0.15, int(leader.max()) + 1))[leader]
    tone = (per_strand * per_lock)[segments.strand]
    albedo = np.array([params.red, params.green, params.blue]) * tone[:, None]
    warm = rng.normal(0, 0.03, count)[segments.strand]
    albedo = np.clip(albedo * np.stack([1 + warm, np.ones_like(warm), 1 - warm], 1), 0, 1)
    shift = rng.normal(0, 0.16, count)[segments.strand]
    colour = hair_light(sitter, segments.tangents, albedo, shift)
    height, near = sitter.body.height(segments.means)
    root = 0.62 + 0.38 * smoothstep(segments.along, 0.0, 0.35)
    env = np.clip(sitter.shade(sitter.body.normals[near]), 0.5, 1.2)
    deep = 0.7 + 0.3 * smoothstep(height, 0.002, 0.012)
    curl_side = 1 + 0.42 * (outward * unit(sitter.view + 0.5 * sitter.light)).sum(1)
    shadow = 0.16 + 0.92 * self_shadow(sitter, segments.means, density)
    return np.clip(colour * (root * env * deep * curl_side * shadow)[:, None] * sitter.exposure, 0, 1)


def _group(segments: Segments, colours: Array, params: HairParams) -> Skinned:
    """The strands as a group: they turn with the head, and rest on the shoulders below the neck."""
    y = segments.means[:, 1]
    on_head = smoothstep(y, -0.14, -0.04)
    weights = np.zeros((len(y), 5))
    weights[:, NECK], weights[:, ROOT] = on_head, 1 - on_head
    tip = 1 - 0.35 * smoothstep(segments.along, 0.8, 1.0)
    return Skinned(
        means=_f(segments.means),
        quats=_f(segments.quats),
        scales=_f(segments.scales),
        opacities=_f(0.88 * tip),
        colors=_f(colours),
        labels=torch.full((len(y),), label_code("hair"), dtype=torch.uint8),
        weights=_f(weights),
    )


def _undercoat(sitter: Sitter, params: HairParams) -> None:
    """Colour the scalp like the shaded roots, so that no skin shines through."""
    skin = sitter.puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs):
        return
    template = sitter.puppet.template_points(skin).numpy().astype(float)
    jittered = template + wander(template, 11, 90.0) * 0.0035
    weight = regions_mask(lambda p: sitter.puppet.regions.scalp(p, 0.02))(jittered)
    strength = 0.85 * smoothstep(weight, 0.25, 1.0) * smoothstep(params.length, 0.0, 0.03)
    colour = np.array([params.red, params.green, params.blue]) * 0.40 * sitter.exposure
    tint_skin(sitter, strength, colour)


def _f(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
