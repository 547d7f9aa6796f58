"""The studio start: the union of all subjects' own points, thinned, and what each subject shows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from perse.avatar.start import (
    COLOR,
    HIDDEN_LOGIT,
    OFFSET,
    OPACITY,
    ROTATION,
    SCALE,
    VALUES,
    VISIBLE_LOGIT,
    Known,
    LayerStart,
    Points,
    Start,
    YieldStart,
)
from perse.dataset import CATEGORY_LABEL, LABEL_CODE, SubjectPoints
from perse.errors import PerseError
from perse.head import PARTS
from perse.head import skin as move_with_head
from perse.training._surface import MIN_POINTS, Base, Skin, action_on_base, logit_of, on_surface, skin_at
from perse.training.subjects import POINT_CATEGORIES, SHARES, YIELDS
from perse.training.thinning import nearest_gap, thin_to

if TYPE_CHECKING:
    from perse.training.starts import Context

MIN_OPACITY = 0.3
"""Points of a maker fainter than this are not taken."""
HAIRY = ("hair", "beard", "eyebrows")
"""Labels whose long points are strands; a long disc elsewhere is a slim triangle of skin."""
OPEN_JAW = 0.25
"""Radians."""
MISSING = 0.004
"""Metres from the reference's skin at which another subject's skin is something the reference lacks."""
HAIR_REACH = 0.015
"""Metres within which hair of another style does as the reference's hair does under a hat."""
COVER_ANGLE = 0.08
"""Radians (as seen from the skull's middle) from a hat's points within which it covers the hair."""


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
        own = [p[p.labels == code] for p in own]
        layer = _layer(context, category, subjects, own, _displaced(context, parts, category, own))
        if layer is not None:
            layers[category] = layer
    for layer_name, other in YIELDS:
        subjects = context.cast.known_subjects(other)
        if layer_name in layers and other in layers and None not in subjects:
            worn = [parts[context.cast.subject_index(s)] for s in subjects]
            hair = [p[p.labels == LABEL_CODE[layer_name]] for p in worn]
            hats = [p[p.labels == LABEL_CODE[other]] if other == "hat" else p[:0] for p in worn]
            covers = [_covered(context, layers[layer_name].points.means, hat) for hat in hats]
            yields[layer_name, other] = _yield(layers[layer_name], subjects, hair, covers)
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
    cloud, seat = _join(clouds), torch.cat(seats)
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


def _mean_colors(cloud: SubjectPoints, places: Tensor, neighbours: int) -> Tensor:
    """Opacity-weighted mean colour of the nearest points. [n, 3]"""
    k = min(neighbours, len(cloud))
    _, nearest = cKDTree(cloud.means.numpy()).query(places.numpy(), k)
    index = torch.from_numpy(np.asarray(nearest).reshape(len(places), k))
    weight = cloud.opacities[index][..., None]
    return (cloud.colors[index] * weight).sum(1) / weight.sum(1)


def _as_points(
    context: Context,
    cloud: SubjectPoints,
    kept: np.ndarray,
    spacing: np.ndarray,
    colors: Tensor,
    places: Tensor | None = None,
) -> Points:
    """Thinned points, grown to fill the gaps between them (measured at `places` [n, 3] if given)."""
    index = torch.from_numpy(kept)
    chosen = cloud[index]
    where = chosen.means if places is None else places[index]
    gap = np.minimum(nearest_gap(where.numpy()), 1.5 * spacing)
    bound = chosen.face >= 0
    binding = context.head.interpolate(chosen.face.clamp_min(0), chosen.bary)
    rides = bound[:, None, None].float()
    return Points(
        means=chosen.means.clone(),
        quats=torch.nn.functional.normalize(chosen.quats, dim=1),
        log_scales=(_shape(chosen.scales, chosen.labels) * torch.from_numpy(gap).float()[:, None]).log(),
        opacity=torch.full((len(index),), VISIBLE_LOGIT),
        colors=logit_of(colors),
        labels=chosen.labels.clone(),
        E=binding.E * rides,
        P=binding.P * rides,
        W=chosen.weights.clone(),
    )


def _shape(scales: Tensor, labels: Tensor) -> Tensor:
    """Standard deviations [n, 3] over the gap: flat for discs, long for strands; axes as the maker's own."""
    order = scales.argsort(1, descending=True)
    sorted_scales = scales.gather(1, order)
    hairy = torch.isin(labels.long(), torch.tensor([LABEL_CODE[n] for n in HAIRY]))
    strand = hairy & (sorted_scales[:, 1] < 0.5 * sorted_scales[:, 0])
    hair = labels == LABEL_CODE["hair"]
    long = torch.where(
        hair[:, None], scales.new_tensor([0.8, 0.2, 0.2]), scales.new_tensor([0.5, 0.25, 0.25])
    )
    shape = torch.where(strand[:, None], long, scales.new_tensor([0.62, 0.62, 0.16]))
    return torch.zeros_like(scales).scatter(1, order, shape)


# ---- layers -----------------------------------------------------------------------------------------------


def _displaced(
    context: Context, parts: dict[int, SubjectPoints], category: str, own: list[SubjectPoints]
) -> list[SubjectPoints]:
    """Points that a layer has only where it yields: hair tucked behind an ear that wears a ring."""
    if not any(len(cloud) for cloud in own):
        return []
    tree, found = cKDTree(_join(own).means.numpy()), []
    for layer, other in YIELDS:
        for subject in context.cast.known_subjects(other) if layer == category else []:
            cloud = parts[context.cast.subject_index(subject)]
            cloud = cloud[cloud.labels == LABEL_CODE[CATEGORY_LABEL[category]]]
            if len(cloud):
                distance, _ = tree.query(cloud.means.numpy())
                found.append(cloud[torch.from_numpy(distance > MISSING)])
    return found


