"""The 52 blendshape names of ARKit as expression and pose: what phones, game engines and face trackers speak."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from perse.errors import PerseError

from .model import Head

GAZE_ACROSS, GAZE_UP, GAZE_DOWN = math.radians(30), math.radians(25), math.radians(30)
"""Turn of an eye at which ARKit's eyeLookIn / Out, Up, Down are 1."""
UNSUPPORTED = ("mouthClose", "tongueOut")
"""Names that the open head has no movement for; they are read and do nothing."""
_JAW, _LEFT_EYE, _RIGHT_EYE = (
    6,
    9,
    12,
)  # where theta holds them; x opens or looks down, y looks to the person's left
# name: (eye, axis, radians at 1)
_GAZE = {
    "eyeLookUpLeft": (_LEFT_EYE, 0, -GAZE_UP),
    "eyeLookDownLeft": (_LEFT_EYE, 0, GAZE_DOWN),
    "eyeLookInLeft": (_LEFT_EYE, 1, -GAZE_ACROSS),
    "eyeLookOutLeft": (_LEFT_EYE, 1, GAZE_ACROSS),
    "eyeLookUpRight": (_RIGHT_EYE, 0, -GAZE_UP),
    "eyeLookDownRight": (_RIGHT_EYE, 0, GAZE_DOWN),
    "eyeLookInRight": (_RIGHT_EYE, 1, GAZE_ACROSS),
    "eyeLookOutRight": (_RIGHT_EYE, 1, -GAZE_ACROSS),
}


def arkit_names(head: Head) -> tuple[str, ...]:
    """ARKit's names that move this head, in groups: face units, jawOpen, gaze."""
    units = tuple(name for name in head.unit_names if "-" not in name)
    return (*units, *(("jawOpen",) if head.jaw_open else ()), *_GAZE)


def arkit_to_motion(head: Head, values: Mapping[str, float]) -> tuple[Tensor, Tensor]:
    """Blendshape values, mostly 0 to 1, as psi [50] and theta [15]; the head's turn stays zero.

    Raises:
        PerseError: a name that ARKit does not have.
    """
    pose = torch.zeros(15)
    units = {}
    for name, value in values.items():
        if name in _GAZE:
            eye, axis, full = _GAZE[name]
            pose[eye + axis] += full * value
        elif name == "jawOpen":
            pose[_JAW] += head.jaw_open * value
        elif name in head.unit_names:
            units[name] = value
        elif name not in UNSUPPORTED:
            near = difflib.get_close_matches(name, arkit_names(head), n=3)
            hint = f" Nearest: {', '.join(near)}." if near else ""
            raise PerseError(f"{name!r} is no blendshape of ARKit.{hint}")
    return head.expr_from_units(units), pose


def motion_to_arkit(head: Head, expr: Tensor, pose: Tensor) -> dict[str, Tensor]:
    """The blendshape values that come nearest to psi [T, 50] and theta [T, 15]: one row [T], 0 to 1, for each name.

    Inverse of :func:`arkit_to_motion` where that is possible. What ARKit has no name for is spread over the names that
    move the face's landmarks most alike, by non-negative least squares. The head's turn is left out.

    Raises:
        PerseError: the head has no named face units, or no landmarks.
    """
    from scipy.optimize import nnls

    names = [name for name in head.unit_names if "-" not in name]
    if head.unit_to_expr is None or head.landmark_faces.numel() == 0:
        raise PerseError(
            f"{head.name} has no named face units with landmarks, so ARKit values cannot be read off it"
        )
    E = head.interpolate(head.landmark_faces, head.landmark_bary).E.flatten(0, 1).double()  # [1434, 50]
    rows = [head.unit_names.index(name) for name in names]
    directions = E @ head.unit_to_expr[rows].double().T  # [1434, U]
    gram = directions.T @ directions
    gram.diagonal().add_(1e-4 * float(gram.trace()) / len(names))  # of two alike, a little of both
    factor = torch.linalg.cholesky(
        gram, upper=True
    )  # |factor @ u - wanted| has the minimum of |directions @ u - offsets|
    wanted = torch.linalg.solve_triangular(
        factor.T, directions.T @ E @ expr.double().T, upper=False
    ).T  # [T, U]
    values = torch.stack([torch.from_numpy(nnls(factor.numpy(), row.numpy())[0]) for row in wanted])
    result = {name: column.float().clamp(0, 1) for name, column in zip(names, values.T)}
    if head.jaw_open:
        result["jawOpen"] = (pose[:, _JAW] / head.jaw_open).clamp(0, 1)
    for name, (eye, axis, full) in _GAZE.items():
        result[name] = (pose[:, eye + axis] / full).clamp(0, 1)
    return result
