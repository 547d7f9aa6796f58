"""Where the teeth are: fixed to skull and jaw like real ones, placed so that closed lips cover them.

The parametric head has a set of teeth, but neither its height nor its depth is this person's. Both rows get one
constant shift each. They then move as joints move them, which linear skinning can express exactly.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from perse.dataset import Portrait
from perse.head import Head, rasterize_mesh
from perse.studio._image import Array, Photo, erode
from perse.studio._skin import LOWER_TEETH, UPPER_TEETH
from perse.studio._view import View

LUMA = np.array([0.3, 0.59, 0.11])
MIN_MOUTH_PIXELS = 250  # below this the photo's mouth says nothing about the teeth
SHOWN = 0.001
"""Metres that the upper teeth reach below the seam of the closed lips."""
OVERBITE, OVERJET = 0.002, 0.002
"""Metres by which the upper teeth overlap the lower ones in height, and stand before them."""
BEHIND_LIPS = 0.0012
"""Metres that teeth stay behind whatever lip covers them."""
NEARLY = 0.94
"""Share of the bright mouth pixels that may stay uncovered is the rest: the border of the lip is bright, too."""
MAX_PULL = 0.012
GRID = 5e-4  # metres a pixel, where teeth and lips are compared

# Expressions in which lips come close to the teeth: face units, jaw in radians.
TIGHT: tuple[tuple[dict[str, float], float], ...] = (
    ({}, 0.0),
    ({"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0}, 0.0),
    ({"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6}, 0.1),
    ({"mouthStretchLeft": 1.0, "mouthStretchRight": 1.0}, 0.05),
    ({"mouthPressLeft": 1.0, "mouthPressRight": 1.0}, 0.0),
    ({"mouthLowerDownLeft": 1.0, "mouthLowerDownRight": 1.0}, 0.05),
    ({"mouthUpperUpLeft": 1.0, "mouthUpperUpRight": 1.0}, 0.05),
    ({"mouthRollLower": 1.0, "mouthRollUpper": 1.0}, 0.0),
    ({}, 0.12),
    ({}, 0.35),
)


def place_teeth(
    head: Head, portrait: Portrait, offsets: Tensor, inner_faces: Array, photo: Photo, view: View
) -> Tensor:
    """Offsets [V, 3] of the rest head's teeth: a shift of the upper and a shift of the lower row.

    The upper row hangs where the photo's smile shows teeth, or just below the lips' seam; the lower row fits behind
    it. Both then move back until lips cover them in every expression. offsets [V, 3]: the head's others.
    """
    rest = head.rest_vertices(portrait.betas, offsets)
    upper_lip, lower_lip = head.landmarks(rest)[[13, 14], 1].tolist()
    upper, lower = (head.vertex_part == part for part in (UPPER_TEETH, LOWER_TEETH))
    shift = torch.zeros_like(rest)
    if not (upper.any() and lower.any()):
        return shift
    front_upper, front_lower = _front(rest, upper), _front(rest, lower)
    drop = _drop_in_photo(head, portrait, offsets, photo, view)
    edge = float(front_upper[:, 1].min())
    drop = edge - ((upper_lip + lower_lip) / 2 - SHOWN) if drop is None else drop
    shift[upper, 1] = -drop
    shift[lower, 1] = min(edge - drop + OVERBITE, lower_lip) - float(front_lower[:, 1].max())
    shift[lower, 2] = float(front_upper[:, 2].max()) - OVERJET - float(front_lower[:, 2].max())
    lips = _lips(head, portrait, offsets, inner_faces)
    for _ in range(2):
        for row, part in ((upper, UPPER_TEETH), (lower, LOWER_TEETH)):
            pull = _poke(head, portrait, offsets + shift, part, lips)
            shift[row, 2] -= float(np.clip(pull, 0, MAX_PULL))
    return shift


def _front(rest: Tensor, row: Tensor) -> Tensor:
    """[M, 3] the front teeth of a row."""
    points = rest[row]
    return points[points[:, 0].abs() < 0.25 * points[:, 0].abs().max()]


def _tight(head: Head, portrait: Portrait, offsets: Tensor) -> Iterator[Array]:
    """The vertices [V, 3] in every expression of :data:`TIGHT`, the origin between the lips."""
    for units, jaw in TIGHT:
        pose = torch.zeros(15)
        pose[6] = jaw
        vertices = head.vertices(portrait.betas, head.expr_from_units(units), pose, offsets)
        centre = head.landmarks(vertices)[[13, 14]].mean(0).double().numpy()
        yield vertices.double().numpy() - centre


def _lips(head: Head, portrait: Portrait, offsets: Tensor, inner_faces: Array) -> list[Array]:
    """Where the skin around the mouth is, in every expression of :data:`TIGHT` (:func:`_front_depth`)."""
    faces = head.faces.numpy()[(head.face_part == 1).numpy() & ~inner_faces]
    lips = []
    for points in _tight(head, portrait, offsets):
        near = (np.abs(points[faces].mean(1)) < [0.05, 0.04, 0.05]).all(1)
        lips.append(_front_depth(points, faces[near]))
    return lips


def _poke(head: Head, portrait: Portrait, offsets: Tensor, part: int, lips: list[Array]) -> float:
    """Metres by which a row of teeth comes too close to the lips before it, at worst over :data:`TIGHT`."""
    teeth = head.faces.numpy()[(head.face_part == part).numpy()]
    worst = -1.0
    for points, lip in zip(_tight(head, portrait, offsets), lips, strict=True):
        tooth = _front_depth(points, teeth)
        ahead = (tooth - lip)[~np.isnan(tooth) & ~np.isnan(lip)]
        if len(ahead):
            worst = max(worst, float(np.quantile(ahead, 0.995)))
    return worst + BEHIND_LIPS


def _front_depth(points: Array, faces: Array) -> Array:
    """[S, S] foremost z of some triangles around the origin, seen from the front (nan: none)."""
    size = round(0.1 / GRID)
    pixels = np.stack(
        [size / 2 + points[:, 0] / GRID, size / 2 - points[:, 1] / GRID, 1 - points[:, 2]], axis=1
    )
    index, _, depth = rasterize_mesh(pixels, faces, size, size, perspective=False)
    return np.where(index < 0, np.nan, 1 - depth)


def _drop_in_photo(head: Head, portrait: Portrait, offsets: Tensor, photo: Photo, view: View) -> float | None:
    """How many metres lower the photo's smile shows the upper teeth; None where it shows none.

    Tries -4 to 12 mm; takes the least that covers nearly as much of the bright, pale mouth pixels as any does.
    """
    mouth = erode(photo.mouth, 3) > 0
    if mouth.sum() <= MIN_MOUTH_PIXELS:
        return None
    luma = photo.image @ LUMA
    colorful = photo.image.max(-1) - photo.image.min(-1)
    bright = mouth & (luma > np.percentile(luma[mouth], 45)) & (luma > 0.3) & (colorful < 0.35)
    if bright.sum() < 60:
        return None
    vertices = head.vertices(portrait.betas, portrait.expr, portrait.pose, offsets)
    centre = head.landmarks(vertices)[[13, 14]].mean(0)
    near = ((vertices[head.faces].mean(1) - centre).norm(dim=1) < 0.06).nonzero().squeeze(1)
    faces, row = head.faces[near].numpy(), (head.face_part[near] == UPPER_TEETH).numpy()
    upper = head.vertex_part == UPPER_TEETH
    before = np.nan_to_num(view.depth_map(vertices.double().numpy(), faces[~row])[1], nan=np.inf)
    drops, covers = np.arange(-4, 13) * 1e-3, []
    for drop in drops:
        moved = vertices.clone()
        moved[upper, 1] -= drop
        _, depth = view.depth_map(moved.double().numpy(), faces[row])
        covers.append(((depth < before) & bright).sum() / bright.sum())
    return float(drops[np.argmax(np.array(covers) >= NEARLY * max(covers))])
