"""Soft parts of a head crop: background, hair, body skin, face skin, clothes, others (selfie multiclass network).

The network is good on a head crop and poor on a full-length photo, and its scores are timid (about +-4, so that
even a sure pixel keeps a tenth of background). Hence: windows placed by the landmarks, the mean over several
zooms and their mirror images, and the floor taken off.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from perse import assets
from perse.perception._quiet import quiet_native_start
from perse.perception.crops import Square
from perse.perception.landmarks import as_rgb8

SEGMENT_CLASSES = ("background", "hair", "body_skin", "face_skin", "clothes", "others")
_NET_SIZE = 256
_UP_SHIFT = 0.08  # the crop's centre stands this share of the face height above the landmarks' centre
_HALF_SIZE = 1.15  # half the crop's side, in longest sides of the face box
# zooms: centre and side relative to the crop (x, y in [-0.5, 0.5]), weight
_ZOOMS = (
    (0.0, 0.0, 1.0, 1.0),
    (0.0, -0.07, 0.82, 2.0),
    (0.0, -0.01, 0.74, 2.0),
    (-0.127, 0.127, 0.746, 2.0),
    (0.127, 0.127, 0.746, 2.0),
)
_MARGIN = 0.12  # over this outer share of a square its weight rises: networks are weak at the border
_NOSE_TIP = 1  # landmark
_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
         150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
_HIDING = (0, 2, 4, 5)  # background, body skin (hands), clothes, others
_SOLID_DISTANCE = (4.0, 12.0)  # pixels of 512 from the background: soft below, surely the person above
_WIDE_IMAGE = 1.6  # an image at most this much larger than the crop is also seen whole
_FLOOR = 0.018  # a sure pixel scores 4 above the others, so each of those keeps e^-4 / (1 + 5 e^-4) = 0.0168


class _SelfieNet:
    """The tflite network: uint8 crop [h, w, 3] -> class probabilities [h, w, 6]."""

    def __init__(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        path = str(assets.path("selfie_multiclass"))
        with quiet_native_start():
            self._net: Any = Interpreter(model_path=path, num_threads=1)
            self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]["index"]
        self._output = self._net.get_output_details()[0]["index"]
        self._lock = threading.Lock()

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        shrink = cv2.INTER_AREA if crop.shape[0] > _NET_SIZE else cv2.INTER_LINEAR
        small = cv2.resize(crop, (_NET_SIZE, _NET_SIZE), interpolation=shrink).astype(np.float32) / 255
        with self._lock:
            self._net.set_tensor(self._input, small[None])
            self._net.invoke()
            scores = self._net.get_tensor(self._output)[0]  # [256, 256, 6]
        odds = np.exp(scores - scores.max(-1, keepdims=True))
        probs = odds / odds.sum(-1, keepdims=True)
        return cv2.resize(probs, (crop.shape[1], crop.shape[0]), interpolation=cv2.INTER_CUBIC).clip(0, 1)

    def mirrored_mean(self, crop: np.ndarray) -> np.ndarray:
        """Mean of the crop's and its mirror image's answer."""
        flipped = self(np.ascontiguousarray(crop[:, ::-1]))[:, ::-1]
        return (self(crop) + flipped) / 2


@functools.cache
def _selfie_net() -> _SelfieNet:
    return _SelfieNet()


def _squares(landmarks: np.ndarray, width: int, height: int) -> list[tuple[Square, float]]:
    """The squares to look at, with their weights."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    centre_x, centre_y = (low + high) / 2
    centre_y -= _UP_SHIFT * (high[1] - low[1])
    crop = 2 * _HALF_SIZE * float((high - low).max())
    squares = [
        (
            Square.around(round(centre_x + x * crop), round(centre_y + y * crop), 2 * round(side * crop / 2)),
            weight,
        )
        for x, y, side, weight in _ZOOMS
    ]
    longest = max(width, height)
    if (
        longest <= _WIDE_IMAGE * crop
    ):  # the image is itself a head crop: see it whole instead of the first square
        whole = Square((width - longest) // 2, (height - longest) // 2, longest)
        squares[0] = (whole, squares[0][1])
    return squares


def _feather(side: int) -> np.ndarray:
    """Weight [side, side, 1] that falls to almost nothing at the border, so that no seam shows."""
    ramp = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / (_MARGIN * side)
    ramp = np.clip(ramp - 0.15, 1e-3, 1)
    return (ramp[:, None] * ramp)[..., None].astype(np.float32)


def _take_off_floor(probs: np.ndarray) -> np.ndarray:
    raised = np.maximum(probs - _FLOOR, 0)
    return raised / raised.sum(-1, keepdims=True)


def _mean_over_squares(rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Weighted mean [H, W, 6] of the network's answers; background where no square reaches."""
    height, width = rgb.shape[:2]
    total = np.zeros((height, width, 6), np.float32)
    weights = np.zeros((height, width, 1), np.float32)
    net = _selfie_net()
    for square, weight in _squares(points, width, height):
        left, top, side = int(square.left), int(square.top), int(square.side)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
        if x0 >= x1 or y0 >= y1:
            continue
        there = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        share = weight * _feather(side)[there]
        total[y0:y1, x0:x1] += net.mirrored_mean(square.cut(rgb, side))[there] * share
        weights[y0:y1, x0:x1] += share
    outside = weights[..., 0] == 0
    total[outside] = (1, 0, 0, 0, 0, 0)
    weights[outside] = 1
    return total / weights


def _real_background(probs: np.ndarray, nose_y: float) -> np.ndarray:
    """Where the background is [H, W] bool, without the holes in the clothes.

    Dark cloth often reads as background. A patch of background below the nose that does not reach the left,
    right or upper border, and whose rim is mostly clothes, is cloth.
    """
    background = probs[..., 0] > 0.5
    clothes = probs[..., 4] > 0.5
    count, patch, _, centres = cv2.connectedComponentsWithStats(background.astype(np.uint8), connectivity=4)
    open_patches = set(np.unique(np.concatenate([patch[0], patch[:, 0], patch[:, -1]])))
    for index in range(1, count):
        if index in open_patches or centres[index][1] < nose_y:
            continue
        inside = patch == index
        rim = cv2.dilate(inside.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & ~inside
        if rim.any() and clothes[rim].mean() > 0.5:
            background &= ~inside
    return background


def _fill_clothes(probs: np.ndarray, nose_y: float) -> np.ndarray:
    """Move background to clothes below the nose and away from every real background pixel."""
    background = _real_background(probs, nose_y)
    distance = cv2.distanceTransform((~background).astype(np.uint8), cv2.DIST_L2, 5)
    near, far = (limit * probs.shape[0] / 512 for limit in _SOLID_DISTANCE)
    solid = np.clip((distance - near) / (far - near), 0, 1)
    solid[: max(0, round(nose_y))] = 0
    moved = probs[..., 0] * solid
    filled = probs.copy()
    filled[..., 0] -= moved
    filled[..., 4] += moved
    return filled


def segment(image: Tensor | np.ndarray, landmarks: Tensor | np.ndarray) -> Tensor:
    """Class probabilities [H, W, 6] (order SEGMENT_CLASSES, summing to one) of a head crop [H, W, 3].

    `landmarks` [478, 2+] in pixels place the squares that the network looks at. Pixels that no square reaches
    (a picture much wider than the head) are background. Dark patches enclosed by clothes are clothes.
    """
    rgb = as_rgb8(image)
    points = landmarks.detach().cpu().numpy() if isinstance(landmarks, Tensor) else np.asarray(landmarks)
    points = points.astype(np.float64)
    probs = _take_off_floor(_mean_over_squares(rgb, points))
    return torch.from_numpy(_fill_clothes(probs, nose_y=float(points[_NOSE_TIP, 1])))


def hidden_share(image: Tensor | np.ndarray, landmarks: Tensor | np.ndarray) -> float:
    """Which share of the inner face is not face skin, in [0, 1]: a hand, a microphone, a scarf before the face.

    One look of the network at the head crop, read at the landmarks between brows, cheeks and chin. The landmarker
    invents what it cannot see, so its own output does not tell. Hair is not counted (fringes are normal).
    """
    rgb = as_rgb8(image)
    points = landmarks.detach().cpu().numpy() if isinstance(landmarks, Tensor) else np.asarray(landmarks)
    points = points[:, :2].astype(np.float64)
    square = _squares(points, rgb.shape[1], rgb.shape[0])[0][0]
    probs = _selfie_net()(square.cut(rgb, _NET_SIZE))
    inner = np.delete(points, _OVAL, axis=0)
    columns, rows = (
        ((inner - (square.left, square.top)) * (_NET_SIZE / square.side)).astype(int).clip(0, 255).T
    )
    label = probs[rows, columns].argmax(-1)
    return float(np.isin(label, _HIDING).mean())
