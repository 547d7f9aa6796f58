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
    tensor,
    unit,
    wander,
)
from perse.studio.parts._strands import (
    Segments,
    arc_length,
    frizz,
    gather,
    helix,
    lock_of,
    resample,
    segments_of,
)
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
        length=0.052, sides=0.32, lift=0.36, volume=0.006, gravity=0.22, locks=0.42, lock_size=9, strands=13000,
        segments=8, width=0.00036,
    ),
    ("short", "wavy"): HairParams(
        length=0.066, sides=0.40, lift=0.45, volume=0.009, gravity=0.20, curl=0.0036, pitch=0.044, flatness=0.3,
        locks=0.72, lock_size=16, strands=10500, segments=11, width=0.00038,
    ),
    ("short", "curly"): HairParams(
        length=0.080, sides=0.55, lift=0.70, volume=0.012, gravity=0.14, curl=0.0055, pitch=0.024, locks=0.92,
        lock_size=15, strands=4200, segments=30, width=0.00050, frizz=0.0005,
    ),
    ("medium", "straight"): HairParams(
        length=0.225, lift=0.26, volume=0.011, gravity=0.55, flow=1.0, locks=0.5, strands=7600, segments=17,
        width=0.00048,
    ),
    ("medium", "wavy"): HairParams(
        length=0.235, lift=0.34, volume=0.014, gravity=0.50, flow=1.0, curl=0.0065, pitch=0.072, flatness=0.25,
        locks=0.74, lock_size=26, strands=6400, segments=20, width=0.00048,
    ),
    ("medium", "curly"): HairParams(
        length=0.230, lift=0.40, volume=0.017, gravity=0.50, flow=1.0, curl=0.0095, pitch=0.040, locks=0.95,
        lock_size=17, strands=2700, segments=50, width=0.00064, frizz=0.0004,
    ),
    ("long", "straight"): HairParams(
        length=0.36, lift=0.26, volume=0.012, gravity=0.58, flow=1.0, locks=0.55, strands=6400, segments=24,
        width=0.00050,
    ),
    ("long", "wavy"): HairParams(
        length=0.36, lift=0.34, volume=0.015, gravity=0.52, flow=1.0, curl=0.0075, pitch=0.080, flatness=0.25,
        locks=0.76, lock_size=28, strands=5600, segments=27, width=0.00050,
    ),
    ("long", "curly"): HairParams(
        length=0.34, lift=0.34, volume=0.018, gravity=0.55, flow=1.0, curl=0.0100, pitch=0.046, locks=0.955,
        lock_size=17, strands=2300, segments=68, width=0.00066, frizz=0.0004,
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
    inner = scalp_density(sitter, roots.template, 0.025)
    strands, outward = _style(strands, leader, params, inner, seed)
    keep = _clear_of_face(sitter, strands) if params.flow > 0.5 else np.ones(len(strands), bool)
    fine = 0.55 + 0.45 * inner[keep]
    segments = segments_of(strands[keep], params.width * fine / np.sqrt(min(detail, 1.0)))
    outward = outward[keep][:, :-1].reshape(-1, 3)
    density = Density.of(segments.means, segment_areas(segments.scales))
    colours = _colour(sitter, params, segments, outward, leader[keep], density, seed)
    puppet.add(GROUP, _group(segments, colours, inner[keep]))
    _undercoat(sitter, params)
    shade_skin(sitter, density, strength=0.10, darkest=0.5)


def _grow(sitter: Sitter, params: HairParams, seed: int, detail: float) -> tuple[Array, Roots, np.ndarray]:
    """Plain strands [S, M, 3] before locks and curls, their roots, and each strand's lock leader [S]."""
    rng = np.random.default_rng([seed, 1])
    count = max(24, round(params.strands * detail))
    roots = sitter.grow_roots(lambda points: scalp_density(sitter, points) ** 0.8, count, rng)
    leader = lock_of(roots.points, max(2, round(params.lock_size * min(1.0, detail * 2))), rng)
    lengths = _lengths(sitter, params, roots, rng)
    segments = max(4, round(params.segments))
    steps = min(segments, max(8, round(params.length / 0.014)))
    margin = 0.0025 + params.volume * rng.random(len(roots))
    direction = _first_direction(sitter, params, roots, seed)
    body = sitter.dressed_body if params.length > 0.12 else sitter.body
    at = roots.points + roots.normals * 0.0004
    strand = [at]
    stride = (lengths / steps)[:, None]
    for k in range(steps):
        direction = (
            direction + params.gravity * _gravity(k, steps) * np.array([0.0, -1.0, 0.0]) * stride / 0.0125
        )
        direction += wander(at, seed * 131 + 20 + k // 4, 35.0) * 0.05
        if params.flow > 0.5:
            direction += _part_curtain(sitter, at)
        target = body.push_out(
            at + unit(direction) * stride, np.minimum(margin, 0.003 + margin * (k + 1) / 4)
        )
        direction = unit(target - at)
        at = at + direction * stride
        strand.append(at)
    return resample(np.stack(strand, 1), segments + 1), roots, leader


def scalp_density(sitter: Sitter, points: Array, soft: float = 0.012) -> Array:
    """0..1 where hair grows, for template points [N, 3]: the scalp with an uneven hairline, and sideburns."""
    moved = points + wander(points, 11, 90.0) * 0.0035  # nobody's hairline is a ruler's
    scalp = regions_mask(lambda p: sitter.puppet.regions.scalp(p, soft))(moved)
    tragus = sitter.marks[454]
    x, y, z = np.abs(moved[:, 0]), moved[:, 1], moved[:, 2]
    burn = smoothstep(y, tragus[1] - 0.006, tragus[1] + 0.010) * (
        1 - smoothstep(y, sitter.eye[1] + 0.02, sitter.eye[1] + 0.04)
    )
    burn *= smoothstep(z, tragus[2] + 0.001, tragus[2] + 0.006) * (
        1 - smoothstep(z, tragus[2] + 0.013, tragus[2] + 0.024)
    )
    return np.maximum(scalp, 0.9 * burn * (x > 0.045))


def _gravity(step: int, steps: int) -> float:
    """Gravity grows along the strand: stiff roots, hanging tips."""
    return 0.8 + 0.5 * step / steps


def _lengths(sitter: Sitter, params: HairParams, roots: Roots, rng: np.random.Generator) -> Array:
    """Metres of each strand [S]: shorter at the sides, a soft hairline, layers."""
    t = roots.template
    height = smoothstep(t[:, 1], sitter.brow_y - 0.005, sitter.brow_y + 0.055)
    low = 0.40 + 0.60 * smoothstep(t[:, 1], sitter.eye[1] - 0.03, sitter.brow_y + 0.03)
    low = low if params.flow < 0.5 else np.ones_like(low)
    factor = params.sides * low + (1 - params.sides * low) * height
    edge = scalp_density(sitter, t, 0.030)
    soft = 0.45 + 0.55 * smoothstep(edge, 0.05, 0.85)
    soft = soft if params.flow < 0.5 else 0.8 + 0.2 * soft
    return params.length * factor * soft * np.exp(rng.normal(0, 0.10, len(roots)))


def _first_direction(sitter: Sitter, params: HairParams, roots: Roots, seed: int) -> Array:
    """The direction [S, 3] in which strands leave the scalp: combed from the parting, or down as a curtain."""
    t = roots.template
    parting = 0.018
    side = np.tanh((t[:, 0] - parting) / 0.006)[:, None]
    front = smoothstep(t[:, 2], 0.02, 0.09)[:, None]
    top = smoothstep(t[:, 1], sitter.brow_y + 0.015, sitter.brow_y + 0.065)[:, None]
    ones = np.ones_like(side)
    over = np.concatenate([0.9 * side, 0.12 * front, 0.35 * front - 0.30], 1)
    down = np.concatenate([0.10 * side, -0.85 * ones, -0.40 * ones], 1)
    combed = over * top + down * (1 - top)
    curtain = np.concatenate(
        [side * (0.9 + 0.3 * front), -0.25 - 0.6 * (1 - front), -0.25 * ones - 0.3 * front], 1
    )
    flow = combed * (1 - params.flow) + curtain * params.flow
    flow -= roots.normals * (flow * roots.normals).sum(1, keepdims=True)
    edge = 1 - scalp_density(sitter, t, 0.02)[:, None]
    quiff = 0.35 * edge * front * top * (1 - params.flow)
    lift = params.lift * (0.30 + 0.70 * top) * (1 - 0.4 * params.flow) + quiff
    noise = wander(roots.points, seed * 131 + 7, 60.0) * 0.12
    return unit(roots.normals * lift + unit(flow) * 0.9 + noise)


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


def _style(
    strands: Array, leader: np.ndarray, params: HairParams, inner: Array, seed: int
) -> tuple[Array, Array]:
    """Locks, curls and frizz; returns strands and, for curls, the way [S, M, 3] out of the curl's axis.

    ``inner`` [S] is 0 at the hairline, where fine single hairs grow, and 1 inside.
    """
    rng = np.random.default_rng([seed, 2])
    curled = params.curl > 1e-4
    strands = gather(strands, leader, params.locks * (0.30 + 0.70 * inner), keep=0.35 if curled else 0.5)
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
    curl_side = 0.92 + 0.55 * (outward * unit(sitter.view + 0.5 * sitter.light)).sum(1)
    shadow = 0.16 + 0.92 * self_shadow(sitter, segments.means, density)
    return np.clip(colour * (root * env * deep * curl_side * shadow)[:, None] * sitter.exposure, 0, 1)


def _group(segments: Segments, colours: Array, inner: Array) -> Skinned:
    """The strands as a group: they turn with the head, and rest on the shoulders below the neck."""
    y = segments.means[:, 1]
    on_head = smoothstep(y, -0.14, -0.04)
    weights = np.zeros((len(y), 5))
    weights[:, NECK], weights[:, ROOT] = on_head, 1 - on_head
    tip = (1 - 0.35 * smoothstep(segments.along, 0.8, 1.0)) * (0.55 + 0.45 * inner)[segments.strand]
    return Skinned(
        means=tensor(segments.means),
        quats=tensor(segments.quats),
        scales=tensor(segments.scales),
        opacities=tensor(0.88 * tip),
        colors=tensor(colours),
        labels=torch.full((len(y),), label_code("hair"), dtype=torch.uint8),
        weights=tensor(weights),
    )


def _undercoat(sitter: Sitter, params: HairParams) -> None:
    """Colour the scalp like the shaded roots, so that no skin shines through."""
    skin = sitter.puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs):
        return
    template = sitter.puppet.template_points(skin).numpy().astype(float)
    weight = scalp_density(sitter, template, 0.022)
    strength = 0.85 * smoothstep(weight, 0.15, 1.0) * smoothstep(params.length, 0.0, 0.03)
    colour = np.array([params.red, params.green, params.blue]) * 0.40 * sitter.exposure
    tint_skin(sitter, strength, colour)
