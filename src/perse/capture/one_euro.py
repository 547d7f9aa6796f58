"""The one-euro filter: steady while little moves, quick when much does."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SPEED_CUTOFF = 2.0  # Hz, of the low-pass on the speed itself


class OneEuro:
    """A low-pass of every entry whose cutoff grows with that entry's speed (Casiez, Roussel, Vogel 2012)."""

    def __init__(self, cutoff: float, gain: float) -> None:
        """At rest signals above `cutoff` Hz are damped; each unit of speed a second adds `gain` Hz."""
        self._cutoff, self._gain = cutoff, gain
        self._value: Tensor | None = None
        self._speed: Tensor | None = None
        self._time = 0.0

    def __call__(self, value: Tensor, time: float) -> Tensor:
        """The filtered value at `time` seconds; times must grow."""
        if self._value is None or self._speed is None:
            self._value, self._speed, self._time = value, torch.zeros_like(value), time
            return value
        step = max(time - self._time, 1e-4)
        share = _share(torch.tensor(_SPEED_CUTOFF), step)
        self._speed = torch.lerp(self._speed, (value - self._value) / step, share.to(value))
        cutoff = self._cutoff + self._gain * self._speed.abs()
        self._value = self._value + _share(cutoff, step) * (value - self._value)
        self._time = time
        return self._value

    def reset(self) -> None:
        """Forget: the next value passes as it is."""
        self._value = self._speed = None


def _share(cutoff: Tensor, step: float) -> Tensor:
    """How much of a new value passes a low-pass of `cutoff` Hz after `step` seconds."""
    rate = 2 * math.pi * cutoff * step
    return rate / (rate + 1)
