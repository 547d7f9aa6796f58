"""The surfaces of one look of a solid part, or of cloth, to be asked for any place on any of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from perse.dataset import SubjectPoints
from perse.training._placed import Placed

Array = NDArray[np.float64]

BESIDE = 0.004
"""Metres from the nearest place that a look has beyond which it has no such place: a lower neckline bares skin."""
AROUND = 4
"""Places between which one lies."""
EXACT = 3e-4
"""Metres within which a place is the very one that is told."""


class Sheets:
    """Places (`SubjectPoints.strands`: three numbers tell one) and where this look has them."""

    def __init__(self, cloud: SubjectPoints) -> None:
        self._rows = cloud.strands.isfinite().all(1).nonzero().flatten().numpy()
        self._means = cloud.means.numpy().astype(float)[self._rows]
        self._places = cloud.strands.numpy().astype(float)[self._rows, :3]
        self._tree = cKDTree(self._places)

    def points(self) -> tuple[Array, Array, Array]:
        """Means [N, 3], places [N, 3] and zeros [N] of all Gaussians on sheets."""
        return self._means, self._places, np.zeros(len(self._means))

    def place(self, places: Array, along: Array) -> Placed:
        """Where this look has `places` [n, 3] (`along` is all zeros): between the nearest that it tells."""
        count = min(AROUND, len(self._rows))
        distance, near = (x.reshape(len(places), count) for x in self._tree.query(places, count))
        weight = 1 / (distance**2 + EXACT**2)
        weight = weight / weight.sum(1, keepdims=True)
        means = (self._means[near] * weight[..., None]).sum(1)
        return Placed(means, self._rows[near[:, 0]], distance[:, 0] < BESIDE)


def settled(looks: list[Placed]) -> list[Placed]:
    """The same, but what one look lacks waits in the very place of the nearest that it has: a turtleneck grows out of
    the neckline, a brim out of the crown's edge. It is hidden there: training makes other use of what is seen, and half
    way the part would be frayed."""
    there = np.stack([look.there for look in looks])
    means = np.stack([look.means for look in looks])
    homes = (means * there[..., None]).sum(0) / np.maximum(there.sum(0), 1)[:, None]
    result = []
    for look in looks:
        own = np.flatnonzero(look.there)
        holder = np.arange(len(homes))
        missing = np.flatnonzero(~look.there)
        holder[missing] = own[cKDTree(look.means[own]).query(homes[missing])[1]]
        result.append(Placed(look.means[holder], look.source[holder], look.there))
    return result
