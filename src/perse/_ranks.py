"""Several processes of one program, as `torchrun` starts them: who am I, and wait for the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

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


@contextmanager
def ranks() -> Iterator[Ranks]:
    """The ranks that `torchrun` started, connected while inside; alone without `torchrun`."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), world, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    finally:
        dist.destroy_process_group()
