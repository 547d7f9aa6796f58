"""Edited pictures from elsewhere: line them up with the portrait, find what was edited, make a portrait to lift."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from perse.capture.images import load_image
from perse.capture.matting import alpha_matte
from perse.dataset import Portrait
from perse.errors import PerseError
from perse.perception import landmarks, segment
from perse.studio.puppet import Puppet
from perse.studio.regions import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE

STEADY = (33, 133, 159, 145, 263, 362, 386, 374, 168, 6, 197, 234, 454, 127, 356, 10, 152)
"""Landmarks that edits of hair, beard, mouth, nose and what is worn leave where they are."""
MAX_RESIDUAL = 0.045
"""Of the distance between the eyes' outer corners: beyond it, the picture shows another view or another person."""
MAX_CHANGED = 0.80
"""Share of the person's pixels; more is not an edit of this photo."""
MAX_CHANGED_ELSEWHERE = 0.45
"""Share of the person's pixels outside the region of the edit; more is another person, or another photo."""
DIFFERENT = 0.07
"""A pixel was edited when a channel, smoothed, differs by more (compression and resampling differ by less)."""
MIN_PIXELS = 40


def aligned(portrait: Portrait, picture: str | Path | np.ndarray | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """An edited picture in the portrait's frame.

    The picture may be the portrait's own crop at any size, or the whole photo: it is moved, turned and scaled so
    that the steady landmarks coincide.

    Returns image [S, S, 3], landmarks [478, 3] in it, and where the picture reaches [S, S] bool.

    Raises:
        PerseError: unreadable picture, no face in it, or a face that cannot be laid over the portrait's.
    """
    what = str(picture) if isinstance(picture, str | Path) else "the edited picture"
    image = load_image(picture)
    side = portrait.image.shape[0]
    faces = landmarks(image)
    if not faces:
        raise PerseError(
            f"{what}: no face found. Import needs the whole edited portrait, not only the new part."
        )
    target = portrait.landmarks[list(STEADY), :2].double().numpy()
    span = float((portrait.landmarks[33, :2] - portrait.landmarks[263, :2]).norm())
    fits = [_similarity(face.landmarks[list(STEADY), :2].double().numpy(), target) for face in faces]
    best = int(np.argmin([fit[1] for fit in fits]))
    matrix, residual = fits[best]
    if residual > MAX_RESIDUAL * span:
        raise PerseError(
            f"{what}: its face does not fit the portrait's (off by {100 * residual / span:.0f} % of the distance "
            f"between the eyes; up to {100 * MAX_RESIDUAL:.0f} % would do). Import wants an edit of the same photo; "
            "to take a part from another photo, capture that photo and use carry()."
        )
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    shift = float(np.abs(matrix @ [image.shape[1] / 2, image.shape[0] / 2, 1] - side / 2).max())
    square = image.shape[0] == image.shape[1]
    if square and abs(scale * image.shape[0] / side - 1) < 0.012 and shift < 0.01 * side:
        matrix = np.array([[side / image.shape[1], 0, 0], [0, side / image.shape[0], 0]])  # the crop itself
    moved, reach = _resampled(image.double().numpy(), matrix, side)
    points = faces[best].landmarks.clone()
    points[:, :2] = torch.from_numpy(points[:, :2].double().numpy() @ matrix[:, :2].T + matrix[:, 2]).float()
    points[:, 2] *= scale
    return torch.from_numpy(moved).float().clamp(0, 1), points, torch.from_numpy(reach)


def _similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """The rotation, scale and shift [2, 3] that take points [N, 2] to others, and the mean distance left."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    sign = np.sign(np.linalg.det(u @ vt))
    turn = (u * [1, sign]) @ vt
    scale = (s * [1, sign]).sum() / max((a**2).sum(), 1e-9)
    linear = scale * turn.T
    matrix = np.c_[linear, target.mean(0) - linear @ source.mean(0)]
    left = source @ linear.T + matrix[:, 2] - target
    return matrix, float(np.linalg.norm(left, axis=1).mean())


def _resampled(image: np.ndarray, matrix: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Image [S, S, 3] through a pixel transform [2, 3], smoothed first where it shrinks; and where it reaches."""
    inverse = np.linalg.inv(matrix[:, :2])
    shrink = max(np.sqrt(abs(np.linalg.det(inverse))), 1.0)
    if shrink > 1.05:
        image = ndimage.gaussian_filter(image, (0.45 * shrink, 0.45 * shrink, 0))
    v, u = np.mgrid[0:side, 0:side] + 0.5
    places = (np.stack([u, v], -1) - matrix[:, 2]) @ inverse.T - 0.5
    order = [places[..., 1], places[..., 0]]
    moved = np.stack(
        [ndimage.map_coordinates(image[..., k], order, order=1, mode="nearest") for k in range(3)], -1
    )
    reach = (
        (places > -0.5).all(-1)
        & (places[..., 0] < image.shape[1] - 0.5)
        & (places[..., 1] < image.shape[0] - 0.5)
    )
    return moved, reach


def edit_mask(portrait: Portrait, image: Tensor, reach: Tensor, category: str | None) -> np.ndarray:
    """M_edit [S, S] bool: where an aligned picture differs from the portrait, in the part of the face that the
    category may change.

    Raises:
        PerseError: nothing was edited there, or nearly everything.
    """
    differs = _differs(portrait, image) & reach.numpy()
    allowed = np.ones_like(differs) if category is None else _may_change(portrait, category)
    check_rest(portrait, image, reach, allowed)
    mask = ndimage.binary_opening(differs & allowed, iterations=1)
    mask = ndimage.binary_fill_holes(ndimage.binary_dilation(mask, iterations=4))
    if mask.sum() < MIN_PIXELS:
        where = f" where {category} could be" if category else ""
        raise PerseError(f"the edited picture equals the portrait{where}; there is nothing to import.")
    return mask


def _differs(portrait: Portrait, image: Tensor) -> np.ndarray:
    """[S, S] bool: where a picture is not the portrait."""
    difference = (image - portrait.image).abs().amax(-1).double().numpy()
    return ndimage.gaussian_filter(difference, 1.3) > DIFFERENT


def check_rest(portrait: Portrait, image: Tensor, reach: Tensor, region: np.ndarray) -> None:
    """Raise :class:`PerseError` unless a picture is the portrait outside the ``region`` [S, S] of its edit."""
    person = (portrait.alpha.numpy() > 0.5) & reach.numpy()
    differs = _differs(portrait, image) & person
    rest = person & ~ndimage.binary_dilation(region, iterations=6)
    elsewhere = float((differs & rest).sum() / max(rest.sum(), 1))
    share = float(differs.sum() / max(person.sum(), 1))
    if share > MAX_CHANGED or elsewhere > MAX_CHANGED_ELSEWHERE:
        raise PerseError(
            f"the edited picture differs from the portrait in {100 * max(share, elsewhere):.0f} % of what was not to "
            "be edited. Import wants an edit of the same photo; to take a part from another photo, use carry()."
        )


def _may_change(portrait: Portrait, category: str) -> np.ndarray:
    """[S, S] bool: where an edit of the category may lie; eyes and what is far off are left alone."""
    points = portrait.landmarks[:, :2].double().numpy()
    side = portrait.image.shape[0]
    span = float(np.linalg.norm(points[33] - points[263]))
    v, u = np.mgrid[0:side, 0:side] + 0.5
    centre = {"nose": points[[4, 168, 2]].mean(0), "mouth": points[[13, 14]].mean(0)}
    if category in centre:
        reach = {"nose": (0.42, 0.62), "mouth": (0.62, 0.42)}[category]
        x, y = centre[category]
        return np.hypot((u - x) / (reach[0] * span), (v - y) / (reach[1] * span)) < 1
    if category == "eyebrows":
        brows = points[[i for row in (*LEFT_BROW, *RIGHT_BROW) for i in row]]
        return _near(brows, u, v, 0.22 * span) & ~_near(points[[*LEFT_EYE, *RIGHT_EYE]], u, v, 0.03 * span)
    if category == "beard":
        return v > points[[2, 98, 327], 1].mean() - 0.05 * span
    if category == "clothes":
        return (v > points[4, 1]) & (np.hypot(u - points[4, 0], (v - points[4, 1]) / 1.25) > 0.80 * span)
    return ~_near(points[[*LEFT_EYE, *RIGHT_EYE, 13, 14, 61, 291, 4, 1]], u, v, 0.06 * span)


def _near(points: np.ndarray, u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    """[S, S] bool: within a radius of any of the points [N, 2]."""
    seeds = np.ones(u.shape, bool)
    row, column = points[:, 1].astype(int), points[:, 0].astype(int)
    inside = (row >= 0) & (row < u.shape[0]) & (column >= 0) & (column < u.shape[1])
    seeds[row[inside], column[inside]] = False
    return ndimage.distance_transform_edt(seeds) < radius


def edited_portrait(
    portrait: Portrait, image: Tensor, points: Tensor, mask: np.ndarray, category: str | None
) -> Portrait:
    """The portrait as the edited picture shows it: its own head and camera, the picture inside the mask.

    Only edits of nose and mouth bring their landmarks along: others must not shift the face.
    """
    soft = torch.from_numpy(ndimage.gaussian_filter(mask.astype(np.float32), 1.5))[..., None]
    merged = portrait.image.lerp(image, soft)
    marks = portrait.landmarks
    if category in ("nose", "mouth"):
        pixel = marks[:, :2].long().clamp(0, mask.shape[0] - 1)
        inside = torch.from_numpy(mask)[pixel[:, 1], pixel[:, 0]]
        marks = torch.where(inside[:, None], points, marks)
    parts = segment(merged, marks)
    alpha = torch.from_numpy(alpha_matte(merged.numpy(), 1 - parts[..., 0].numpy()))
    inside_mask = torch.from_numpy(mask)
    return replace(
        portrait,
        image=merged,
        alpha=torch.where(inside_mask, alpha, portrait.alpha),
        segmentation=torch.where(inside_mask[..., None], parts, portrait.segmentation),
        landmarks=marks,
        name=f"{portrait.name} edited",
    )


def check_mask(mask: Tensor | np.ndarray, portrait: Portrait) -> np.ndarray:
    """A user's mask as [S, S] bool.

    Raises:
        PerseError: another size than the portrait's, or nothing in it.
    """
    array = np.asarray(mask).astype(bool)
    side = portrait.image.shape[0]
    if array.shape != (side, side):
        raise PerseError(f"the mask must be [{side}, {side}] like the portrait, not {list(array.shape)}.")
    if array.sum() < MIN_PIXELS:
        raise PerseError("the mask is empty: nothing to import.")
    return array


def same_head(puppet: Puppet, other: Puppet) -> None:
    """Raise :class:`PerseError` unless two puppets have the same head topology."""
    if puppet.head.faces.shape != other.head.faces.shape or not torch.equal(
        puppet.head.faces, other.head.faces
    ):
        raise PerseError("parts can be carried only between portraits that were fitted with the same head.")
