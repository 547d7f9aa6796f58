"""What the points of a maker's blends say of the way between two looks: where the beginning of a tuning comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perse.avatar import Codes
from perse.avatar.fields import BasisField, Between
from perse.avatar.start import HIDDEN_LOGIT, OFFSET, OPACITY, VISIBLE_LOGIT, Known, LayerStart
from perse.dataset import CATEGORY_LABEL, LABEL_CODE, SubjectPoints
from perse.training._correspond import told_by
from perse.training._layers import HAIRY, Shown
from perse.training._surface import MIN_POINTS
from perse.training.blends import STEPS

ASTRAY = 0.06
"""Metres beside the straight way between two looks that a point goes at most."""
STEADY = 0.15
"""Singular values of the shown blends' features below this share of the largest are left out: what would tell these
blends apart to the last bit makes pairs that nobody showed fly apart."""
SIXTHS = tuple(step / STEPS for step in range(1, STEPS))
"""Weights at which a way is known (Eq. 36)."""
GONE = 0.6
"""Share of the way to strands by which hair that tells none is hidden: as a halo it would show around shorter hair."""
GROWS = -1.5
"""Logarithm of the power by which opacity fades where a part grows: it is solid as soon as it has length."""


@dataclass(frozen=True)
class Way:
    """One look between, as a maker has it."""

    codes: Callable[[float], Codes]
    """Of the blend, at any weight."""
    ends: tuple[int | None, int | None]
    """Latent entries of its ends; None: the reference."""
    weight: float
    """How far from the first end to the second."""
    points: SubjectPoints


@torch.no_grad()
def solve_between(
    field: BasisField, name: str, layer: LayerStart, ways: Sequence[Way], quiet: Sequence[Codes] = ()
) -> None:
    """Set the directions between learned looks of layer `name` so that blends show what the maker's do.

    What a blend of strands has beyond the linear blend of its ends is split by an SVD, as `solve_category` does with
    the subjects; the network's hidden layer stays as drawn, its last layer is the least-squares one. A pair that is
    shown at one weight is taken to go along a parabola through it, or the network would be free to do anything at the
    others. From nothing (a beard grows), the mean of what is missing on the way. Where looks tell no strands, only what
    has no points in common can be solved: one appears before the other is gone (:func:`_crossed`). `quiet` are blends
    of which nothing is known: there the directions stay silent.
    """
    if name not in field.between:
        return
    module, slot = field.between[name], field.slots.index(name)
    ancestors = field.ancestors[name]
    rows, features, growth, missing = [], [], [], []
    silent = [module.features(codes.z[slot]) for codes in quiet]
    for way in ways:
        linear = _linear(layer.known, way)
        # One's own clothes fade where a garment appears; other parts change into one another.
        told = layer.strands is not None and (name in HAIRY or None not in way.ends)
        shown = _shown(layer, name, way, linear) if told else _crossed(layer.known, way, linear)
        if shown is None:  # what one's own and another garment do must not leak into ways between others
            silent += [module.features(way.codes(weight).z[slot]) for weight in _weights_of(way, ways)]
            continue
        partial = float(way.codes(way.weight).presence[slot])
        beyond = _beyond(shown, linear) / field.steps.cpu()
        if partial < 1:
            growth.append(beyond[ancestors])
            missing.append(1 - partial)
        else:
            for weight in _weights_of(way, ways):
                rows.append(beyond[ancestors] * (weight * (1 - weight) / (way.weight * (1 - way.weight))))
                features.append(module.features(way.codes(weight).z[slot]))
    if rows:
        _solve_directions(module, torch.stack(rows), torch.stack([*features, *silent]))
    if growth:
        share = torch.tensor(missing)
        module.absence.copy_((torch.stack(growth) * share[:, None, None]).sum(0) / share.square().sum())
        module.fade.fill_(GROWS)


def _shown(layer: LayerStart, name: str, way: Way, linear: Tensor) -> Tensor | None:
    """Values [n, 19] of the layer's points as the blend has them; None if it is not made of strands. Points that lie on
    no strand are where the `linear` blend has them, and hidden by :data:`GONE`."""
    cloud = way.points[way.points.labels == LABEL_CODE[CATEGORY_LABEL[name]]]
    cloud = cloud[cloud.strands.isfinite().all(1)]
    if len(cloud) < MIN_POINTS:
        return None
    assert layer.strands is not None
    told = layer.strands.isfinite().all(1)
    strands = layer.strands[told].numpy().astype(float)
    placed = told_by(cloud, name in HAIRY).place(strands[:, :3], strands[:, 3])
    points = layer.points
    common = Shown(
        points.means[told],
        points.quats[told],
        points.log_scales[told],
        points.colors[told],
        points.W[told],
        torch.ones(len(strands)).bool(),
    )
    shown = linear.clone()
    for entry, gone in zip(way.ends, (way.weight, 1 - way.weight)):
        end = _end(layer.known, entry)
        if end is not None:
            fading = ~told & (end[:, OPACITY][:, 0] > HIDDEN_LOGIT)
            shown[fading, OPACITY] = VISIBLE_LOGIT + (HIDDEN_LOGIT - VISIBLE_LOGIT) * min(1.0, gone / GONE)
    of_blend = Shown.of(cloud, placed).values(common)
    if name not in HAIRY:  # a sheet that neither end has stays where they have it
        of_blend = torch.where(torch.from_numpy(placed.there)[:, None], of_blend, linear[told])
    shown[told] = of_blend
    return shown


def _crossed(known: Known, way: Way, linear: Tensor) -> Tensor | None:
    """The `linear` blend [n, 19] in which points that only one end shows cover enough between them: half way both are
    three quarters solid, where half of a logit leaves next to nothing of either. None if there are no such points."""
    first, second = (_end(known, entry) for entry in way.ends)
    if first is None or second is None:
        return None
    seen = [end[:, OPACITY] > (VISIBLE_LOGIT + HIDDEN_LOGIT) / 2 for end in (first, second)]
    goes, comes = seen[0] & ~seen[1], seen[1] & ~seen[0]
    if not (goes.any() and comes.any()):
        return None
    solid = torch.sigmoid(torch.tensor(VISIBLE_LOGIT))
    crossed = linear.clone()
    for rows, left in ((goes, way.weight), (comes, 1 - way.weight)):
        crossed[:, OPACITY][rows] = torch.logit(solid * (1 - left**2))
    return crossed


def _beyond(shown: Tensor, linear: Tensor) -> Tensor:
    """What a blend shows [n, 19] beyond the linear one [n, 19]. A point that would go astray (across a parting that one
    end has and the other has not, its nearest strand is another one at once) is hidden on the way instead."""
    beyond = shown - linear
    astray = beyond[:, OFFSET].norm(dim=1, keepdim=True) > ASTRAY
    hidden = torch.zeros_like(beyond)
    hidden[:, OPACITY] = HIDDEN_LOGIT - linear[:, OPACITY]
    return torch.where(astray, hidden, beyond)


def _weights_of(way: Way, ways: Sequence[Way]) -> list[float]:
    """The way's own weight, and those of `SIXTHS` to which no other way between the same ends is nearer."""
    shown = [other.weight for other in ways if other.ends == way.ends]
    nearest = [w for w in SIXTHS if min(shown, key=lambda s: abs(s - w)) == way.weight]
    return sorted({way.weight, *nearest})


