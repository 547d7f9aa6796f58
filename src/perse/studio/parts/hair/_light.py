"""Colour and light of strands: two highlights, shade from neighbours, round locks, roots and tips."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from perse.studio.parts._shade import Density, self_shadow
from perse.studio.parts._sitter import Array, Sitter, smoothstep, unit
from perse.studio.parts.hair._params import HairParams
from perse.studio.parts.hair._scalp import SHIFT, STREAK, TONE, WARM, Scalp
from perse.studio.parts.hair._style import Hair

GAMMA = 2.2


def colours(sitter: Sitter, params: HairParams, scalp: Scalp, hair: Hair, density: Density) -> Array:
    """sRGB [N, 3] of Gaussians of hair in the photo's light."""
    segments = hair.segments
    albedo = _albedo(params, scalp, hair) ** GAMMA  # linear from here on
    pale = smoothstep(albedo.mean(1, keepdims=True), 0.03, 0.5)  # pale hair passes light on
    reached = self_shadow(sitter, segments.means, density, strength=0.13)[:, None]  # 0 deep inside, 1 outside
    outward = _outward(segments.means, density)
    normal = unit(outward + 0.9 * hair.round + 1e-6)
    lock_side = smoothstep((hair.round * outward).sum(1), -0.9, 0.75)[:, None]  # 0 on a lock's far side
    near_root = 1 - smoothstep(segments.along, 0.0, 0.30)[:, None]

    shade = (sitter.shade(normal, 0.52, 1.35) ** GAMMA)[:, None] * (0.55 + 0.45 * reached)
    matt = shade * (0.35 + 0.65 * _sine(segments.tangents, sitter.light)[:, None])
    matt = (
        matt * _between(0.10 + 0.25 * pale, reached) * (0.42 + 0.28 * pale + (0.72 - 0.34 * pale) * lock_side)
    )
    matt = matt * (1 - 0.35 * near_root) * (1.15 + 0.35 * pale)
    passed = np.power(albedo, 0.55 * (1 - reached))  # light that came through other hair has its colour

    facing = smoothstep(normal @ unit(sitter.light + sitter.view), -0.15, 0.75)[:, None]
    seen = reached**1.5 * facing * lock_side * params.gloss
    lean = scalp.chance[:, SHIFT] - 0.5 + 0.6 * (scalp.chance[scalp.leaders[2], SHIFT] - 0.5)
    surface, inside, sheen = _highlights(sitter, segments.tangents, 0.35 * lean[segments.strand])
    gloss = 0.022 * sheen + 0.225 * surface * np.power(albedo, 0.18) + 0.42 * inside * np.power(albedo, 0.75)

    lit = (albedo * matt * passed + seen * gloss) * sitter.exposure**GAMMA
    return np.clip(lit, 0, 1) ** (1 / GAMMA)


def _between(low: Array, share: Array) -> Array:
    """``low`` where ``share`` is 0, 1 where it is 1."""
    return low + (1 - low) * share


def _albedo(params: HairParams, scalp: Scalp, hair: Hair) -> Array:
    """sRGB albedo [N, 3]: base and second colour, strands and locks of different tone."""
    chance, segments = scalp.chance, hair.segments
    own, lock, big = chance[:, TONE], chance[scalp.leaders[2], TONE], chance[scalp.leaders[0], TONE]
    tone = np.exp(params.tone * (1.6 * (own - 0.5) + 2.0 * (lock - 0.5) + 1.2 * (big - 0.5)))
    base = np.array([params.red, params.green, params.blue])
    tips = np.array([params.tip_red, params.tip_green, params.tip_blue])
    start = 0.42 + 0.25 * (chance[scalp.leaders[1], STREAK] - 0.5)
    to_tips = params.ombre * smoothstep(
        segments.along, (start - 0.2)[segments.strand], (start + 0.25)[segments.strand]
    )
    of_lock = 0.75 * chance[scalp.leaders[2], STREAK] + 0.25 * chance[:, STREAK]
    cut = 1 - params.streaks
    streak = smoothstep(of_lock, cut - 0.03, cut + 0.05) * smoothstep(params.streaks, 0.0, 0.1)
    streak = streak[segments.strand] * smoothstep(segments.along, 0.05, 0.3) * 0.85
    share = np.maximum(to_tips, streak)[:, None]
    warm = 0.05 * (chance[:, WARM] - 0.5)[segments.strand]
    colour = base * (1 - share) + tips * share
    return np.clip(
        colour * tone[segments.strand][:, None] * np.stack([1 + warm, 1 + 0 * warm, 1 - warm], 1), 0.004, 0.97
    )


def _outward(points: Array, density: Density) -> Array:
    """Unit directions [N, 3] out of the mass of hair, and somewhat out of the head."""
    smooth = ndimage.gaussian_filter(density.values, 2.2)
    at = ((points - density.origin) / density.cell - 0.5).T
    slope = [ndimage.map_coordinates(g, at, order=1, mode="nearest") for g in np.gradient(smooth)]
    return unit(0.7 * unit(points * [1.0, 0.6, 1.0]) - unit(np.stack(slope, 1)))


def _highlights(sitter: Sitter, tangents: Array, lean: Array) -> tuple[Array, Array, Array]:
    """Highlights [N, 1] each (Kajiya-Kay): the strands' white surface, from inside them, and a wide sheen.

    The scales of a strand lean towards its tip, so the surface's highlight lies nearer the root and the inner one
    nearer the tip; ``lean`` [N] differs between strands, which breaks both up.
    """
    half = unit(sitter.light + sitter.view)
    surface = _sine(unit(tangents + (0.10 + lean)[:, None] * half), half) ** 90
    inside = _sine(unit(tangents + (lean - 0.16)[:, None] * half), half) ** 22
    return surface[:, None], inside[:, None], _sine(tangents, half)[:, None] ** 10


def _sine(tangents: Array, direction: Array) -> Array:
    """Sine of the angle between strands [N, 3] and a direction [3]."""
    return np.sqrt(np.clip(1 - (tangents @ direction) ** 2, 0, 1))
