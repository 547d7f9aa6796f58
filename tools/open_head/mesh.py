"""Cutting the head out of the body mesh.

Every operation here (dropping, clipping, splitting) is linear in the vertices, so the result is a *lift matrix*
``L [V, 19158]``: ``L @ raw`` are the head's vertices, and ``L @ target`` every morph target, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from .raw import RAW_VERTICES, RawMesh

SKIN, LEFT_EYE, RIGHT_EYE, UPPER_TEETH, LOWER_TEETH, TONGUE, LASHES = range(1, 8)

GROUP_PART = {
    "body": SKIN,
    "helper-l-eye": LEFT_EYE,
    "helper-r-eye": RIGHT_EYE,
    "helper-upper-teeth": UPPER_TEETH,
    "helper-lower-teeth": LOWER_TEETH,
    "helper-tongue": TONGUE,
    "helper-l-eyelashes-1": LASHES,
    "helper-l-eyelashes-2": LASHES,
    "helper-r-eyelashes-1": LASHES,
    "helper-r-eyelashes-2": LASHES,
}


@dataclass(frozen=True)
class HeadMesh:
    """Triangles over lifted vertices."""

    lift: sp.csr_matrix  # [V, 19158]
    faces: np.ndarray  # [F, 3]
    texture: np.ndarray  # [T, 2]
    faces_texture: np.ndarray  # [F, 3]
    face_part: np.ndarray  # [F]

    @property
    def vertex_part(self) -> np.ndarray:
        """Part code of every vertex."""
        part = np.zeros(self.lift.shape[0], np.int64)
        part[self.faces] = self.face_part[:, None]
        return part


def triangulate(raw: RawMesh) -> HeadMesh:
    """All polygons of the groups a head needs, as triangles over the raw vertices."""
    faces, faces_texture, parts = [], [], []
    for polygon, corners, group in zip(raw.polygons, raw.polygons_texture, raw.groups):
        part = GROUP_PART.get(group)
        if part is None:
            continue
        for k in range(1, len(polygon) - 1):
            triangle = [polygon[0], polygon[k], polygon[k + 1]]
            if len(set(triangle)) == 3:
                faces.append(triangle)
                faces_texture.append([corners[0], corners[k], corners[k + 1]])
                parts.append(part)
    identity = sp.identity(RAW_VERTICES, dtype=np.float64, format="csr")
    return HeadMesh(identity, np.array(faces), raw.texture, np.array(faces_texture), np.array(parts))


def compact(mesh: HeadMesh, keep: np.ndarray) -> HeadMesh:
    """Keep some triangles and drop the vertices nothing uses any more."""
    faces, faces_texture = mesh.faces[keep], mesh.faces_texture[keep]
    used, faces_new = np.unique(faces, return_inverse=True)
    used_texture, texture_new = np.unique(faces_texture, return_inverse=True)
    return HeadMesh(
        mesh.lift[used],
        faces_new.reshape(-1, 3),
        mesh.texture[used_texture],
        texture_new.reshape(-1, 3),
        mesh.face_part[keep],
    )


def largest_skin_component(mesh: HeadMesh) -> HeadMesh:
    """Drop skin triangles that are not connected with the main piece."""
    skin = mesh.faces[mesh.face_part == SKIN]
    n = mesh.lift.shape[0]
    edges = (np.ones(3 * len(skin)), (skin.ravel(), skin[:, [1, 2, 0]].ravel()))
    _, label = connected_components(sp.coo_matrix(edges, shape=(n, n)), directed=False)
    main = np.bincount(label[skin[:, 0]]).argmax()
    return compact(mesh, (mesh.face_part != SKIN) | (label[mesh.faces[:, 0]] == main))


def clip(mesh: HeadMesh, distance: np.ndarray) -> HeadMesh:
    """Cut the skin where a signed distance [V] is negative; cut triangles become smaller polygons.

    New vertices are interpolated along the cut edges, one per edge, so the cut stays watertight with its neighbours.
    """
    outside = distance < 0
    state = outside[mesh.faces].sum(1) * (mesh.face_part == SKIN)
    lift_rows, texture_rows = [mesh.lift], [mesh.texture]
    new_vertex: dict[tuple[int, int], int] = {}
    new_texture: dict[tuple[int, int], int] = {}
    counts = [mesh.lift.shape[0], len(mesh.texture)]

    def crossing(a: int, b: int, ta: int, tb: int) -> tuple[int, int]:
        t = distance[a] / (distance[a] - distance[b])
        key, key_texture = (min(a, b), max(a, b)), (min(ta, tb), max(ta, tb))
        if key not in new_vertex:
            new_vertex[key] = counts[0]
            counts[0] += 1
            lift_rows.append(mesh.lift[a] * (1 - t) + mesh.lift[b] * t)
        if key_texture not in new_texture:
            new_texture[key_texture] = counts[1]
            counts[1] += 1
            texture_rows.append((mesh.texture[ta] * (1 - t) + mesh.texture[tb] * t)[None])
        return new_vertex[key], new_texture[key_texture]

    faces, faces_texture, parts = [mesh.faces[state == 0]], [mesh.faces_texture[state == 0]], []
    parts.append(mesh.face_part[state == 0])
    for index in np.flatnonzero((state == 1) | (state == 2)):
        polygon: list[tuple[int, int]] = []
        for k in range(3):
            a, b = mesh.faces[index, k], mesh.faces[index, (k + 1) % 3]
            ta, tb = mesh.faces_texture[index, k], mesh.faces_texture[index, (k + 1) % 3]
            if not outside[a]:
                polygon.append((int(a), int(ta)))
            if outside[a] != outside[b]:
                polygon.append(crossing(int(a), int(b), int(ta), int(tb)))
        for k in range(1, len(polygon) - 1):
            corners = [polygon[0], polygon[k], polygon[k + 1]]
            faces.append(np.array([[c[0] for c in corners]]))
            faces_texture.append(np.array([[c[1] for c in corners]]))
            parts.append(np.array([SKIN]))
    clipped = HeadMesh(
        sp.vstack(lift_rows, format="csr"),
        np.concatenate(faces),
        np.concatenate(texture_rows),
        np.concatenate(faces_texture),
        np.concatenate(parts),
    )
    return compact(clipped, np.ones(len(clipped.faces), bool))


def split_long_edges(mesh: HeadMesh, vertices: np.ndarray, longest: np.ndarray) -> HeadMesh:
    """Split every skin edge longer than its limit at the middle (one pass, no cracks).

    ``vertices [V, 3]`` are the positions that are measured, ``longest [V]`` the limit at each vertex in metres.
    A triangle with one, two or three split edges becomes two, three or four.
    """
    corner_edges = np.stack([mesh.faces, np.roll(mesh.faces, -1, 1)], -1)  # [F, 3, 2]
    texture_edges = np.stack([mesh.faces_texture, np.roll(mesh.faces_texture, -1, 1)], -1)
    length = np.linalg.norm(vertices[corner_edges[..., 0]] - vertices[corner_edges[..., 1]], axis=-1)
    limit = np.minimum(longest[corner_edges[..., 0]], longest[corner_edges[..., 1]])
    split = (length > limit) & (mesh.face_part == SKIN)[:, None]  # the same for both triangles of an edge
    middle, lift = _midpoints(corner_edges, split, mesh.lift)
    middle_texture, texture = _midpoints(texture_edges, split, mesh.texture)
    pieces, pieces_texture, parts = [], [], []
    for pattern in range(8):
        chosen = split @ np.array([1, 2, 4]) == pattern
        for piece in _pieces(pattern):
            take = lambda corner, mid: np.stack(
                [corner[chosen, p] if p < 3 else mid[chosen, p - 3] for p in piece], 1
            )
            pieces.append(take(mesh.faces, middle))
            pieces_texture.append(take(mesh.faces_texture, middle_texture))
            parts.append(mesh.face_part[chosen])
    return replace(
        mesh,
        lift=sp.csr_matrix(lift),
        texture=np.asarray(texture),
        faces=np.concatenate(pieces),
        faces_texture=np.concatenate(pieces_texture),
        face_part=np.concatenate(parts),
    )


def _midpoints(edges: np.ndarray, split: np.ndarray, values):
    """Append one midpoint row per split edge; returns (index of each edge's midpoint [F, 3], longer values)."""
    ordered = np.sort(edges[split], axis=1)
    unique, inverse = np.unique(ordered, axis=0, return_inverse=True)
    index = np.full(split.shape, -1)
    index[split] = values.shape[0] + inverse.ravel()
    new_rows = 0.5 * (values[unique[:, 0]] + values[unique[:, 1]])
    stacked = (
        sp.vstack([values, new_rows], format="csr")
        if sp.issparse(values)
        else np.concatenate([values, new_rows])
    )
    return index, stacked


def _pieces(pattern: int) -> list[tuple[int, int, int]]:
    """Sub-triangles for a pattern of split edges (bit k: edge k to k+1); codes 3-5 are the midpoints of edges 0-2."""
    if pattern == 0:
        return [(0, 1, 2)]
    if pattern == 7:
        return [(0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)]
    if pattern in (1, 2, 4):
        k = {1: 0, 2: 1, 4: 2}[pattern]
        a, b, c, m = k, (k + 1) % 3, (k + 2) % 3, 3 + k
        return [(a, m, c), (m, b, c)]
    k = {3: 0, 6: 1, 5: 2}[pattern]  # edges k and k+1 are split, they share corner b
    a, b, c, m, n = k, (k + 1) % 3, (k + 2) % 3, 3 + k, 3 + (k + 1) % 3
    return [(m, b, n), (a, m, n), (a, n, c)]
