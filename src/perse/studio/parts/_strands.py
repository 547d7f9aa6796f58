"""Strands: polylines that grow from roots, gather into locks, curl, and become Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from perse.studio._geometry import matrix_to_quat
from perse.studio.groups import Rooted
from perse.studio.parts._sitter import Array, Roots, tensor, unit
from perse.studio.puppet import Puppet, label_code


@dataclass(frozen=True)
class Segments:
    """One Gaussian a segment, strand after strand: N = strands * segments."""

    means: Array  # [N, 3]
    quats: Array  # [N, 4] wxyz, the first axis along the strand
    scales: Array  # [N, 3]
    tangents: Array  # [N, 3]
    along: Array  # [N] 0 at the root, 1 at the tip
    strand: NDArray[np.int64]  # [N]

    def take(self, index: NDArray) -> Segments:
        """The chosen rows."""
        return Segments(
            self.means[index],
            self.quats[index],
            self.scales[index],
            self.tangents[index],
            self.along[index],
            self.strand[index],
        )


def segments_of(strands: Array, width: float | Array, taper: float = 0.5, overlap: float = 0.58) -> Segments:
    """Gaussians of polylines [S, M, 3].

    ``width`` is sigma across in metres (one, or one a strand [S]); it shrinks by ``taper`` towards the tip.
    """
    count, points = strands.shape[:2]
    along = (np.arange(points - 1) + 0.5) / (points - 1)
    across = np.broadcast_to(np.asarray(width, float).reshape(-1, 1), (count, 1)) * (1 - taper * along)[None]
    return segments_between(
        strands[:, :-1].reshape(-1, 3),
        strands[:, 1:].reshape(-1, 3),
        across.ravel(),
        np.tile(along, count),
        np.repeat(np.arange(count), points - 1),
        overlap,
    )


def segments_between(
    start: Array,
    end: Array,
    across: Array,
    along: Array,
    strand: NDArray[np.int64],
    overlap: float = 0.58,
    up: Array | None = None,
) -> Segments:
    """Gaussians from ``start`` [N, 3] to ``end`` [N, 3], ``across`` [N] metres of sigma wide.

    Their second axis lies across ``up`` [N, 3] (any direction unless given).
    """
    step = end - start
    tangents = unit(step)
    side = np.where(np.abs(tangents[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    side = side if up is None else up
    side = unit(np.cross(tangents, side))
    frames = np.stack([tangents, side, np.cross(tangents, side)], -1)
    length = np.linalg.norm(step, axis=1) * overlap
    return Segments(
        means=(start + end) / 2,
        quats=matrix_to_quat(torch.from_numpy(frames)).numpy(),
        scales=np.maximum(np.stack([length, across, across], 1), 2e-5),
        tangents=tangents,
        along=along,
        strand=strand,
    )


def points_along(strands: Array, strand: NDArray[np.int64], t: Array) -> tuple[Array, Array]:
    """Points and unit tangents [N, 3] at shares ``t`` [N] of the smooth curves through polylines [S, M, 3]."""
    last = strands.shape[1] - 1
    at = np.clip(t, 0, 1) * last
    low = np.minimum(at.astype(np.int64), last - 1)
    u = (at - low)[:, None]
    slopes = np.gradient(strands, axis=1)
    a, b = strands[strand, low], strands[strand, low + 1]
    da, db = slopes[strand, low], slopes[strand, low + 1]
    rise = b - a
    c2, c3 = 3 * rise - 2 * da - db, da + db - 2 * rise
    return a + u * (da + u * (c2 + u * c3)), unit(da + u * (2 * c2 + 3 * u * c3))


def lock_of(roots: Array, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """For each root [S, 3] the index of the root that leads its lock of about ``size`` strands."""
    leaders = rng.choice(len(roots), max(1, len(roots) // max(size, 1)), replace=False)
    _, nearest = cKDTree(roots[leaders]).query(roots)
    return leaders[nearest]


def gather(strands: Array, leader: NDArray[np.int64], strength: float | Array, keep: float = 0.5) -> Array:
    """Pull every strand towards its leader, more towards the tip; ``keep`` of the root distance stays.

    ``strength`` is 0 to 1, one for all or one a strand [S].
    """
    along = np.linspace(0, 1, strands.shape[1])[None, :, None]
    pull = np.asarray(strength, float).reshape(-1, 1, 1) * along**0.8
    offset = strands[:, :1] - strands[leader][:, :1]
    return strands * (1 - pull) + pull * (strands[leader] + offset * keep)


def resample(strands: Array, points: int) -> Array:
    """Polylines [S, M, 3] as smooth curves with ``points`` points each."""
    if points == strands.shape[1]:
        return strands
    curve = CubicSpline(np.linspace(0, 1, strands.shape[1]), strands, axis=1)
    return curve(np.linspace(0, 1, points))


def rooted(
    puppet: Puppet,
    segments: Segments,
    roots: Roots,
    colours: Array,
    opacity: float,
    label: str,
    begins: Array,
) -> Rooted:
    """Segments as a group that rides on the triangles of its roots.

    ``begins`` [N, 3] tells the strand of each segment from others, alike in all looks (:attr:`Group.strands`).
    """
    count = len(segments.means)
    return puppet.root(
        torch.from_numpy(roots.face[segments.strand]),
        tensor(roots.bary[segments.strand]),
        tensor(segments.means),
        tensor(segments.quats),
        tensor(segments.scales),
        opacities=torch.full((count,), opacity),
        colors=tensor(colours),
        labels=torch.full((count,), label_code(label), dtype=torch.uint8),
        strands=tensor(np.concatenate([begins, segments.along[:, None]], 1)),
    )
