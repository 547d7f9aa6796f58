"""Does changing one part change the rest? Leakage, for every category.

For a subject with one attribute and a held-out frame, the avatar is drawn twice, with the reference's look and with
the subject's. Leakage is the mean absolute difference of the two pictures (colours in [0, 1]) over the pixels that

- are foreground: alpha above 0.05 in either drawing, and
- lie outside the part's region, dilated by 6 pixels at 256 (in proportion at other sizes).

The part's region is known from the dataset alone, not from the avatar: the pixels where the frame of the subject or
of the reference carries the category's label, or hair's for hats and headphones, which press it down; and the pixels
where the two frames differ by more than 3/255 (a wide nose moves its shadow, a collar casts light on the chin). So
that the noise of video coding is not taken for a change, the difference is averaged over 5 x 5 pixels first, where
noise cancels; where details moved and their average stayed, 8/255 of mean absolute difference count as a change too.
A perfect avatar has a leakage of about zero; how much of the person is left to be measured is reported beside it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from perse.dataset import LABEL_CODE, category_code

DILATION_AT_256 = 6
DIFFERENCE = 3 / 255
DETAIL_DIFFERENCE = 8 / 255
FOREGROUND = 0.05
_PRESSES_HAIR = ("hat", "headphones")
_WINDOW = 5


@dataclass
class Leakage:
    """Running sums of one subject."""

    difference: float = 0.0
    """Sum of absolute differences outside the part, averaged over colours."""
    outside: int = 0
    """Foreground pixels outside the part."""
    foreground: int = 0
    """All foreground pixels."""

    def add(self, drawn: Tensor, reference: Tensor, foreground: Tensor, region: Tensor) -> None:
        """Take in frames: drawn, reference [F, H, W, 3]; foreground, region [F, H, W] bool."""
        outside = foreground & ~region
        self.difference += float((drawn - reference).abs().mean(-1)[outside].sum())
        self.outside += int(outside.sum())
        self.foreground += int(foreground.sum())

    @property
    def mean(self) -> float | None:
        """Mean absolute difference outside the part; None if no pixel was outside."""
        return self.difference / self.outside if self.outside else None

    @property
    def share(self) -> float:
        """Which share of the foreground was outside and so measured."""
        return self.outside / self.foreground if self.foreground else 0.0


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


def foreground(alpha: Tensor, reference_alpha: Tensor) -> Tensor:
    """Where either drawing shows the person. [F, H, W] bool"""
    return torch.maximum(alpha, reference_alpha) > FOREGROUND


def _changed(rgb: Tensor, reference: Tensor) -> Tensor:
    """Where two frames [F, H, W, 3] uint8 differ by more than the noise of their coding. [F, H, W] bool"""
    difference = (rgb.float() - reference.float()).movedim(-1, 1) / 255
    shift = _averaged(difference).abs().mean(1)
    detail = _averaged(difference.abs()).mean(1)
    return (shift > DIFFERENCE) | (detail > DETAIL_DIFFERENCE)


def _averaged(planes: Tensor) -> Tensor:
    """Mean over the window around every pixel of planes [F, C, H, W]."""
    return F.avg_pool2d(planes, _WINDOW, 1, _WINDOW // 2, count_include_pad=False)
