"""Where an edit of one category shows in a picture: known from the dataset alone, not from the avatar (M_part)."""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perse.dataset import LABEL_CODE, category_code

DILATION_AT_256 = 6
DIFFERENCE = 3 / 255
DETAIL_DIFFERENCE = 8 / 255
_PRESSES_HAIR = ("hat", "headphones")
_WINDOW = 5


def part_region(
    category: str,
    labels: tuple[Tensor, Tensor],
    rgb: tuple[Tensor, Tensor],
) -> Tensor:
    """Where a category may change the picture, [F, H, W] bool, dilated.

    Args:
        category: one of CATEGORIES.
        labels: part labels [F, H, W] uint8 of the subject's and of the reference's frames.
        rgb: the same frames [F, H, W, 3] uint8.
    """
    codes = [category_code(category)]
    if category in _PRESSES_HAIR:
        codes.append(LABEL_CODE["hair"])
    region = _changed(*rgb)
    for plane in labels:
        for code in codes:
            region |= plane == code
    return dilate(region, max(1, round(DILATION_AT_256 * region.shape[-1] / 256)))


def dilate(region: Tensor, radius: int) -> Tensor:
    """Grow a region [F, H, W] bool by a disc of `radius` pixels."""
    offsets = np.arange(-radius, radius + 1)
    disc = (offsets[:, None] ** 2 + offsets[None] ** 2 <= radius**2).astype(np.uint8)
    planes = [cv2.dilate(plane, disc) for plane in region.cpu().numpy().astype(np.uint8)]
    return torch.from_numpy(np.stack(planes).astype(bool))


def _changed(rgb: Tensor, reference: Tensor) -> Tensor:
    """Where two frames [F, H, W, 3] uint8 differ by more than the noise of their coding. [F, H, W] bool"""
    difference = (rgb.float() - reference.float()).movedim(-1, 1) / 255
    shift = _averaged(difference).abs().mean(1)
    detail = _averaged(difference.abs()).mean(1)
    return (shift > DIFFERENCE) | (detail > DETAIL_DIFFERENCE)


def _averaged(planes: Tensor) -> Tensor:
    """Mean over the window around every pixel of planes [F, C, H, W]."""
    return F.avg_pool2d(planes, _WINDOW, 1, _WINDOW // 2, count_include_pad=False)
