"""The photo's clothes: where the skin ends, a relief in front, a sheet behind, and the body beneath."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from perse.dataset import LABELS
from perse.head import Head
from perse.studio._image import BODY_SKIN, CLOTHES, OTHER, Array, Photo, edge_distance, fill_holes, sample
from perse.studio._relief import PoseAtPhoto, relief_group, steepness
from perse.studio._skin import Surface
from perse.studio._view import View, in_image
from perse.studio.binding import cloth_weights
from perse.studio.groups import Skinned
from perse.studio.regions import Regions

BODY_RADIUS = 0.09
"""Metres: loose clothes bulge like a ball of this radius at the body's silhouette."""
LABEL = LABELS.index("clothes")
MIN_PIXELS = 400
GAP = 14
"""Pixels from the clothes within which skin that the head model lacks is lifted, however narrow it is."""
BINS = 72
NO_COLLAR = -9.0


@dataclass(frozen=True)
class Collar:
    """The height at which clothes begin, all around the neck."""

    axis_z: float  # of the neck
    heights: Array  # [BINS] template y by azimuth; NO_COLLAR: bare all the way down

    def height(self, points: Array) -> Array:
        """[N] collar height at the azimuth of template points [N, 3]."""
        position = (_azimuth(points, self.axis_z) + np.pi) / (2 * np.pi) * BINS - 0.5
        index = np.floor(position).astype(int)
        t = position - index
        return self.heights[index % BINS] * (1 - t) + self.heights[(index + 1) % BINS] * t


def _azimuth(points: Array, axis_z: float) -> Array:
    """-pi..pi, 0 in front."""
    return np.arctan2(points[:, 0], points[:, 2] - axis_z)


def find_collar(surface: Surface, photo: Photo, view: View, regions: Regions) -> Collar:
    """Where, by azimuth around the neck, the photo goes from skin to clothes; the unseen side takes the mean."""
    top = float(regions.chin[1]) - 0.004
    axis_z = float(regions.landmarks[[234, 454], 2].mean()) - 0.02
    low = surface.body & (surface.template[:, 1] < top)
    rows = np.flatnonzero(low & surface.visible & in_image(surface.pixels, view, 4))
    rows = rows[sample(photo.foreground, surface.pixels[rows]) > 0.6]
    covered = sample(photo.clothes, surface.pixels[rows]) > 0.5
    heights = np.full(BINS, np.nan)
    azimuth = _azimuth(surface.template[rows], axis_z)
    index = ((azimuth + np.pi) / (2 * np.pi) * BINS).astype(int) % BINS
    y = surface.template[rows, 1]
    for bin_ in range(BINS):
        inside = index == bin_
        if inside.sum() >= 12:
            heights[bin_] = _boundary(y[inside], covered[inside])
    return Collar(axis_z, _around(heights, bool(covered.any())))


def _boundary(y: Array, covered: Array) -> float:
    """The height that best parts bare points above from covered ones below."""
    if not covered.any():
        return NO_COLLAR
    order = np.argsort(y)
    y, covered = y[order], covered[order]
    wrong = np.concatenate([[0], np.cumsum(~covered)]) + np.concatenate([np.cumsum(covered[::-1])[::-1], [0]])
    best = int(wrong.argmin())
    return float(y[min(best, len(y) - 1)])


def _around(heights: Array, any_clothes: bool) -> Array:
    """Complete the unseen azimuths and smooth around the neck."""
    if not any_clothes or np.isnan(heights).all():
        return np.full(BINS, NO_COLLAR if not any_clothes else -0.12)
    known = np.flatnonzero(~np.isnan(heights))
    real = heights[known][heights[known] > NO_COLLAR + 1]
    floor = float(np.median(real)) if len(real) else -0.12
    values = np.where(heights[known] > NO_COLLAR + 1, heights[known], -0.16)
    back = np.setdiff1d(np.arange(BINS), known)
    back = back[
        np.abs(((back - known.mean() + BINS / 2) % BINS) - BINS / 2) > BINS / 4
    ]  # opposite the seen side
    knots = np.concatenate([known, back])
    filled = np.concatenate([values, np.full(len(back), floor)])
    order = np.argsort(knots)
    around = np.interp(np.arange(BINS), knots[order], filled[order], period=BINS)
    return ndimage.gaussian_filter1d(ndimage.median_filter(around, 5, mode="wrap"), 1.5, mode="wrap")


def lift_clothes(
    photo: Photo,
    view: View,
    vertices: Array,
    skin_depth: Array,
    head: Head,
    regions: Regions,
    rest: Tensor,
    pose: PoseAtPhoto,
) -> dict[str, Skinned]:
    """The groups of the photo's clothes.

    vertices [V, 3] in the photo's pose, their depth map [S, S], rest [V, 3] at rest.
    """
    depth, worn = _front(photo, view, vertices, skin_depth, head, regions, pose)
    if worn.sum() < MIN_PIXELS:
        return {}

    def weights(points: Tensor) -> Tensor:
        return cloth_weights(points, head, rest)

    mask = worn & (np.indices(worn.shape).sum(0) % 2 == 0)  # every other pixel, like a chessboard
    opacity = np.clip(photo.foreground[mask], 0, 0.97)
    front = relief_group(depth, mask, photo.image[mask], opacity, LABEL, view, pose, weights, step=2**0.5)
    root_depth = _root_depth(view, pose, head)
    behind = np.zeros_like(worn)
    behind[::3, ::3] = ndimage.binary_erosion(worn, iterations=4)[::3, ::3]
    back = relief_group(
        np.full(worn.shape, root_depth + 0.05),
        behind,
        photo.image[behind] * 0.5,
        np.full(behind.sum(), 0.95),
        LABEL,
        view,
        pose,
        weights,
        step=3,
    )
    return {"clothes": front, "clothes_back": back}


