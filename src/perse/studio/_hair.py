"""The photo's hair: a relief in front, a dark copy inside, a back, and a wall around the silhouette."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy import ndimage

from perse.dataset import LABELS
from perse.head import Head, rasterize_mesh
from perse.studio._geometry import matrix_to_quat
from perse.studio._image import (
    BODY_SKIN,
    FACE_SKIN,
    HAIR,
    Array,
    Photo,
    dilate,
    edge_distance,
    fill_holes,
    smoothstep,
)
from perse.studio._relief import PoseAtPhoto, place, relief_group, steepness
from perse.studio._view import View
from perse.studio.binding import hanging_weights
from perse.studio.groups import Skinned
from perse.studio.regions import Regions

HEAD_RADIUS = 0.085
"""Metres: the relief of the hair bulges like a ball of this radius at its silhouette."""
MIN_HAIR_PIXELS = 400
LABEL = LABELS.index("hair")


@dataclass(frozen=True)
class HairField:
    """Depths and colours of the hair over the photo's pixels."""

    front: Array  # [S, S] metres
    back: Array  # [S, S] metres
    silhouette: Array  # [S, S] bool: head and hair, filled
    behind: Array  # [S, S] bool: where a back is needed
    colors: Array  # [S, S, 3] hair colours without the background's bleeding
    spread: Array  # [S, S, 3] the nearest solid hair colour, everywhere
    mean: Array  # [3]
    centre_depth: float  # of the head


def hair_color(photo: Photo, fallback: Array) -> Array:
    """[3] median colour of solid hair; ``fallback`` where there is next to none."""
    solid = photo.hair > 0.8
    return np.median(photo.image[solid], 0) if solid.sum() > MIN_HAIR_PIXELS else fallback


def lift_hair(
    photo: Photo, view: View, vertices: Array, head: Head, regions: Regions, pose: PoseAtPhoto
) -> dict[str, Skinned]:
    """The groups of the photo's hair, or none for a bald person. vertices [V, 3] in the photo's pose."""
    if (photo.hair > 0.5).sum() < MIN_HAIR_PIXELS:
        return {}
    field = _field(photo, view, vertices, head, regions)
    return {
        "hair": _front(field, photo, view, pose),
        "hair_inner": _inner(field, photo, view, pose),
        "hair_back": _back(field, view, pose),
        "hair_rim": _rim(field, photo, view, pose, vertices, regions, head),
    }


def _field(photo: Photo, view: View, vertices: Array, head: Head, regions: Regions) -> HairField:
    faces = head.faces.numpy()
    skull_centre = np.array([[0.0, 0.05, -0.012]])
    centre_depth = float(view.camera_space(skull_centre)[0, 2])
    pixel = view.metres_per_pixel(centre_depth)
    _, near = view.depth_map(vertices, faces)
    far = view.far_depth_map(vertices, faces)
    nape = view.project(np.array([[0.0, -0.02, -0.08]]))[0, 1]
    above = np.arange(photo.size)[:, None] < nape
    hair = photo.hair > 0.5
    face_or_hair = np.isin(photo.part, (FACE_SKIN, HAIR, BODY_SKIN)) & above
    silhouette = fill_holes(face_or_hair | hair)
    bulge = _ball(edge_distance(silhouette) * pixel)
    front = _front_depth(photo, near, centre_depth, bulge, silhouette, pixel)
    back = _back_depth(far, centre_depth, bulge)
    scalp = regions.scalp(head.v_template).numpy() * (head.vertex_part == 1).numpy()
    scalp_faces = faces[(scalp[faces] > 0.3).all(1)]
    index, _, _ = rasterize_mesh(view.project(vertices), scalp_faces, view.height, view.width)
    behind = ndimage.binary_erosion(fill_holes((index >= 0) | (photo.hair > 0.6)), iterations=2)
    colors, spread = _clean_colors(photo)
    return HairField(
        front=front,
        back=back,
        silhouette=silhouette,
        behind=behind,
        colors=colors,
        spread=spread,
        mean=np.median(photo.image[hair], 0),
        centre_depth=centre_depth,
    )


