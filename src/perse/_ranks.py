"""Several processes of one program, as `torchrun` starts them: who am I, and wait for the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_PATIENCE = timedelta(days=14)
"""How long one rank waits for the others: the slowest may have a whole dataset's share to make."""


@dataclass(frozen=True)
class Ranks:
    """One process's place among all of them."""

    rank: int = 0
    """This process, 0 first."""
    world: int = 1
    """How many there are."""
    on_this_machine: int = 1
    """How many of them share this machine's cores."""

    @property
    def first(self) -> bool:
        """The one that does what must be done once."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when every rank has come here."""
        if self.world > 1:
            import torch.distributed as dist

            dist.barrier()

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor of every rank added to this one's, in place; the same bits on each."""
        if self.world > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor)
        return tensor

    def of_first(self, tensor: Tensor) -> Tensor:
        """The first rank's tensor, on every rank. Type, device and dimensions must agree, lengths need not."""
        if self.world == 1:
            return tensor
        import torch
        import torch.distributed as dist

        shape = tensor.new_tensor(tensor.shape, dtype=torch.int64)
        dist.broadcast(shape, 0)
        sent = tensor.contiguous() if self.first else tensor.new_empty(shape.tolist())
        dist.broadcast(sent, 0)
        return sent


@contextmanager
def ranks() -> Iterator[Ranks]:
    """The ranks that `torchrun` started, connected while inside; alone without `torchrun`. May be nested."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    import torch
    import torch.distributed as dist

    outermost = not dist.is_initialized()
    if outermost:
        backend = "gloo"
        if torch.cuda.is_available():
            backend = "cpu:gloo,cuda:nccl"
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), world, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    finally:
        if outermost:
            dist.destroy_process_group()
