"""What layers add between looks, in as few numbers as the blends of a page ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from perse.avatar import LinearBetween, LinearField, LinearLook

TOLERANCE = 0.3
"""Rounding steps by which fewer directions may change a blend, root mean square: about what rounding itself does."""


def reduced(
    field: LinearField, looks: Mapping[str, Sequence[LinearLook]], steps: Tensor
) -> tuple[LinearField, dict[str, Tensor]]:
    """The same field, as far as some looks can tell.

    Args:
        looks: all that can be worn, by category, blends among them.
        steps: [19] rounding steps.

    Returns:
        the field, and the axes [r, d] in which codes are told to each layer that still adds something.
    """
    layers, axes = [], {}
    for layer in field.layers:
        between = layer.between
        if between is not None:
            seen = [look for look in looks[layer.name] if look.presence > 0]
            between = _fewer(between, seen, steps) if seen else None
            if between is not None:
                axes[layer.name] = _axes(seen)
                between = replace(between, hidden=between.hidden @ axes[layer.name].T)
        layers.append(replace(layer, between=between))
    return replace(field, layers=tuple(layers)), axes


def _axes(looks: Sequence[LinearLook]) -> Tensor:
    """[r, d] of unit length, spanning the codes of looks."""
    _, sizes, vectors = torch.linalg.svd(
        torch.stack([look.code for look in looks]).double(), full_matrices=False
    )
    return vectors[sizes > 1e-5].float()


def _fewer(between: LinearBetween, looks: Sequence[LinearLook], steps: Tensor) -> LinearBetween | None:
    """With fewer directions, of which no look asks for more than once their length; None if rounding leaves nothing."""
    partly = any(look.presence < 1 for look in looks)
    along, alone = between.directions[:-1], between.directions[-1:]
    if not partly or bool((alone.abs() < steps / 2).all()):
        alone = torch.zeros_like(alone)
    asked = between.features(torch.stack([look.code for look in looks])) @ between.mix.T  # [B, K]
    turn, inverse, amounts = _principal(asked.double(), (along / steps).flatten(1).double())
    left = amounts.square().flip(1).cumsum(1).flip(1)  # [B, r] squared, without directions k...
    rank = int((left.amax(0) > TOLERANCE**2 * alone.numel()).sum())
    if rank == 0 and not alone.any() and not (partly and between.fade != 0):
        return None
    largest = amounts[:, :rank].abs().amax(0)
    directions = torch.tensordot((inverse[:rank] * largest[:, None]).float(), along, 1)
    mix = (turn[:, :rank] / largest).T.float() @ between.mix
    return replace(between, mix=mix, directions=torch.cat([directions, alone]))


def _principal(asked: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients [B, K] of rows [K, N], in orthogonal directions instead, those first of which most is asked.

    Returns:
        turn [K, r]: new coefficients out of old ones; inverse [r, K]: new directions out of the rows; and the new
        coefficients [B, r].
    """
    energy, vectors = torch.linalg.eigh(rows @ rows.T)
    real = energy > 1e-10 * energy.amax(0)
    sizes, vectors = energy[real].sqrt(), vectors[:, real]
    _, _, turned = torch.linalg.svd(asked @ (vectors * sizes), full_matrices=False)
    turn = (vectors * sizes) @ turned.T
    return turn, turned @ (vectors / sizes).T, asked @ turn
