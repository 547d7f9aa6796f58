"""Which of an avatar's points a page keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from perse.avatar import LinearField, LinearLayer, LinearLook, LinearYield
from perse.avatar.start import OFFSET
from perse.errors import PerseError

BOLDEST, FAINTEST = 0.5, 1 / 255
"""MLP_pose raises an opacity logit by this at most; an opacity below is never drawn."""
FEWEST = 100
"""Points that a page has at least."""


def shown(field: LinearField, looks: Mapping[str, Sequence[LinearLook]]) -> LinearField:
    """Without points that no look and no blend shows.

    Args:
        looks: all that can be worn, by category.
    """
    keep = {layer.name: (_most(layer, field, looks) + BOLDEST).sigmoid() > FAINTEST for layer in field.layers}
    for category, seat in _seats(field):
        keep[category][seat] = True
    return _select(field, keep)


def worthiest(field: LinearField, limit: int, worth: Callable[[], Mapping[str, Tensor]]) -> LinearField:
    """At most `limit` points, those of most worth ([n] by layer; asked for only where there are more).

    Raises:
        PerseError: too low a limit.
    """
    if limit < FEWEST:
        raise PerseError(f"--points {limit}: a page needs at least {FEWEST} Gaussians")
    if sum(len(layer.points) for layer in field.layers) <= limit:
        return field
    found = worth()
    values = {layer.name: found[layer.name].clone() for layer in field.layers}
    for category, seat in _seats(field):
        values[category][seat] = torch.inf
    every = torch.cat(tuple(values.values()))
    keep = torch.zeros(len(every), dtype=torch.bool)
    keep[every.topk(limit).indices] = True
    return _select(field, dict(zip(values, keep.split([len(value) for value in values.values()]))))


def _seats(field: LinearField) -> Iterator[tuple[str, Tensor]]:
    """Points that looks from other photos ask for room on behalf of their own: they stay. Category, [k]."""
    for transfer in field.transfers:
        if len(transfer.layer):
            yield transfer.category, transfer.seat


def _most(layer: LinearLayer, field: LinearField, looks: Mapping[str, Sequence[LinearLook]]) -> Tensor:
    """The largest opacity logit [n] that a layer's points have in any look."""
    most = layer.own.new_full((len(layer.own),), -torch.inf)
    raises = [_raise(y, looks[y.other]) for y in field.yields if y.layer == layer.name]
    none = torch.zeros(0)
    always = [LinearLook(none, none, 1.0, none)]  # the base, and points of one look
    own = [transfer for transfer in field.transfers if transfer.category == layer.name]
    for look in looks.get(layer.name, always):
        if look.presence > 0:
            values = layer.values(look)
            places = layer.points + values[:, OFFSET]
            lifted = sum(y.at(places, none)[:, 0] for y in raises)
            for weight, transfer in zip(look.transfers, own):
                if len(transfer.layer):
                    values = values + weight * transfer.layer
            most = torch.maximum(most, values[:, 0] + lifted)
    for transfer in field.transfers:
        if layer.name in transfer.press:
            most = most + transfer.press[layer.name].clamp_min(0)
    if layer.name == "base":
        for action in field.actions:
            raised = [
                action.shift[:, 0] + look.coefficients @ action.directions[..., 0]
                for look in looks[action.category]
            ]
            most = most.index_add(0, action.index, torch.stack(raised).amax(0).clamp_min(0))
        for transfer in field.transfers:
            most = most.index_add(0, transfer.index, transfer.base[:, 0].clamp_min(0))
    return most


def _raise(y: LinearYield, looks: Sequence[LinearLook]) -> LinearYield:
    """The most that any look of the other category raises opacity logits by."""
    grids = [
        look.presence * (y.shift + torch.tensordot(look.coefficients, y.directions, 1)) for look in looks
    ]
    return replace(y, shift=torch.stack(grids).amax(0).clamp_min(0), directions=y.directions[:0])


def _select(field: LinearField, keep: Mapping[str, Tensor]) -> LinearField:
    """Only the points that are kept [n] of every layer."""
    layers = []
    for layer in field.layers:
        k = keep[layer.name]
        between = layer.between and replace(layer.between, directions=layer.between.directions[:, k])
        layers.append(
            replace(
                layer,
                points=layer.points[k],
                own=layer.own[k],
                directions=layer.directions[:, k],
                binding=type(layer.binding)(*(t[k] for t in layer.binding)),
                pose_code=layer.pose_code[k],
                between=between,
            )
        )
    position = {name: k.long().cumsum(0) - 1 for name, k in keep.items()}
    actions = []
    for action in field.actions:
        k = keep["base"][action.index]
        index = position["base"][action.index[k]]
        actions.append(
            replace(action, index=index, shift=action.shift[k], directions=action.directions[:, k])
        )
    transfers = []
    for transfer in field.transfers:
        k, category = keep["base"][transfer.index], transfer.category
        moved = replace(
            transfer,
            index=position["base"][transfer.index[k]],
            base=transfer.base[k],
            press={name: shift[keep[name]] for name, shift in transfer.press.items()},
        )
        if len(transfer.layer):
            moved = replace(moved, layer=transfer.layer[keep[category]])
            if len(transfer.seat):
                moved = replace(moved, seat=position[category][transfer.seat[keep[transfer.own]]])
        transfers.append(moved)
    return replace(field, layers=tuple(layers), actions=tuple(actions), transfers=tuple(transfers))
