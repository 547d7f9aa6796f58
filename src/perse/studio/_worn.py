"""What the person wears on the head in the photo: glasses, a hat, earrings. It stays where it is as the head turns.

The segmentation calls all of it "other". Each connected piece is one thing, known by its place: over the eyes it is
eyewear, above the brows a hat, else a trinket.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from perse.dataset import LABELS
from perse.head import Head
from perse.studio._crown import SKULL, Crown, Outline, fill_image
from perse.studio._geometry import matrix_to_quat
from perse.studio._image import Array, Photo, edge_distance, smoothstep
from perse.studio._relief import PoseAtPhoto, place, relief_group, steepness
from perse.studio._skin import LEFT_EYE, RIGHT_EYE
from perse.studio._view import View
from perse.studio.binding import head_weights
from perse.studio.groups import Skinned
from perse.studio.regions import Regions

LABEL = LABELS.index("skin")
"""No edit draws glasses or this very hat: to the dataset they are part of the person."""
MIN_PIXELS = 30
BROWS, NOSE_BASE = (105, 334), 2  # landmarks
LENS_AHEAD = 0.013
"""Metres from the front of the eyeballs to the lenses."""
WRAP = 3.2
"""Eyewear recedes by this times the square of the distance (metres) from the middle of the face."""
CLEAR = 0.0025
"""Metres that worn things stay off the skin."""
HAT_OFF_SKULL = 0.008


def lift_worn(
    photo: Photo, view: View, vertices: Array, skin: Array, head: Head, regions: Regions, pose: PoseAtPhoto
) -> dict[str, Skinned]:
    """The groups "eyewear", "worn_hat", "worn_hat_back" and "trinkets", as far as the photo shows such things.

    vertices [V, 3] in the photo's pose, their depth map [S, S].
    """
    eyewear, hat, trinkets = sort_worn(photo)
    groups: dict[str, Skinned] = {}
    if eyewear.any():
        depth = _lens_depth(view, vertices, head, skin)
        groups["eyewear"] = _relief(depth, eyewear, photo, view, pose)
        arms = _temples(eyewear, depth, photo, view, vertices, head, regions, pose)
        if arms is not None:
            groups["eyewear_temples"] = arms
    if hat.any():
        groups["worn_hat"] = _relief(_hat_depth(photo, view, skin), hat, photo, view, pose)
        groups["worn_hat_back"] = _hat_back(hat, photo, view, vertices, skin, head, pose)
    if trinkets.any():
        groups["trinkets"] = _relief(_trinket_depth(trinkets, skin, view), trinkets, photo, view, pose)
    return {name: group for name, group in groups.items() if len(group)}


def sort_worn(photo: Photo) -> tuple[Array, Array, Array]:
    """Pixels [S, S] bool of eyewear, hat and trinkets."""
    eyewear, hat, trinkets = (np.zeros(photo.worn.shape, bool) for _ in range(3))
    pieces, count = ndimage.label(ndimage.binary_dilation(photo.worn > 0.3, iterations=2))
    brows = photo.landmarks[list(BROWS), 1].mean()
    low = photo.landmarks[NOSE_BASE, 1]
    left, right = photo.landmarks[:, 0].min(), photo.landmarks[:, 0].max()
    for index in range(1, count + 1):
        piece = (pieces == index) & (photo.worn > 0.3)
        if piece.sum() < MIN_PIXELS:
            continue
        row, column = (axis.mean() for axis in piece.nonzero())
        if row < brows and piece.nonzero()[0].min() < brows - 0.25 * (low - brows):
            hat |= piece
        elif row < low and left < column < right:
            eyewear |= piece
        else:
            trinkets |= piece
    return eyewear, hat, trinkets


def _relief(depth: Array, mask: Array, photo: Photo, view: View, pose: PoseAtPhoto) -> Skinned:
    mask = mask & (steepness(depth, view) < 0.01)
    opacity = np.clip(photo.worn[mask] * 1.1, 0, 0.97)
    return relief_group(
        depth, mask, photo.image[mask], opacity, LABEL, view, pose, lambda p: head_weights(len(p))
    )


def _lens_depth(view: View, vertices: Array, head: Head, skin: Array) -> Array:
    """Depth [S, S] of a curved sheet before the eyes, in the head's frame ``z = ahead - WRAP x^2``, off the skin."""
    part = head.vertex_part.numpy()
    ahead = vertices[np.isin(part, (LEFT_EYE, RIGHT_EYE)), 2].max() + LENS_AHEAD
    depth = np.full(skin.shape, view.camera_space(np.array([[0, 0.03, ahead]]))[0, 2])
    forward = -view.rotation[2, 2]  # how much nearer a step along the head's z is
    for _ in range(4):
        points = view.world(view.unproject(depth).reshape(-1, 3)).reshape(*skin.shape, 3)
        depth = depth - (ahead - WRAP * points[..., 0] ** 2 - points[..., 2]) * forward
    return _off_skin(depth, skin)


