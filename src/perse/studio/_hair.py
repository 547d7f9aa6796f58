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
SKULL = np.array([0.0, 0.05, -0.012])
"""Middle of the skull in the head frame."""
NAPE = np.array([0.0, -0.02, -0.08])
UNDER_SHADE = 0.7
"""Brightness of the ground under the locks."""
EDGE_LOCKS, SIDE_LOCKS, BACK_LOCKS = 4000, 10000, 6000
EDGE = 14
"""Pixels from the silhouette in which the front relief is too steep to be trusted."""


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
    wall = _find_wall(field, photo, view)
    return {
        "hair": _front(field, photo, view, pose),
        "hair_inner": _inner(field, photo, view, pose),
        "hair_back": _back(field, view, pose),
        "hair_rim": _rim(field, wall, view, pose),
        "hair_locks": _locks(field, wall, photo, view, pose),
    }


def _field(photo: Photo, view: View, vertices: Array, head: Head, regions: Regions) -> HairField:
    faces = head.faces.numpy()
    centre_depth = float(view.camera_space(SKULL[None])[0, 2])
    pixel = view.metres_per_pixel(centre_depth)
    _, near = view.depth_map(vertices, faces)
    far = view.far_depth_map(vertices, faces)
    nape = view.project(NAPE[None])[0, 1]
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
    on_face = smoothstep(dilate(photo.skin, 5), 0.1, 0.4)  # over skin the photo's own mixture is right
    keep = np.maximum(inside, on_face)[..., None]
    return photo.image * keep + spread * (1 - keep), spread


def _front(field: HairField, photo: Photo, view: View, pose: PoseAtPhoto) -> Skinned:
    mask = ndimage.binary_dilation(photo.hair > 0.04) & (steepness(field.front, view) < 0.008)
    opacity = np.clip(photo.hair[mask] * 1.02, 0, 0.97)
    return relief_group(field.front, mask, field.colors[mask], opacity, LABEL, view, pose, hanging_weights)


def _inner(field: HairField, photo: Photo, view: View, pose: PoseAtPhoto) -> Skinned:
    """A dark copy 6 mm inside: closes what shows between the discs of the front at a slant."""
    mask = _every(3, photo.hair.shape) & (photo.hair > 0.8)
    mask &= ndimage.binary_erosion(photo.hair > 0.5, iterations=5)
    colors = field.colors[mask] * 0.55
    opacity = np.full(mask.sum(), 0.95)
    return relief_group(
        field.front + 0.006, mask, colors, opacity, LABEL, view, pose, hanging_weights, step=3
    )


def _every(step: int, shape: tuple[int, ...]) -> Array:
    """A grid of every ``step``-th pixel."""
    grid = np.zeros(shape, bool)
    grid[::step, ::step] = True
    return grid


def _back(field: HairField, view: View, pose: PoseAtPhoto) -> Skinned:
    """The dark ground of the back of the head."""
    mask = _every(3, field.behind.shape) & field.behind
    colors = (field.spread[mask] * 0.4 + 0.6 * field.mean) * UNDER_SHADE
    opacity = np.full(mask.sum(), 0.95)
    return relief_group(
        field.back, mask, colors, opacity, LABEL, view, pose, hanging_weights, step=3, cap=0.01
    )


@dataclass(frozen=True)
class _Wall:
    """The strip between the front relief and the back, along the outer silhouette."""

    rows: Array  # [R] pixels of the silhouette
    columns: Array  # [R]
    front: Array  # [R] metres
    back: Array  # [R] metres
    inward: Array  # [R, 2] unit vector to the middle of the hair, pixels

    def points(self, index: Array, t: Array, pull: float | Array, view: View) -> Array:
        """World points [M, 3] of the wall: silhouette pixel ``index`` [M], 0 front to 1 back ``t`` [M]."""
        depth = self.front[index] * (1 - t) + self.back[index] * t
        x = self.columns[index] + 0.5 + self.inward[index, 0] * pull
        y = self.rows[index] + 0.5 + self.inward[index, 1] * pull
        local = (np.stack([x, y], 1) - view.centre) / view.focal * depth[:, None]
        return view.world(np.concatenate([local, depth[:, None]], 1))


def _find_wall(field: HairField, photo: Photo, view: View) -> _Wall:
    nape = view.project(NAPE[None])[0, 1]
    whole = fill_holes(field.silhouette & (field.behind | (photo.hair > 0.5)))
    rim = whole & ~ndimage.binary_erosion(whole, iterations=2)
    rim &= np.arange(photo.size)[:, None] < nape + 200
    rim &= ndimage.binary_dilation(field.behind | (photo.hair > 0.5), iterations=2)
    rim &= ~ndimage.binary_erosion(field.silhouette, iterations=4)
    rim &= np.indices(rim.shape).sum(0) % 2 == 0
    rows, columns = rim.nonzero()
    front = field.front[rows, columns]
    back = np.where(field.behind[rows, columns], field.back[rows, columns], field.centre_depth + 0.02)
    middle = np.argwhere(whole).mean(0)[::-1] if whole.any() else np.zeros(2)
    inward = middle - np.stack([columns, rows], 1)
    inward = inward / (np.linalg.norm(inward, axis=1, keepdims=True) + 1e-9)
    return _Wall(rows, columns, front, np.maximum(back, front + 0.004), inward)


