"""An exponential moving average of the weights: a calmer model than the last step's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perse.avatar import Moved

EVERY = 8
"""Steps between updates; reading and writing every weight at each step would cost as much as Adam."""


class Ema:
    """The average of a model's parameters over about 1 / (1 - decay) steps; with decay 0 the parameters themselves."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._weight = model, 1 - decay**EVERY
        self._average: dict[nn.Parameter, Tensor] = {}
        if decay > 0:
            self._average = {p: p.detach().clone() for p in model.parameters()}

    def update(self, step: int) -> None:
        """Move towards the parameters, after `step` steps."""
        if self._average and step % EVERY == 0:
            # The first updates weigh more, or the average would remember step 0.
            weight = max(self._weight, 1 / (1 + step // EVERY))
            with torch.no_grad():
                torch._foreach_lerp_(list(self._average.values()), list(self._average), weight)

    def restart(self, moved: Sequence[Moved]) -> None:
        """Points came, went and were split: averages of what each was before would be of something else."""
        for m in moved:
            if self._average.pop(m.old, None) is not None:
                self._average[m.new] = m.new.detach().clone()

    def copy_to(self, model: nn.Module) -> None:
        """Put the averages into a model with the same parameters."""
        names = {p: name for name, p in self._model.named_parameters()}
        with torch.no_grad():
            for p, average in self._average.items():
                model.get_parameter(names[p]).copy_(average)

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint: every average by its parameter's name."""
        return {n: self._average[p] for n, p in self._model.named_parameters() if p in self._average}

    def load(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state`."""
        for name, p in self._model.named_parameters():
            if p in self._average:
                self._average[p] = state[name].to(p.device)
