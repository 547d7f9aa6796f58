"""Pictures between two pictures of one person: the looks in between of subjects that are only images.

A maker that knows the geometry draws the look half way between two edits (:class:`~perse.dataset.Morpher`). Videos
from anywhere else have none; this stands in for it, frame by frame: both frames show the person in one pose.

- Optical flow, where it agrees with itself both ways, brings the two pictures to where they meet.
- The part's outline is the level set between the two outlines' distances, so a part grows and shrinks.
  What it covers is a mixture of both parts' colours, each continued beyond its own outline.
- Around it lies what the pictures show without the part; a cross-dissolve would show both parts as ghosts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from perse.dataset.labels import category_code
from perse.dataset.records import Frame
from perse.errors import PerseError

AGREES = 2.0
"""Pixels by which flow there and back may miss before it is not believed."""
SMOOTH = 2.0
"""Standard deviation in pixels of the blur of the flow."""
EDGE = 0.5
"""Pixels over which the part's outline fades."""
BORDER = 2
"""Pixels around a part's label that may show some of it."""


def morph_images(first: Frame, second: Frame, category: str, weight: float) -> Frame:
    """The frame a share `weight` in [0, 1] of the way from `first` to `second`; 0 and 1 give these very frames.

    Where only one of the frames shows the part (an earring behind the head in the other), it fades.

    Raises:
        PerseError: the frames differ in size, or the weight is none.
    """
    if first.rgb.shape != second.rgb.shape:
        raise PerseError(
            f"frames of {list(first.rgb.shape)} and {list(second.rgb.shape)} have nothing between"
        )
    if not 0 <= weight <= 1:
        raise PerseError(f"a weight between two looks lies between 0 and 1, not {weight}")
    if weight in (0, 1):
        return second if weight else first
    code = category_code(category)
    ends = [np.dstack([f.rgb.numpy(), f.alpha.numpy()]).astype(np.float32) for f in (first, second)]
    masks = [(f.labels.numpy() == code).astype(np.float32) for f in (first, second)]
    rest = [f.labels.numpy() for f in (first, second)]
    there, back = _flows(first.rgb.numpy(), second.rgb.numpy())
    # Where a pixel of the frame between comes from, were every pixel to move evenly (Super SloMo, Eq. 4).
    to_first = -(1 - weight) * weight * there + weight * weight * back
    to_second = (1 - weight) ** 2 * there - weight * (1 - weight) * back
    ends = [_warped(picture, flow) for picture, flow in zip(ends, (to_first, to_second))]
    masks = [_warped(mask, flow) for mask, flow in zip(masks, (to_first, to_second))]
    rest = [_warped(labels, flow, cv2.INTER_NEAREST) for labels, flow in zip(rest, (to_first, to_second))]

    shares = (1 - weight, weight)
    if not all((mask > 0.5).any() for mask in masks):
        picture, labels = shares[0] * ends[0] + shares[1] * ends[1], rest[round(weight)]
    else:
        cover = _between_outlines(masks, weight)
        first_part, second_part = (_continued(picture, mask) for picture, mask in zip(ends, masks))
        color = shares[0] * first_part + shares[1] * second_part
        free = [share * (1 - _grown(mask) + 1e-4) for share, mask in zip(shares, masks)]
        total = (free[0] + free[1])[..., None]
        around = (free[0][..., None] * ends[0] + free[1][..., None] * ends[1]) / total
        picture = cover[..., None] * color + (1 - cover[..., None]) * around
        labels = np.where(cover > 0.5, code, np.where(free[0] >= free[1], rest[0], rest[1])).astype(np.uint8)
    whole = torch.from_numpy((picture + 0.5).clip(0, 255).astype(np.uint8))
    return Frame(whole[..., :3].contiguous(), whole[..., 3].contiguous(), torch.from_numpy(labels))


def _flows(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flow [H, W, 2] from the first picture to the second and back, shortened where the two contradict each other."""
    gray = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (first, second)]
    with _one_thread():  # the patches' order, and so the flow, depends on the threads
        dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        dis.setFinestScale(0)
        there, back = dis.calc(gray[0], gray[1], None), dis.calc(gray[1], gray[0], None)
    found = []
    for way, inverse in ((there, back), (back, there)):
        miss = np.linalg.norm(way + _warped(inverse, way), axis=-1)
        believed = np.exp(-np.square(miss / AGREES))
        found.append(cv2.GaussianBlur(way * believed[..., None], (0, 0), SMOOTH))
    return found[0], found[1]


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _warped(picture: np.ndarray, flow: np.ndarray, how: int = cv2.INTER_LINEAR) -> np.ndarray:
    """`picture` [H, W, ...] read at every pixel's place plus `flow` [H, W, 2]."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(picture, x + flow[..., 0], y + flow[..., 1], how, borderMode=cv2.BORDER_REPLICATE)


def _between_outlines(masks: Sequence[np.ndarray], weight: float) -> np.ndarray:
    """How much of each pixel [H, W] a part covers whose outline lies between those of two masks [H, W]."""
    between = (1 - weight) * _outside(masks[0]) + weight * _outside(masks[1])
    return 1 / (1 + np.exp((between / EDGE).clip(-30, 30)))


def _outside(mask: np.ndarray) -> np.ndarray:
    """Distance [H, W] in pixels to a mask's outline, negative inside."""
    inside = (mask > 0.5).astype(np.uint8)
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return away - cv2.distanceTransform(inside, cv2.DIST_L2, 5)


def _grown(mask: np.ndarray) -> np.ndarray:
    """A mask [H, W] with the soft pixels along its outline, which show some of the part."""
    return cv2.dilate(mask, np.ones((2 * BORDER + 1, 2 * BORDER + 1), np.uint8))


def _continued(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A picture [H, W, C] inside a mask [H, W], outside of it the nearest pixel inside."""
    rows, columns = distance_transform_edt(mask <= 0.5, return_distances=False, return_indices=True)
    return picture[rows, columns]
