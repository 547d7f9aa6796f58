"""478 face landmarks, 52 blendshape scores and a head pose per face (MediaPipe face landmarker, Tasks API).

The detector inside the landmarker sees the whole picture at 128 pixels, so it misses faces that are small in a
large photo. :func:`landmarks` therefore looks again in overlapping tiles when it sees none, and always runs once
more on a crop around a small face.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from perse import assets
from perse.errors import PerseError
from perse.perception._quiet import quiet_native_start
from perse.perception.crops import Square

ARKIT_NAMES = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight",
    "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
)  # fmt: skip

_SMALL_FACE = 0.35  # a face narrower than this share of the picture is looked at again in a crop
_CROP_FACTOR = 2.2  # side of that crop, in face sizes
_CROP_PIXELS = 640  # a larger crop is shrunk: the network itself sees 256 pixels
_SEARCH_PIXELS = 1280  # pictures are searched at no more than this
_TILE_LEVELS = (2, 4, 8)  # tiles of 1/2, 1/4, 1/8 of the longer side
_TILE_PIXELS = 96  # but no smaller
_SAME_FACE_OVERLAP = 0.3


@dataclass(frozen=True)
class Face:
    """One face in a picture."""

    landmarks: Tensor
    """[478, 3]: x right, y down in pixels of the picture (pixel centres at +0.5); z in pixels, smaller is nearer."""
    blendshapes: dict[str, float]
    """51 ARKit scores in [0, 1] (no tongueOut)."""
    matrix: Tensor
    """[4, 4] canonical face (cm, y up, z out of the face) to camera (y up, looking along -z)."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the landmarks, in pixels."""
        low, high = self.landmarks[:, :2].amin(0), self.landmarks[:, :2].amax(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def size(self) -> float:
        """Longest side of the box, in pixels."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)

    @property
    def interocular(self) -> float:
        """Distance between the outer eye corners in the picture, in pixels."""
        return float(torch.linalg.vector_norm(self.landmarks[263, :2] - self.landmarks[33, :2]))

    @property
    def angles(self) -> tuple[float, float, float]:
        """Yaw (positive: turned to the person's left), pitch (positive: down) and roll, in degrees."""
        m = self.matrix[:3, :3].double()
        m = m / torch.linalg.vector_norm(m, dim=0)
        yaw = math.atan2(float(m[0, 2]), math.hypot(float(m[1, 2]), float(m[2, 2])))
        pitch = math.atan2(-float(m[1, 2]), float(m[2, 2]))
        roll = math.atan2(float(m[1, 0]), float(m[1, 1]))
        return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)

    def placed(self, square: Square, pixels: int) -> Face:
        """This face, found in a square cut at `pixels` a side, in pixels of the whole picture."""
        offset = torch.tensor([square.left, square.top, 0.0])
        return Face(self.landmarks * (square.side / pixels) + offset, self.blendshapes, self.matrix)


def as_rgb8(image: Tensor | np.ndarray) -> np.ndarray:
    """Contiguous uint8 [H, W, 3] of a float [0, 1] or uint8 picture, tensor or array."""
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3:
        raise PerseError(f"expected a picture [height, width, 3], got shape {tuple(array.shape)}")
    if array.dtype != np.uint8:
        array = (np.nan_to_num(array.astype(np.float32)).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(array)


def _open_landmarker(max_faces: int, video: bool) -> Any:
    from mediapipe.tasks import python as tasks
    from mediapipe.tasks.python import vision

    options = vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(assets.path("face_landmarker"))),
        running_mode=vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE,
        num_faces=max_faces,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    return vision.FaceLandmarker.create_from_options(options)


def _faces(result: Any, width: int, height: int) -> list[Face]:
    """Faces of one landmarker answer, in pixels of the picture it was given."""
    faces = []
    for i, points in enumerate(result.face_landmarks):
        pixels = [(p.x * width, p.y * height, p.z * width) for p in points]
        scores = {c.category_name: float(c.score) for c in result.face_blendshapes[i]}
        scores.pop("_neutral", None)
        matrix = torch.tensor(np.asarray(result.facial_transformation_matrixes[i]), dtype=torch.float32)
        faces.append(Face(torch.tensor(pixels, dtype=torch.float32), scores, matrix))
    return faces


class _Landmarkers:
    """One open image landmarker per number of faces; closed when the process ends."""

    def __init__(self) -> None:
        self._open: dict[int, Any] = {}
        self._lock = threading.Lock()
        atexit.register(self.close)

    def detect(self, rgb: np.ndarray, max_faces: int) -> list[Face]:
        """Faces in a uint8 picture, in its pixels."""
        import mediapipe as mp

        with self._lock:
            picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(rgb))
            if max_faces not in self._open:
                with quiet_native_start():
                    self._open[max_faces] = _open_landmarker(max_faces, video=False)
                    self._open[max_faces].detect(
                        picture
                    )  # the networks start, and talk, at the first picture
            result = self._open[max_faces].detect(picture)
        return _faces(result, rgb.shape[1], rgb.shape[0])

    def close(self) -> None:
        """Close all; a later detect opens anew."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


_landmarkers = _Landmarkers()


def _detect_in(rgb: np.ndarray, square: Square, max_faces: int) -> list[Face]:
    pixels = round(min(max(square.side, _CROP_PIXELS / 2), _CROP_PIXELS))
    found = _landmarkers.detect(square.cut(rgb, pixels), max_faces)
    return [face.placed(square, pixels) for face in found]


def _detect_full(rgb: np.ndarray, max_faces: int) -> list[Face]:
    height, width = rgb.shape[:2]
    scale = max(height, width) / _SEARCH_PIXELS
    if scale <= 1:
        return _landmarkers.detect(rgb, max_faces)
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    ratio = torch.tensor([width / size[0], height / size[1], width / size[0]])
    return [
        Face(face.landmarks * ratio, face.blendshapes, face.matrix)
        for face in _landmarkers.detect(small, max_faces)
    ]


def _tiles(height: int, width: int, level: int) -> Iterator[Square]:
    """Squares of 1/level of the longer side, overlapping by half."""
    side = max(height, width) / level
    for y in np.linspace(0, max(0, height - side), max(1, math.ceil(2 * height / side) - 1)):
        for x in np.linspace(0, max(0, width - side), max(1, math.ceil(2 * width / side) - 1)):
            yield Square(float(x), float(y), side)


def _overlap(first: Face, second: Face) -> float:
    """Intersection over union of two boxes."""
    a, b = first.box, second.box
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def _distinct(faces: list[Face]) -> list[Face]:
    """Larger faces first, later ones that overlap an earlier one dropped."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: -f.size):
        if all(_overlap(face, other) < _SAME_FACE_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _refined(rgb: np.ndarray, face: Face) -> Face | None:
    """The same face seen again in a crop around it; None where the crop shows no face at all."""
    left, top, right, bottom = face.box
    side = face.size * _CROP_FACTOR
    again = _detect_in(rgb, Square.around((left + right) / 2, (top + bottom) / 2, side), 1)
    return again[0] if again and _overlap(again[0], face) > _SAME_FACE_OVERLAP else None


def landmarks(image: Tensor | np.ndarray, max_faces: int = 5) -> list[Face]:
    """Up to `max_faces` faces in a picture [H, W, 3] (float in [0, 1] or uint8), the largest first.

    Landmarks are pixels of `image`. Small faces are found again in a crop; when the whole picture shows none,
    overlapping tiles are searched. A face that the closer look does not confirm is dropped.
    """
    rgb = as_rgb8(image)
    height, width = rgb.shape[:2]
    found = _detect_full(rgb, max_faces)
    for level in _TILE_LEVELS:
        if found or max(height, width) / level < _TILE_PIXELS:
            break
        tiles = _tiles(height, width, level)
        found = [face for tile in tiles for face in _detect_in(rgb, tile, max_faces)]
    faces: list[Face] = []
    for face in _distinct(found):
        if face.size < _SMALL_FACE * max(height, width):
            closer = _refined(rgb, face)
            if closer is not None:
                faces.append(closer)
        else:
            faces.append(face)
    return _distinct(faces)[:max_faces]


class LandmarkTracker:
    """Follows one face through a video: steadier and faster than looking anew. Use as a context manager."""

    def __init__(self) -> None:
        with quiet_native_start():
            self._landmarker = _open_landmarker(1, video=True)
        self._last_ms = -1
        self._fresh = True

    def __enter__(self) -> LandmarkTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the network."""
        self._landmarker.close()

    def track(self, image: Tensor | np.ndarray, timestamp_ms: int) -> Face | None:
        """The face in the next frame [H, W, 3]; None where there is none. Times must grow."""
        import mediapipe as mp

        if timestamp_ms <= self._last_ms:
            raise ValueError(f"frame times must grow: {timestamp_ms} ms after {self._last_ms} ms")
        self._last_ms = timestamp_ms
        rgb = as_rgb8(image)
        picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb)
        with quiet_native_start() if self._fresh else contextlib.nullcontext():
            result = self._landmarker.detect_for_video(picture, timestamp_ms)
        self._fresh = False
        faces = _faces(result, rgb.shape[1], rgb.shape[0])
        return faces[0] if faces else None
