"""Which face to take, whether it will do, and the square around it."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from perse.errors import PerseError
from perse.perception import Face, Square

MIN_INTEROCULAR = 20.0  # pixels between the outer eye corners: refused below
GOOD_INTEROCULAR = 64.0  # warned below
MAX_YAW = 45.0  # degrees
MAX_ASYMMETRY = 25.0  # ratio of the nose's distances to the two sides of the face
FRAME_SCALE = 1.3  # the FFHQ square, so much larger: shows the shoulders' beginning
MIN_INSIDE = 0.85  # share of the square that should lie on the photo
_LEFT_SIDE, _RIGHT_SIDE, _NOSE_TIP = 454, 234, 1
_EYES = ((33, 133), (263, 362))  # corners of the person's right and left eye
_MOUTH_CORNERS = (61, 291)


class CaptureWarning(UserWarning):
    """The photo can be used, but something about it will cost quality."""


def warn(message: str) -> None:
    """Tell the user without stopping."""
    warnings.warn(message, CaptureWarning, stacklevel=3)


def choose_face(faces: list[Face], index: int | None, what: str) -> Face:
    """The face at `index` counted from the left (0 first), or the largest one.

    Raises PerseError when there is none or no such index. Warns when the choice was not the user's.
    """
    if not faces:
        raise PerseError(
            f"{what}: no face found. The photo must show one face from the front, upright, in focus and not covered"
        )
    ordered = sorted(faces, key=lambda face: face.box[0] + face.box[2])
    if index is not None:
        if not 0 <= index < len(ordered):
            raise PerseError(
                f"{what}: --face {index}, but there are {len(ordered)} faces (0 is the leftmost)"
            )
        return ordered[index]
    largest = max(range(len(ordered)), key=lambda i: ordered[i].size)
    if len(ordered) > 1:
        left, top, right, bottom = (round(v) for v in ordered[largest].box)
        warn(
            f"{what}: {len(ordered)} faces; took number {largest} from the left (0 first), the largest, at pixels "
            f"{left},{top} to {right},{bottom}. Choose another with --face INDEX"
        )
    return ordered[largest]


def asymmetry(landmarks: Tensor) -> float:
    """How far the nose is off the middle of the face: ratio >= 1 of its distances to both sides."""
    points = landmarks[:, :2].double()
    axis = points[_LEFT_SIDE] - points[_RIGHT_SIDE]
    width = float(torch.linalg.vector_norm(axis))
    position = float((points[_NOSE_TIP] - points[_RIGHT_SIDE]) @ axis) / max(width, 1e-6) ** 2
    near, far = sorted((position, 1 - position))
    return float("inf") if near <= 0 else far / near


def check_face(face: Face, what: str) -> None:
    """Raise PerseError for a face too small or turned away; warn for a small one."""
    distance = face.interocular
    yaw, pitch, _ = face.angles
    if abs(yaw) > MAX_YAW or asymmetry(face.landmarks) > MAX_ASYMMETRY:
        raise PerseError(
            f"{what}: the face is turned {abs(yaw):.0f} degrees to the side. A profile hides half of it; "
            f"use a photo from the front (up to {MAX_YAW:.0f} degrees)"
        )
    if abs(pitch) > MAX_YAW:
        raise PerseError(f"{what}: the face is tilted {abs(pitch):.0f} degrees; use a photo from the front")
    if distance < MIN_INTEROCULAR:
        raise PerseError(
            f"{what}: the face is too small, {distance:.0f} pixels between the eyes' outer corners; "
            f"{MIN_INTEROCULAR:.0f} are the least, {GOOD_INTEROCULAR:.0f} and more are good"
        )
    if distance < GOOD_INTEROCULAR:
        warn(
            f"{what}: the face is small, {distance:.0f} pixels between the eyes' outer corners "
            f"({GOOD_INTEROCULAR:.0f} and more are good); the avatar will be soft"
        )


def head_square(landmarks: Tensor) -> Square:
    """The FFHQ square (Karras et al. 2019) around a face, upright and 1.3 times as large."""
    points = landmarks[:, :2].double().numpy()
    right_eye, left_eye = (points[list(pair)].mean(0) for pair in _EYES)
    eyes, mouth = (right_eye + left_eye) / 2, points[list(_MOUTH_CORNERS)].mean(0)
    reach = max(np.linalg.norm(left_eye - right_eye) * 2.0, np.linalg.norm(mouth - eyes) * 1.8)
    centre = eyes + (mouth - eyes) * 0.2
    return Square.around(float(centre[0]), float(centre[1]), float(2 * reach * FRAME_SCALE))
