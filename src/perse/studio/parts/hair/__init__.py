"""Hair as strands: one pool of roots for all styles; growth, ties, locks, curls and light make the style.

Strand k of one style is strand k of every other of the same seed, so that blends of two styles grow, curl and
let down their hair instead of dissolving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from perse.studio.groups import Skinned, SurfaceDiscs
from perse.studio.parts._shade import Density, segment_areas, shade_skin, tint_skin
from perse.studio.parts._sitter import NECK, ROOT, Array, Body, Sitter, smoothstep, tensor, wander
from perse.studio.parts._strands import resample
from perse.studio.parts.hair._body import hair_body
from perse.studio.parts.hair._grow import kept_share, loose, shortened
from perse.studio.parts.hair._light import GAMMA, colours
from perse.studio.parts.hair._params import HairParams
from perse.studio.parts.hair._scalp import (
    LAYER,
    PRESENT,
    Scalp,
    lengths,
    off_parting,
    presence,
    scalp_density,
)
from perse.studio.parts.hair._style import Hair, core, gather_locks, gaussians, segment_counts, thinned
from perse.studio.parts.hair._tie import drawn_length, tied, tied_share
from perse.studio.parts.hair._words import params_from
from perse.studio.puppet import Puppet, label_code

__all__ = ["GROUP", "HairParams", "absent", "apply", "build", "grown", "params_from"]

GROUP = "hair_strands"
BUDGET = 95_000
"""Gaussians of a hairstyle."""
POINTS = 33
"""Points of a strand before it is cut into Gaussians."""
CORE_SHORTER = 0.35
"""By how much the inside of coily hair is shorter than its outside, which hides it."""
ABOVE = 0.1
"""Metres above the chin to which hair is cut where it only begins to grow: else long hair would soon reach its cut."""
BALD = 0.002
"""Hair shorter than this is shaved."""


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Replace the photo's hair by the one the words describe (see :func:`perse.studio.parts.apply`)."""
    build(puppet, params_from(adjectives), seed, detail)


def absent(params: HairParams) -> HairParams:
    """A shaved head on which such hair begins to grow."""
    return replace(params, length=0.0, tail=0.0, fringe_length=0.0, ends=ABOVE)


def build(puppet: Puppet, params: HairParams, seed: int, detail: float = 1.0) -> None:
    """Replace the hair by that of ``params``; ``detail`` scales the number of strands."""
    puppet.shave()
    puppet.remove(GROUP)
    if params.length < BALD:
        return
    sitter = Sitter(puppet)
    body = hair_body(sitter, dressed=max(params.length, params.tied * params.tail) > 0.12)
    strands, scalp, present = grown(sitter, body, params, seed, detail)
    length = np.linalg.norm(np.diff(strands, axis=1), axis=2).sum(1)
    drawn = drawn_length(scalp, tied_share(sitter, params, scalp))
    counts = segment_counts(params, length, scalp.chance[:, LAYER])
    hair = gaussians(strands, scalp, params, counts, present, drawn, body, detail)
    density = Density.of(hair.segments.means, segment_areas(hair.segments.scales))
    hair = thinned(hair, density)
    puppet.add(GROUP, _group(sitter, hair, scalp, present, colours(sitter, params, scalp, hair, density)))
    _undercoat(sitter, params)
    shade_skin(sitter, density, strength=0.10, darkest=0.55)


def grown(
    sitter: Sitter, body: Body, params: HairParams, seed: int, detail: float = 1.0
) -> tuple[Array, Scalp, Array]:
    """Combed, cut and gathered strands [S, POINTS, 3], their roots, and how far each is there [S], 0 to 1."""
    pool = Scalp.of(sitter, seed, detail)
    index, present = _chosen(sitter, params, pool, BUDGET * min(detail, 1.0))
    scalp = pool.take(index)
    length = lengths(sitter, params, scalp) * (0.3 + 0.7 * present)
    length = length * (1 - CORE_SHORTER * core(params, scalp.chance[:, LAYER]))
    share = tied_share(sitter, params, scalp)[:, None, None]
    if share.min() < 1:
        strands = resample(loose(sitter, body, params, scalp, length, seed), POINTS)
        strands = shortened(strands, np.maximum(kept_share(sitter, params, scalp, strands), 0.06))
    if params.tied > 0:
        drawn = tied(sitter, body, params, scalp, POINTS)
        strands = drawn if share.min() >= 1 else strands * (1 - share) + drawn * share
    length = np.maximum(np.linalg.norm(np.diff(strands, axis=1), axis=2).sum(1), 1e-4)
    return gather_locks(strands, scalp, params, length), scalp, present