def _root_depth(view: View, pose: PoseAtPhoto, head: Head) -> float:
    joint = head.joints()[0]
    posed = pose.transforms[0, :, :3] @ joint + pose.transforms[0, :, 3]
    return float(view.camera_space(posed[None].double().numpy())[0, 2])


def _front(
    photo: Photo,
    view: View,
    vertices: Array,
    whole: Array,
    head: Head,
    regions: Regions,
    pose: PoseAtPhoto,
) -> tuple[Array, Array]:
    """Depth of the clothes' front and the pixels they cover. whole [S, S]: depth of all of the head."""
    below = head.v_template[head.faces][:, :, 1].amax(1) < float(regions.chin[1]) - 0.012
    _, body = view.depth_map(vertices, head.faces[below].numpy())
    worn = (photo.clothes > 0.35) & (photo.foreground > 0.3) & (photo.worn < 0.3)
    bare = (photo.part == BODY_SKIN) & np.isnan(whole)  # skin beyond the head model: shoulders, no slivers
    gap = ndimage.binary_opening(bare, iterations=1) & ndimage.binary_dilation(worn, iterations=GAP)
    worn |= ndimage.binary_opening(bare, iterations=9) | gap  # between neck and collar there is no hole
    worn &= photo.hair <= 0.5
    worn = ndimage.binary_opening(np.pad(worn, 2, mode="edge"), iterations=2)[2:-2, 2:-2]
    pieces, _ = ndimage.label(worn)
    worn &= np.bincount(pieces.ravel())[pieces] >= MIN_PIXELS  # no crumbs
    root_depth = _root_depth(view, pose, head)
    distance = edge_distance(fill_holes(photo.foreground > 0.5)) * view.metres_per_pixel(root_depth)
    inside = np.minimum(distance, BODY_RADIUS) / BODY_RADIUS
    depth = root_depth + 0.01 - BODY_RADIUS * np.sqrt(1 - (1 - inside) ** 2)
    on_body = ~np.isnan(body)
    nearest = np.nan_to_num(body, nan=9.0)
    depth = np.where(on_body, np.minimum(depth, nearest - 0.004), depth)
    weight = worn + 1e-5
    depth = ndimage.gaussian_filter(depth * weight, 4) / ndimage.gaussian_filter(weight, 4)
    depth = np.where(on_body, np.minimum(depth, nearest - 0.003), depth)
    # bare skin that the head model lacks stays behind the face
    loose = ~np.isin(photo.part, (CLOTHES, OTHER)) & ~on_body
    depth = np.where(loose, np.fmax(depth, np.nan_to_num(whole, nan=0.0) + 0.01), depth)
    return depth, worn & (steepness(depth, view) < 0.02)


def shows_skin(surface: Surface, photo: Photo) -> Array:
    """[N] bool: the photo shows skin, not clothes, at this disc."""
    return surface.visible & (sample(photo.clothes, surface.pixels) < 0.5)


def beyond_outline(surface: Surface, photo: Photo) -> Array:
    """[N] bool: the disc sticks out of the photographed person (outside the picture: of its nearest pixel)."""
    return sample(photo.foreground, surface.pixels) < 0.5


def under_colors(surface: Surface, rows: Array, photo: Photo) -> tuple[Array, Array]:
    """Colours [M, 3] and opacities [M] of the body's discs ``rows`` as clothes: the nearest pixel of clothes.

    Discs that would stick out of the photographed body are taken away.
    """
    solid = ndimage.binary_erosion((photo.clothes > 0.6) & (photo.foreground > 0.9), iterations=3)
    if not solid.any():
        solid = photo.clothes >= photo.clothes.max() * 0.9
    pixels = np.stack(solid.nonzero()[::-1], 1) + 0.5
    at = surface.pixels[rows, :2]
    own = surface.visible[rows] & (sample(photo.clothes, at) > 0.6) & (sample(photo.foreground, at) > 0.9)
    _, near = cKDTree(pixels).query(at)
    colors = photo.image[(pixels[near, 1]).astype(int), (pixels[near, 0]).astype(int)]
    colors = np.where(own[:, None], sample(photo.image, at), colors)
    shade = np.where(own, 1.0, np.where(surface.visible[rows], 0.8, 0.6))[:, None]
    outside = beyond_outline(surface, photo)[rows]
    return colors * shade, np.where(outside, 0.0, 0.97)


def to_tensor(values: Array) -> Tensor:
    """float32 torch."""
    return torch.from_numpy(np.ascontiguousarray(values)).float()
