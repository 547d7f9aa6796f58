"""Where hair grows: one pool of roots for all styles, and what each style makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from perse.studio.parts._sitter import Array, Roots, Sitter, regions_mask, smoothstep, wander
from perse.studio.parts.hair._params import HairParams

POOL = 20_000
"""Roots of a whole head of hair."""
LOCKS = (0.013, 0.008, 0.0045)
"""Distance in metres between the leaders of big, middling and fine locks."""
SKULL_CENTRE = np.array([0.0, 0.045, 0.005])
"""A point inside the skull around which hair is drawn to a tie."""
CROWN = np.array([0.004, -0.038])
"""x, z of the whorl on the template."""
FRONT = 0.10
"""z of the template in front of which no parting goes."""
(
    LAYER,
    LONG,
    TONE,
    STREAK,
    PHASE,
    RADIUS,
    DISC_R,
    DISC_A,
    PLAIT,
    STRAY,
    PRESENT,
    CLEAR,
    WARM,
    SHIFT,
    PITCH,
    ENDS,
) = range(16)
"""What the columns of ``Scalp.chance`` decide."""


@dataclass(frozen=True)
class Scalp:
    """Roots [N] with everything about them that no style changes, so that strand k of one style is that of all."""

    roots: Roots
    chance: Array  # [N, 16] uniform random numbers, see the names above
    inside: Array  # [N] 0 at the hairline, 1 well inside
    leaders: tuple[NDArray[np.int64], ...]  # three times [N]: which root leads a root's lock
    number: NDArray[np.int64]  # [N] which of the pool they are

    def __len__(self) -> int:
        return len(self.roots)

    @staticmethod
    def of(sitter: Sitter, seed: int, detail: float = 1.0) -> Scalp:
        """The pool of one seed; lock leaders come first, evenly spread, coarse ones before fine ones."""
        rng = np.random.default_rng([seed, 1])
        count = max(60, round(POOL * detail))
        roots = sitter.grow_roots(lambda points: scalp_density(sitter, points) ** 0.8, count, rng)
        stretch = 1 / np.sqrt(min(detail, 1.0))
        order, counts = _leaders_first(roots.points, [size * stretch for size in LOCKS])
        roots = roots.take(order)
        leaders = tuple(cKDTree(roots.points[:n]).query(roots.points)[1] for n in counts)
        inside = scalp_density(sitter, roots.template, 0.025)
        return Scalp(roots, rng.random((len(roots), 16)), inside, leaders, np.arange(len(roots)))

    def take(self, index: NDArray[np.int64]) -> Scalp:
        """The chosen roots; a leader that was not chosen is replaced by the strand itself."""
        place = np.full(len(self), -1)
        place[index] = np.arange(len(index))
        leaders = []
        for level in self.leaders:
            moved = place[level[index]]
            leaders.append(np.where(moved < 0, np.arange(len(index)), moved))
        return Scalp(
            self.roots.take(index), self.chance[index], self.inside[index], tuple(leaders), self.number[index]
        )


def _leaders_first(points: Array, distances: list[float]) -> tuple[NDArray[np.int64], list[int]]:
    """An order of roots that begins with well-spread ones, and how many there are at each distance."""
    tree = cKDTree(points)
    chosen: list[int] = []
    counts = []
    taken = np.zeros(len(points), bool)
    for distance in distances:
        free = ~taken
        for k in chosen:
            free[tree.query_ball_point(points[k], distance)] = False
        for k in range(len(points)):
            if free[k]:
                chosen.append(k)
                free[tree.query_ball_point(points[k], distance)] = False
        taken[chosen] = True
        counts.append(len(chosen))
    return np.concatenate([chosen, np.flatnonzero(~taken)]).astype(np.int64), counts


def scalp_density(sitter: Sitter, points: Array, soft: float = 0.016) -> Array:
    """0..1 where hair grows, for template points [N, 3]: the scalp with an uneven hairline, and sideburns."""
    moved = points + wander(points, 11, 90.0) * 0.0030 + wander(points, 12, 300.0) * 0.0012
    scalp = regions_mask(lambda p: sitter.puppet.regions.scalp(p, soft))(moved)
    tragus = sitter.marks[454]
    x, y, z = np.abs(moved[:, 0]), moved[:, 1], moved[:, 2]
    burn = smoothstep(y, tragus[1] - 0.002, tragus[1] + 0.016)
    burn *= 1 - smoothstep(y, sitter.eye[1] + 0.02, sitter.eye[1] + 0.04)
    burn *= smoothstep(z, tragus[2] - 0.007, tragus[2] - 0.001)
    burn *= 1 - smoothstep(z, tragus[2] + 0.004, tragus[2] + 0.022)
    nape = smoothstep(y, sitter.eye[1] - 0.072, sitter.eye[1] - 0.054) * (1 - smoothstep(x, 0.022, 0.056))
    nape *= 1 - smoothstep(z, -0.05, -0.03)
    sparse = 0.7 if soft < 0.02 else 0.4
    return np.maximum(scalp, np.maximum(sparse * burn * (x > 0.045), nape))


def presence(sitter: Sitter, params: HairParams, template: Array) -> Array:
    """0..1 how much of the hair a style leaves at template points [N, 3]."""
    x, y, z = np.abs(template[:, 0]), template[:, 1], template[:, 2]
    top = sitter.brow_y + 0.045
    temple = smoothstep(x, 0.012, 0.036) * smoothstep(y, top - 0.03, top - 0.01)
    line = params.recede * (0.45 + 0.75 * temple)
    kept = 1 - smoothstep(line - (_front_edge(template) - z), -0.004, 0.012) * smoothstep(
        line, 0.0, 0.004
    ) * (y > sitter.eye[1] + 0.02)
    island = smoothstep(y, sitter.brow_y + 0.028, sitter.brow_y + 0.052)
    kept *= 1 - params.crown * island
    above = y - sitter.eye[1] - 0.010 * smoothstep(z, 0.0, 0.055) - 0.002 * wander(template, 13, 250.0)[:, 0]
    burn = (1 - smoothstep(above, -0.004, 0.010)) * smoothstep(z, -0.010, 0.004)
    kept *= 1 - 0.97 * params.tied * burn
    off = np.linalg.norm(off_parting(params, template), axis=1)
    bare = 1 - smoothstep(off, 0.0004, 0.0022)
    kept *= 1 - bare * (1 - params.tied * (1 - params.pair))  # nobody's hair stands on the parting itself
    strip = smoothstep(x, 0.017, 0.026)
    return kept * (1 - params.crest * strip * 0.999)


def _front_edge(template: Array) -> Array:
    """z of the natural front hairline of the template at the x of points [N, 3]."""
    return 0.094 - 6.0 * template[:, 0] ** 2


def off_parting(params: HairParams, template: Array) -> Array:
    """Vectors [N, 2] (x, z, metres) on the template from the nearest point of the parting."""
    end = np.array([params.part_x, CROWN[1] + params.part * (FRONT - CROWN[1])])
    start = CROWN * (1 - params.part) + np.array([params.part_x * 0.6, CROWN[1]]) * params.part
    at = template[:, [0, 2]]
    along = end - start
    share = np.clip(((at - start) @ along) / max(float(along @ along), 1e-9), 0, 1)
    return at - start - share[:, None] * along


def fringe_of(sitter: Sitter, params: HairParams, template: Array) -> Array:
    """0..1 how much roots [N] at template points belong to the fringe."""
    reach = 0.016 + 0.3 * params.fringe_length
    front = smoothstep(template[:, 2] - _front_edge(template), -reach - 0.008, -reach)
    wide = 1 - smoothstep(np.abs(template[:, 0]), 0.050, 0.058)
    high = smoothstep(template[:, 1], sitter.brow_y + 0.012, sitter.brow_y + 0.022)
    beyond = smoothstep((template[:, 0] - params.part_x) * -np.sign(params.fringe_sweep), -0.003, 0.003)
    swept = (
        1 - abs(params.fringe_sweep) * beyond
    )  # hair on the other side of the parting is not swept across it
    return params.fringe * front * wide * high * np.clip(swept * 1.12 - 0.12, 0, 1)


def lengths(sitter: Sitter, params: HairParams, scalp: Scalp) -> Array:
    """Metres of each strand [N] before its ends are cut."""
    t, at = scalp.roots.template, scalp.roots.points
    low = sitter.eye[1] + params.side_height - params.side_soft / 2
    height = smoothstep(t[:, 1] + 0.1 * np.minimum(t[:, 2], 0), low, low + params.side_soft + 1e-3)
    factor = params.sides + (1 - params.sides) * height
    factor *= params.edge + (1 - params.edge) * smoothstep(scalp.inside, 0.1, 0.9)
    chance = scalp.chance[:, LONG]
    length = params.length * factor * np.exp(0.30 * (chance - 0.5))
    chin = float(sitter.landmarks[152, 1])
    top = smoothstep(t[:, 1], sitter.brow_y + 0.01, sitter.brow_y + 0.07)
    hang = 1.12 * (at[:, 1] - chin - params.ends) + 0.07 * top + 0.02
    length = np.minimum(length, np.maximum(hang, 0.004))
    fringe = fringe_of(sitter, params, t)
    length = length * (1 - fringe) + params.fringe_length * (0.9 + 0.2 * chance) * fringe
    baby = (1 - smoothstep(scalp.inside, 0.15, 0.45)) * smoothstep(scalp.chance[:, STRAY], 0.55, 0.65)
    down = np.minimum(length, 0.006 + 0.014 * chance)
    return length * (1 - baby) + down * baby
