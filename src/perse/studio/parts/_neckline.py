"""Where cloth ends at neck and shoulders: an edge on the template, its curve on the person, what follows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from perse.studio._geometry import subdivision
from perse.studio.parts._sitter import Array, Sitter, smoothstep, unit

RING = 144


@dataclass(frozen=True)
class Edge:
    """A height on the template for every place around the neck: a plane, a notch in front, bared shoulders."""

    front: float
    """Template y in front of the neck."""
    back: float
    """Template y behind it."""
    vee: float = 0.0
    """How far a notch goes down in front."""
    vee_width: float = 0.06
    """Half its width at the top."""
    scoop: float = 0.0
    """0: the notch is a V; 1: a U."""
    straps: float = 0.0
    """1: arms and shoulders are bare beside straps; cloth is there between the two distances below."""
    strap_inner: float = 0.066
    strap_outer: float = 0.105

    def height(self, template: Array) -> Array:
        """[N] how far template points are above the edge."""
        x, z = np.abs(template[:, 0]), template[:, 2]
        share = (0.03 - z) / 0.095
        line = self.front + (self.back - self.front) * np.clip(share, -0.6, 1.2)
        across = np.clip(x / self.vee_width, 0, 1)
        notch = (1 - across) * (1 - self.scoop) + self.scoop * np.sqrt(1 - across**2)
        line = line - self.vee * notch * smoothstep(z, -0.045, -0.01)
        if self.straps:
            strap = smoothstep(x, self.strap_inner - 0.010, self.strap_inner)
            arm = smoothstep(x, self.strap_outer, self.strap_outer + 0.030)
            line = line + self.straps * (0.10 * strap * (1 - arm) - 0.10 * arm)
        return template[:, 1] - line


def neck_ring(sitter: Sitter, edge: Edge) -> tuple[Array, Array]:
    """The edge as a closed curve on the rest head [RING, 3], from the front to the left, and its normals."""
    chin = sitter.marks[152, 1]
    corners = sitter.template[sitter.faces[sitter.skin_faces]]
    level = edge.height(corners.reshape(-1, 3)).reshape(-1, 3)
    near = (level.min(1) < 0.02) & (level.max(1) > -0.02) & (corners[:, :, 1].min(1) < chin + 0.03)
    faces = sitter.skin_faces[near]
    centres = subdivision(4).double().numpy()
    face, bary = np.repeat(faces, len(centres)), np.tile(centres, (len(faces), 1))
    template = (sitter.template[sitter.faces[face]] * bary[..., None]).sum(1)
    level = edge.height(template)
    close = (np.abs(level) < 0.006) & (np.abs(template[:, 0]) < 0.19)
    close &= (template[:, 2] < 0.062) & (template[:, 1] < chin + 0.03)
    roots = sitter.roots_at(face[close], bary[close])
    angle = np.arctan2(roots.template[:, 0], roots.template[:, 2] + 0.012)
    want = (np.arange(RING) / RING * 2 * np.pi)[:, None]
    share = np.exp(-((((angle - want + np.pi) % (2 * np.pi) - np.pi) / 0.07) ** 2))
    share = share / (np.abs(level[close]) + 0.001)
    share = share / share.sum(1, keepdims=True)
    points, normals = share @ roots.points, share @ roots.normals
    points = ndimage.gaussian_filter1d(points, 2.0, axis=0, mode="wrap")
    return points, unit(ndimage.gaussian_filter1d(normals, 3.0, axis=0, mode="wrap"))


def along(ring: Array, count: int) -> Array:
    """A closed curve [R, 3] resampled to [count, 3]."""
    position = np.arange(count) / count * len(ring)
    low = np.floor(position).astype(int)
    share = (position - low)[:, None]
    return ring[low % len(ring)] * (1 - share) + ring[(low + 1) % len(ring)] * share


def inward(ring: Array, normal: Array) -> Array:
    """[R, 3] unit vectors on the surface, across the curve, towards the neck."""
    tangent = unit(np.roll(ring, -1, 0) - np.roll(ring, 1, 0))
    across = unit(np.cross(normal, tangent))
    return across * np.sign((across @ np.array([0.0, 1.0, 0.35])).sum() + 1e-9)


def contours(sitter: Sitter, edge: Edge, cuts: int = 5) -> list[Array]:
    """All curves on the body where the edge's height is 0, each [M, 3] with M as its length needs.

    A neckline with straps has several: around the neck, and around each arm.
    """
    corners = sitter.faces[sitter.skin_faces]
    low = sitter.template[corners][:, :, 1].min(1) < sitter.marks[152, 1] - 0.005
    corners = corners[low & (sitter.template[corners][:, :, 2].max(1) < 0.062)]
    bary = np.array([(i, j, cuts - i - j) for i in range(cuts + 1) for j in range(cuts + 1 - i)]) / cuts
    index = {tuple(np.round(b * cuts).astype(int)): k for k, b in enumerate(bary)}
    small = []
    for i in range(cuts):
        for j in range(cuts - i):
            k = cuts - i - j
            small.append([index[i + 1, j, k - 1], index[i, j + 1, k - 1], index[i, j, k]])
            if k > 1:
                small.append([index[i + 1, j, k - 1], index[i + 1, j + 1, k - 2], index[i, j + 1, k - 1]])
    template = np.einsum("bc,fcd->fbd", bary, sitter.template[corners])
    points = np.einsum("bc,fcd->fbd", bary, sitter.rest[corners])
    level = edge.height(template.reshape(-1, 3)).reshape(len(corners), -1)
    triangles = np.array(small)
    values, places = level[:, triangles].reshape(-1, 3), points[:, triangles].reshape(-1, 3, 3)
    crossing = (values.min(1) < 0) & (values.max(1) >= 0)
    return _chains(_segments(values[crossing], places[crossing]))


def _segments(values: Array, places: Array) -> Array:
    """[S, 2, 3] where the level 0 crosses triangles."""
    found = []
    for value, place in zip(values, places):
        ends = []
        for a, b in ((0, 1), (1, 2), (2, 0)):
            if (value[a] < 0) != (value[b] < 0):
                t = value[a] / (value[a] - value[b])
                ends.append(place[a] * (1 - t) + place[b] * t)
        if len(ends) == 2:
            found.append(ends)
    return np.array(found).reshape(-1, 2, 3)


def _chains(segments: Array, shortest: float = 0.06) -> list[Array]:
    """Curves from segments that share ends; open and closed ones longer than ``shortest`` metres."""
    keys = [tuple(key) for key in np.round(segments.reshape(-1, 3) / 2e-6).astype(int)]
    at: dict[tuple, list[int]] = {}
    for k, key in enumerate(keys):
        at.setdefault(key, []).append(k)
    flat = segments.reshape(-1, 3)
    unused = set(range(len(segments)))
    chains = []
    while unused:
        start = min(unused)
        unused.discard(start)
        chain = [2 * start, 2 * start + 1]
        for _ in range(2):  # forwards, then backwards
            while True:
                following = [k for k in at[keys[chain[-1]]] if k // 2 in unused]
                if not following:
                    break
                unused.discard(following[0] // 2)
                chain.append(following[0] ^ 1)
            chain.reverse()
        curve = flat[chain]
        if np.linalg.norm(np.diff(curve, axis=0), axis=1).sum() > shortest:
            chains.append(_even(curve))
    return chains


def _even(curve: Array, step: float = 0.0016) -> Array:
    """The curve smoothed and with points every ``step`` metres."""
    closed = bool(np.linalg.norm(curve[0] - curve[-1]) < 0.004)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    count = max(8, round(length[-1] / step))
    at = np.linspace(0, length[-1], count)
    even = np.stack([np.interp(at, length, curve[:, axis]) for axis in range(3)], 1)
    return ndimage.gaussian_filter1d(even, 2.0, axis=0, mode="wrap" if closed else "nearest")