def _layer(
    context: Context,
    category: str,
    subjects: list[int | None],
    clouds: list[SubjectPoints],
    displaced: list[SubjectPoints],
) -> LayerStart | None:
    """The union of one category's points over its subjects, and who shows which of them in which colour."""
    if sum(len(c) for c in clouds) < MIN_POINTS:
        return None
    union = _join([*clouds, *displaced])
    budget = max(MIN_POINTS, int(context.points * SHARES[category]))
    kept, spacing = thin_to(union.means.numpy(), np.ones(len(union)), budget, (context.seed, 2))
    points = _as_points(context, union, kept, spacing, union.colors[torch.from_numpy(kept)])
    values = torch.stack([_shown(points, cloud, spacing) for cloud in clouds])  # [S, n, 14]
    # Where a subject does not show a point, the point keeps the mean direction of those that do, and has the colour
    # that the subject shows nearest to it.
    seen = (values[..., OPACITY] > 0).float()
    mean = (values * seen).sum(0) / seen.sum(0).clamp_min(1)
    mean[:, COLOR] = torch.where(seen.sum(0) > 0, mean[:, COLOR], points.colors)
    empty = torch.tensor([len(cloud) < MIN_POINTS for cloud in clouds])[:, None, None]
    for block in (SCALE, ROTATION, OFFSET):
        values[..., block] = torch.where(seen > 0, values[..., block], mean[..., block])
    values[..., COLOR] = torch.where(empty, mean[..., COLOR], values[..., COLOR])
    return LayerStart(points, Known(subjects, values))


def _join(clouds: list[SubjectPoints]) -> SubjectPoints:
    names = SubjectPoints.__dataclass_fields__
    return SubjectPoints(**{n: torch.cat([getattr(c, n) for c in clouds]) for n in names})


def _shown(points: Points, cloud: SubjectPoints, spacing: np.ndarray) -> Tensor:
    """Values [n, 14] of the points as one subject shows them; opacity is hidden where it has nothing near."""
    values = torch.zeros(len(points), VALUES)
    values[:, OPACITY] = HIDDEN_LOGIT
    if len(cloud) < MIN_POINTS:
        return values
    tree = cKDTree(cloud.means.numpy())
    k = min(4, len(cloud))
    distance, nearest = tree.query(points.means.numpy(), k)
    distance, nearest = distance.reshape(-1, k), torch.from_numpy(np.asarray(nearest).reshape(-1, k))
    here = torch.from_numpy(distance[:, 0] < np.maximum(0.002, 0.7 * spacing))
    values[here, OPACITY] = VISIBLE_LOGIT
    values[:, COLOR] = logit_of(_mean_colors(cloud, points.means, k))
    one = cloud[nearest[:, 0]]
    quats = torch.nn.functional.normalize(one.quats, dim=1)
    # A subject's strands may run another way than those the union was taken from.
    quats = quats * torch.where((quats * points.quats).sum(1, keepdim=True) < 0, -1.0, 1.0)
    turned = (one.labels == LABEL_CODE["hair"])[:, None] | (one.labels == LABEL_CODE["beard"])[:, None]
    values[:, ROTATION] = torch.where(turned, quats - points.quats, 0.0)
    return values


def _yield(
    layer: LayerStart, subjects: list[int | None], hair: list[SubjectPoints], covers: list[Tensor]
) -> YieldStart:
    """Shifts of the hair's opacity under each hat.

    The reference's hair loses or gains what the hat's subject says. Hair of other styles, which nobody has seen
    under the hat, loses what lies where the reference's hair was lost, and what the hat covers (`covers`, [n] each).
    """
    if None not in layer.known.subjects:
        return YieldStart(Known(subjects, torch.zeros(len(subjects), len(layer.points))))
    reference = layer.known.values[layer.known.subjects.index(None)][:, 0]
    shown = reference > 0
    means = layer.points.means.numpy()
    spacing = nearest_gap(means)
    distance, nearest = cKDTree(means[shown.numpy()]).query(means)
    near = torch.from_numpy(distance < HAIR_REACH)
    shifts = []
    for cloud, covered in zip(hair, covers):
        values = _shown(layer.points, cloud, spacing)[:, 0]
        shift = torch.where((values > 0) != shown, values - reference, 0.0)
        follow = shift[shown][torch.from_numpy(nearest)].clamp_max(0.0)
        follow = torch.where(near, follow, 0.0)
        follow = torch.where(covered & (values < 0), HIDDEN_LOGIT - VISIBLE_LOGIT, follow)
        shifts.append(torch.where(shown | (shift > 0), shift, follow))
    return YieldStart(Known(subjects, torch.stack(shifts)))


def _covered(context: Context, points: Tensor, cover: SubjectPoints) -> Tensor:
    """Points [n] bool that a hat covers: it lies in their direction, seen from the middle of the skull."""
    if len(cover) < MIN_POINTS:
        return torch.zeros(len(points), dtype=torch.bool)
    rest = context.rest_vertices
    middle = rest[(context.head.vertex_part == PARTS.index("skin")) & (rest[:, 1] > 0)].mean(0)
    normalize = torch.nn.functional.normalize
    tree = cKDTree(normalize(cover.means - middle, dim=1).numpy())
    distance, _ = tree.query(normalize(points - middle, dim=1).numpy())
    return torch.from_numpy(distance < COVER_ANGLE)
