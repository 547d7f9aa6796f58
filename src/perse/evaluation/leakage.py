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

import torch
from torch import Tensor

FOREGROUND = 0.05


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


def foreground(alpha: Tensor, reference_alpha: Tensor) -> Tensor:
    """Where either drawing shows the person. [F, H, W] bool"""
    return torch.maximum(alpha, reference_alpha) > FOREGROUND
