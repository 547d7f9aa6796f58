"""Where one look has the points that all looks of a part share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Placed:
    """Where one look has the n common points."""

    means: NDArray[np.float64]
    """[n, 3] metres."""
    source: NDArray[np.int64]
    """[n] a Gaussian of the look's own that is there."""
    there: NDArray[np.bool_]
    """[n] whether the look shows the point."""
