"""Where a transferred look starts on a layered field: what its maker's points say the layers should show."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from perse.avatar import AdapterShape, AvatarModel, Canonical, Codes, PointAdapter
from perse.avatar.start import (
    COLOR,
    HIDDEN_LOGIT,
    OFFSET,
    OPACITY,
    ROTATION,
    SCALE,
    VALUES,
    VISIBLE_LOGIT,
    Points,
)
from perse.dataset import CATEGORY_LABEL, LABEL_CODE, SubjectPoints
from perse.training._start_points import MIN_OPACITY, _as_points
from perse.training._surface import MIN_POINTS, Base, Skin, action_on_base, logit_of, on_surface
from perse.training.starts import Context
from perse.training.subjects import POINT_CATEGORIES
from perse.training.thinning import nearest_gap, thin_to

NEAR = 0.002
"""Metres from a maker's points within which a layer's point shows the same thing."""
NEIGHBOURS = 4


@dataclass
class _Plan:
    """What an adapter is filled with."""

    layer: Tensor
    """[n, 19] change of the category's layer."""
    base_index: Tensor
    base: Tensor
    """[m, 19] change of the head's points."""
    press: dict[str, Tensor] = field(default_factory=dict)
    """[n] change of other layers' opacity logits."""
    own: Points | None = None
    seat: Tensor | None = None


def start_adapter(
    context: Context,
    model: AvatarModel,
    name: str,
    category: str,
    codes: Codes,
    points: tuple[SubjectPoints, SubjectPoints] | None,
    own_points: int,
) -> PointAdapter:
    """An adapter that already shows the look.

    Args:
        codes: the reference's, with the look's own code.
        points: the maker's points of the reference and of the look, where it has any; else it starts at no change.
        own_points: points of its own at most.
    """
    field_ = model.field
    slot = model.latent.categories.index(category)
    with torch.no_grad():
        plain, worn = model.canonical(model.latent.codes()), model.canonical(codes)
        plan = _plan(context, model, category, plain, worn, points, own_points)
    shape = AdapterShape(
        name=name,
        category=category,
        kind="points",
        dim=codes.z.shape[1],
        layer=len(plan.layer),
        base=len(plan.base_index),
        own=0 if plan.own is None else len(plan.own),
        press={layer: len(shift) for layer, shift in plan.press.items()},
    )
    adapter = PointAdapter(shape, field_.config)
    with torch.no_grad():
        adapter.z.copy_(codes.z[slot])
        adapter.layer_shift.copy_(plan.layer / adapter.steps)
        adapter.base_index.copy_(plan.base_index)
        adapter.base_shift.copy_(plan.base / adapter.steps)
        for layer, shift in plan.press.items():
            adapter.press[layer].copy_(shift)
        if plan.own is not None and plan.seat is not None:
            adapter.own.set_points(plan.own)
            adapter.seat.copy_(plan.seat)
    return adapter


FAR = 0.02
"""Metres beyond which two points of hair, cloth or felt have nothing to do with one another."""


def nearest_code(
    context: Context, model: AvatarModel, category: str, points: tuple[SubjectPoints, SubjectPoints] | None
) -> Tensor | None:
    """The learned code [d] of a category whose points lie most like a look's, for an adapter to start from.

    A code that MLP_z makes of an unseen picture lies beside all that was learned, and bends the layer in ways that an
    adapter would first have to undo. None: nothing of the category was learned.
    """
    latent = model.latent
    slot = latent.categories.index(category)
    shown = (latent.entry_category == slot) & (latent.entry_presence > 0)
    rows = torch.nonzero(shown)[:, 0].tolist()
    with torch.no_grad():
        found = [latent.reference_codes()[slot]] if float(latent.reference_presence[slot]) > 0 else []
        if found and (points is None or category not in POINT_CATEGORIES):
            return found[0]
        found += [latent.entry_codes(torch.tensor([row], device=latent.features.device))[0] for row in rows]
        if not found:
            return None
        if points is None or category not in model.field.layout.layers:
            return found[0]
        look = points[1][points[1].opacities > MIN_OPACITY]
        look = look[~on_surface(context, look)]
        means = look.means[look.labels == LABEL_CODE[CATEGORY_LABEL[category]]].numpy()
        distances = [_apart(model, category, slot, z, means) for z in found]
    return found[int(np.argmin(distances))]


def _apart(model: AvatarModel, category: str, slot: int, z: Tensor, means: np.ndarray) -> float:
    """Mean distance both ways between points [n, 3] and what a code shows of its layer, up to `FAR` a point."""
    canonical = model.field.evaluate(model.latent.codes().replaced(slot, z, 1.0), False)
    part = canonical.layers[category]
    shown = canonical.means[part][canonical.opacity[part] > 0].cpu().numpy()
    if len(shown) == 0 or len(means) == 0:
        return 2 * FAR
    there, back = cKDTree(shown).query(means)[0], cKDTree(means).query(shown)[0]
    return float(np.minimum(there, FAR).mean() + np.minimum(back, FAR).mean())


