"""Image work of the lift: the guided filter, sampling, masks. Arrays are numpy, [H, W] or [H, W, 3], float32."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from perse.dataset import Portrait
from perse.studio.regions import LEFT_EYE, LIPS_INNER, RIGHT_EYE

Array = np.ndarray

BACKGROUND, HAIR, BODY_SKIN, FACE_SKIN, CLOTHES, OTHER = range(6)  # classes of Portrait.segmentation


def box(values: Array, radius: int) -> Array:
    """Mean over a square window."""
    side = 2 * radius + 1
    return cv2.blur(values.astype(np.float32), (side, side), borderType=cv2.BORDER_REFLECT)


def guided_filter(guide: Array, values: Array, radius: int, eps: float) -> Array:
    """Edge-aware smoothing of ``values`` [H, W] that follows the colours of ``guide`` [H, W, 3] (He et al.)."""
    mean = box(guide, radius)
    mean_values = box(values, radius)
    cross = box(guide * values[..., None], radius) - mean * mean_values[..., None]
    products = guide[..., :, None] * guide[..., None, :]  # [H, W, 3, 3]
    covariance = box(products.reshape(*guide.shape[:2], 9), radius).reshape(products.shape)
    covariance = covariance - mean[..., :, None] * mean[..., None, :] + eps * np.eye(3, dtype=np.float32)
    slope = np.linalg.solve(covariance, cross[..., None])[..., 0]
    offset = mean_values - (slope * mean).sum(-1)
    filtered = (box(slope, radius) * guide).sum(-1) + box(offset, radius)
    return np.clip(filtered, 0, 1)


def smoothstep(x: Array, low: float, high: float) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def sample(image: Array, pixels: Array) -> Array:
    """Bilinear values of ``image`` [H, W(, C)] at ``pixels`` [N, 2] (x, y; pixel centres at +0.5)."""
    height, width = image.shape[:2]
    x = np.clip(pixels[:, 0] - 0.5, 0, width - 1.001)
    y = np.clip(pixels[:, 1] - 0.5, 0, height - 1.001)
    col, row = x.astype(int), y.astype(int)
    fx, fy = (x - col), (y - row)
    if image.ndim == 3:
        fx, fy = fx[:, None], fy[:, None]
    top = image[row, col] * (1 - fx) + image[row, col + 1] * fx
    bottom = image[row + 1, col] * (1 - fx) + image[row + 1, col + 1] * fx
    return (top * (1 - fy) + bottom * fy).astype(np.float32)


def dilate(mask: Array, side: int) -> Array:
    """Grey dilation by a square of odd ``side``."""
    return cv2.dilate(mask.astype(np.float32), np.ones((side, side), np.uint8))


def erode(mask: Array, side: int) -> Array:
    """Grey erosion by a square of odd ``side``; the image border does not erode."""
    return cv2.erode(mask.astype(np.float32), np.ones((side, side), np.uint8))


def polygon(shape: tuple[int, int], points: Array) -> Array:
    """1 inside the polygon ``points`` [M, 2] (pixels), 0 outside. [H, W] float32"""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], (1,))
    return mask.astype(np.float32)


def edge_distance(mask: Array) -> Array:
    """Pixels [H, W] from inside ``mask`` to its border; the image's own border does not count."""
    padding = 60
    padded = np.pad(mask, padding, mode="edge")
    return ndimage.distance_transform_edt(padded)[padding:-padding, padding:-padding]


def fill_holes(mask: Array) -> Array:
    """The mask without holes."""
    return ndimage.binary_fill_holes(mask)


@dataclass(frozen=True)
class Photo:
    """The photo and its soft part masks, all [S, S]."""

    image: Array
    """[S, S, 3]."""
    foreground: Array
    """0..1, with holes in dark clothes mended."""
    hair: Array
    """0..1, soft, follows the image's edges."""
    skin: Array
    """Probability of body or face skin."""
    clothes: Array
    """Probability of clothes and anything else that is worn on the body."""
    worn: Array
    """0..1, what is worn on the head: glasses, a hat, earrings."""
    part: Array
    """The likeliest class of a pixel."""
    landmarks: Array
    """[478, 2] pixels."""
    mouth: Array
    """1 between the lips."""
    eyes: Array
    """1 between the lids."""

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.image.shape[0]