def _off_skin(depth: Array, skin: Array) -> Array:
    """The nearer of a sheet and of the skin (nan: none) less :data:`CLEAR`, smoothed; depths [S, S]."""
    nearest = np.nan_to_num(skin, nan=9.0) - CLEAR
    smooth = ndimage.gaussian_filter(np.minimum(depth, ndimage.grey_erosion(nearest, 7)), 3)
    return np.minimum(smooth, nearest)


def _temples(
    eyewear: Array, depth: Array, photo: Photo, view: View, vertices: Array, head: Head, regions: Regions,
    pose: PoseAtPhoto,
) -> Skinned | None:  # fmt: skip
    """Bars from the outer ends of the frame to the ears, which the photo hardly shows."""
    means, frames, scales, colors = [], [], [], []
    columns = eyewear.nonzero()[1]
    for side in (1, -1):
        ear = regions.ear_vertices(head, side).numpy()
        if not ear.any():
            continue
        target = vertices[ear]
        target = target[np.argsort(target[:, 1])[-max(len(target) // 8, 1) :]].mean(0)
        outward = np.sign(view.project(target[None])[0, 0] - view.project(SKULL[None])[0, 0])
        end = (columns * outward).max() * outward
        tip = eyewear & (np.abs(np.arange(eyewear.shape[1]) - end)[None] <= 5)
        rows, cols = tip.nonzero()
        row, column = int(np.median(rows)), int(np.median(cols))
        local = view.unproject(depth)[row, column]
        hinge = view.world(local[None])[0]
        if hinge[0] * side < 0.035 or hinge[2] < target[2]:
            continue
        steps = 40
        t = (np.arange(steps) + 0.5)[:, None] / steps
        line = hinge * (1 - t) + target * t
        line = _outside(line, vertices, side)
        step = np.gradient(line, axis=0)
        length = np.linalg.norm(step, axis=1, keepdims=True)
        along = step / length
        up = np.tile([0.0, 1.0, 0.0], (steps, 1))
        up -= along * (up * along).sum(1, keepdims=True)
        up /= np.linalg.norm(up, axis=1, keepdims=True)
        height = np.clip(np.ptp(rows) * view.metres_per_pixel(float(local[2])), 0.002, 0.009)
        thick = height * (1 - 0.4 * t[:, 0]) / 2.6
        means.append(line)
        frames.append(np.stack([along, up, np.cross(along, up)], -1))
        scales.append(np.stack([length[:, 0] * 0.8, thick, np.full(steps, 7e-4)], 1))
        color = photo.image[rows, cols][
            np.argsort(photo.image[rows, cols].sum(1))[: len(rows) // 2 + 1]
        ].mean(0)
        colors.append(np.tile(color, (steps, 1)) * (1 - 0.3 * t))
    if not means:
        return None
    quats = matrix_to_quat(torch.from_numpy(view.rotation @ np.concatenate(frames)).float())
    points = torch.from_numpy(np.concatenate(means)).float()
    sizes = torch.from_numpy(np.concatenate(scales)).float()
    return place(
        points, quats, sizes, np.concatenate(colors), np.full(len(points), 0.95), LABEL, view, pose,
        lambda p: head_weights(len(p)),
    )  # fmt: skip


def _outside(line: Array, vertices: Array, side: int) -> Array:
    """The points of a line [N, 3] pushed sideways until they are off the head."""
    line = line.copy()
    for point in line:
        near = vertices[
            (np.abs(vertices[:, 1] - point[1]) < 0.006) & (np.abs(vertices[:, 2] - point[2]) < 0.006)
        ]
        if len(near):
            point[0] = side * max(abs(point[0]), (near[:, 0] * side).max() + 0.001)
    line[:, 0] = ndimage.gaussian_filter1d(line[:, 0], 3, mode="nearest")
    return line


def _hat_depth(photo: Photo, view: View, skin: Array) -> Array:
    """Depth [S, S] of a hat's front: a dome over its own outline, off the skull where there is one below."""
    centre = float(view.camera_space(SKULL[None])[0, 2])
    inside = edge_distance(photo.foreground > 0.5) * view.metres_per_pixel(centre)
    radius = 0.095
    t = np.minimum(inside, radius) / radius
    depth = centre - radius * np.sqrt(1 - (1 - t) ** 2)
    nearest = ndimage.grey_erosion(np.nan_to_num(skin, nan=9.0), 9) - HAT_OFF_SKULL
    return ndimage.gaussian_filter(np.minimum(depth, nearest), 4)


def _hat_back(
    hat: Array, photo: Photo, view: View, vertices: Array, skin: Array, head: Head, pose: PoseAtPhoto
) -> Skinned:
    """The sides and the back of the hat: a shell as thick as its outline, down to where the sides end."""
    person = (photo.foreground > 0.5) & (np.arange(photo.size)[:, None] < photo.landmarks[152, 1])
    outline = Outline.of(person, hat, ~np.isnan(skin), view)
    template = head.v_template.double().numpy()
    skull = ((head.vertex_part == 1).numpy() & (template[:, 1] > 0.0)).astype(float)
    crown = Crown.of(head, vertices, skull, view)
    under = crown.read(outline, outline.covered)
    rows = np.flatnonzero((under > 0.5) & (crown.towards < 0.35) & (crown.angle[:, 0] > -0.2))
    crown = crown.take(rows)
    depth = np.maximum(crown.read(outline, outline.thickness), HAT_OFF_SKULL)
    rng = np.random.default_rng(3)
    colors = fill_image(photo.image, ndimage.binary_erosion(hat, iterations=3) if hat.sum() > 400 else hat)
    at = np.clip(crown.source(outline, rng.uniform(0.86, 0.97, len(rows)), rng), 0, photo.size - 1).astype(
        int
    )
    size = 0.85 * crown.size * (1 + depth / 0.08)
    side = np.where(np.abs(crown.normals[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(crown.normals, side)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    frames = np.stack([first, np.cross(crown.normals, first), crown.normals], -1)
    shade = (1 - 0.25 * smoothstep(-crown.towards, 0.0, 0.8))[:, None]
    return place(
        torch.from_numpy(crown.points + crown.normals * depth[:, None]).float(),
        matrix_to_quat(torch.from_numpy(view.rotation @ frames).float()),
        torch.from_numpy(np.stack([size, size, np.full_like(size, 4e-4)], 1)).float(),
        colors[at[:, 0], at[:, 1]] * shade,
        np.full(len(rows), 0.96),
        LABEL,
        view,
        pose,
        lambda p: head_weights(len(p)),
    )


def _trinket_depth(trinkets: Array, skin: Array, view: View) -> Array:
    """Depth [S, S] of earrings: that of the skin right beside them."""
    pieces, count = ndimage.label(ndimage.binary_dilation(trinkets, iterations=2))
    depth = np.full(skin.shape, float(view.camera_space(SKULL[None])[0, 2]))
    for index in range(1, count + 1):
        around = ndimage.binary_dilation(pieces == index, iterations=3) & ~np.isnan(skin)
        if around.any():
            depth[ndimage.binary_dilation(pieces == index, iterations=4)] = (
                np.quantile(skin[around], 0.3) - CLEAR
            )
    return depth
