"""Tied hair: strands drawn over the head to a tie, and what becomes of them behind it."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from perse.studio.parts._sitter import Array, Body, Sitter, smoothstep, unit
from perse.studio.parts.hair._params import HairParams
from perse.studio.parts.hair._scalp import (
    CLEAR,
    DISC_A,
    DISC_R,
    LAYER,
    LONG,
    PLAIT,
    SKULL_CENTRE,
    Scalp,
    fringe_of,
)

TIE_RADIUS = 0.013


def tied(sitter: Sitter, body: Body, params: HairParams, scalp: Scalp, points: int) -> Array:
    """Strands [N, points, 3] that run over the head to their tie and on as its tail."""
    skull = _Skull(sitter)
    roots, chance = scalp.roots, scalp.chance
    left, right = (_Tail(body, params, skull, sign) for sign in (1.0, -1.0))
    share = (roots.template[:, 0] > 0.002 * (chance[:, CLEAR] - 0.5)).astype(float)[:, None]
    tie = left.tie * share + right.tie * (1 - share)
    start = roots.points + roots.normals * 0.0005 - SKULL_CENTRE
    from_, to = unit(start), unit(tie - SKULL_CENTRE)
    angle = np.arccos(np.clip((from_ * to).sum(1), -0.98, 1.0))
    over = angle * 0.088
    tail = params.tail * (0.88 + 0.12 * chance[:, LONG])
    run = np.linspace(0, 1, points)[None] * (over + tail)[:, None]  # [N, M] metres from the root
    s = np.clip(run / np.maximum(over, 1e-4)[:, None], 0, 1)
    sine = np.sin(np.maximum(angle, 1e-3))[:, None]
    ray = np.sin((1 - s) * angle[:, None]) / sine
    ray = ray[..., None] * from_[:, None] + (np.sin(s * angle[:, None]) / sine)[..., None] * to[:, None]
    ray = unit(ray)
    rise = 0.0012 + (0.002 + 0.6 * params.volume * chance[:, LAYER])[:, None] * np.sin(
        np.pi * np.minimum(s, 0.9) / 1.8
    )
    reach = skull.radius(ray.reshape(-1, 3)).reshape(s.shape)
    own = np.linalg.norm(start, axis=1) - reach[:, 0]  # the skull's radius is smooth; roots are on the skin
    near = 1 - smoothstep(s, 0.0, 0.35)
    head = SKULL_CENTRE + ray * (reach + own[:, None] * near + rise)[..., None]
    pull = smoothstep(s, 0.55, 1.0)[..., None]
    disc = _disc(chance)
    knot = left.bundle(disc, np.zeros((len(scalp), 1)), chance) * share[:, None]
    knot = knot + right.bundle(disc, np.zeros((len(scalp), 1)), chance) * (1 - share[:, None])
    head = head * (1 - pull) + (head + (knot - head) * smoothstep(s, 0.8, 1.0)[..., None]) * pull
    beyond = np.maximum(run - over[:, None], 0)
    behind = left.bundle(disc, beyond, chance) * share[:, None] + right.bundle(disc, beyond, chance) * (
        1 - share[:, None]
    )
    return np.where((run > over[:, None])[..., None], behind, head)


def drawn_length(scalp: Scalp, share: Array) -> Array:
    """Metres [N] of each strand that lie drawn over the head, when it is tied by ``share`` [N]."""
    return share * 0.9 * np.linalg.norm(scalp.roots.points - SKULL_CENTRE, axis=1)


def tied_share(sitter: Sitter, params: HairParams, scalp: Scalp) -> Array:
    """0..1 how far each strand [N] is drawn to a tie; of half-tied hair only the upper strands are."""
    upper = smoothstep(scalp.roots.template[:, 1], sitter.eye[1] + 0.045, sitter.eye[1] + 0.060)
    fringe = fringe_of(sitter, params, scalp.roots.template)
    return params.tied * (1 - params.half * (1 - upper)) * (1 - smoothstep(fringe, 0.35, 0.6))


def _disc(chance: Array) -> Array:
    """Points [N, 2] of the unit disc, uniform."""
    radius, angle = np.sqrt(chance[:, DISC_R]), 2 * np.pi * chance[:, DISC_A]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


class _Skull:
    """The skull as a smooth radius around its centre."""

    def __init__(self, sitter: Sitter) -> None:
        t = sitter.template[sitter.skin_vertices]
        ear = (
            (np.abs(t[:, 0]) > 0.069)
            & (t[:, 1] < sitter.eye[1] + 0.03)
            & (t[:, 2] > -0.04)
            & (t[:, 2] < 0.06)
        )
        offset = sitter.rest[sitter.skin_vertices][(t[:, 1] > sitter.eye[1] - 0.11) & ~ear] - SKULL_CENTRE
        self._length = np.linalg.norm(offset, axis=1)
        self._tree = cKDTree(offset / self._length[:, None])

    def radius(self, rays: Array) -> Array:
        """Metres [N] from the centre to the skin along unit rays [N, 3]."""
        distance, near = self._tree.query(rays, 6)
        weight = 1 / (distance + 0.03) ** 2
        return (self._length[near] * weight).sum(1) / weight.sum(1)


class _Tail:
    """The hair behind one tie: a centre line, and a bundle around it."""

    STEPS = 60

    def __init__(self, body: Body, params: HairParams, skull: _Skull, sign: float) -> None:
        self.params = params
        lateral = params.pair * sign * 0.95
        ray = unit(np.array([lateral, _height(params.tie), _depth(params.tie) * (1 - 0.35 * params.pair)]))
        self.out = ray
        surface = skull.radius(ray[None])[0]
        self.tie = SKULL_CENTRE + ray * (surface + 0.009)
        self.axis, self.across, self.up = self._centre_line(body, sign)

    def _centre_line(self, body: Body, sign: float) -> tuple[Array, Array, Array]:
        """Points [STEPS + 1, 3] of the tail's middle, and two directions across it."""
        params = self.params
        stride = params.tail / self.STEPS
        direction = self.out + np.array([0.25 * sign * params.pair, 0.15, 0.0])
        at, line = self.tie, [self.tie]
        for _ in range(self.STEPS):
            direction = unit(direction + np.array([0.0, -0.55, 0.30 * params.pair]) * stride / 0.008)
            target = body.push_out((at + direction * stride)[None], 0.018)[0]
            direction = unit(target - at)
            at = at + direction * stride
            line.append(at)
        wound = self._wound(np.linspace(0, params.tail, self.STEPS + 1))
        middle = np.stack(line) * (1 - params.bun) + wound * params.bun
        tangent = unit(np.gradient(middle, axis=0))
        across = unit(np.cross(tangent, self.out + 0.01))
        return middle, across, np.cross(across, tangent)

    def _wound(self, run: Array) -> Array:
        """The tail wound around the tie: a coil that ends on top of itself."""
        first = unit(np.cross(self.out, [0.0, 1.0, 0.3]))
        second = np.cross(self.out, first)
        share = run / max(self.params.tail, 1e-6)
        turn = 2 * np.pi * 2.4 * share
        wide = 0.024 * (1 - 0.45 * share) * smoothstep(share, 0.0, 0.06)
        high = 0.006 + 0.022 * share
        ring = np.cos(turn)[:, None] * first + np.sin(turn)[:, None] * second
        return self.tie + ring * wide[:, None] + self.out * high[:, None]

    def bundle(self, disc: Array, run: Array, chance: Array) -> Array:
        """Points [N, M, 3] of strands with places [N, 2] in the bundle, at ``run`` [N, M] metres behind the tie."""
        params = self.params
        at = np.clip(run / max(params.tail, 1e-6), 0, 1) * self.STEPS
        low = np.minimum(at.astype(int), self.STEPS - 1)
        t = (at - low)[..., None]
        axis, across, up = (
            values[low] * (1 - t) + values[low + 1] * t for values in (self.axis, self.across, self.up)
        )
        share = run / max(params.tail, 1e-6)
        swell = smoothstep(run, 0.0, 0.05)
        loose = TIE_RADIUS + 0.013 * swell * (1 - 0.55 * share)
        wound = 0.013 + 0.008 * swell
        radius = loose * (1 - params.bun) + wound * params.bun
        plait = params.braid * smoothstep(run, 0.005, 0.025)
        third = np.floor(chance[:, PLAIT] * 3)[:, None] * 2 * np.pi / 3
        turn = 2 * np.pi * run / 0.055 + third
        thin = 1 - 0.35 * share
        radius = radius * (1 - plait) + 0.0085 * thin * plait
        side = disc[:, :1] * radius + plait * 0.0115 * thin * np.sin(turn)
        rise = disc[:, 1:] * radius + plait * 0.0075 * thin * np.sin(2 * turn)
        return axis + across * side[..., None] + up * rise[..., None]


def _height(tie: float) -> float:
    """y of the direction in which a tie lies."""
    return float(np.interp(tie, [0.0, 0.35, 0.7, 1.0], [-0.45, 0.10, 0.62, 0.98]))


def _depth(tie: float) -> float:
    """z of the direction in which a tie lies."""
    return float(np.interp(tie, [0.0, 0.35, 0.7, 1.0], [-0.85, -0.99, -0.78, -0.22]))
