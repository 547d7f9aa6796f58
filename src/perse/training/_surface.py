"""The head's surface as each subject paints and shapes it, and what categories therefore do to base points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from perse.avatar.start import COLOR, OFFSET, VALUES, ActionStart, Known, Points
from perse.dataset import CATEGORY_LABEL, LABEL_CODE, SubjectPoints
from perse.training.subjects import POINT_CATEGORIES

if TYPE_CHECKING:
    from perse.training.starts import Context

MIN_POINTS = 20
"""Fewer points than these are nothing."""
ON_SURFACE, FLAT = 1e-3, 0.35
"""Metres from the skin, and thickness over width, below which a disc is skin with something painted on it."""
REACH = 0.008
"""Metres around changed base points that a category may change too."""
CHANGED_COLOR, CHANGED_OFFSET = 0.25, 3e-4
"""Smallest differences that count: colour logit, metres."""


def seats_of(context: Context, cloud: SubjectPoints) -> Tensor:
    """Where each point sits on the portrait's head. [n, 3]; points that sit nowhere are taken where they are."""
    corners = context.rest_vertices[context.head.faces[cloud.face.clamp_min(0)]]
    seat = (corners * cloud.bary[..., None]).sum(1)
    return torch.where((cloud.face >= 0)[:, None], seat, cloud.means)


def on_surface(context: Context, cloud: SubjectPoints) -> Tensor:
    """Points [n] bool that are skin, whatever is painted on them: brows, the shade under hair, a shirt.

    They belong to the head, and categories act on them; strands that merely begin at the skin do not.
    """
    own = torch.tensor([LABEL_CODE[CATEGORY_LABEL[c]] for c in POINT_CATEGORIES])
    painted = torch.isin(cloud.labels.long(), own)
    close = (cloud.means - seats_of(context, cloud)).norm(dim=1) < ON_SURFACE
    ordered = cloud.scales.sort(1).values
    flat = ordered[:, 0] < FLAT * ordered[:, 1]
    return ~painted | ((cloud.face >= 0) & close & flat)


@dataclass(frozen=True)
class Skin:
    """The head's surface in one subject."""

    cloud: SubjectPoints
    seats: Tensor
    """[n, 3]"""
    tree: cKDTree
    """Over the seats."""

    @staticmethod
    def of(context: Context, cloud: SubjectPoints) -> Skin:
        surface = cloud[on_surface(context, cloud)]
        seats = seats_of(context, surface)
        return Skin(surface, seats, cKDTree(seats.numpy()))


# ---- actions on the head ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Base:
    """Base points with their seats."""

    points: Points
    seats: Tensor


def logit_of(colors: Tensor) -> Tensor:
    """Logits of colours, away from the ends where they would be infinite."""
    return torch.logit(colors.clamp(0.02, 0.98))


def action_on_base(
    base: Base, reference: Skin, subjects: list[int | None], shown: list[Skin]
) -> ActionStart | None:
    """Which base points a category changes, and how each subject changes them."""
    color, moved = skin_at(base.seats, reference)
    differences = []
    for subject, skin in zip(subjects, shown):
        change = torch.zeros(len(base.seats), VALUES)
        if subject is not None and len(skin.cloud) >= MIN_POINTS:
            other_color, other_moved = skin_at(base.seats, skin)
            change[:, COLOR] = logit_of(other_color) - logit_of(color)
            change[:, OFFSET] = other_moved - moved
        differences.append(change)
    if not differences:
        return None
    values = torch.stack(differences)  # [S, N, 14]
    changed = (values[..., COLOR].abs().amax((0, 2)) > CHANGED_COLOR) | (
        values[..., OFFSET].norm(dim=2).amax(0) > CHANGED_OFFSET
    )
    changed = _not_alone(base.seats, changed)
    if int(changed.sum()) < 3:
        return None
    distance, _ = cKDTree(base.seats[changed].numpy()).query(base.seats.numpy())
    index = torch.from_numpy(distance < REACH).nonzero().flatten()
    return ActionStart(index, Known(subjects, values[:, index]))


def _not_alone(seats: Tensor, changed: Tensor) -> Tensor:
    """Changed points [N] whose neighbours change too; a lone one is an accident of matching."""
    _, nearest = cKDTree(seats.numpy()).query(seats.numpy(), min(9, len(seats)))
    return changed & (changed[torch.from_numpy(nearest)].float().mean(1) > 0.5)


def skin_at(seats: Tensor, skin: Skin) -> tuple[Tensor, Tensor]:
    """Colour and displacement of a subject's skin at base points.

    Points are matched by where they sit on the head's surface, not in space: a nose that grew keeps its points.
    """
    k = min(5, len(skin.cloud))
    _, found = skin.tree.query(seats.numpy(), k)
    index = torch.from_numpy(np.asarray(found).reshape(len(seats), k))
    displacement = (skin.cloud.means - skin.seats)[index].mean(1)
    return skin.cloud.colors[index].mean(1), displacement