def _chosen(
    sitter: Sitter, params: HairParams, pool: Scalp, budget: float
) -> tuple[NDArray[np.int64], Array]:
    """The roots of the pool that a style can afford, and how far each is there [S]; the last ones fade out."""
    there = presence(sitter, params, pool.roots.template)
    there = smoothstep(there - 0.9 * pool.chance[:, PRESENT], 0.0, 0.1)
    length = lengths(sitter, params, pool)
    tail = params.tied * (0.10 + params.tail)
    counts = segment_counts(params, length * (1 - params.tied) + tail, pool.chance[:, LAYER]) * (there > 0)
    used = np.cumsum(counts) / budget
    present = there * (1 - smoothstep(used, 0.93, 1.0))
    index = np.flatnonzero(present > 0.02)
    return index, present[index]


def _group(sitter: Sitter, hair: Hair, scalp: Scalp, present: Array, colour: Array) -> Skinned:
    """The strands as a group: they turn with the head, and rest on the shoulders below the neck."""
    segments = hair.segments
    on_head = smoothstep(segments.means[:, 1], -0.17, -0.035)
    weights = np.zeros((len(on_head), 5))
    weights[:, NECK], weights[:, ROOT] = on_head, 1 - on_head
    tip = (1 - 0.4 * smoothstep(segments.along, 0.75, 1.0)) * (0.5 + 0.5 * scalp.inside)[segments.strand]
    return Skinned(
        means=tensor(segments.means),
        quats=tensor(segments.quats),
        scales=tensor(segments.scales),
        opacities=tensor(0.92 * tip * hair.solid * present[segments.strand]),
        colors=tensor(colour),
        labels=torch.full((len(on_head),), label_code("hair"), dtype=torch.uint8),
        weights=tensor(weights),
        strands=tensor(np.concatenate([scalp.roots.points[segments.strand], segments.along[:, None]], 1)),
    )


def _undercoat(sitter: Sitter, params: HairParams) -> None:
    """Tint the scalp like shaded roots, so that no bare skin shines through; less at the parting. It is hair then."""
    skin = sitter.puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs):
        return
    template = sitter.puppet.template_points(skin).numpy().astype(float)
    weight = scalp_density(sitter, template, 0.022)
    weight = weight * np.maximum(presence(sitter, params, template), 0.35 * params.crest)
    grain = 1 + 0.25 * wander(template, 31, 900.0)[:, 0]
    parting = np.exp(-((np.linalg.norm(off_parting(params, template), axis=1) / 0.0028) ** 2)) * params.part
    loose_part = parting * (1 - params.tied * (1 - params.pair)) * smoothstep(params.length, 0.02, 0.05)
    strength = 0.86 * smoothstep(weight * grain, 0.10, 0.95) * smoothstep(params.length, 0.0, 0.006)
    strength = strength * (1 - 0.6 * loose_part)
    base = np.array([params.red, params.green, params.blue])
    deep = 0.42 - 0.20 * smoothstep(params.length, 0.01, 0.05)
    colour = (base**GAMMA * deep * sitter.exposure) ** (1 / GAMMA)
    strength = np.clip(strength, 0, 1)
    tint_skin(sitter, strength, colour)
    skin = sitter.puppet.groups["skin"]
    covered = torch.from_numpy(strength > 0.4)
    labels = torch.where(covered, torch.tensor(label_code("hair"), dtype=torch.uint8), skin.labels)
    sitter.puppet.add("skin", replace(skin, labels=labels))
