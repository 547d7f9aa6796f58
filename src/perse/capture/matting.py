"""From soft part probabilities to an alpha that follows the hair."""

from __future__ import annotations

import cv2
import numpy as np

_BAND = 9  # pixels of a 512 picture on either side of the border that the filter may change
_RADIUS = 8  # of the guided filter, likewise
_EPS = 1e-4  # colour variance below which the guide counts as flat
_SURE = (0.12, 0.9)  # probabilities of the person that become alpha 0 and 1


def _box(values: np.ndarray, radius: int) -> np.ndarray:
    size = (2 * radius + 1, 2 * radius + 1)
    return cv2.boxFilter(values, -1, size, borderType=cv2.BORDER_REFLECT)


def guided_filter(guide: np.ndarray, values: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Smooth `values` [H, W] along the colours of `guide` [H, W, 3]: He et al. 2013 with a colour guide.

    In every window `values` is a linear function of the colour, fitted by ridge regression of strength `eps`.
    """
    guide, values = guide.astype(np.float64), values.astype(np.float64)
    mean = _box(guide, radius)  # [H, W, 3]
    mean_values = _box(values, radius)
    products = guide[..., :, None] * guide[..., None, :]  # [H, W, 3, 3]
    flat = products.reshape(*guide.shape[:2], 9)
    covariance = np.concatenate([_box(flat[..., i : i + 3], radius) for i in (0, 3, 6)], -1)
    covariance = covariance.reshape(products.shape) - mean[..., :, None] * mean[..., None, :]
    cross = _box(guide * values[..., None], radius) - mean * mean_values[..., None]
    slope = np.linalg.solve(covariance + eps * np.eye(3), cross[..., None])[..., 0]
    offset = mean_values - (slope * mean).sum(-1)
    return (_box(slope, radius) * guide).sum(-1) + _box(offset, radius)


def alpha_matte(image: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Alpha [H, W] in [0, 1] from a picture [H, W, 3] in [0, 1] and the person's probability [H, W].

    Only a band around the border of the person is filtered; the inside stays 1 and the outside 0.
    """
    scale = max(image.shape[:2]) / 512
    radius, band = max(1, round(_RADIUS * scale)), max(1, round(_BAND * scale))
    low, high = _SURE
    stretched = np.clip((person.astype(np.float32) - low) / (high - low), 0, 1)
    solid = (stretched > 0.5).astype(np.uint8)
    inside = cv2.distanceTransform(np.pad(solid, 1, mode="edge"), cv2.DIST_L2, 5)[1:-1, 1:-1]
    outside = cv2.distanceTransform(np.pad(1 - solid, 1, mode="edge"), cv2.DIST_L2, 5)[1:-1, 1:-1]
    filtered = np.clip((guided_filter(image, stretched, radius, _EPS) - 0.05) / 0.9, 0, 1)
    away = np.clip(np.maximum(inside, outside) / band, 0, 1) ** 2  # 0 at the border, 1 at the band's end
    return (filtered * (1 - away) + solid * away).astype(np.float32)
