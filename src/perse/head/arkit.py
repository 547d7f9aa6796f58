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
