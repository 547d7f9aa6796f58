"""Loose hair: strands that leave the scalp as combed, bend under gravity and slide around head and shoulders."""

from __future__ import annotations

import numpy as np

from perse.studio.parts._sitter import Array, Body, Sitter, smoothstep, unit, wander
from perse.studio.parts.hair._params import HairParams
from perse.studio.parts.hair._scalp import CLEAR, DISC_A, LAYER, Scalp, fringe_of, off_parting

STEPS = 22
CURTAIN_CLING = 0.12
"""How closely a curtain of fringe follows temples and cheeks, or it would stand off them like wings."""
DOWN = np.array([0.0, -1.0, 0.0])


def loose(sitter: Sitter, body: Body, params: HairParams, scalp: Scalp, length: Array, seed: int) -> Array:
    """Strands [N, STEPS + 1, 3] of lengths [N] metres."""
    roots, chance = scalp.roots, scalp.chance
    fringe = fringe_of(sitter, params, roots.template)
    stride = (length / STEPS)[:, None]
    margin = 0.0012 + params.volume * (0.15 + 0.85 * chance[:, LAYER]) * (0.35 + 0.65 * scalp.inside)
    margin = margin * (1 - 0.3 * fringe)
    direction = _combed(sitter, params, scalp, fringe, seed)
    of_lock = chance[scalp.leaders[1], CLEAR]
    closed = fringe * (1 - params.fringe_open)
    guard = FaceGuard(sitter, 0.024 * (0.65 * of_lock + 0.35 * chance[:, CLEAR]) - 0.004, 1 - closed)
    swept = np.maximum(abs(params.fringe_sweep), params.fringe_open)
    top = smoothstep(roots.template[:, 1], sitter.brow_y + 0.02, sitter.brow_y + 0.06)
    cling = params.cling * (1 - 0.9 * top) + CURTAIN_CLING * fringe * params.fringe_open
    inward = unit(roots.points * [1.0, 0.0, 1.0])
    at = roots.points + roots.normals * 0.0004
    strands = [at]
    spin = 2 * np.pi * chance[scalp.leaders[1], DISC_A]
    stray = params.spread * np.stack([np.cos(spin), 0 * spin, np.sin(spin)], 1)
    for k in range(STEPS):
        along = (k + 0.5) / STEPS
        of_fringe = 0.65 * (1 - swept * (1 - min(1.4 * along, 1.0)))  # swept aside first, then hanging
        weight = params.gravity * (0.7 + 0.6 * along) * (1 - fringe) + of_fringe * fringe
        direction = direction + weight[:, None] * DOWN * stride / 0.0125
        direction += (
            wander(at, seed * 131 + 20 + k // 5, 40.0) * params.unruly * np.minimum(stride / 0.01, 1.0)
        )
        direction += stray * stride / 0.010 * smoothstep(length * along, 0.02, 0.10)[:, None]
        direction -= inward * params.turn * smoothstep(along, 0.72, 1.0)
        grown = length * along
        direction += guard.push(at) * np.minimum(stride / 0.010, 1.0)
        room = np.minimum(margin, 0.0006 + margin * smoothstep(grown, 0.0, 0.022))
        target = body.push_out(at + unit(direction) * stride, room, cling)
        direction = unit(target - at)
        at = at + direction * stride
        strands.append(at)
    return np.stack(strands, 1)


def _combed(sitter: Sitter, params: HairParams, scalp: Scalp, fringe: Array, seed: int) -> Array:
    """The direction [N, 3] in which strands leave the scalp."""
    roots = scalp.roots
    t, normals = roots.template, roots.normals
    top = smoothstep(t[:, 1], sitter.brow_y + 0.010, sitter.brow_y + 0.065)
    front = smoothstep(t[:, 2], 0.0, 0.08)
    away = off_parting(params, t)
    spin = (
        2 * np.pi * scalp.chance[:, CLEAR]
    )  # no strand stays undecided on the parting, or falls forward from it
    away += np.stack([0.0016 * np.cos(spin), -0.0005 * np.abs(np.sin(spin))], 1)
    away = away / (np.linalg.norm(away, axis=1, keepdims=True) + 0.0004)
    flow = np.stack([away[:, 0], np.zeros(len(t)), away[:, 1] - params.back], 1)
    hangs = (1 - top) * (1 - 0.75 * np.clip(params.back, 0, 1) * front)
    flow[:, 1] -= 1.3 * hangs * (1 - 0.85 * front * params.part * (1 - np.abs(normals[:, 0])))
    flow[:, 2] -= 0.35 * (1 - top) * front * params.part
    forward = np.stack(
        [
            params.fringe_sweep * 2.2 + params.fringe_open * 2.0 * np.tanh((t[:, 0] - params.part_x) / 0.004),
            np.full(len(t), -0.25),
            np.full(len(t), 1.0 - 0.45 * max(abs(params.fringe_sweep), params.fringe_open)),
        ],
        1,
    )
    flow = flow * (1 - fringe[:, None]) + forward * fringe[:, None]
    flow -= normals * (flow * normals).sum(1, keepdims=True)
    flow = flow / (np.linalg.norm(flow, axis=1, keepdims=True) + 0.25)
    upper = np.maximum(top, smoothstep(params.lift, 0.55, 0.9))
    lift = params.lift * (0.2 + 0.8 * upper) * (0.5 + 0.5 * scalp.inside)
    settled = smoothstep(np.linalg.norm(off_parting(params, t), axis=1), 0.0, 0.016 + 0.02 * params.part)
    lift = lift * (settled + (1 - settled) * np.maximum(0.45, smoothstep(params.lift, 0.55, 0.9)))
    lift = lift * (1 - fringe) + 0.32 * fringe
    upright = normals * [1 - 0.95 * params.crest, 1.0, 1.0]
    noise = wander(roots.points, seed * 131 + 7, 60.0) * 0.10 + (scalp.chance[:, 8:11] - 0.5) * 0.16
    return unit(unit(upright) * lift[:, None] + flow * (1 - np.minimum(0.85 * params.lift**2, 0.8)) + noise)


class FaceGuard:
    """Pushes strands that would hang over the face or the throat aside, like a hand through the hair."""

    def __init__(self, sitter: Sitter, clear: Array, weight: Array) -> None:
        self.brow = float(sitter.rest68[17:27, 1].mean())
        self.chin = float(sitter.landmarks[152, 1])
        self.clear, self.weight = clear, weight

    def push(self, at: Array) -> Array:
        """Directions [N, 3] to add at points [N, 3]."""
        x, y, z = at.T
        brow, chin = self.brow, self.chin
        side = np.tanh(x / 0.006)
        away = np.abs(x) - self.clear
        above = smoothstep(z, 0.045, 0.075) * (1 - smoothstep(y, brow + 0.005, brow + 0.060))
        above = above * (1 - smoothstep(away, 0.050, 0.066)) * smoothstep(y, brow - 0.03, brow - 0.01)
        face = smoothstep(z, 0.015, 0.04) * (1 - smoothstep(y, brow - 0.02, brow))
        face = face * (1 - smoothstep(away, 0.056, 0.072)) * smoothstep(y, chin - 0.01, chin + 0.02)
        throat = smoothstep(z, -0.02, 0.01) * (1 - smoothstep(y, chin - 0.01, chin + 0.01))
        throat = throat * (1 - smoothstep(away, 0.046, 0.064))
        out = np.zeros_like(at)
        out[:, 0] = side * (1.2 * above + 0.9 * face + 0.7 * throat)
        out[:, 2] = -0.55 * above - 0.5 * face - 0.5 * throat
        return out * self.weight[:, None]


def kept_share(sitter: Sitter, params: HairParams, scalp: Scalp, strands: Array) -> Array:
    """0..1 of each strand [N, M, 3] that is left when its ends are cut and nothing hangs over the face."""
    chance = scalp.chance
    chin = float(sitter.landmarks[152, 1])
    brow = float(sitter.rest68[17:27, 1].mean())
    x, y, z = np.moveaxis(strands, -1, 0)
    fringe = fringe_of(sitter, params, scalp.roots.template)[:, None]
    ends = chin + params.ends + 0.010 * (chance[:, 15:16] - 0.5)
    layered = 0.04 * smoothstep(scalp.roots.template[:, 2:3], 0.0, 0.09)
    above_ends = y - ends - layered * smoothstep(-params.ends, 0.0, 0.1)
    off = np.abs(x)
    lid = brow + 0.004 - 0.05 * smoothstep(off, 0.030, 0.066) + 0.006 * (chance[:, 15:16] - 0.5)
    in_front = smoothstep(z, 0.045, 0.06)
    face = np.where(y > chin - 0.015, y - lid, 1.0)
    face = np.maximum(face, (off - 0.052 + 0.01 * (1 - fringe)) / 0.3) + (1 - in_front)
    throat = np.where(y < chin + 0.01, (off - 0.040) / 0.3, 1.0) + (1 - smoothstep(z, -0.01, 0.01))
    clearance = np.minimum(np.minimum(above_ends, face), throat)
    return _first_crossing(clearance)


def _first_crossing(values: Array) -> Array:
    """Share [N] of rows [N, M] before they first fall below zero, between samples by straight lines."""
    below = values < 0
    first = np.where(below.any(1), below.argmax(1), values.shape[1] - 1)
    rows = np.arange(len(values))
    before = np.maximum(first - 1, 0)
    a, b = values[rows, before], values[rows, first]
    part = np.where((b < 0) & (a >= 0), a / np.maximum(a - b, 1e-9), np.where(b < 0, 0.0, 1.0))
    return (before + part * (first > 0)) / (values.shape[1] - 1)


def shortened(strands: Array, share: Array) -> Array:
    """Strands [N, M, 3] of which only a share [N] is left, with as many points as before."""
    points = strands.shape[1]
    at = np.linspace(0, 1, points)[None] * share[:, None] * (points - 1)
    low = np.minimum(at.astype(int), points - 2)
    t = (at - low)[..., None]
    rows = np.arange(len(strands))[:, None]
    return strands[rows, low] * (1 - t) + strands[rows, low + 1] * t
