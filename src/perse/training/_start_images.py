"""The images start: only what the dataset on disk holds, frames, alpha, labels and motion; parts are carved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from perse.avatar.start import (
    COLOR,
    HIDDEN_LOGIT,
    OPACITY,
    VALUES,
    VISIBLE_LOGIT,
    ActionStart,
    Known,
    LayerStart,
    Points,
    Start,
    YieldStart,
)
from perse.dataset import LABEL_CODE
from perse.head import Binding, quaternion_to_matrix
from perse.training._carving import HEAD_LABELS, RIGID, Carved, carve, frames_of, project
from perse.training._start_head import DISC, FLATNESS, head_points, quaternion_of_normal
from perse.training._yields import Grid
from perse.training.subjects import POINT_CATEGORIES, SHARES, YIELDS
from perse.training.thinning import nearest_gap, thin_to

if TYPE_CHECKING:
    from perse.training.starts import Context

REACH = 0.010
"""Metres around a part within which it may change the skin."""


def start_from_images(context: Context) -> Start:
    """Carve every part, colour the head from what is seen of it."""
    base = _base(context)
    layers: dict[str, LayerStart] = {}
    yields = {}
    for category in POINT_CATEGORIES:
        subjects = context.cast.known_subjects(category)
        others = [o for layer, o in YIELDS if layer == category]
        extra = [s for o in others for s in context.cast.known_subjects(o) if s is not None]
        if not subjects:
            continue
        carved = carve(context, category, [context.cast.subject_index(s) for s in [*subjects, *extra]])
        if carved is None:
            continue
        layers[category] = _layer(context, category, subjects, carved)
        for other in others:
            rows = context.cast.known_subjects(other)
            if rows and None not in rows and None in subjects:
                places = [len(subjects) + extra.index(s) for s in rows if s is not None]
                yields[category, other] = _yield(carved, rows, subjects.index(None), places)
    yields = {pair: y for pair, y in yields.items() if pair[1] in layers}
    actions = {name: action for name, action in _actions(context, base, layers).items() if len(action.index)}
    return Start(base, layers, actions, yields, "images")


# ---- the head ---------------------------------------------------------------------------------------------


def _base(context: Context) -> Points:
    """Points of the head in the colours they are seen in; what nobody shows takes the nearest seen colour."""
    points = head_points(context, int(context.points * SHARES["base"]))
    normals = quaternion_to_matrix(points.quats)[..., 2]
    binding = Binding(points.E, points.P, points.W)
    weight, color = torch.zeros(len(points)), torch.zeros(len(points), 3)
    votes = torch.zeros(len(points), 256)
    head_labels = torch.tensor(HEAD_LABELS)
    subjects = sorted({0, *(entry.subject for entry in context.cast.entries)})
    for frame in frames_of(context):
        column, row, depth, facing, framed = project(context, points.means, normals, binding, frame)
        seen = framed & (facing > 0.2) & _in_front(row * context.dataset.size + column, depth)
        for subject in subjects:
            picture = context.dataset.frame(subject, frame)
            label = picture.labels[row, column].long()
            # The reference knows its own skin best; others show what its hair covers; a shirt is better than nothing.
            bare = torch.isin(label, head_labels).float() * (1.0 if subject == 0 else 0.02)
            dressed = (label == LABEL_CODE["clothes"]).float() * (1e-3 if subject == 0 else 0.0)
            share = seen.float() * (bare + dressed) * facing.clamp_min(0) ** 2
            weight += share
            color += share[:, None] * picture.rgb[row, column].float() / 255
            if subject == 0:
                votes[torch.arange(len(points)), label] += share
    known = weight > 1e-4
    if int(known.sum()) == 0:
        return points
    color = color / weight.clamp_min(1e-6)[:, None]
    _, nearest = cKDTree(points.means[known].numpy()).query(points.means.numpy())
    color = torch.where(known[:, None], color, color[known][torch.from_numpy(nearest)])
    points.colors = torch.logit(color.clamp(0.02, 0.98))
    for name in ("nose", "lips"):
        code = LABEL_CODE[name]
        points.labels[(votes[:, code] > 0) & (votes.argmax(1) == code)] = code
    return points


def _in_front(pixel: Tensor, depth: Tensor, tolerance: float = 0.008) -> Tensor:
    """Points that no other point of the same pixel stands before by more than `tolerance` metres."""
    nearest = torch.full((int(pixel.max()) + 1,), torch.inf).scatter_reduce(0, pixel, depth, "amin")
    return depth < nearest[pixel] + tolerance


# ---- layers -----------------------------------------------------------------------------------------------


def _layer(context: Context, category: str, subjects: list[int | None], carved: Carved) -> LayerStart:
    """A carved part as points, thinned to its share."""
    shown_by_own = carved.occupied[: len(subjects)].any(0)
    place = carved.means.numpy()
    budget = max(20, int(context.points * SHARES[category]))
    kept, _ = thin_to(place, torch.ones(len(place)).numpy(), budget, (context.seed, 3))
    index = torch.from_numpy(kept)
    gap = torch.from_numpy(nearest_gap(place[kept])).float().clamp(max=2 * carved.spacing)
    everyone = carved.occupied[:, index].float()
    mean_color = (carved.colors[:, index] * everyone[..., None]).sum(0) / everyone.sum(0).clamp_min(1)[
        :, None
    ]
    occupied, colors = everyone[: len(subjects)], carved.colors[: len(subjects), index]
    rigid = category in RIGID
    shape = [0.5, 0.5, 0.5] if rigid else [DISC, DISC, 2 * FLATNESS]
    points = Points(
        means=carved.means[index],
        quats=quaternion_of_normal(carved.normals[index]),
        log_scales=(gap[:, None] * gap.new_tensor(shape)).log(),
        opacity=torch.where(shown_by_own[index], VISIBLE_LOGIT, HIDDEN_LOGIT),
        colors=torch.logit(mean_color.clamp(0.02, 0.98)),
        labels=torch.full((len(index),), LABEL_CODE[category], dtype=torch.uint8),
        E=carved.binding.E[index],
        P=carved.binding.P[index],
        W=carved.binding.W[index],
    )
    values = torch.zeros(len(subjects), len(index), VALUES)
    values[..., OPACITY] = (HIDDEN_LOGIT + (VISIBLE_LOGIT - HIDDEN_LOGIT) * occupied)[..., None]
    seen = torch.where(occupied[..., None] > 0, colors, mean_color)
    values[..., COLOR] = torch.logit(seen.clamp(0.02, 0.98))
    return LayerStart(points, Known(subjects, values))


def _yield(carved: Carved, subjects: list[int | None], reference: int, rows: list[int]) -> YieldStart:
    """The shift of opacity, by place, that turns the reference's hair into each row's."""
    grid = Grid.around(carved.means, [])
    step = VISIBLE_LOGIT - HIDDEN_LOGIT
    shifts = (carved.occupied[rows].float() - carved.occupied[reference].float()) * step  # [S, n]
    values = []
    for shift in shifts:
        told, weight = grid.spread(carved.means, torch.nn.functional.pad(shift[:, None], (0, 3)))
        values.append(grid.shaped(told * (weight > 0)[:, None]))
    return YieldStart(Known(subjects, torch.stack(values)), grid.low, grid.high)


def _actions(context: Context, base: Points, layers: dict[str, LayerStart]) -> dict[str, ActionStart]:
    """Base points that each category may change: those near its layer, or those that carry its label."""
    actions = {}
    places = base.means.numpy()
    for category in (*layers, "mouth", "nose"):
        if not context.cast.known_subjects(category)[1:] and category not in layers:
            continue
        if category in layers:
            anchor = layers[category].points.means
        else:
            anchor = base.means[base.labels == LABEL_CODE["lips" if category == "mouth" else category]]
        if len(anchor):
            distance, _ = cKDTree(anchor.numpy()).query(places)
            index = torch.from_numpy(distance < REACH).nonzero().flatten()
            actions[category] = ActionStart(index, Known([], torch.zeros(0)))
    return actions