def read_photo(portrait: Portrait) -> Photo:
    """Soft masks from the segmentation's probabilities, sharpened along the photo's own edges."""
    image = portrait.image.numpy().astype(np.float32)
    probabilities = portrait.segmentation.numpy().astype(np.float32).copy()
    landmarks = portrait.landmarks[:, :2].numpy()
    stray = _apart(probabilities, landmarks)
    probabilities[stray] = np.eye(6, dtype=np.float32)[BACKGROUND]
    foreground = guided_filter(image, 1 - probabilities[..., BACKGROUND], 5, 4e-4)
    hair = np.minimum(guided_filter(image, probabilities[..., HAIR], 4, 4e-4), foreground)
    worn = _worn_on_head(probabilities[..., OTHER], landmarks)
    hair = np.minimum(hair, 1 - dilate(worn, 3))  # the class hair likes the borders of hats
    foreground, holes = _mend_body(foreground, landmarks)
    probabilities[holes] = np.eye(6, dtype=np.float32)[CLOTHES]
    shape = image.shape[:2]
    eyes = np.maximum(polygon(shape, landmarks[list(LEFT_EYE)]), polygon(shape, landmarks[list(RIGHT_EYE)]))
    return Photo(
        image=image,
        foreground=foreground,
        hair=smoothstep(hair, 0.2, 0.8),
        skin=probabilities[..., BODY_SKIN] + probabilities[..., FACE_SKIN],
        clothes=probabilities[..., CLOTHES] + probabilities[..., OTHER] * (1 - worn),
        worn=worn,
        part=probabilities.argmax(-1),
        landmarks=landmarks,
        mouth=polygon(shape, landmarks[list(LIPS_INNER)]),
        eyes=eyes,
    )


def _apart(probabilities: Array, landmarks: Array) -> Array:
    """[S, S] bool: parts that do not hang together with the face (a flag, a neighbour's shoulder)."""
    pieces, _ = ndimage.label(probabilities[..., BACKGROUND] < 0.6)
    column, row = np.clip(landmarks, 0, probabilities.shape[0] - 1).astype(int).T
    own = np.unique(pieces[row, column])
    return (pieces > 0) & ~np.isin(pieces, own[own > 0]) & (own.max() > 0)


def _mend_body(foreground: Array, landmarks: Array) -> tuple[Array, Array]:
    """Close holes below the chin, where dark clothes read as background: (foreground, mended pixels)."""
    below_chin = np.arange(foreground.shape[0])[:, None] > landmarks[152, 1] + 8
    padding = 40
    padded = np.pad(foreground > 0.5, padding, mode="edge")
    closed = ndimage.binary_closing(padded, iterations=18)[padding:-padding, padding:-padding]
    closed = fill_holes(np.pad(closed, ((0, 1), (0, 0)), constant_values=True))[:-1]
    holes = ndimage.binary_opening(closed & below_chin & (foreground < 0.6), iterations=2)
    return np.where(holes, 0.97, foreground).astype(np.float32), holes


def _worn_on_head(other: Array, landmarks: Array) -> Array:
    """[S, S] probability of things worn on the head, from that of the class "other" [S, S].

    Pieces that lie below the chin, or far from the head, are not on it.
    """
    low, high = landmarks.min(0), landmarks.max(0)
    height = high[1] - low[1]
    pieces, count = ndimage.label(ndimage.binary_dilation(other > 0.25, iterations=2))
    worn = np.zeros_like(other)
    for index in range(1, count + 1):
        piece = pieces == index
        row, column = (axis.mean() for axis in piece.nonzero())
        inside = low[0] - 0.5 * height < column < high[0] + 0.5 * height
        if inside and low[1] - 1.2 * height < row < high[1]:
            worn[piece] = other[piece]
    return smoothstep(worn, 0.25, 0.6).astype(np.float32)
