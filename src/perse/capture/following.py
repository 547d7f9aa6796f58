"""Landmarks of one face, frame after frame."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from perse.perception import Face, LandmarkTracker, Square, landmarks

_SEARCH_FRAMES = 24  # frames in which a first face is looked for; then, and when it is lost, every so often
_FOLLOW_SIZE = 3.0  # side of the square that is followed, in face sizes
_FOLLOW_PIXELS = 640


class FaceFollower:
    """Follows the largest face, in a square around it where it is small. Use as a context manager."""

    def __init__(self) -> None:
        self._tracker = LandmarkTracker()
        self._square: Square | None = None
        self._frames, self._missed = 0, 0

    def __enter__(self) -> FaceFollower:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the network."""
        self._tracker.close()

    def __call__(self, rgb: np.ndarray, time_ms: int) -> Face | None:
        """The face in the next frame uint8 [H, W, 3], in its pixels; None where there is none. Times must grow."""
        if self._missed >= _SEARCH_FRAMES:  # it may have left the square
            self._square, self._missed = None, 0
        if self._square is None and (self._frames < _SEARCH_FRAMES or self._frames % _SEARCH_FRAMES == 0):
            self._square = _square_to_follow(rgb)
        self._frames += 1
        face = None if self._square is None else self._look(rgb, self._square, time_ms)
        self._missed = 0 if face is not None else self._missed + (self._square is not None)
        return face

    def _look(self, rgb: np.ndarray, square: Square, time_ms: int) -> Face | None:
        pixels = min(_FOLLOW_PIXELS, max(64, round(square.side)))
        face = self._tracker.track(square.cut(rgb, pixels), time_ms)
        if face is None:
            return None
        face = face.placed(square, pixels)
        self._square = _recentred(square, face.landmarks[:, :2])
        return face


def _square_to_follow(rgb: np.ndarray) -> Square | None:
    faces = landmarks(rgb, max_faces=2)
    if not faces:
        return None
    left, top, right, bottom = faces[0].box
    return Square.around((left + right) / 2, (top + bottom) / 2, faces[0].size * _FOLLOW_SIZE)


def _recentred(square: Square, points: Tensor) -> Square:
    """Move the square only when the face nears its border: a still square gives steadier landmarks."""
    x, y = ((points.amin(0) + points.amax(0)) / 2).tolist()
    offset = max(abs(x - square.left - square.side / 2), abs(y - square.top - square.side / 2))
    return square if offset < 0.2 * square.side else Square.around(x, y, square.side)
