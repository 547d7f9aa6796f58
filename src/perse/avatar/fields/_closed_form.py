"""Codes, directions and coefficients solved from what is known of every category's subjects."""

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


def place_codes(field: BasisField, start: Start, latent: LatentSpace) -> dict[str, Tensor]:
    """Have MLP_z give the subjects of every category codes that lie as far apart as their known values do.

    Codes of a network that has learned nothing are nearly alike. The map from them to coefficients then has to tell
    them apart by their last digits: with thirty looks a category, one step of MLP_z moved points by metres.

    Returns:
        By category of which something is known: the subjects' coefficients [S, r], for :func:`solve_category`.
    """
    found: dict[str, Tensor] = {}
    entries: list[int] = []
    codes: list[Tensor] = []
    for name in field.coefficients:
        known = _known_of(name, start)
        if not known:
            continue
        blocks, _ = _centred(field, name, known)
        found[name] = _principal_coefficients(blocks, field.config.rank)
        if not found[name].shape[1]:
            continue
        wanted = spread_codes(found[name], latent.config.dim)
        for subject, code in zip(known[0][1].subjects, wanted):
            if subject is None:
                latent.place_reference(name, code)
            else:
                entries.append(subject)
                codes.append(code)
    if entries:
        latent.place(torch.tensor(entries), torch.stack(codes))
    return found


def spread_codes(coefficients: Tensor, dim: int) -> Tensor:
    """Codes [S, d] that hold coefficients [S, K], all in one scale, along axes at right angles.

    They have zero mean and unit variance, as :class:`LatentSpace` norms them: one more axis takes what is left of the
    length. Coefficients beyond d - 2 are left out.
    """
    held = coefficients[:, : dim - 2].double()
    held = held * (dim**0.5 / held.norm(dim=1).max().clamp_min(1e-12))
    rest = (dim - held.square().sum(1)).clamp_min(0).sqrt()
    held = torch.cat([held, rest[:, None]], 1)
    waves = torch.arange(1, held.shape[1] + 1, dtype=torch.float64)[:, None]
    places = torch.arange(dim, dtype=torch.float64) + 0.5
    axes = (2 / dim) ** 0.5 * torch.cos(torch.pi / dim * waves * places)  # orthonormal, each of zero mean
    return (held @ axes).to(coefficients.dtype)


def solve_category(
    field: BasisField, name: str, start: Start, latent: LatentSpace, coefficients: Tensor
) -> None:
    """Set the base values, directions and coefficient map of category `name` so that step 0 shows its subjects.

    The known values [S, M] of a category's subjects, minus their mean, are split by an SVD into at most K
    directions; the subjects' coordinates along them become the coefficients, and the linear map from codes to
    coefficients is the least-squares one. With S <= K + 1 subjects and S <= d code numbers all of it is exact.
    """
    known, rank = _known_of(name, start), coefficients.shape[1]
    codes = _codes(known[0][1].subjects, latent, latent.categories.index(name))  # [S, d]
    blocks, means = _centred(field, name, known)
    if rank:
        weight = torch.linalg.pinv(codes, rtol=1e-4) @ coefficients  # [d, r]
        field.coefficients[name].weight[:rank] = weight.T
    reached = field.coefficients[name](codes)[:, :rank]  # [S, r] what the map really gives
    for (kind, _), block, mean in zip(known, blocks, means):
        _store(field, kind, name, torch.linalg.pinv(reached, rtol=1e-4) @ block.flatten(1), mean, rank)


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


def _centred(
    field: BasisField, name: str, known: list[tuple[str, Known]]
) -> tuple[list[Tensor], list[Tensor]]:
    """Known values without their mean, each [S, n, ...] in units of a step, and the means [n, ...]."""
    if any(k.subjects != known[0][1].subjects for _, k in known):
        raise ValueError(f"{name}: every part of a start must know the same subjects in the same order")
    blocks = [_unit_values(field, kind, k.values) for kind, k in known]
    means = [block.mean(0) for block in blocks]
    return [block - mean for block, mean in zip(blocks, means)], means


def _principal_coefficients(blocks: list[Tensor], rank: int) -> Tensor:
    """Coordinates [S, r] of S subjects along the principal directions of all blocks together, unit variance."""
    count = blocks[0].shape[0]
    gram = blocks[0].new_zeros(count, count, dtype=torch.float64)
    for block in blocks:
        flat = block.flatten(1).double()
        gram += flat @ flat.T
    eigenvalues, vectors = torch.linalg.eigh(gram)
    eigenvalues, vectors = eigenvalues.flip(0), vectors.flip(1)
    if float(eigenvalues[0]) <= 0:
        return blocks[0].new_zeros(count, 0)
    kept = min(rank, int((eigenvalues > CUTOFF**2 * eigenvalues[0]).sum()))
    return (vectors[:, :kept] * count**0.5).float()


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
