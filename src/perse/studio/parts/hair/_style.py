"""From combed strands to hair: locks of several sizes, curls, flyaways, and the Gaussians."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perse.studio.parts._shade import Density
from perse.studio.parts._sitter import Array, Body, smoothstep, unit
from perse.studio.parts._strands import Segments, points_along, segments_between
from perse.studio.parts.hair._params import HairParams
from perse.studio.parts.hair._scalp import LAYER, PHASE, PITCH, RADIUS, SKULL_CENTRE, STRAY, Scalp

STRAIGHT_SEGMENT = 0.0135
"""Metres of a Gaussian along a straight strand."""
MOST_SEGMENTS = 96
LONE = 0.3
"""Opacity of a strand that stands alone: a hair is finer than a pixel."""
FLAT = 2.0
"""How much wider a strand lies over the skull when it is drawn to a tie: seen from its end it is no wire."""
DENSE = 170.0
"""Optical depth a metre of loose hair: whatever has more is no lone strand, however dense a tail may be."""
CORE = 0.45
"""Strands of lower layers than this are the inside of coily hair."""


def core(params: HairParams, layer: Array) -> Array:
    """0..1 how far strands [N] of these layers are the dark inside of coily hair.

    Nobody sees them coil: they run straight through the middle of their coil, about as wide. That spares
    Gaussians for the outside, and the hair is not see-through.
    """
    tight = smoothstep(params.curl, 0.0, 0.003) * (1 - smoothstep(params.pitch, 0.014, 0.024))
    return tight * (1 - smoothstep(layer, CORE - 0.06, CORE + 0.06))


def segment_counts(params: HairParams, length: Array, layer: Array) -> NDArray[np.int64]:
    """How many Gaussians strands of these lengths and layers [N] need: more for tighter curls."""
    curliness = 6.2 / params.pitch * smoothstep(params.curl, 0.0, 0.004) * (0.55 + 0.45 * params.flatness)
    curliness = curliness * (1 - core(params, layer))
    winding = 2 * params.bun + 0.6 * params.braid
    piece = 1 / (1 / STRAIGHT_SEGMENT + curliness + winding / 0.012)
    return np.clip(np.ceil(length / piece + 0.8), 3, MOST_SEGMENTS).astype(np.int64)


def gather_locks(strands: Array, scalp: Scalp, params: HairParams, length: Array) -> Array:
    """Pull strands [N, M, 3] towards the leaders of their locks, more towards the tip.

    A strand joins a lock only as far as it leaves the scalp in the same direction and is about as long.
    """
    along = np.linspace(0, 1, strands.shape[1])[None, :, None] ** 0.8
    joins = 1 - 0.6 * smoothstep(scalp.chance[:, STRAY], 1 - params.flyaway, 1.001 - 0.5 * params.flyaway)
    joins = joins * (0.25 + 0.75 * scalp.inside)
    early = strands.shape[1] // 4
    heading = unit(strands[:, early] - strands[:, 0])
    for strength, keep, leader in zip(
        (params.clump_big, params.clump, params.clump_fine), (0.75, 0.5, 0.35), scalp.leaders, strict=True
    ):
        agree = smoothstep((heading * heading[leader]).sum(1), 0.55, 0.9)
        agree = agree * np.exp(-2.5 * np.abs(np.log(length / length[leader])))
        apart = np.linalg.norm(strands[:, 2 * early :: early] - strands[leader, 2 * early :: early], axis=2)
        agree = agree * (1 - smoothstep(apart.max(1), 0.04, 0.07))
        pull = (strength * joins * agree)[:, None, None] * along
        offset = strands[:, :1] - strands[leader][:, :1]
        strands = strands * (1 - pull) + pull * (strands[leader] + offset * keep)
    return strands


def thinned(hair: Hair, density: Density) -> Hair:
    """Single strands outside the mass of hair made fine and faint, or they would look like wire."""
    around = density.at(hair.segments.means)
    mass = min(np.quantile(around, 0.3), DENSE)
    share = smoothstep(around / mass, 0.0, 0.8)
    scales = hair.segments.scales.copy()
    scales[:, 1:] *= (0.4 + 0.6 * share)[:, None]
    return replace(hair, segments=replace(hair.segments, scales=scales), solid=LONE + (1 - LONE) * share)


@dataclass(frozen=True)
class Hair:
    """Gaussians of hair and what light needs to know about them."""

    segments: Segments
    round: Array
    """[N, 3] where on its lock or curl a Gaussian lies: unit length on its surface, zero at its middle."""
    solid: Array
    """[N] share of its opacity that a Gaussian keeps."""


def wind(
    strands: Array, scalp: Scalp, params: HairParams, counts: NDArray[np.int64], drawn: Array, body: Body
) -> tuple[Array, NDArray[np.int64], Array, Array]:
    """Curl strands [S, M, 3]: end points [E, 3] of their Gaussians, strand [E], share of it [E], round [E, 3]."""
    strand = np.repeat(np.arange(len(strands)), counts + 1)
    first = np.concatenate([[0], np.cumsum(counts + 1)[:-1]])
    t = (np.arange(len(strand)) - first[strand]) / counts[strand]
    points, tangents = points_along(strands, strand, t)
    total = np.linalg.norm(np.diff(strands, axis=1), axis=2).sum(1)
    run = t * total[strand]
    chance = scalp.chance
    lock = scalp.leaders[1]
    leads = chance[scalp.leaders[0]] + (1 - params.clump_big) ** 2 * (chance[lock] - chance[scalp.leaders[0]])
    side = unit(np.cross(tangents, [0.3, 0.1, 1.0]))
    rise = np.cross(side, tangents)
    # the lock's own roundness: where a strand lies around the middle of its lock
    offset = points_along(strands, lock[strand], t)[0] - points
    offset = -(offset - tangents * (offset * tangents).sum(1, keepdims=True))
    around = offset / (np.linalg.norm(offset, axis=1, keepdims=True) + 0.0025)
    pitch = (params.pitch * (0.75 + 0.5 * leads[:, PITCH]))[strand]
    grown = smoothstep(run - drawn[strand], 0.15 * params.pitch, 1.6 * params.pitch)
    visible = 1 - core(params, chance[:, LAYER])
    size = params.curl * visible * (0.6 + 0.8 * leads[:, RADIUS] + 0.25 * (chance[:, RADIUS] - 0.5))
    radius = size[strand] * grown
    phase = 2 * np.pi * leads[:, PHASE] + 1.3 * (chance[:, PHASE] - 0.5)
    angle = 2 * np.pi * run / pitch + phase[strand]
    out = np.cos(angle)[:, None] * side + (params.flatness * np.sin(angle))[:, None] * rise
    points = points + radius[:, None] * out
    share = np.clip(params.curl / 0.006, 0, 1) * (visible[strand] * grown)[:, None]
    around = around * (1 - share) + out * share
    points = points + _frizz(chance, strand, t, run, params)
    points = body.push_out(points, np.where(t > 0, 0.0008 * np.minimum(run / 0.01, 1.0), -1.0))
    return points, strand, t, around


def _frizz(chance: Array, strand: NDArray[np.int64], t: Array, run: Array, params: HairParams) -> Array:
    """Small smooth bends [E, 3] of each strand's own; strays bend more."""
    own = chance[:, [8, 9, 10, 12, 13, 14]]
    stray = smoothstep(chance[:, STRAY], 1 - params.flyaway, 1.001 - 0.5 * params.flyaway)
    size = (params.frizz + 0.004 * stray)[strand] * t
    angle = 2 * np.pi * (own[strand][:, :3] + run[:, None] * (18 + 25 * own[strand][:, 3:]))
    return size[:, None] * np.sin(angle)


