"""Cutting the head out of the body mesh.

Every operation here (dropping, clipping, splitting) is linear in the vertices, so the result is a *lift matrix*
``L [V, 19158]``: ``L @ raw`` are the head's vertices, and ``L @ target`` every morph target, exactly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

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


def triangulate(raw: RawMesh, positions: np.ndarray) -> HeadMesh:
    """All polygons of the groups a head needs, as triangles over the raw vertices.

    Quads are cut along their shorter diagonal at `positions` [19158, 3], so a symmetric head stays symmetric.
    """
    faces, faces_texture, parts = [], [], []
    for polygon, corners, group in zip(raw.polygons, raw.polygons_texture, raw.groups):
        part = GROUP_PART.get(group)
        if part is None:
            continue
        first = _shorter_diagonal(positions[polygon])
        for k in range(1, len(polygon) - 1):
            order = [first, (first + k) % len(polygon), (first + k + 1) % len(polygon)]
            triangle = [polygon[i] for i in order]
            if len(set(triangle)) == 3:
                faces.append(triangle)
                faces_texture.append([corners[i] for i in order])
                parts.append(part)
    identity = sp.identity(RAW_VERTICES, dtype=np.float64, format="csr")
    return HeadMesh(identity, np.array(faces), raw.texture, np.array(faces_texture), np.array(parts))


def _shorter_diagonal(corners: np.ndarray) -> int:
    """Which corner a polygon [K, 3] is fanned from; for a quad an end of its shorter diagonal.

    Nearly equal diagonals are told apart by height and depth, which a mirrored quad shares.
    """
    if len(corners) != 4:
        return 0
    first, second = np.linalg.norm(corners[0] - corners[2]), np.linalg.norm(corners[1] - corners[3])
    if abs(first - second) < 0.02 * first:
        return int((corners @ [0, 1, 0.37]).argmax() % 2)
    return 0 if first < second else 1


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


def thin_lashes(raw: RawMesh, positions: np.ndarray, keep: float) -> sp.csr_matrix:
    """Linear map [19158, 19158] that pulls every lash vertex towards its strip's root, keeping a part of its length.

    A strip is a grid of quads; its root is the long side that lies nearest the eyeball at `positions` [19158, 3].
    """
    pull = sp.identity(RAW_VERTICES, format="lil")
    for group, part in GROUP_PART.items():
        if part == LASHES:
            eye = positions[raw.group_vertices(f"helper-{group.split('-')[1]}-eye")].mean(0)
            for vertex, root in _strip_roots(raw, group, positions, eye).items():
                if vertex != root:
                    pull[vertex, vertex], pull[vertex, root] = keep, 1 - keep
    return pull.tocsr()


def _strip_roots(raw: RawMesh, group: str, positions: np.ndarray, eye: np.ndarray) -> dict[int, int]:
    """For every vertex of a grid of quads, the vertex of its root side in the same column."""
    quads = [polygon for polygon, name in zip(raw.polygons, raw.groups) if name == group]
    edges = Counter(frozenset((q[k], q[(k + 1) % 4])) for q in quads for k in range(4))
    uses = Counter(vertex for quad in quads for vertex in quad)
    neighbours: dict[int, set[int]] = {vertex: set() for vertex in uses}
    for edge in edges:
        a, b = edge
        neighbours[a].add(b)
        neighbours[b].add(a)
    border = {
        vertex: {n for n in near if edges[frozenset((vertex, n))] == 1} for vertex, near in neighbours.items()
    }
    corners = [vertex for vertex, count in uses.items() if count == 1]
    sides = [_walk(border, corner, step, set(corners)) for corner in corners for step in border[corner]]
    longest = max(len(side) for side in sides)
    root_side = min(
        (side for side in sides if len(side) == longest),
        key=lambda side: np.linalg.norm(positions[side] - eye, axis=1).mean(),
    )
    roots = {vertex: vertex for vertex in root_side}
    frontier = list(root_side)
    while frontier:  # row by row: the one new neighbour of a vertex is the next of its column
        reached = [(n, roots[vertex]) for vertex in frontier for n in neighbours[vertex] if n not in roots]
        roots.update(reached)
        frontier = [vertex for vertex, _ in reached]
    return roots


def _walk(border: dict[int, set[int]], start: int, step: int, stop: set[int]) -> list[int]:
    """The vertices of one side, from a corner to the next."""
    path = [start, step]
    while path[-1] not in stop:
        path.append(next(n for n in border[path[-1]] if n != path[-2]))
    return path
