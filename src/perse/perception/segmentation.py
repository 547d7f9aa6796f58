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
_MARGIN = 0.03  # outer share of a zoom that is not used: networks are weak at the border
_WIDE_IMAGE = 1.6  # an image at most this much larger than the crop is also seen whole
_FLOOR = 0.018  # a sure pixel scores 4 above the others, so each of those keeps e^-4 / (1 + 5 e^-4) = 0.0168


class _SelfieNet:
    """The tflite network: uint8 crop [h, w, 3] -> class probabilities [h, w, 6]."""

    def __init__(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._net: Any = Interpreter(model_path=str(assets.path("selfie_multiclass")), num_threads=1)
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


def _windows(landmarks: np.ndarray, width: int, height: int) -> list[tuple[int, int, int, float]]:
    """Left, top, side (pixels, may hang over the border) and weight of each square to look at."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    centre = (low + high) / 2
    centre[1] -= _UP_SHIFT * (high[1] - low[1])
    full = 2 * _HALF_SIZE * float((high - low).max())
    windows = []
    for x, y, side, weight in _ZOOMS:
        pixels = full * side
        corner = centre + np.array([x, y]) * full - pixels / 2
        windows.append((round(corner[0]), round(corner[1]), max(8, round(pixels)), weight))
    longest = max(width, height)
    if longest <= _WIDE_IMAGE * full:
        windows.append(((width - longest) // 2, (height - longest) // 2, longest, 1.0))
    return windows


def _take_off_floor(probs: np.ndarray) -> np.ndarray:
    raised = np.maximum(probs - _FLOOR, 0)
    return raised / raised.sum(-1, keepdims=True)


def segment(image: Tensor | np.ndarray, landmarks: Tensor | np.ndarray) -> Tensor:
    """Class probabilities [H, W, 6] (order SEGMENT_CLASSES, summing to one) of a head crop [H, W, 3].

    `landmarks` [478, 2+] in pixels place the windows that the network looks at. Pixels that no window reaches
    (a picture much wider than the head) are background.
    """
    rgb = as_rgb8(image)
    points = landmarks.detach().cpu().numpy() if isinstance(landmarks, Tensor) else np.asarray(landmarks)
    height, width = rgb.shape[:2]
    total = np.zeros((height, width, 6), np.float32)
    weights = np.zeros((height, width, 1), np.float32)
    net = _selfie_net()
    for left, top, side, weight in _windows(points.astype(np.float64), width, height):
        matrix = np.array([[1.0, 0, left], [0, 1.0, top]])
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        crop = cv2.warpAffine(rgb, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        probs = net.mirrored_mean(crop)
        margin = round(_MARGIN * side)
        inner = np.full((side, side, 1), weight * 1e-3, np.float32)
        inner[margin : side - margin, margin : side - margin] = weight
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + side, width), min(top + side, height)
        if x0 >= x1 or y0 >= y1:
            continue
        there = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        total[y0:y1, x0:x1] += probs[there] * inner[there]
        weights[y0:y1, x0:x1] += inner[there]
    outside = weights[..., 0] == 0
    total[outside] = (1, 0, 0, 0, 0, 0)
    weights[outside] = 1
    return torch.from_numpy(_take_off_floor(total / weights))