def gaussians(
    strands: Array,
    scalp: Scalp,
    params: HairParams,
    counts: NDArray[np.int64],
    present: Array,
    drawn: Array,
    body: Body,
    detail: float,
) -> Hair:
    """The Gaussians of strands [S, M, 3]; ``present`` [S] fades strands in and out."""
    points, strand, t, around = wind(strands, scalp, params, counts, drawn, body)
    starts = np.flatnonzero(t < 1)
    owner = strand[starts]
    deep = (1 - scalp.chance[:, LAYER]) ** 1.5
    width = params.width * (1 + params.fill * deep * scalp.inside) * (0.6 + 0.4 * scalp.inside)
    length = np.linalg.norm(np.diff(strands, axis=1), axis=2).sum(1)
    width = np.maximum(width, 0.5 * params.curl * core(params, scalp.chance[:, LAYER]) * scalp.inside)
    width = width * (0.5 + 0.5 * smoothstep(length, 0.002, 0.012))
    width = width * (1 - 0.4 * (scalp.chance[:, STRAY] > 1 - params.flyaway))
    width = width / np.sqrt(min(detail, 1.0)) * np.sqrt(present)
    middle = (t[starts] + t[starts + 1]) / 2
    taper = (0.75 + 0.25 * smoothstep(middle, 0.0, 0.12)) * (1 - 0.55 * smoothstep(middle, 0.5, 1.0))
    across = width[owner] * taper
    outward = unit(points[starts] - SKULL_CENTRE)
    segments = segments_between(points[starts], points[starts + 1], across, middle, owner, up=outward)
    combed = np.clip((drawn[owner] - middle * length[owner]) / 0.02, 0, 1)
    segments.scales[:, 1] *= 1 + FLAT * combed
    return Hair(segments, (around[starts] + around[starts + 1]) / 2, np.ones(len(owner)))
