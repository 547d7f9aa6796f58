"""Geometry of a triangle surface: normals, nearest points."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Area-weighted unit vertex normals. vertices [..., V, 3], faces [F, 3] -> [..., V, 3]."""
    corners = vertices[..., faces, :]  # [..., F, 3, 3]
    normal = torch.linalg.cross(
        corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    )
    total = torch.zeros_like(vertices)
    for k in range(3):
        total = total.index_add(-2, faces[:, k], normal)
    return torch.nn.functional.normalize(total, dim=-1)


def closest_on_triangles(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest point of triangle i to point i, for paired arrays.

    Args:
        points: [N, 3].
        triangles: [N, 3, 3].

    Returns:
        Barycentric coordinates [N, 3] (all >= 0, sum 1) and squared distances [N].
    """
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = _dot(ab, ab), _dot(ab, ac), _dot(ac, ac)
    d20, d21 = _dot(ap, ab), _dot(ap, ac)
    denominator = d00 * d11 - d01 * d01
    safe = np.where(denominator > 1e-18, denominator, 1)
    v, w = (d11 * d20 - d01 * d21) / safe, (d00 * d21 - d01 * d20) / safe
    inner = np.stack([1 - v - w, v, w], -1)
    inside = (denominator > 1e-18) & (inner >= 0).all(-1)
    candidates = [inner]
    for i, j in ((0, 1), (1, 2), (2, 0)):  # the nearest point of each side
        start, side = triangles[:, i], triangles[:, j] - triangles[:, i]
        t = np.clip(_dot(points - start, side) / np.maximum(_dot(side, side), 1e-18), 0, 1)
        bary = np.zeros_like(points)
        bary[:, i], bary[:, j] = 1 - t, t
        candidates.append(bary)
    stacked = np.stack(candidates, 1)  # [N, 4, 3]
    difference = np.einsum("nkc,ncd->nkd", stacked, triangles) - points[:, None]
    square = (difference**2).sum(-1)
    square[~inside, 0] = np.inf
    best = square.argmin(1)
    rows = np.arange(len(points))
    return stacked[rows, best], square[rows, best]


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("nc,nc->n", a, b)


def closest_point(
    points: Tensor, vertices: Tensor, faces: Tensor, allowed: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest surface point to each point.

    The triangles around the 4 nearest vertices give an upper bound; then, among small and among large triangles, the
    16 whose centres are nearest are tried if they can be nearer than the bound.

    Args:
        points: [N, 3] metres.
        vertices: [V, 3] metres.
        faces: [F, 3].
        allowed: which triangles may be chosen, [F] bool; None: all.

    Returns:
        face index [N] int64, barycentric coordinates [N, 3] and distance [N] in metres.
    """
    points_np = points.detach().cpu().double().numpy()
    vertices_np = vertices.detach().cpu().double().numpy()
    faces_np = faces.cpu().numpy()
    chosen = np.arange(len(faces_np)) if allowed is None else np.flatnonzero(allowed.cpu().numpy())
    if len(chosen) == 0:
        raise ValueError("closest_point: no triangle is allowed")
    best = _Nearest(points_np, vertices_np[faces_np])
    used = np.unique(faces_np[chosen])
    incident = _incident_triangles(faces_np, chosen, len(vertices_np))  # [V, K], -1 padded
    _, near = cKDTree(vertices_np[used]).query(points_np, k=min(4, len(used)))
    for column in incident[used[near]].reshape(len(points_np), -1).T:
        best.offer(column)
    centre = vertices_np[faces_np[chosen]].mean(1)
    radius = np.linalg.norm(vertices_np[faces_np[chosen]] - centre[:, None], axis=-1).max(1)
    for of_size in (radius <= np.median(radius), radius > np.median(radius)):
        if not of_size.any():
            continue
        index, reach = chosen[of_size], radius[of_size].max()
        count = min(16, len(index))
        distance, near = cKDTree(centre[of_size]).query(points_np, k=count)
        for distance_k, near_k in zip(distance.reshape(-1, count).T, near.reshape(-1, count).T):
            can_win = distance_k < np.sqrt(best.square) + reach
            best.offer(np.where(can_win, index[near_k], -1))
    device = points.device
    return (
        torch.from_numpy(best.face).to(device),
        torch.from_numpy(best.bary).to(points.dtype).to(device),
        torch.from_numpy(np.sqrt(best.square)).to(points.dtype).to(device),
    )


class _Nearest:
    """The nearest triangle so far of every point."""

    def __init__(self, points: np.ndarray, triangles: np.ndarray):
        self.points, self.triangles = points, triangles
        self.face = np.zeros(len(points), np.int64)
        self.bary = np.zeros((len(points), 3))
        self.square = np.full(len(points), np.inf)

    def offer(self, candidate: np.ndarray) -> None:
        """Try one triangle per point, [N]; -1: none."""
        rows = np.flatnonzero(candidate >= 0)
        if len(rows) == 0:
            return
        bary, square = closest_on_triangles(self.points[rows], self.triangles[candidate[rows]])
        better = square < self.square[rows]
        rows = rows[better]
        self.face[rows], self.bary[rows], self.square[rows] = candidate[rows], bary[better], square[better]


def _incident_triangles(faces: np.ndarray, chosen: np.ndarray, n_vertices: int) -> np.ndarray:
    """Triangles around each vertex, [V, K] padded with -1."""
    vertex = faces[chosen].ravel()
    triangle = np.repeat(chosen, 3)
    order = np.argsort(vertex, kind="stable")
    vertex, triangle = vertex[order], triangle[order]
    count = np.bincount(vertex, minlength=n_vertices)
    slot = np.arange(len(vertex)) - np.repeat(np.cumsum(count) - count, count)
    table = np.full((n_vertices, count.max()), -1, np.int64)
    table[vertex, slot] = triangle
    return table
