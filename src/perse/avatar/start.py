"""What a field starts from: points by layer, and what is known of every subject before the first step.

Plain data. `perse.training.starts` makes it (from a maker's points, from images alone, or from the bare head);
the fields turn it into parameters.

A *value* of a point is 19 numbers: opacity logit, log scale (3), quaternion (4), colour logits (3), offset in
metres (3), skinning weights (5), in that order (`VALUE_SLICES`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from perse.dataset import LABELS

VALUES = 19
OPACITY, SCALE, ROTATION, COLOR, OFFSET = slice(0, 1), slice(1, 4), slice(4, 8), slice(8, 11), slice(11, 14)
WEIGHTS = slice(14, 19)
VALUE_SLICES = {
    "opacity": OPACITY, "scale": SCALE, "rotation": ROTATION, "color": COLOR, "offset": OFFSET, "weights": WEIGHTS
}  # fmt: skip
YIELD_VALUES, YIELD_CELLS = 4, (24, 24, 24)
"""A layer yields in space: numbers a cell (shift of the opacity logit, offset in metres), and cells in x, y, z."""
VISIBLE_LOGIT, HIDDEN_LOGIT = 2.5, -6.0
"""Opacity logits of a point that a subject shows and of one that it does not. At -3 their fog ruins the picture."""


@dataclass
class Points:
    """N points of one layer, tied to the head."""

    means: Tensor
    """[N, 3] metres, on the portrait-shaped head at expr = 0, pose = 0."""
    quats: Tensor
    """[N, 4] wxyz."""
    log_scales: Tensor
    """[N, 3] logarithm of the standard deviations in metres."""
    opacity: Tensor
    """[N] logit."""
    colors: Tensor
    """[N, 3] logits."""
    labels: Tensor
    """[N] uint8 codes of LABELS."""
    E: Tensor
    """[N, 3, 50] expression directions of the nearest piece of head."""
    P: Tensor
    """[N, 3, 36] pose correctives, likewise."""
    W: Tensor
    """[N, 5] skinning weights, likewise; rows sum to 1."""

    def __len__(self) -> int:
        return int(self.means.shape[0])

    def __getitem__(self, index: Tensor | slice) -> Points:
        return Points(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @staticmethod
    def cat(parts: list[Points]) -> Points:
        """All points of `parts`, in order."""
        return Points(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Points)})


@dataclass
class Known:
    """What is known of some subjects before training: values [S, n, ...] for subjects [S]."""

    subjects: list[int | None]
    """Entry of the latent space each row belongs to; None: the reference."""
    values: Tensor
    """[S, n, 19], or [S, 4, Z, Y, X] of a yield, in the units of the values above."""


@dataclass
class LayerStart:
    """One category's own points; `known` are whole values of opacity and colour (their mean replaces the points' own),
    and differences of everything else from the points' own."""

    points: Points
    known: Known
    strands: Tensor | None = None
    """[n, 4] where on which strand each point lies (`SubjectPoints.strands`); None: the part has no strands."""


@dataclass
class ActionStart:
    """How a category changes base points (nose and mouth shapes, skin under a beard); `known` are differences."""

    index: Tensor
    """[n] int64 base points in reach of the category."""
    known: Known


@dataclass
class YieldStart:
    """How one layer gives way to another category (hair under a hat), told for places, not for points: whatever hair
    comes there gives way alike. `known` are values at the corners of a grid."""

    known: Known
    low: Tensor
    """[3] metres: where the grid begins..."""
    high: Tensor
    """[3] ...and where it ends."""


@dataclass
class Start:
    """Everything a field is built from."""

    base: Points
    """The head itself: points that answer to no code but by actions."""
    layers: dict[str, LayerStart] = field(default_factory=dict)
    actions: dict[str, ActionStart] = field(default_factory=dict)
    yields: dict[tuple[str, str], YieldStart] = field(default_factory=dict)
    name: str = "head"

    def __len__(self) -> int:
        return len(self.base) + sum(len(layer.points) for layer in self.layers.values())

    def flat(self) -> tuple[Points, Tensor]:
        """All points in one list, and the opacity logit [N] each has in the reference (for shared-point fields)."""
        parts = [self.base]
        for layer in self.layers.values():
            points, known = layer.points, layer.known
            if None in known.subjects:
                values = known.values[known.subjects.index(None)]
                opacity, colors = values[:, OPACITY][:, 0], values[:, COLOR]
            else:
                opacity, colors = torch.full_like(points.opacity, -3.0), known.values[..., COLOR].mean(0)
            parts.append(Points(**{**_asdict(points), "opacity": opacity.clamp(-3.0), "colors": colors}))
        points = Points.cat(parts)
        return points, points.opacity


def _asdict(points: Points) -> dict[str, Any]:
    return {f.name: getattr(points, f.name) for f in fields(points)}


def value_steps(offset_m: float = 0.03) -> Tensor:
    """[19] size of one unit of a learned direction: opacity 1, scale .4, rotation .2, colour 1, offset in metres,
    skinning weights .3.

    They make one step of an optimizer equally bold in every kind of value.
    """
    return torch.tensor([1.0] + [0.4] * 3 + [0.2] * 4 + [1.0] * 3 + [offset_m] * 3 + [0.3] * 5)


LABEL_COUNT = len(LABELS)
