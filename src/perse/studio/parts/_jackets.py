"""What lies on the chest: lapels and collars of jackets, a tie."""

from __future__ import annotations

import numpy as np

from perse.studio.parts._collars import UP, Tailor, on_body
from perse.studio.parts._fabric import FabricParams, material, swatch
from perse.studio.parts._neckline import neck_ring
from perse.studio.parts._sitter import Array, smoothstep, unit
from perse.studio.parts._surface import Sheet, tube_sheet


def lapels(tailor: Tailor, width: float, notch: float, stand: float, room: float) -> list[Sheet]:
    """A collar around the neck that goes over into two lapels along the opening.

    ``width`` is that of the lapels, ``notch`` 0..1 the gap between collar and lapel, ``stand`` the height at the
    back of the neck, ``room`` the space for a shirt's collar below (metres).
    """
    sheets = []
    ring, normal = tailor.ring()
    half = len(ring) // 2
    for side in (1, -1):
        order = np.arange(half, -1, -1) if side > 0 else np.arange(half, len(ring) + 1) % len(ring)
        sheets += _lapel(tailor, ring[order], normal[order], side, width, notch, stand, room)
    return sheets


def _lapel(
    tailor: Tailor,
    line: Array,
    normal: Array,
    side: int,
    width: float,
    notch: float,
    stand: float,
    room: float,
) -> list[Sheet]:
    """One half, from the back of the neck [M, 3] down to where the jacket closes."""
    count, rows = max(24, round(170 * tailor.detail)), tailor.rows(24)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    s = np.linspace(0, 1, count)
    at = np.stack([np.interp(s * length[-1], length, c) for c in line.T], 1)
    out = unit(np.stack([np.interp(s * length[-1], length, c) for c in normal.T], 1))
    front = smoothstep(out[:, 2], 0.15, 0.6)
    across = unit(np.cross(np.gradient(at, axis=0), out))
    across = across * np.sign((across * (at - np.array([0.0, 0.02, -0.02]))).sum(1).sum() + 1e-9)
    share = np.linspace(0, 1, rows)[:, None]
    gap = np.exp(-(((s - 0.56) / 0.022) ** 2)) * notch
    wide = np.interp(
        s, [0, 0.30, 0.52, 0.60, 0.95, 1.0], [0.030, 0.032, 0.038, 1.05 * width, 0.6 * width, 0.2 * width]
    )
    wide = wide * (1 - 0.80 * gap)
    rise = stand * (1 - front) * (1 - 0.4 * smoothstep(s, 0.3, 0.5))
    fold = at + UP * rise[:, None] + out * (tailor.thickness + 0.004 + room * (1 - front))[:, None]
    roll = 0.0045 * np.sin(np.pi * np.minimum(share * 2.2, 1))
    points = (
        fold[None]
        + across[None] * (share * wide)[..., None]
        - UP * (share * rise * 1.25)[..., None]
        + out[None] * (roll + 0.002 * share)[..., None]
    )
    clear = np.broadcast_to(tailor.thickness + 0.0045 + room * (1 - front), points.shape[:2]).ravel()
    flat = tailor.sitter.body.push_out(points.reshape(-1, 3), clear)
    points = flat.reshape(points.shape)
    points = points + out[None] * roll[..., None] * 0.6
    edge = 1 - 0.32 * smoothstep(share, 0.95, 1.0)
    stitch = 1 - 0.16 * np.exp(-(((share - 0.90) / 0.022) ** 2))
    split = 1 - 0.35 * np.exp(-(((s - 0.56) / 0.010) ** 2))[None] * notch
    shade = edge * stitch * split * (0.80 + 0.20 * smoothstep(share, 0.0, 0.18))
    leaf = tailor.cloth(points, points - out * 0.02, shade, spread=0.8, both_sides=True)
    inner = np.linspace(0, 1, 6)[:, None, None]
    stand_back = points[0][None] * (1 - inner) + (at + out * 0.001)[None] * inner
    lining = Sheet(
        stand_back, tailor.fabric.colour * 0.45, stand_back + out * 0.02, spread=0.66, both_sides=True
    )
    hem = tube_sheet(
        points[1], 0.0016, tailor.fabric.colour, material=material(tailor.fabric), sides=8, spread=0.9
    )
    return [leaf, lining, hem]


def tie(tailor: Tailor, fabric: FabricParams, length: float) -> list[Sheet]:
    """A knot at the throat and the blade below it."""
    ring, _ = neck_ring(tailor.sitter, tailor.edge)
    start = ring[0] + np.array([0, 0.004, 0.0])
    rows, columns = max(24, round(110 * tailor.detail)), max(8, round(34 * tailor.detail))
    t, x = np.meshgrid(np.linspace(0, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    knot = 0.026
    down = t * length
    half = np.interp(down, [0, knot * 0.9, knot, knot + 0.004, 0.14], [0.0165, 0.0105, 0.0100, 0.0120, 0.026])
    points = np.stack([x * half, start[1] - down, np.full_like(x, start[2] + 0.03)], -1)
    puff = np.where(
        down < knot, 0.010 * np.sqrt(np.clip(1 - x**2, 0, 1)), 0.004 * np.sqrt(np.clip(1 - x**2, 0, 1))
    )
    points = on_body(tailor.sitter, points, tailor.thickness + 0.004 + puff)
    woven = swatch(fabric, x * half + 0.35 * down, down - 0.8 * x * half, tailor.seed)
    under = np.exp(-(((down - knot - 0.002) / 0.003) ** 2))
    dimple = np.exp(-((x / 0.25) ** 2) - ((down - knot - 0.012) / 0.010) ** 2)
    shade = (
        woven.shade * (1 - 0.5 * under) * (1 - 0.25 * dimple) * (1 - 0.25 * smoothstep(np.abs(x), 0.85, 1.0))
    )
    return [
        Sheet(
            points, woven.albedo, points - np.array([0, 0, 0.03]), material(fabric), shade=shade, spread=0.8
        )
    ]
