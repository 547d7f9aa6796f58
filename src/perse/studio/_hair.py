"""The photo's hair: a relief in front with a dark copy inside; what hangs below the nape has a back and a rim."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy import ndimage

from perse.dataset import LABELS
from perse.head import Head
from perse.studio._crown import SKULL, Crown, Outline, fill_image
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
from perse.studio._locks import UNDER_SHADE, HairSides, bare_ears, ground, hair_ground, locks
from perse.studio._relief import PoseAtPhoto, place, relief_group, steepness
from perse.studio._view import View
from perse.studio.binding import hanging_weights
from perse.studio.groups import Skinned
from perse.studio.regions import Regions

HEAD_RADIUS = 0.085
"""Metres: the relief of the hair bulges like a ball of this radius at its silhouette."""
BACK_RADIUS = 0.065
"""Metres that hanging hair reaches behind the middle of the head."""
HANGS = 0.035
"""Metres below the nape that hair must reach to have a back there."""
EDGE, EDGE_LOCKS = 14, 4000
"""Pixels from the silhouette in which the front relief is too steep to be trusted."""
MIN_HAIR_PIXELS = 400
LABEL = LABELS.index("hair")
NAPE = np.array([0.0, -0.02, -0.08])
OVERLAP = 24
"""Pixels by which the back of hanging hair reaches above the nape."""
WALL_GROWS = 80
"""Pixels below the nape at which the wall of hanging hair has its full depth."""


@dataclass(frozen=True)
class HairField:
    """Depths and colours of the hair over the photo's pixels."""

    front: Array  # [S, S] metres
    back: Array  # [S, S] metres
    silhouette: Array  # [S, S] bool: head and hair, filled
    behind: Array  # [S, S] bool: where hair hangs below the nape
    colors: Array  # [S, S, 3] hair colours without the background's bleeding
    spread: Array  # [S, S, 3] the nearest solid hair colour, everywhere
    mean: Array  # [3]
    centre_depth: float  # of the head


def hair_color(photo: Photo, fallback: Array) -> Array:
    """[3] median colour of solid hair; ``fallback`` where there is next to none."""
    solid = photo.hair > 0.8
    return np.median(photo.image[solid], 0) if solid.sum() > MIN_HAIR_PIXELS else fallback


def lift_hair(
    photo: Photo,
    view: View,
    vertices: Array,
    skin_depth: Array,
    head: Head,
    regions: Regions,
    pose: PoseAtPhoto,
    light: Array,
) -> dict[str, Skinned]:
    """The groups of the photo's hair, or none for a bald person.

    vertices [V, 3] in the photo's pose, their depth map [S, S], light [9] the photo's spherical harmonics.
    """
    if (photo.hair > 0.5).sum() < MIN_HAIR_PIXELS:
        return {}
    field = _field(photo, view, skin_depth)
    wall = _find_wall(field, photo, view)
    ears = bare_ears(vertices, head, regions, photo, view)
    crown = Crown.of(head, vertices, hair_ground(head.v_template.double().numpy(), regions, ears), view)
    outline = Outline.of(field.silhouette, photo.hair > 0.3, ~np.isnan(skin_depth), view)
    sides = HairSides.of(crown, outline, field.spread, field.mean, light, photo, skin_depth, view, pose)
    return {
        "hair": _front(field, photo, view, pose),
        "hair_inner": _inner(field, photo, view, pose),
        "hair_back": _back(field, view, pose),
        "hair_rim": _rim(field, wall, view, pose),
        "hair_edge": _edge(field, photo, view, pose),
        "hair_ground": ground(sides),
        "hair_locks": locks(sides, vertices[ears]),
    }


def _field(photo: Photo, view: View, near: Array) -> HairField:
    centre_depth = float(view.camera_space(SKULL[None])[0, 2])
    pixel = view.metres_per_pixel(centre_depth)
    nape = view.project(NAPE[None])[0, 1]
    above = np.arange(photo.size)[:, None] < nape
    hair = photo.hair > 0.5
    face_or_hair = np.isin(photo.part, (FACE_SKIN, HAIR, BODY_SKIN)) & (above | _framed(hair))
    silhouette = fill_holes(face_or_hair | hair | (photo.worn > 0.5))
    bulge = _ball(edge_distance(silhouette) * pixel)
    front = _front_depth(photo, near, centre_depth, bulge, silhouette, pixel)
    below = np.arange(photo.size)[:, None]
    hanging = hair & (below > nape - OVERLAP)
    if (hair & (below > nape + HANGS / pixel)).sum() < MIN_HAIR_PIXELS / 4:
        hanging[:] = False  # short hair: the crown covers all of it
    behind = _between(hanging, view.project(SKULL[None])[0, 0])
    back = _back_depth(behind, centre_depth, pixel)
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


def _framed(hair: Array) -> Array:
    """[H, W] bool: what has hair on both sides in its row, as a neck between hanging locks: no outline of the hair."""
    left = np.maximum.accumulate(hair, axis=1)
    right = np.maximum.accumulate(hair[:, ::-1], axis=1)[:, ::-1]
    return left & right


