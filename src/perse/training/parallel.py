"""Several processes that learn one avatar: each takes its share of a step's subjects, gradients are added up."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from perse._ranks import Ranks
from perse.errors import PerseError


def my_parts(subjects_per_step: int, ranks: Ranks) -> range:
    """Which of a step's subjects this process takes.

    Raises:
        PerseError: there are more processes than subjects in a step.
    """
    if ranks.world > subjects_per_step:
        raise PerseError(
            f"{ranks.world} processes share a step of {subjects_per_step} subjects: set subjects_per_step to "
            f"{ranks.world} or a multiple of it, or start fewer processes"
        )
    return range(ranks.rank, subjects_per_step, ranks.world)


def sum_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Make every process's gradients the sum over all of them.

    A parameter that no process used keeps no gradient, so that Adam leaves it alone (layers that are not in any
    picture of the step); one that only some used counts as zero on the others.
    """
    if ranks.world == 1:
        return
    parameters = list(parameters)
    device = parameters[0].device
    used = ranks.sum(torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=device))
    shared = [p for p, n in zip(parameters, used.tolist()) if n]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in shared])
    ranks.sum(flat)
    for p, gradient in zip(shared, flat.split([p.numel() for p in shared])):
        p.grad = gradient.view_as(p)