def _end(known: Known, entry: int | None) -> Tensor | None:
    """What the start knows of one end [n, 19]."""
    return known.values[known.subjects.index(entry)] if entry in known.subjects else None


def _linear(known: Known, way: Way) -> Tensor:
    """The linear blend [n, 19] of what the start knows of the ends; of the one end that is there."""
    first, second = (_end(known, entry) for entry in way.ends)
    if first is None or second is None:
        end = second if first is None else first
        assert end is not None
        return end
    return first * (1 - way.weight) + second * way.weight


def _solve_directions(module: Between, rows: Tensor, features: Tensor) -> None:
    """Principal directions of rows [P, n, 19], and the last layer that gives their coordinates from features [P, H]
    (and zero from further rows of features)."""
    flat = rows.flatten(1)
    u, s, vh = torch.linalg.svd(flat.double(), full_matrices=False)
    kept = min(len(module.directions), int((s > 1e-4 * s[0]).sum())) if float(s[0]) > 0 else 0
    if kept == 0:
        return
    # Coordinates near one: steps of an optimizer then weigh alike.
    size = s[:kept] / len(rows) ** 0.5
    coordinates = (u[:, :kept] * s[:kept] / size).float()
    coordinates = torch.nn.functional.pad(coordinates, (0, 0, 0, len(features) - len(rows)))
    module.directions[:kept] = (size[:, None] * vh[:kept]).float().view(kept, *module.directions.shape[1:])
    solved = torch.linalg.pinv(features.double(), rtol=STEADY).float() @ coordinates  # [H, kept]
    module.coefficients.weight[:kept] = solved.T
