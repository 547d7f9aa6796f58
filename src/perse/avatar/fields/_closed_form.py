"""Directions and coefficients of one category solved from what is known of its subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from perse.avatar.start import COLOR, OFFSET, OPACITY, ROTATION, SCALE, WEIGHTS, Known, Start

if TYPE_CHECKING:
    from perse.avatar.fields.basis import BasisField
    from perse.avatar.latent import LatentSpace

SEPARATOR = "_under_"
"""Between the two names of a yield."""
CUTOFF = 1e-4
"""Singular values below this share of the largest carry nothing but rounding."""


def solve_category(field: BasisField, name: str, start: Start, latent: LatentSpace) -> None:
    """Set the base values, directions and coefficient map of category `name` so that step 0 shows its subjects.

    The known values [S, M] of a category's subjects, minus their mean, are split by an SVD into at most K
    directions; the subjects' coordinates along them become the coefficients, and the linear map from codes to
    coefficients is the least-squares one. With S <= K + 1 subjects and S <= d code numbers all of it is exact.
    """
    known = _known_of(name, start)
    if not known:
        return
    subjects = known[0][1].subjects
    if any(k.subjects != subjects for _, k in known):
        raise ValueError(f"{name}: every part of a start must know the same subjects in the same order")
    codes = _codes(subjects, latent, latent.categories.index(name))  # [S, d]
    blocks = [_unit_values(field, kind, k.values) for kind, k in known]  # each [S, n, ...]
    means = [block.mean(0) for block in blocks]
    coefficients, rank = _principal_coefficients([b - m for b, m in zip(blocks, means)], field.config.rank)
    if rank:
        weight = torch.linalg.pinv(codes, rtol=1e-4) @ coefficients  # [d, r]
        field.coefficients[name].weight[:rank] = weight.T
    reached = field.coefficients[name](codes)[:, :rank]  # [S, r] what the map really gives
    for (kind, _), block, mean in zip(known, blocks, means):
        _store(
            field, kind, name, torch.linalg.pinv(reached, rtol=1e-4) @ (block - mean).flatten(1), mean, rank
        )


def _known_of(name: str, start: Start) -> list[tuple[str, Known]]:
    """Everything a start knows about a category: its layer, its action, and the layers that yield to it."""
    known = []
    if name in start.layers:
        known.append(("layer", start.layers[name].known))
    if name in start.actions and start.actions[name].known.subjects:
        known.append(("action", start.actions[name].known))
    for (layer, other), y in start.yields.items():
        if other == name and y.known.subjects:
            known.append((f"yield:{layer}", y.known))
    return known


def _codes(subjects: list[int | None], latent: LatentSpace, slot: int) -> Tensor:
    """The code of every subject in one category. [S, d]"""
    reference = latent.reference_codes()[slot]
    rows = [reference if s is None else latent.entry_codes(torch.tensor([s]))[0] for s in subjects]
    return torch.stack(rows)


def _unit_values(field: BasisField, kind: str, values: Tensor) -> Tensor:
    """Known values in units of the field's steps, so that directions of all kinds weigh alike."""
    return values / field.steps if values.ndim == 3 else values / field.yield_steps[:, None, None, None]


def _principal_coefficients(blocks: list[Tensor], rank: int) -> tuple[Tensor, int]:
    """Coordinates [S, r] of S subjects along the principal directions of all blocks together, unit variance."""
    count = blocks[0].shape[0]
    gram = blocks[0].new_zeros(count, count, dtype=torch.float64)
    for block in blocks:
        flat = block.flatten(1).double()
        gram += flat @ flat.T
    eigenvalues, vectors = torch.linalg.eigh(gram)
    eigenvalues, vectors = eigenvalues.flip(0), vectors.flip(1)
    if float(eigenvalues[0]) <= 0:
        return blocks[0].new_zeros(count, 0), 0
    kept = min(rank, int((eigenvalues > CUTOFF**2 * eigenvalues[0]).sum()))
    return (vectors[:, :kept] * count**0.5).float(), kept


def _store(field: BasisField, kind: str, name: str, directions: Tensor, mean: Tensor, rank: int) -> None:
    """Put solved directions [r, n * values] and the subjects' mean where the field keeps them."""
    if kind == "layer":
        layer = field.layers[name]
        layer.directions[:rank] += directions.view(rank, *layer.directions.shape[1:])
        mean = mean * field.steps
        layer.opacity.copy_(mean[:, OPACITY])
        layer.color.copy_(mean[:, COLOR])
        layer.points.add_(mean[:, OFFSET])
        layer.scale.add_(mean[:, SCALE])
        layer.rotation.add_(mean[:, ROTATION])
        layer.W.add_(mean[:, WEIGHTS])
    elif kind == "action":
        action = field.actions[name]
        action.directions[:rank] += directions.view(rank, *action.directions.shape[1:])
        action.shift.copy_(mean)
    else:
        module = field.yields[kind.removeprefix("yield:") + SEPARATOR + name]
        module.directions[:rank] += directions.view(rank, *module.directions.shape[1:])
        module.shift.copy_(mean)