def _plan(
    context: Context,
    model: AvatarModel,
    category: str,
    plain: Canonical,
    worn: Canonical,
    points: tuple[SubjectPoints, SubjectPoints] | None,
    own_points: int,
) -> _Plan:
    layer = _values(worn)[worn.layers[category]] if category in worn.layers else torch.zeros(0, VALUES)
    reach = getattr(model.field, "actions", {})
    acted = reach[category].index if category in reach else torch.zeros(0, dtype=torch.int64)
    if points is None:
        return _Plan(torch.zeros_like(layer), acted, torch.zeros(len(acted), VALUES))
    reference, look = (cloud[cloud.opacities > MIN_OPACITY] for cloud in points)
    base_index, base = _base(context, acted, plain, worn, reference, look)
    plan = _Plan(torch.zeros_like(layer), base_index, base)
    parts = look[~on_surface(context, look)]
    if category in POINT_CATEGORIES:
        cloud = parts[parts.labels == LABEL_CODE[CATEGORY_LABEL[category]]]
        means = worn.means[worn.layers[category]] if len(layer) else torch.zeros(0, 3)
        plan.layer, near = _layer(layer, means, cloud)
        plan.own, plan.seat = _own(context, means, near, cloud, own_points)
    for name, other in model.field.layout.yields:
        if other == category and name in plain.layers and name in worn.layers:
            left = parts[parts.labels == LABEL_CODE[CATEGORY_LABEL[name]]]
            plan.press[name] = _press(plain, worn, name, left)
    return plan


def _values(canonical: Canonical) -> Tensor:
    """[N, 19] in the order of a start's values; positions instead of offsets."""
    values = canonical.means.new_zeros(len(canonical), VALUES)
    for block, part in (
        (OPACITY, canonical.opacity[:, None]),
        (SCALE, canonical.log_scales),
        (ROTATION, canonical.quats),
        (COLOR, canonical.colors),
        (OFFSET, canonical.means),
    ):
        values[:, block] = part
    return values


def _layer(values: Tensor, means: Tensor, cloud: SubjectPoints) -> tuple[Tensor, Tensor]:
    """Change [n, 19] that makes the layer show a cloud where it has points, and which points do [n] bool."""
    change = torch.zeros_like(values)
    if len(means) == 0:
        return change, torch.zeros(0, dtype=torch.bool)
    hidden = torch.full_like(values[:, 0], HIDDEN_LOGIT)
    if len(cloud) < MIN_POINTS:
        change[:, 0] = torch.minimum(hidden - values[:, 0], torch.zeros_like(hidden))
        return change, torch.zeros(len(means), dtype=torch.bool)
    distance, nearest = cKDTree(cloud.means.numpy()).query(means.numpy(), NEIGHBOURS)
    near = torch.from_numpy(distance[:, 0] < np.maximum(NEAR, 0.7 * nearest_gap(means.numpy())))
    change[:, 0] = torch.where(near, VISIBLE_LOGIT - values[:, 0], (hidden - values[:, 0]).clamp_max(0))
    color = logit_of(cloud.colors[torch.from_numpy(nearest)].mean(1))
    change[:, COLOR] = torch.where(near[:, None], color - values[:, COLOR], 0.0)
    return change, near


def _own(
    context: Context, means: Tensor, near: Tensor, cloud: SubjectPoints, count: int
) -> tuple[Points | None, Tensor | None]:
    """Points for what the layer has nothing near of, and the layer's point nearest to each."""
    if len(cloud) < MIN_POINTS or count < MIN_POINTS:
        return None, None
    far = np.ones(len(cloud), bool)
    if bool(near.any()):
        shown = means[near].numpy()
        reach = np.maximum(NEAR, 0.7 * np.median(nearest_gap(shown)))
        far = cKDTree(shown).query(cloud.means.numpy())[0] > reach
    rest = cloud[torch.from_numpy(far)]
    if len(rest) < MIN_POINTS:
        return None, None
    kept, spacing = thin_to(rest.means.numpy(), np.ones(len(rest)), count, (context.seed, 3))
    own = _as_points(context, rest, kept, spacing, rest.colors[torch.from_numpy(kept)], rest.means)
    seat = np.zeros(len(own), np.int64)
    if len(means):
        seat = cKDTree(means.numpy()).query(own.means.numpy())[1]
    return own, torch.from_numpy(np.asarray(seat))


def _base(
    context: Context,
    acted: Tensor,
    plain: Canonical,
    worn: Canonical,
    reference: SubjectPoints,
    look: SubjectPoints,
) -> tuple[Tensor, Tensor]:
    """Head points that differ from the reference's, and the change [m, 19] from what the code makes of them."""
    part = plain.layers["base"]
    skins = [Skin.of(context, cloud) for cloud in (reference, look)]
    _, nearest = cKDTree(skins[0].cloud.means.numpy()).query(plain.means[part].numpy())
    seats = skins[0].seats[torch.from_numpy(nearest)]
    action = action_on_base(Base(_nothing(), seats), skins[0], [0], [skins[1]])
    wanted = torch.zeros(part.stop - part.start, VALUES)
    index = acted
    if action is not None:
        wanted[action.index] = action.known.values[0]
        index = torch.unique(torch.cat([acted, action.index]))
    before, after = _values(plain)[part][index], _values(worn)[worn.layers["base"]][index]
    return index, before + wanted[index] - after


def _nothing() -> Points:
    """Base points whose values do not matter here."""
    n = torch.zeros
    return Points(n(0, 3), n(0, 4), n(0, 3), n(0), n(0, 3), n(0).byte(), n(0, 3, 50), n(0, 3, 36), n(0, 5))


def _press(plain: Canonical, worn: Canonical, name: str, left: SubjectPoints) -> Tensor:
    """Change [n] of a layer's opacity logits: what the look's subject shows of the reference's part stays."""
    before = plain.opacity[plain.layers[name]]
    after = worn.opacity[worn.layers[name]]
    wanted = before.clone()
    if len(left) >= MIN_POINTS:
        means = plain.means[plain.layers[name]].numpy()
        distance, _ = cKDTree(left.means.numpy()).query(means)
        gone = torch.from_numpy(distance > np.maximum(NEAR, 0.7 * nearest_gap(means)))
        wanted[gone] = wanted[gone].clamp_max(HIDDEN_LOGIT)
    else:
        wanted = wanted.clamp_max(HIDDEN_LOGIT)
    return wanted - after