def _between(hanging: Array, middle: float) -> Array:
    """The rows of hair that hangs on both sides of the neck, filled from one side to the other."""
    filled = hanging.copy()
    columns = np.arange(hanging.shape[1])
    for row in np.flatnonzero(hanging.any(1)):
        seen = hanging[row].nonzero()[0]
        if seen[0] < middle < seen[-1]:
            filled[row] |= (columns >= seen[0]) & (columns <= seen[-1])
    return ndimage.binary_erosion(_rounded_top(filled), iterations=2)


def _rounded_top(mask: Array) -> Array:
    """The mask with its upper corners taken off."""
    width = int(mask.sum(1).max())
    if width < 8:
        return mask
    below = np.pad(mask.astype(np.uint8), ((0, width), (0, 0)), mode="edge")
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width // 2 | 1, width // 2 | 1))
    return cv2.morphologyEx(below, cv2.MORPH_OPEN, disc)[: len(mask)] > 0


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


def _back_depth(behind: Array, centre: float, pixel: float) -> Array:
    """Depth [H, W] of the back of hanging hair: every row is half an ellipse behind the neck."""
    depth = np.full(behind.shape, centre)
    for row in np.flatnonzero(behind.any(1)):
        columns = behind[row].nonzero()[0]
        half = max((columns[-1] - columns[0]) / 2, 1.0)
        across = (np.arange(behind.shape[1]) - (columns[0] + columns[-1]) / 2) / half
        deep = min(half * pixel, BACK_RADIUS)
        depth[row] += deep * np.sqrt(np.clip(1 - across**2, 0, 1))
    return ndimage.gaussian_filter(depth, (4, 1))


def _clean_colors(photo: Photo) -> tuple[Array, Array]:
    """Hair colours without background at the border, and solid hair's colour carried everywhere."""
    solid = ndimage.binary_erosion(photo.hair > 0.9, iterations=4)
    spread = fill_image(photo.image, solid if solid.any() else photo.hair > 0.5)
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
    whole = fill_holes(field.silhouette & (photo.hair > 0.5)) & field.behind.any()
    rim = whole & ~ndimage.binary_erosion(whole, iterations=2, border_value=1)
    row = np.arange(photo.size)[:, None]
    rim &= (row > nape - OVERLAP) & (row < nape + 200)  # above it the crown closes the sides
    rim &= ndimage.binary_dilation(photo.hair > 0.5, iterations=2)
    rim &= ~ndimage.binary_erosion(field.silhouette, iterations=4, border_value=1)
    rim &= np.indices(rim.shape).sum(0) % 2 == 0
    rows, columns = rim.nonzero()
    front = field.front[rows, columns]
    back = np.where(field.behind[rows, columns], field.back[rows, columns], field.centre_depth + 0.02)
    back = np.maximum(back, front + 0.004)
    grown = smoothstep(
        rows - nape, -OVERLAP, WALL_GROWS
    )  # no step where the crown above gives way to the wall
    back = front + (back - front) * (0.25 + 0.75 * grown)
    middle = np.argwhere(whole).mean(0)[::-1] if whole.any() else np.zeros(2)
    inward = middle - np.stack([columns, rows], 1)
    inward = inward / (np.linalg.norm(inward, axis=1, keepdims=True) + 1e-9)
    return _Wall(rows, columns, front, back, inward)


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


def _edge(field: HairField, photo: Photo, view: View, pose: PoseAtPhoto) -> Skinned:
    """Thin locks on the steep border of the front relief, whose own discs are few and stretched."""
    rng = np.random.default_rng(2)
    distance = edge_distance(field.silhouette)
    border = (distance > 1) & (distance < EDGE) & (photo.hair > 0.8) & (dilate(photo.skin, 25) < 0.5)
    rows, columns = border.nonzero()
    nearness = 1 / np.maximum(distance[rows, columns], 1) ** 1.2
    count = EDGE_LOCKS if len(rows) > MIN_HAIR_PIXELS else 0
    pick = rng.choice(len(rows), count, p=nearness / nearness.sum()) if count else np.zeros(0, int)
    rows, columns = rows[pick], columns[pick]
    depth = field.front[rows, columns] - 0.0008
    local = (np.stack([columns, rows], 1) + 0.5 - view.centre) / view.focal * depth[:, None]
    points = view.world(np.concatenate([local, depth[:, None]], 1))
    normal = points - SKULL
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    down = np.array([0.0, -1.0, 0.0]) + rng.normal(0, 0.12, points.shape)
    down -= normal * (down * normal).sum(1, keepdims=True)
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    length = rng.uniform(0.002, 0.0045, count)
    scales = np.stack([length, np.full_like(length, 9e-4), np.full_like(length, 5e-4)], 1)
    frames = np.stack([down, np.cross(normal, down), normal], -1)
    return place(
        torch.from_numpy(points).float(),
        matrix_to_quat(torch.from_numpy(view.rotation @ frames).float()),
        torch.from_numpy(scales).float(),
        field.colors[rows, columns],
        np.full(count, 0.85),
        LABEL,
        view,
        pose,
        hanging_weights,
    )
