"""One list of points for all looks of a part: where each look has them, so that blends of looks move points.

A point of a strand is known by where its strand begins and by its share of the length, which a maker tells
(`SubjectPoints.strands`): point i of short hair is point i of long hair, and a blend grows. A point of hats or cloth
is known by its place on its sheet (:mod:`._sheets`). Where nothing is told (the hair of a photo), points are sent to it
by optimal transport. Where nobody tells anything, looks share points where they lie near one another, and what only
one has grows out of the nearest that the other has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from perse.dataset import SubjectPoints
from perse.training._placed import Placed
from perse.training._sheets import Sheets, settled
from perse.training.thinning import finest_spacing

Array = NDArray[np.float64]
Index = NDArray[np.int64]

STRANDED = 0.5
"""Share of a look's points on strands above which it is told by strands."""
FAR_ROOT = 0.010
"""Metres from the nearest strand's beginning beyond which a look has no such strand."""
FINEST = 0.25
"""Spacing in the smallest look at the least, relative to the largest."""
GATHERED = 0.6
"""Share of the distance between neighbouring strands that is gone at their tips."""
COVERED = 0.75
"""Share of the spacing within which a point is covered by another."""
TURNS = 40
"""Random turns of the axes along which clouds are brought together."""
BLOCK = 192
"""Points that are paired exactly at a time."""
SHARED = 1.5
"""Share of the spacing within which a look that tells no strands has a point of another's."""


def correspond(
    clouds: list[SubjectPoints], budget: int, seed: int, hairy: bool = True
) -> tuple[list[Placed], torch.Tensor | None]:
    """Common points, about `budget` of them: where each look (none of them empty) has them, and, where looks tell
    strands or, of a part that is not `hairy`, places on sheets, which of them these are [n, 4]."""
    rng = np.random.default_rng([seed, 4])
    telling = [i for i, cloud in enumerate(clouds) if is_stranded(cloud)]
    if not telling:
        return _shared([_positions(cloud) for cloud in clouds], budget, rng), None
    strands = {i: told_by(clouds[i], hairy) for i in telling}
    begins, along = _common_strands(list(strands.values()), budget, rng)
    placed = {i: look.place(begins, along) for i, look in strands.items()}
    if not hairy:
        placed = dict(zip(placed, settled(list(placed.values()))))
    told = torch.from_numpy(np.concatenate([begins, along[:, None]], 1)).float()
    known = list(placed.values())
    for i in (i for i in range(len(clouds)) if i not in strands):
        own = _positions(clouds[i])
        nearest = min(known, key=lambda look: _apart(look.means[look.there], own))
        placed[i] = _paired(nearest.means, own, rng)
    return [placed[i] for i in range(len(clouds))], told


def _one_a_cell(points: Array, spacing: float, rng: np.random.Generator) -> Index:
    """Indices of one random point a voxel."""
    order = rng.permutation(len(points))
    cells = np.floor(points[order] / spacing + 0.37).astype(np.int64)
    return np.sort(order[np.unique(cells, axis=0, return_index=True)[1]])


def _thinned(points: Array, count: int, rng: np.random.Generator) -> Index:
    """Indices of at most `count` points, evenly spread, and nearly as many where there are."""
    if len(points) <= count:
        return np.arange(len(points))
    spacing = finest_spacing(lambda tried: len(_one_a_cell(points, tried, rng)), count, (1e-4, 0.1), 12)
    return _one_a_cell(points, spacing, rng)[:count]


def _positions(cloud: SubjectPoints) -> Array:
    return cloud.means.numpy().astype(float)


# ---- strands ----------------------------------------------------------------------------------------------


def is_stranded(cloud: SubjectPoints) -> bool:
    """Whether most of a look is told by strands."""
    return float(cloud.strands.isfinite().all(1).float().mean()) > STRANDED


def told_by(cloud: SubjectPoints, hairy: bool) -> Strands | Sheets:
    """What a look tells, to be asked for the places of others."""
    return Strands(cloud) if hairy else Sheets(cloud)


