"""Points that come and go: what every per-point tensor does when its points are rearranged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Moved:
    """A parameter that was replaced by another of other length, for whoever keeps state beside parameters."""

    old: nn.Parameter
    new: nn.Parameter
    dim: int
    """The dimension in which the points lie."""
    source: Tensor
    """[n'] int64: the old row that each new row is a copy of."""
    fresh: Tensor
    """[n'] bool: rows of points that were just born."""

    def rows(self, old: Tensor) -> Tensor:
        """A tensor of the old parameter's shape, rearranged likewise."""
        return old.index_select(self.dim, self.source)


def rearrange_parameters(
    module: nn.Module, dims: dict[str, int], source: Tensor, fresh: Tensor
) -> list[Moved]:
    """Replace the module's own parameters named in `dims` (with their point dimension) by their rows `source`."""
    moved = []
    for name, dim in dims.items():
        old = module.get_parameter(name)
        new = nn.Parameter(old.detach().index_select(dim, source), requires_grad=old.requires_grad)
        setattr(module, name, new)
        moved.append(Moved(old, new, dim, source, fresh))
    return moved


def rearrange_buffers(module: nn.Module, names: tuple[str, ...], source: Tensor) -> None:
    """The same for buffers whose points lie in dimension 0."""
    for name in names:
        setattr(module, name, module.get_buffer(name)[source])


def rows_of(index: Tensor, source: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Follow a list of points through a rearrangement: every copy of a listed point is listed.

    Args:
        index: [k] old points. source: [n'] as in `Moved`. count: how many points there were.

    Returns:
        The new index [k'], and for each of its entries the old entry [k'] that it copies.
    """
    entry = torch.full((count,), -1, dtype=torch.int64, device=index.device)
    entry[index] = torch.arange(len(index), device=index.device)
    copied = entry[source]
    new = (copied >= 0).nonzero()[:, 0]
    return new, copied[new]
