"""The light of a photo from the brightness of its skin, and the filling in of what the photo does not show."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import cg
from scipy.spatial import cKDTree

Array = np.ndarray

LUMA = np.array([0.299, 0.587, 0.114])


def harmonics(normals: Array) -> Array:
    """The nine second-order polynomials of normals [N, 3] -> [N, 9] (as perse.studio._geometry has them)."""
    x, y, z = normals.T
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1], 1)


def fit_light(normals: Array, colors: Array) -> Array:
    """Robust ridge fit of spherical harmonics to the luminance of skin.

    normals [N, 3], colors [N, 3] of confident skin -> coefficients [9], scaled so that the median shade is 1.
    Residuals beyond 0.08 (brows, moles, highlights) lose their weight over four rounds.
    """
    basis = harmonics(normals)
    target = colors @ LUMA
    weight = np.ones(len(target))
    ridge = np.diag([1e-6] + [0.01] * 3 + [0.06] * 5) * len(target)
    coefficients = np.zeros(9)
    for _ in range(4):
        weighted = (basis * weight[:, None]).T
        coefficients = np.linalg.solve(weighted @ basis + ridge, weighted @ target)
        weight = 1 / (1 + ((target - basis @ coefficients) / 0.08) ** 2)
    return coefficients / np.median(basis @ coefficients)


class SurfaceGraph:
    """Nearest neighbours of surface points [N, 3]: completes colours smoothly where none were seen."""

    def __init__(self, points: Array, neighbours: int = 8) -> None:
        count = len(points)
        _, near = cKDTree(points).query(points, neighbours + 1)
        rows = np.repeat(np.arange(count), neighbours)
        links = sparse.coo_matrix((np.ones(len(rows)), (rows, near[:, 1:].ravel())), (count, count)).tocsr()
        links = links.maximum(links.T)
        degree = np.asarray(links.sum(1)).ravel()
        self.average = sparse.diags(1 / degree) @ links
        self.laplacian = sparse.diags(np.asarray(links.sum(1)).ravel()) - links

    def inner(self, weight: Array, rounds: int = 30) -> Array:
        """Weights [N] that fall to 0 before the border of ``weight`` does, over about ``rounds`` / 4 neighbours."""
        smooth = weight
        for _ in range(rounds):
            smooth = self.average @ smooth
        t = np.clip(2 * smooth - 1, 0, 1)
        return np.minimum(weight, t * t * (3 - 2 * t))

    def fill(self, colors: Array, weight: Array, prior: Array, prior_weight: float = 2e-4) -> Array:
        """Minimise ``sum w |c - colors|^2 + sum_edges |c_i - c_j|^2 + prior_weight |c - prior|^2`` -> [N, 3]."""
        system = self.laplacian + sparse.diags(weight + prior_weight)
        precondition = sparse.diags(1 / system.diagonal())
        start = np.where(weight[:, None] > 1, colors, prior)
        filled = [
            cg(
                system,
                weight * colors[:, channel] + prior_weight * prior[channel],
                x0=start[:, channel],
                M=precondition,
                rtol=2e-4,
                maxiter=600,
            )[0]
            for channel in range(3)
        ]
        return np.stack(filled, 1)