class Strands:
    """The strands of one look, to be asked for any share of any of them."""

    def __init__(self, cloud: SubjectPoints) -> None:
        told = cloud.strands.isfinite().all(1).nonzero().flatten().numpy()
        places = cloud.strands.numpy().astype(float)[told]
        self.begins, strand = np.unique(places[:, :3], axis=0, return_inverse=True)
        order = np.lexsort((places[:, 3], strand.ravel()))
        self._rows = told[order]
        self._strand, self._along = strand.ravel()[order], places[order, 3]
        self._means = _positions(cloud)[self._rows]
        self._key = self._strand + np.clip(self._along, 0, 1) * 0.999
        self._tree = cKDTree(self.begins)

    def points(self) -> tuple[Array, Array, Array]:
        """Means [N, 3], beginnings [N, 3] and shares of the length [N] of all Gaussians on strands."""
        return self._means, self.begins[self._strand], self._along

    def place(self, begins: Array, along: Array) -> Placed:
        """Where the strands nearest to `begins` [n, 3] are at `along` [n]; beside them as far as they begin beside."""
        distance, strand = self._tree.query(begins)
        after = np.searchsorted(self._key, strand + np.clip(along, 0, 1) * 0.999)
        last = len(self._key) - 1
        low, high = np.clip(after - 1, 0, last), np.clip(after, 0, last)
        low = np.where(self._strand[low] == strand, low, high)
        high = np.where(self._strand[high] == strand, high, low)
        gap = self._along[high] - self._along[low]
        share = np.where(gap > 1e-6, (along - self._along[low]) / np.maximum(gap, 1e-6), 0.0)
        share = np.clip(share, 0, 1)[:, None]
        # Strands gather in locks: what begins beside one ends nearer to it.
        beside = (begins - self.begins[strand]) * (1 - GATHERED * np.clip(along, 0, 1))[:, None]
        means = self._means[low] * (1 - share) + self._means[high] * share + beside
        near = np.where(share[:, 0] < 0.5, low, high)
        return Placed(means, self._rows[near], distance < FAR_ROOT)