def _ball(distance: Array) -> Array:
    """Height of a ball's surface, given the distance to its silhouette (metres)."""
    inside = np.minimum(distance, HEAD_RADIUS) / HEAD_RADIUS
    return HEAD_RADIUS * np.sqrt(1 - (1 - inside) ** 2)


def _front_depth(
    photo: Photo, skull: Array, centre: float, bulge: Array, silhouette: Array, pixel: float
) -> Array:
    """Depth of the hair's front: the ball, but 2.5 to 13.5 mm over the skull where there is one beneath."""
    bare = (photo.part == FACE_SKIN) & (photo.hair <= 0.5)
    from_face = ndimage.distance_transform_edt(~bare) * pixel
    thickness = 0.0025 + 0.011 * smoothstep(from_face, 0.0, 0.03)
    over_skull = ~np.isnan(skull)
    surface = np.nan_to_num(skull - thickness, nan=9.0)
    depth = centre - bulge * 0.95
    depth = np.where(over_skull, np.clip(depth, surface - 0.022, surface), depth)
    weight = silhouette + 1e-6
    depth = ndimage.gaussian_filter(depth * weight, 3) / ndimage.gaussian_filter(weight, 3)
    limit = np.nan_to_num(skull - 0.6 * thickness, nan=9.0)
    return np.where(over_skull, np.minimum(depth, limit), depth)


def _back_depth(skull: Array, centre: float, bulge: Array) -> Array:
    depth = centre + bulge * 1.05
    depth = np.where(np.isnan(skull), depth, np.maximum(depth, np.nan_to_num(skull) + 0.008))
    return ndimage.gaussian_filter(depth, 2)


def _clean_colors(photo: Photo) -> tuple[Array, Array]:
    """Hair colours without background at the border, and solid hair's colour carried everywhere."""
    solid = ndimage.binary_erosion(photo.hair > 0.9, iterations=4)
    if not solid.any():
        solid = photo.hair > 0.5
    nearest = ndimage.distance_transform_edt(~solid, return_distances=False, return_indices=True)
    spread = cv2.GaussianBlur(photo.image[nearest[0], nearest[1]], (0, 0), 1.2)
    inside = smoothstep(ndimage.gaussian_filter(photo.hair, 1), 0.8, 0.97)
    on_face = smoothstep(dilate(photo.skin, 5), 0.1, 0.4)
    keep = np.maximum(inside, on_face)[..., None]
    return photo.image * keep + spread * (1 - keep), spread


def _front(field: HairField, photo: Photo, view: View, pose: PoseAtPhoto) -> Skinned:
    mask = ndimage.binary_dilation(photo.hair > 0.04) & (steepness(field.front, view) < 0.012)
    opacity = np.clip(photo.hair[mask] * 1.02, 0, 0.97)
    return relief_group(field.front, mask, field.colors[mask], opacity, LABEL, view, pose, hanging_weights)


def _inner(field: HairField, photo: Photo, view: View, pose: PoseAtPhoto) -> Skinned:
    """A dark copy 6 mm inside: closes what shows between the discs of the front at a slant."""
    mask = _every_other(photo) & (photo.hair > 0.8)
    mask &= ndimage.binary_erosion(photo.hair > 0.5, iterations=5)
    colors = field.colors[mask] * 0.55
    opacity = np.full(mask.sum(), 0.95)
    return relief_group(
        field.front + 0.006, mask, colors, opacity, LABEL, view, pose, hanging_weights, step=2
    )


