"""Which of an avatar's points a page keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from perse.avatar import LinearField, LinearLayer, LinearLook, LinearYield
from perse.avatar.start import OFFSET, SCALE
from perse.errors import PerseError

BOLDEST, FAINTEST = 0.5, 1 / 255
"""MLP_pose raises an opacity logit by this at most; an opacity below is never drawn."""


def shown(field: LinearField, looks: Mapping[str, Sequence[LinearLook]], limit: int | None) -> LinearField:
    """Without points that no look and no blend shows, and with at most `limit`, the largest.

    Args:
        looks: all that can be worn, by category.
    """
    keep, weights = {}, {}
    for layer in field.layers:
        most, area = _most(layer, field, looks)
        keep[layer.name] = (most + BOLDEST).sigmoid() > FAINTEST
        weights[layer.name] = most.sigmoid() * area
    for transfer in field.transfers:
        if len(transfer.layer):  # its own points ask these for room
            keep[transfer.category][transfer.seat] = True
            weights[transfer.category][transfer.seat] = torch.inf
    if limit is not None:
        if limit < 100:
            raise PerseError(f"--points {limit}: a page needs at least 100 Gaussians")
        all_weights = torch.cat([weight.masked_fill(~keep[name], 0) for name, weight in weights.items()])
        if int((all_weights > 0).sum()) > limit:
            least = all_weights.topk(limit).values[-1]
            keep = {name: k & (weights[name] >= least) for name, k in keep.items()}
    return _select(field, keep)


def _most(
    layer: LinearLayer, field: LinearField, looks: Mapping[str, Sequence[LinearLook]]
) -> tuple[Tensor, Tensor]:
    """The largest opacity logit [n] and area [n] that a layer's points have in any look."""
    most = layer.own.new_full((len(layer.own),), -torch.inf)
    area = torch.zeros_like(most)
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
            area = torch.maximum(area, values[:, SCALE].topk(2, dim=1).values.sum(1).exp())
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
    return most, area


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