def _common_strands(
    looks: Sequence[Strands | Sheets], budget: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Beginnings and shares of about `budget` points that together cover every look, the most spread one first.

    A look of half the size is covered twice as finely: a crop made of the points of long hair alone, few strands of
    many pieces, would be bare between their roots.
    """
    sizes = np.array([float(np.prod(look.points()[0].std(0) + 1e-4)) ** (1 / 3) for look in looks])
    order = np.argsort(sizes)[::-1]
    finest = FINEST if isinstance(looks[0], Strands) else 1.0  # sheets piled up at an edge leave nothing bare
    relative = [(looks[i], float(np.clip(sizes[i] / sizes.max(), finest, 1.0))) for i in order]
    spacing = finest_spacing(lambda tried: len(_cover(relative, tried, rng)[1]), budget, (2e-4, 0.05), 9)
    return _cover(relative, spacing, rng)


def _cover(
    looks: list[tuple[Strands | Sheets, float]], spacing: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    begins, along = np.zeros((0, 3)), np.zeros(0)
    for look, relative in looks:
        means, own_begins, own_along = look.points()
        kept = _one_a_cell(means, spacing * relative, rng)
        if len(along):
            placed = look.place(begins, along)
            if placed.there.any():
                distance, _ = cKDTree(placed.means[placed.there]).query(means[kept])
                kept = kept[distance > COVERED * spacing * relative]
        begins = np.concatenate([begins, own_begins[kept]])
        along = np.concatenate([along, own_along[kept]])
    return begins, along


# ---- no strands: sharing ----------------------------------------------------------------------------------


def _shared(clouds: list[Array], budget: int, rng: np.random.Generator) -> list[Placed]:
    """About `budget` points that together cover every look, and where each look has them."""
    clouds_by_size = sorted(clouds, key=lambda cloud: -float(np.prod(cloud.std(0) + 1e-4)))
    spacing = finest_spacing(
        lambda tried: len(_cover_surfaces(clouds_by_size, tried, rng)), budget, (2e-4, 0.05), 10
    )
    homes = _cover_surfaces(clouds_by_size, spacing, rng)
    return [_settle(homes, cloud, SHARED * spacing) for cloud in clouds]


def _cover_surfaces(clouds: list[Array], spacing: float, rng: np.random.Generator) -> Array:
    """[n, 3] of every cloud in turn what those before it have not covered."""
    homes = np.zeros((0, 3))
    for cloud in clouds:
        kept = _one_a_cell(cloud, spacing, rng)
        if len(homes):
            kept = kept[cKDTree(homes).query(cloud[kept])[0] > COVERED * spacing]
        homes = np.concatenate([homes, cloud[kept]])
    return homes


def _settle(homes: Array, cloud: Array, reach: float) -> Placed:
    """Each of `homes` [n, 3] on the nearest of `cloud` within reach; where there is none, in the very place of the
    nearest that has one."""
    distance, source = cKDTree(cloud).query(homes)
    own = np.flatnonzero(distance <= max(reach, float(distance.min())))
    _, nearest = cKDTree(homes[own]).query(homes)
    holder = own[nearest]
    return Placed(cloud[source[holder]], source[holder], np.ones(len(homes), bool))


# ---- hair that tells no strands: optimal transport ----------------------------------------------------------


def _apart(a: Array, b: Array) -> float:
    """How far two clouds are apart: mean distances to the nearest of the other, both ways."""
    if not len(a) or not len(b):
        return np.inf
    return float(cKDTree(a).query(b[:: 1 + len(b) // 2000])[0].mean()) + float(
        cKDTree(b).query(a[:: 1 + len(a) // 2000])[0].mean()
    )


def _paired(points: Array, cloud: Array, rng: np.random.Generator) -> Placed:
    """Every one of `points` [n, 3] sent to a Gaussian of `cloud`, all of it evenly used, near ones to near places."""
    count = len(points)
    kept = _thinned(cloud, count, rng)
    if len(kept) < count:  # more of the same, twice only where the look has no more
        wanted = count - len(kept)
        more = np.setdiff1d(np.arange(len(cloud)), kept)
        more = more if len(more) >= wanted else np.arange(len(cloud))
        kept = np.concatenate([kept, rng.choice(more, wanted, replace=wanted > len(more))])
    goal = cloud[kept]
    order = pair_up(_transported(points, goal, rng), goal)
    return Placed(goal[order], kept[order], np.ones(count, bool))


def _transported(points: Array, goal: Array, rng: np.random.Generator) -> Array:
    """Move `points` [n, 3] until they lie as `goal` [n, 3] does: sorted along turned axes, again and again."""
    moved = points.copy()
    for _ in range(TURNS):
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        here, there = moved @ axes, goal @ axes
        for axis in range(3):
            here[np.argsort(here[:, axis], kind="stable"), axis] = np.sort(there[:, axis])
        moved = here @ axes.T
    return moved


def pair_up(a: Array, b: Array) -> Index:
    """A permutation p [n] that pairs a[i] with b[p[i]]: halves of both along their longest axis, exact in the small."""
    result = np.zeros(len(a), np.int64)

    def divide(rows: Index, columns: Index) -> None:
        if len(rows) <= BLOCK:
            cost = ((a[rows][:, None] - b[columns][None]) ** 2).sum(-1)
            mine, theirs = linear_sum_assignment(cost)
            result[rows[mine]] = columns[theirs]
            return
        axis = int(np.argmax(np.ptp(b[columns], axis=0)))
        half = len(rows) // 2
        rows = rows[np.argsort(a[rows, axis], kind="stable")]
        columns = columns[np.argsort(b[columns, axis], kind="stable")]
        divide(rows[:half], columns[:half])
        divide(rows[half:], columns[half:])

    divide(np.arange(len(a)), np.arange(len(b)))
    return result


__all__ = ["Placed", "Strands", "correspond", "pair_up"]
