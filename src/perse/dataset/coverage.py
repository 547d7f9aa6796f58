"""How far a motion goes: head turn, jaw, gaze, lids and every expression unit."""

from __future__ import annotations

import torch
from torch import Tensor

from perse.dataset.records import Motion
from perse.head import Head, open_head

# name: joint (its place in theta), axis
_ANGLES = {
    "yaw": (1, 1),
    "pitch": (1, 0),
    "roll": (1, 2),
    "jaw": (2, 0),
    "gaze across": (3, 1),
    "gaze down": (3, 0),
}


def motion_coverage(motion: Motion, head: Head | None = None) -> dict[str, tuple[float, float]]:
    """The least and the most of everything a motion moves.

    Returns:
        ``yaw`` (to the person's left), ``pitch`` (down), ``roll``, ``jaw``, ``gaze across``, ``gaze down`` in
        degrees, as rotation-vector components; then every face unit of the head by name, 1 being its full
        extent (``eyeBlinkLeft`` is the closing of the left lid). Units need a head that names them.
    """
    head = head or open_head()
    found = {}
    pose = torch.rad2deg(motion.pose.unflatten(-1, (5, 3)))
    for name, (joint, axis) in _ANGLES.items():
        found[name] = _range(pose[:, joint, axis])
    units = unit_amounts(motion.expr, head)
    for column, name in enumerate(head.unit_names):
        found[name] = _range(units[:, column])
    return found


def unit_amounts(expr: Tensor, head: Head) -> Tensor:
    """Expression coefficients [T, 50] as amounts of the head's named units [T, U]; empty without names."""
    if head.unit_to_expr is None:
        return expr.new_zeros(len(expr), 0)
    inverse = torch.linalg.pinv(head.unit_to_expr.double())  # [50, U]
    return (expr.double() @ inverse).to(expr.dtype)


def _range(values: Tensor) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
