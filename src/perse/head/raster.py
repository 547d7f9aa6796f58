"""A z-buffer for triangle meshes in numpy: which triangle does each pixel see, where on it, how far."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def rasterize_mesh(
    vertices_px: Any, faces: Any, height: int, width: int, *, perspective: bool = True
) -> tuple[Any, Any, Any]:
    """Draw a mesh into a z-buffer; every triangle is two-sided.

    A pixel belongs to a triangle that contains its centre, at +0.5. Triangles that reach behind the camera
    (a depth <= 0) are left out.

    Args:
        vertices_px: pixel x, pixel y and depth of every vertex [V, 3]; numpy or torch.
        faces: vertex indices [F, 3].
        height: rows of the image.
        width: columns of the image.
        perspective: depths are camera z of a perspective camera, so barycentric coordinates are corrected for it;
            False: parallel projection.

    Returns:
        tri_id [H, W] int64 (-1: no triangle), bary [H, W, 3] (0 where none), depth [H, W] (inf where none);
        torch CPU tensors if `vertices_px` is a tensor (bary and depth in its dtype), else numpy.
    """
    points = np.asarray(vertices_px.detach().cpu() if isinstance(vertices_px, torch.Tensor) else vertices_px)
    corners = points.astype(np.float64)[np.asarray(faces)]  # [F, 3, 3]
    pixel, owner = _covered_pixels(corners, height, width)
    bary = _barycentric(corners[owner, :, :2], pixel % width + 0.5, pixel // width + 0.5)  # [C, 3]
    z = corners[owner, :, 2]
    if perspective:
        bary = bary / z
        depth = 1 / bary.sum(-1)
        bary *= depth[:, None]
    else:
        depth = (bary * z).sum(-1)
    nearest = np.full(height * width, np.inf)
    np.minimum.at(nearest, pixel, depth)
    seen = np.flatnonzero(depth == nearest[pixel])
    tri_id = np.full(height * width, -1, np.int64)
    tri_id[pixel[seen]] = owner[seen]
    bary_map = np.zeros((height * width, 3))
    bary_map[pixel[seen]] = bary[seen]
    maps = (tri_id.reshape(height, width), bary_map.reshape(height, width, 3), nearest.reshape(height, width))
    if not isinstance(vertices_px, torch.Tensor):
        return maps
    dtype = vertices_px.dtype
    return torch.from_numpy(maps[0]), torch.from_numpy(maps[1]).to(dtype), torch.from_numpy(maps[2]).to(dtype)


def _covered_pixels(corners: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat pixel index and triangle of every (pixel, triangle) pair where the pixel's centre is covered."""
    triangle = np.flatnonzero((corners[..., 2] > 0).all(1) & np.isfinite(corners).all((1, 2)))
    y = corners[triangle, :, 1]
    first = np.clip(np.ceil(y.min(1) - 0.5), 0, height).astype(
        np.int64
    )  # the first row whose centre is inside
    last = np.clip(np.floor(y.max(1) - 0.5), -1, height - 1).astype(np.int64)
    owner, row = _runs(triangle, first, last)  # one entry per (triangle, row)
    left, right = _span(corners[owner, :, :2], row + 0.5)
    first = np.clip(np.ceil(left - 0.5), 0, width).astype(np.int64)
    last = np.clip(np.floor(right - 0.5), -1, width - 1).astype(np.int64)
    run, column = _runs(np.arange(len(owner)), first, last)
    return row[run] * width + column, owner[run]


def _runs(label: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expand inclusive integer ranges: for every i all numbers first[i]..last[i], with label[i] beside them."""
    count = np.maximum(last - first + 1, 0)
    start = np.cumsum(count) - count
    number = np.arange(count.sum()) - np.repeat(start - first, count)
    return np.repeat(label, count), number


def _span(corners: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the horizontal line at y enters and leaves each triangle. corners [R, 3, 2], y [R] -> left, right [R]."""
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        a, b = corners[:, i], corners[:, j]
        swap = (a[:, 1] > b[:, 1]) | ((a[:, 1] == b[:, 1]) & (a[:, 0] > b[:, 0]))
        low = np.where(
            swap[:, None], b, a
        )  # the same order for both triangles of an edge: no cracks by rounding
        high = np.where(swap[:, None], a, b)
        rise = high[:, 1] - low[:, 1]
        crosses = (low[:, 1] <= y) & (y <= high[:, 1]) & (rise > 0)
        x = low[:, 0] + (y - low[:, 1]) * (high[:, 0] - low[:, 0]) / np.where(rise > 0, rise, 1)
        left = np.where(crosses, np.minimum(left, x), left)
        right = np.where(crosses, np.maximum(right, x), right)
    empty = ~np.isfinite(left)
    return np.where(empty, 1.0, left), np.where(empty, 0.0, right)


def _barycentric(corners: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Screen-space barycentric coordinates, clipped into the triangle. corners [C, 3, 2] -> [C, 3]."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    safe = np.where(area == 0, 1, area)
    v = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / safe
    w = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / safe
    bary = np.clip(np.stack([1 - v - w, v, w], -1), 0, 1)
    return bary / bary.sum(-1, keepdims=True)
