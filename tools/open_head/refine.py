"""Splitting long edges, so that skull, neck and shoulders are as dense as the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .mesh import SKIN


@dataclass(frozen=True)
class Refined:
    """A denser mesh; its first vertices are the old ones."""

    vertices: np.ndarray  # [V + M, 3]
    parents: np.ndarray  # [M, 2] vertex V + k lies between these two, which come before it
    faces: np.ndarray
    texture: np.ndarray
    faces_texture: np.ndarray
    face_part: np.ndarray


def refine(
    vertices: np.ndarray,
    faces: np.ndarray,
    texture: np.ndarray,
    faces_texture: np.ndarray,
    face_part: np.ndarray,
    longest: np.ndarray,
    passes: int,
) -> Refined:
    """Split every skin edge that is longer than its limit, repeatedly, without cracks.

    Args:
        vertices: [V, 3] metres; faces [F, 3]; texture [T, 2]; faces_texture [F, 3]; face_part [F].
        longest: the limit at each vertex [V] in metres; an edge takes the smaller of its two ends'.
        passes: rounds of splitting; each halves the longest edges.

    Returns:
        The mesh, whose new vertices are lifted onto the curved surface (Phong tessellation), so skulls stay round.
    """
    parents = np.zeros((0, 2), np.int64)
    for _ in range(passes):
        corner_edges = np.stack([faces, np.roll(faces, -1, 1)], -1)  # [F, 3, 2]
        length = np.linalg.norm(vertices[corner_edges[..., 0]] - vertices[corner_edges[..., 1]], axis=-1)
        limit = np.minimum(longest[corner_edges[..., 0]], longest[corner_edges[..., 1]])
        split = (length > limit) & (face_part == SKIN)[
            :, None
        ]  # the same answer for both triangles of an edge
        middle, pairs = _midpoints(corner_edges, split, len(vertices))
        texture_edges = np.stack([faces_texture, np.roll(faces_texture, -1, 1)], -1)
        middle_texture, texture_pairs = _midpoints(texture_edges, split, len(texture))
        vertices = np.concatenate([vertices, _curved_middle(vertices, faces, pairs)])
        longest = np.concatenate([longest, longest[pairs].mean(1)])
        texture = np.concatenate([texture, texture[texture_pairs].mean(1)])
        parents = np.concatenate([parents, pairs])
        faces, owner = _divide(faces, middle, split)
        faces_texture, _ = _divide(faces_texture, middle_texture, split)
        face_part = face_part[owner]
    return Refined(vertices, parents, faces, texture, faces_texture, face_part)


def _midpoints(edges: np.ndarray, split: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Number the midpoints of split edges: index per triangle side [F, 3] (-1: not split), end vertices [M, 2]."""
    pairs, inverse = np.unique(np.sort(edges[split], axis=1), axis=0, return_inverse=True)
    index = np.full(split.shape, -1)
    index[split] = count + inverse.ravel()
    return index, pairs


def _curved_middle(
    vertices: np.ndarray, faces: np.ndarray, pairs: np.ndarray, bulge: float = 0.5
) -> np.ndarray:
    """Midpoints moved half way to the mean of their projections on both ends' tangent planes: on a sphere that is
    the sphere, to second order. [M, 3]
    """
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, faces[:, k], normal)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-15
    middle = vertices[pairs].mean(1)
    height = [((middle - vertices[p]) * normals[p]).sum(1, keepdims=True) * normals[p] for p in pairs.T]
    return middle - bulge * 0.5 * (height[0] + height[1])


def _divide(corners: np.ndarray, middle: np.ndarray, split: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut triangles by their pattern of split sides: new corners [F', 3] and the old triangle of each [F']."""
    six = np.concatenate([corners, middle], 1)  # corners 0-2, midpoints of sides 0-2 as 3-5
    pattern = split @ np.array([1, 2, 4])
    pieces, owners = [], []
    for code in range(8):
        chosen = np.flatnonzero(pattern == code)
        for piece in _pieces(code):
            pieces.append(six[chosen][:, piece])
            owners.append(chosen)
    return np.concatenate(pieces), np.concatenate(owners)


def _pieces(code: int) -> list[tuple[int, int, int]]:
    """Sub-triangles for a pattern of split sides (bit k: the side from corner k to k+1)."""
    if code == 0:
        return [(0, 1, 2)]
    if code == 7:
        return [(0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)]
    if code in (1, 2, 4):
        k = {1: 0, 2: 1, 4: 2}[code]
        a, b, c, m = k, (k + 1) % 3, (k + 2) % 3, 3 + k
        return [(a, m, c), (m, b, c)]
    k = {3: 0, 6: 1, 5: 2}[code]  # sides k and k+1 are split; they share corner b
    a, b, c, m, n = k, (k + 1) % 3, (k + 2) % 3, 3 + k, 3 + (k + 1) % 3
    return [(m, b, n), (a, m, n), (a, n, c)]
