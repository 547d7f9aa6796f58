"""Parts as points in a space: every look of a category is a frozen dataclass of floats.

The vector is what a morph between two looks walks along (and what a slider moves).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, Self

from perse.studio.parts._colours import RGB


@dataclass(frozen=True)
class Params:
    """Base of every part's parameters: floats only, in a fixed order."""

    def vector(self) -> tuple[float, ...]:
        """The parameters as a plain vector."""
        return tuple(float(value) for value in astuple(self))

    @classmethod
    def from_vector(cls, vector: Sequence[float]) -> Self:
        """Inverse of :meth:`vector`."""
        names = [item.name for item in fields(cls)]
        if len(vector) != len(names):
            raise ValueError(f"{cls.__name__} has {len(names)} parameters, not {len(vector)}")
        return cls(**{name: float(value) for name, value in zip(names, vector)})

    def mix(self, other: Self, t: float) -> Self:
        """The look a share ``t`` of the way to ``other``."""
        pairs = zip(self.vector(), other.vector())
        return self.from_vector([a * (1 - t) + b * t for a, b in pairs])

    def but(self, **changes: Any) -> Self:
        """A copy with some parameters changed."""
        return replace(self, **changes)

    def painted(self, colour: RGB) -> Self:
        """A copy in another colour (parameters ``red``, ``green``, ``blue``)."""
        return self.but(red=colour[0], green=colour[1], blue=colour[2])