def _rim(field: HairField, wall: _Wall, view: View, pose: PoseAtPhoto) -> Skinned:
    """The dark ground of the wall; without it a gap shows from the side."""
    samples = 14
    index = np.repeat(np.arange(len(wall.rows)), samples)
    t = np.tile((np.arange(samples) + 0.5) / samples, len(wall.rows))
    base = field.spread[wall.rows, wall.columns] * 0.5 + 0.5 * field.mean
    colors = base[index] * (UNDER_SHADE * (1 - 0.2 * t))[:, None]
    length = ((wall.back - wall.front) / samples)[index]
    width = np.full_like(length, 1.3e-3)
    scales = np.stack([np.maximum(length * 0.8, 8e-4), width, width], 1)
    along_depth = matrix_to_quat(torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]))
    return place(
        torch.from_numpy(wall.points(index, t, 4.0, view)).float(),
        along_depth.expand(len(index), 4),
        torch.from_numpy(scales).float(),
        colors,
        np.full(len(index), 0.9),
        LABEL,
        view,
        pose,
        hanging_weights,
    )


def _locks(field: HairField, wall: _Wall, photo: Photo, view: View, pose: PoseAtPhoto) -> Skinned:
    """Thin locks over the ground at the sides and the back, in colours of the photo's own hair.

    They fall down the surface, so that a turned head shows hair and not the smear of one pixel.
    """
    rng = np.random.default_rng(2)
    parts = [
        _edge_sites(field, photo, view, rng),
        _side_sites(wall, view, rng),
        _back_sites(field, view, rng),
    ]
    points, pixels, shade = (np.concatenate([part[column] for part in parts]) for column in range(3))
    normal = points - SKULL
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    down = np.array([0.0, -1.0, 0.0]) + rng.normal(0, 0.12, points.shape)
    down -= normal * (down * normal).sum(1, keepdims=True)
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    shade = shade * np.exp(rng.normal(0, 0.10, len(points))) * (0.92 + 0.10 * normal[:, 1])
    row, column = np.clip(pixels, 0, photo.size - 1).astype(int).T
    length = rng.uniform(0.003, 0.0065, len(points))
    scales = np.stack([length, np.full_like(length, 9e-4), np.full_like(length, 5e-4)], 1)
    frames = np.stack([down, np.cross(normal, down), normal], -1)
    return place(
        torch.from_numpy(points).float(),
        matrix_to_quat(torch.from_numpy(view.rotation @ frames).float()),
        torch.from_numpy(scales).float(),
        field.spread[row, column] * shade[:, None],
        np.full(len(points), 0.85),
        LABEL,
        view,
        pose,
        hanging_weights,
    )


Sites = tuple[Array, Array, Array]
"""World points [M, 3], pixels (row, column) to take their colours from [M, 2], brightness [M]."""
NOWHERE: Sites = (np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0))


def _edge_sites(field: HairField, photo: Photo, view: View, rng: np.random.Generator) -> Sites:
    """On the steep border of the front relief, whose own discs are few and stretched."""
    distance = edge_distance(field.silhouette)
    rows, columns = ((distance > 2) & (distance < EDGE) & (photo.hair > 0.8)).nonzero()
    if not len(rows):
        return NOWHERE
    nearness = 1 / distance[rows, columns] ** 1.5
    pick = rng.choice(len(rows), EDGE_LOCKS, p=nearness / nearness.sum())
    rows, columns = rows[pick], columns[pick]
    points = _lift_pixels(rows, columns, field.front[rows, columns] - 0.0008, view)
    return points, np.stack([rows, columns], 1).astype(float), np.full(len(rows), 1.0)


def _side_sites(wall: _Wall, view: View, rng: np.random.Generator) -> Sites:
    """On the wall between front and back."""
    if not len(wall.rows):
        return NOWHERE
    area = wall.back - wall.front
    index = rng.choice(len(area), SIDE_LOCKS, p=area / area.sum())
    t = rng.uniform(-0.05, 1.0, SIDE_LOCKS)
    points = wall.points(index, t, rng.uniform(1.5, 6.0, SIDE_LOCKS), view)
    pixels = np.stack([wall.rows[index], wall.columns[index]], 1) + rng.normal(0, 4, (SIDE_LOCKS, 2))
    pixels += wall.inward[index][:, ::-1] * rng.uniform(3, 30, (SIDE_LOCKS, 1))
    return points, pixels, 1.05 - 0.15 * t


def _back_sites(field: HairField, view: View, rng: np.random.Generator) -> Sites:
    """On the back of the head."""
    rows, columns = field.behind.nonzero()
    if not len(rows):
        return NOWHERE
    pick = rng.integers(0, len(rows), BACK_LOCKS)
    rows, columns = rows[pick], columns[pick]
    depth = field.back[rows, columns] + rng.uniform(0, 0.003, BACK_LOCKS)
    pixels = np.stack([rows, columns], 1) + rng.normal(0, 6, (BACK_LOCKS, 2))
    return _lift_pixels(rows, columns, depth, view), pixels, np.full(BACK_LOCKS, 0.9)


def _lift_pixels(rows: Array, columns: Array, depth: Array, view: View) -> Array:
    """World points [M, 3] of pixels at depths [M]."""
    local = (np.stack([columns, rows], 1) + 0.5 - view.centre) / view.focal * depth[:, None]
    return view.world(np.concatenate([local, depth[:, None]], 1))