def _back(field: HairField, view: View, pose: PoseAtPhoto) -> Skinned:
    grid = np.zeros(field.behind.shape, bool)
    grid[::2, ::2] = True
    mask = grid & field.behind
    locks = _locks(field.back.shape, seed=1)[mask][:, None]
    colors = (field.spread[mask] * 0.5 + 0.5 * field.mean) * 0.85 * locks
    opacity = np.full(mask.sum(), 0.95)
    return relief_group(field.back, mask, colors, opacity, LABEL, view, pose, hanging_weights, step=2)


def _locks(shape: tuple[int, int], seed: int) -> Array:
    """Brightness [H, W] around 1 that runs in vertical streaks, as hair hangs."""
    noise = np.random.default_rng(seed).normal(0, 1, shape)
    streaks = ndimage.gaussian_filter(noise, (14, 1.1))
    return 1 + 0.13 * streaks / streaks.std()


def _every_other(photo: Photo) -> Array:
    grid = np.zeros((photo.size, photo.size), bool)
    grid[::2, ::2] = True
    return grid


def _rim(
    field: HairField,
    photo: Photo,
    view: View,
    pose: PoseAtPhoto,
    vertices: Array,
    regions: Regions,
    head: Head,
) -> Skinned:
    """A wall from the front relief to the back along the outer silhouette, else a gap shows from the side.

    Its brightness runs in bands around the head (constant depth), the way hair falls over it.
    """
    samples = 18
    nape = view.project(np.array([[0.0, -0.02, -0.08]]))[0, 1]
    whole = fill_holes(field.silhouette & (field.behind | (photo.hair > 0.5)))
    rim = whole & ~ndimage.binary_erosion(whole, iterations=2)
    rim &= np.arange(photo.size)[:, None] < nape + 200
    rim &= ndimage.binary_dilation(field.behind | (photo.hair > 0.5), iterations=2)
    rim &= ~ndimage.binary_erosion(field.silhouette, iterations=4)
    rim &= np.indices(rim.shape).sum(0) % 2 == 0
    rows, columns = rim.nonzero()
    front = field.front[rows, columns]
    back = np.where(field.behind[rows, columns], field.back[rows, columns], field.centre_depth + 0.02)
    back = np.maximum(back, front + 0.004)
    t = (np.arange(samples) + 0.5) / samples
    depth = front[:, None] * (1 - t) + back[:, None] * t  # [R, samples]
    # pull the wall in by three pixels, so that the front keeps its soft border
    centre = np.array([columns.mean(), rows.mean()])
    inward = centre - np.stack([columns, rows], 1)
    inward = inward / (np.linalg.norm(inward, axis=1, keepdims=True) + 1e-9)
    x = (columns + 0.5 + inward[:, 0] * 3)[:, None] * np.ones(samples)
    y = (rows + 0.5 + inward[:, 1] * 3)[:, None] * np.ones(samples)
    pixels = np.stack([x, y], -1)
    local = np.concatenate([(pixels - view.centre) / view.focal * depth[..., None], depth[..., None]], -1)
    rng = np.random.default_rng(2)
    bands = 1 + 0.10 * np.interp(t * 24, np.arange(25), rng.normal(0, 1, 25))
    base = field.spread[rows, columns] * 0.6 + 0.4 * field.mean
    shade = (1 - 0.22 * t) * bands + rng.normal(0, 0.05, depth.shape)
    colors = (base[:, None] * shade[..., None]).reshape(-1, 3)
    length = np.repeat((back - front) / samples, samples)
    scales = np.stack(
        [np.maximum(length * 0.8, 8e-4), np.full_like(length, 1.3e-3), np.full_like(length, 1.3e-3)], 1
    )
    along_depth = matrix_to_quat(torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]))
    return place(
        torch.from_numpy(view.world(local.reshape(-1, 3))).float(),
        along_depth.expand(len(colors), 4),
        torch.from_numpy(scales).float(),
        colors,
        np.full(len(colors), 0.9),
        LABEL,
        view,
        pose,
        hanging_weights,
    )
