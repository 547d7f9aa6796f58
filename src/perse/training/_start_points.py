"""The studio start: the union of all subjects' own points, thinned, and what each subject shows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from perse.avatar.start import VISIBLE_LOGIT, Points, Start
from perse.dataset import CATEGORY_LABEL, LABEL_CODE, SubjectPoints
from perse.errors import PerseError
from perse.head import skin as move_with_head
from perse.training._layers import joined, layer_of, shape_of, yield_of
from perse.training._surface import MIN_POINTS, Base, Skin, action_on_base, logit_of, on_surface, skin_at
from perse.training.subjects import POINT_CATEGORIES, SHARES, YIELDS
from perse.training.thinning import nearest_gap, thin_to

if TYPE_CHECKING:
    from perse.training.starts import Context

MIN_OPACITY = 0.3
"""Points of a maker fainter than this are not taken."""
OPEN_JAW = 0.25
"""Radians."""
MISSING = 0.004
"""Metres from the reference's skin at which another subject's skin is something the reference lacks."""


def start_from_points(context: Context) -> Start:
    """Thin, match, compare; see the module's text."""
    clouds = {i: _opaque(_points_of(context, i)) for i in _needed_subjects(context)}
    skins = {i: Skin.of(context, cloud) for i, cloud in clouds.items()}
    parts = {i: cloud[~on_surface(context, cloud)] for i, cloud in clouds.items()}
    base = _base(context, skins)

    layers, yields = {}, {}
    for category in POINT_CATEGORIES:
        code = LABEL_CODE[CATEGORY_LABEL[category]]
        subjects = context.cast.known_subjects(category)
        own = [parts[context.cast.subject_index(s)] for s in subjects]
        layer = layer_of(context, category, subjects, [p[p.labels == code] for p in own])
        if layer is not None:
            layers[category] = layer
    for layer_name, other in YIELDS:
        subjects = context.cast.known_subjects(other)
        if layer_name in layers and other in layers and subjects and None not in subjects:
            worn = [parts[context.cast.subject_index(s)] for s in subjects]
            hair = [p[p.labels == LABEL_CODE[layer_name]] for p in worn]
            hats = [p[p.labels == LABEL_CODE[other]] if other == "hat" else p[:0] for p in worn]
            plain = parts[0][parts[0].labels == LABEL_CODE[layer_name]]
            yields[layer_name, other] = yield_of(context, layers[layer_name], plain, subjects, hair, hats)
    actions = {}
    for category in (*POINT_CATEGORIES, "mouth", "nose"):
        subjects = context.cast.known_subjects(category)
        shown = [skins[context.cast.subject_index(s)] for s in subjects]
        action = action_on_base(base, skins[0], subjects, shown)
        if action is not None:
            actions[category] = action
    return Start(base.points, layers, actions, yields, "studio")


# ---- reading ----------------------------------------------------------------------------------------------


def _needed_subjects(context: Context) -> list[int]:
    return sorted({0, *(entry.subject for entry in context.cast.entries)})


def _points_of(context: Context, subject: int) -> SubjectPoints:
    found = context.dataset.subjects[subject]
    points = found.points()
    assert points is not None  # make_start looked
    if len(points) and int(points.face.max()) >= len(context.head.faces):
        raise PerseError(
            f"{found.folder}: its points sit on another head than {context.head.name} (triangle "
            f"{int(points.face.max())} of {len(context.head.faces)}); make the dataset again, or use start=images"
        )
    return points


def _opaque(points: SubjectPoints) -> SubjectPoints:
    return points[points.opacities > MIN_OPACITY]


# ---- the head ---------------------------------------------------------------------------------------------


def _base(context: Context, skins: dict[int, Skin]) -> Base:
    """The reference's head, and whatever skin only others show, thinned: finest at the eyes, coarse at the back."""
    clouds, seats = [skins[0].cloud], [skins[0].seats]
    for index, skin in skins.items():
        if index == 0 or len(skin.cloud) == 0:
            continue
        distance, _ = cKDTree(torch.cat(seats).numpy()).query(skin.seats.numpy())
        new = torch.from_numpy(distance > MISSING)
        if int(new.sum()) >= MIN_POINTS:
            clouds.append(skin.cloud[new])
            seats.append(skin.seats[new])
    cloud, seat = joined(clouds), torch.cat(seats)
    relative = _relative_spacing(context, cloud)
    budget = int(context.points * SHARES["base"])
    stretched = _stretched(context, cloud)
    kept, spacing = thin_to(stretched.numpy(), relative, budget, (context.seed, 1))
    seat = seat[torch.from_numpy(kept)]
    # The reference's colours, also where it hides its skin: edits are told as differences from it.
    colors, _ = skin_at(seat, skins[0])
    return Base(_as_points(context, cloud, kept, spacing, colors, stretched), seat)


def _stretched(context: Context, cloud: SubjectPoints) -> Tensor:
    """The points with lids closed and mouth open [n, 3]: thinned at rest, folded lids would keep too few to close."""
    units: dict[str, float] = {
        name: 1.0 for name in ("eyeBlinkLeft", "eyeBlinkRight") if name in context.head.unit_names
    }
    expr = context.head.expr_from_units(units) if units else torch.zeros(50)
    pose = torch.zeros(15)
    pose[6] = OPEN_JAW
    binding = context.head.interpolate(cloud.face.clamp_min(0), cloud.bary)
    joints = context.head.joints(context.dataset.portrait.betas)
    moved, _ = move_with_head(cloud.means, binding.E, binding.P, cloud.weights, joints, expr, pose)
    return torch.where((cloud.face >= 0)[:, None], moved, cloud.means)


def _relative_spacing(context: Context, cloud: SubjectPoints) -> np.ndarray:
    """How coarsely each point's neighbourhood may be sampled, relative to the middle of the face."""
    landmarks = context.head.landmarks(context.rest_vertices).numpy()
    distance, _ = cKDTree(landmarks).query(cloud.means.numpy())
    relative = np.interp(distance, [0.008, 0.03, 0.08], [1.0, 1.6, 3.0])
    depth = cloud.means @ context.dataset.camera.viewmat[2, :3]
    behind = (depth > depth.median()).numpy() & (distance > 0.01)
    relative = np.where(behind, np.maximum(relative, 2.6), relative)
    labels = cloud.labels.numpy()
    for name, factor in (("eyes", 0.8), ("mouth_interior", 1.0)):
        relative = np.where(labels == LABEL_CODE[name], factor, relative)
    return relative


def _as_points(
    context: Context,
    cloud: SubjectPoints,
    kept: np.ndarray,
    spacing: np.ndarray,
    colors: Tensor,
    places: Tensor,
) -> Points:
    """Thinned points, grown to fill the gaps between them, which are measured at `places` [n, 3]."""
    index = torch.from_numpy(kept)
    chosen = cloud[index]
    gap = np.minimum(nearest_gap(places[index].numpy()), 1.5 * spacing)
    bound = chosen.face >= 0
    binding = context.head.interpolate(chosen.face.clamp_min(0), chosen.bary)
    rides = bound[:, None, None].float()
    return Points(
        means=chosen.means.clone(),
        quats=torch.nn.functional.normalize(chosen.quats, dim=1),
        log_scales=(shape_of(chosen.scales, chosen.labels) * torch.from_numpy(gap).float()[:, None]).log(),
        opacity=torch.full((len(index),), VISIBLE_LOGIT),
        colors=logit_of(colors),
        labels=chosen.labels.clone(),
        E=binding.E * rides,
        P=binding.P * rides,
        W=chosen.weights.clone(),
    )
