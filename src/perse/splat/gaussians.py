"""A set of 3D Gaussians with activated values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Index = torch.Tensor | slice | int | Sequence[int]


@dataclass(eq=False)
class Gaussians:
    """N Gaussians as they are drawn: no logits, no logarithms, colours in [0, 1].

    Each tensor may carry leading batch dimensions ([F, N, 3] for F frames); they broadcast against one another,
    so colours that do not change between frames need not be repeated.
    """

    means: torch.Tensor
    """Centres in metres [..., N, 3]."""
    quats: torch.Tensor
    """Rotations, wxyz, of any length above zero [..., N, 4]."""
    scales: torch.Tensor
    """Standard deviations along the rotated axes in metres [..., N, 3]."""
    opacities: torch.Tensor
    """Opacity in [0, 1] [..., N]."""
    colors: torch.Tensor
    """sRGB colour [..., N, 3]."""

    def __len__(self) -> int:
        """N, the number of Gaussians."""
        return self.means.shape[-2]

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Gaussians:
        """A new set with `function` applied to each of the five tensors."""
        return Gaussians(*(function(tensor) for tensor in self._tensors()))

    def to(self, *args: Any, **kwargs: Any) -> Gaussians:
        """Move or convert every tensor, with the arguments of `torch.Tensor.to`."""
        return self.map(lambda tensor: tensor.to(*args, **kwargs))

    def detach(self) -> Gaussians:
        """The same values outside the autograd graph."""
        return self.map(torch.Tensor.detach)

    def __getitem__(self, index: Index) -> Gaussians:
        """Select Gaussians (never batch entries) by mask [N], index tensor, slice, list or single index."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):  # also what ends `for gaussian in gaussians`
                raise IndexError(f"Gaussian {index} of {len(self)}")
            index = [index]
        if not isinstance(index, torch.Tensor | slice):
            index = torch.as_tensor(index, dtype=None if len(index) else torch.int64)
        return Gaussians(
            self.means[..., index, :],
            self.quats[..., index, :],
            self.scales[..., index, :],
            self.opacities[..., index],
            self.colors[..., index, :],
        )

    @staticmethod
    def cat(sets: Sequence[Gaussians]) -> Gaussians:
        """Join sets along N. Leading batch dimensions are broadcast to a common shape, tensor by tensor."""
        if not sets:
            raise ValueError("Gaussians.cat needs at least one set")
        columns = zip(*(gaussians._tensors() for gaussians in sets), strict=True)
        point_dims = (2, 2, 2, 1, 2)  # [N, 3], [N, 4], [N, 3], [N], [N, 3]
        return Gaussians(
            *(_cat_points(column, dims) for column, dims in zip(columns, point_dims, strict=True))
        )

    def _tensors(self) -> tuple[torch.Tensor, ...]:
        return self.means, self.quats, self.scales, self.opacities, self.colors


def _cat_points(tensors: Sequence[torch.Tensor], point_dims: int) -> torch.Tensor:
    """Concatenate along dimension -point_dims after broadcasting the dimensions before it."""
    batch = torch.broadcast_shapes(*(tensor.shape[:-point_dims] for tensor in tensors))
    return torch.cat([t.expand(*batch, *t.shape[-point_dims:]) for t in tensors], dim=-point_dims)
