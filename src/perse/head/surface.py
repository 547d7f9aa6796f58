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
    points: Tensor, vertices: Tensor, faces: Tensor, allowed: Tensor | None = None, neighbours: int = 6
) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest surface point to each point, among the triangles around its nearest vertices.

    Args:
        points: [N, 3] metres.
        vertices: [V, 3] metres.
        faces: [F, 3].
        allowed: which triangles may be chosen, [F] bool; None: all.
        neighbours: how many nearest vertices contribute their triangles.

    Returns:
        face index [N] int64, barycentric coordinates [N, 3] and distance [N] in metres.
    """
    points_np = points.detach().cpu().double().numpy()
    vertices_np = vertices.detach().cpu().double().numpy()
    faces_np = faces.cpu().numpy()
    chosen = np.arange(len(faces_np)) if allowed is None else np.flatnonzero(allowed.cpu().numpy())
    if len(chosen) == 0:
        raise ValueError("closest_point: no triangle is allowed")
    used = np.unique(faces_np[chosen])
    incident = _incident_triangles(faces_np, chosen, len(vertices_np))  # [V, K], -1 padded
    _, near = cKDTree(vertices_np[used]).query(points_np, k=min(neighbours, len(used)))
    near = used[near].reshape(len(points_np), -1)
    best_face = np.zeros(len(points_np), np.int64)
    best_bary = np.zeros((len(points_np), 3))
    best_square = np.full(len(points_np), np.inf)
    for column in incident[near].reshape(len(points_np), -1).T:  # one candidate triangle per point at a time
        rows = np.flatnonzero(column >= 0)
        if len(rows) == 0:
            continue
        bary, square = closest_on_triangles(points_np[rows], vertices_np[faces_np[column[rows]]])
        better = square < best_square[rows]
        rows, bary, square = rows[better], bary[better], square[better]
        best_face[rows], best_bary[rows], best_square[rows] = column[rows], bary, square
    device = points.device
    return (
        torch.from_numpy(best_face).to(device),
        torch.from_numpy(best_bary).to(points.dtype).to(device),
        torch.from_numpy(np.sqrt(best_square)).to(points.dtype).to(device),
    )


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
