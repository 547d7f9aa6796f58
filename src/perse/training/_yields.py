"""The grid over space on which a layer is told how to give way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perse.avatar.start import YIELD_CELLS, YIELD_VALUES

MARGIN = 0.01
"""Metres that the grid reaches beyond what it is for."""
MIN_SIDE = 0.05
BELOW = 0.12
"""Metres below the lowest thing that hair gives way to that it may still change."""


@dataclass(frozen=True)
class Grid:
    """A box cut into cells; values lie at the corners."""

    low: Tensor
    high: Tensor

    @staticmethod
    def around(points: Tensor, causes: list[Tensor]) -> Grid:
        """The box of points [n, 3] of all looks, cut off well below what they give way to."""
        low, high = points.quantile(0.002, 0) - MARGIN, points.quantile(0.998, 0) + MARGIN
        there = [cause for cause in causes if len(cause)]
        if there:
            low[1] = torch.maximum(low[1], torch.cat(there)[:, 1].min() - BELOW)
        return Grid(low, torch.maximum(high, low + MIN_SIDE))

    def corners(self) -> Tensor:
        """[Z * Y * X, 3] in the order of :meth:`shaped`."""
        x, y, z = (torch.linspace(0, 1, n) for n in YIELD_CELLS)
        at = torch.stack(torch.meshgrid(z, y, x, indexing="ij"), -1).reshape(-1, 3).flip(1)
        return self.low + at * (self.high - self.low)

    def shaped(self, values: Tensor) -> Tensor:
        """Values of all corners [Z * Y * X, 4] as a yield keeps them [4, Z, Y, X]."""
        return values.T.reshape(YIELD_VALUES, *YIELD_CELLS[::-1]).contiguous()

    def spread(self, points: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The mean [Z * Y * X, 4] at every corner of the values [n, 4] of points in the cells around it, weighted
        linearly, and the weight [Z * Y * X] behind it."""
        cells = torch.tensor(YIELD_CELLS)
        at = ((points - self.low) / (self.high - self.low) * (cells - 1)).clamp_min(0)
        at = torch.minimum(at, (cells - 1) - 1e-4)
        base, part = at.floor().long(), at - at.floor()
        total = torch.zeros(int(cells.prod()), values.shape[1])
        weight = torch.zeros(len(total))
        for corner in range(8):
            step = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
            share = torch.where(step > 0, part, 1 - part).prod(1)
            x, y, z = (base + step).T
            index = (z * cells[1] + y) * cells[0] + x
            total.index_add_(0, index, values * share[:, None])
            weight.index_add_(0, index, share)
        return total / weight.clamp_min(1e-6)[:, None], weight
