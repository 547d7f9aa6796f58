"""Fewer points that still cover the same thing: voxel thinning to a given count, sizes from the gaps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree


def voxel_thin(points: np.ndarray, spacing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of one random point a voxel; `spacing` [N] metres may differ between points.

    Spacings are rounded to quarter octaves, so that points of like spacing share a grid.
    """
    level = np.round(np.log2(spacing) * 4).astype(np.int64)
    order = rng.permutation(len(points))
    kept = []
    for value in np.unique(level):
        chosen = order[level[order] == value]
        cells = np.floor(points[chosen] / 2.0 ** (value / 4) + 0.37).astype(np.int64)
        _, first = np.unique(cells, axis=0, return_index=True)
        kept.append(chosen[first])
    return np.sort(np.concatenate(kept))


def thin_to(
    points: np.ndarray, relative: np.ndarray, count: int, rng_seed: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Thin to about `count` points by scaling the relative spacings [N].

    Returns:
        kept indices, and the spacing [kept] in metres that was used.
    """
    if len(points) <= count:
        spacing = nearest_gap(points, 2)
        return np.arange(len(points)), spacing

    def thinned(spacing: float) -> np.ndarray:
        return voxel_thin(points, relative * spacing, np.random.default_rng(rng_seed))

    finest = finest_spacing(lambda tried: len(thinned(tried)), count, (1e-4, 0.1), 12)
    kept = thinned(finest)
    return kept, (relative * finest)[kept]


def finest_spacing(
    count: Callable[[float], int], most: int, between: tuple[float, float], rounds: int
) -> float:
    """The smallest spacing in metres at which `count` gives no more than `most`, by halving the octaves `between`."""
    low, high = between
    for _ in range(rounds):
        middle = (low * high) ** 0.5
        if count(middle) > most:
            low = middle
        else:
            high = middle
    return high


def nearest_gap(points: np.ndarray, neighbours: int = 4) -> np.ndarray:
    """Mean distance [N] to the nearest other points; points in the very same place count as one."""
    places, which = np.unique(points, axis=0, return_inverse=True)
    count = min(neighbours, len(places) - 1)
    if count < 1:
        return np.full(len(points), 0.003)
    distance, _ = cKDTree(places).query(places, count + 1)
    return np.maximum(distance[:, 1:].mean(1), 1e-4)[which.ravel()]
