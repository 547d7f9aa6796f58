"""Square cut-outs of a picture, exact to the pixel centre."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

_STREAK = 0.09  # width of the filter that smooths a replicated border, of the side of the square
_ALIAS_STEP = 1.3  # from this many source pixels a pixel on, blur before sampling
_BLUR = 0.35  # sigma of that blur, in output pixels


@dataclass(frozen=True)
class Square:
    """A square of a picture in its pixels (pixel centres at +0.5). It may hang over the border."""

    left: float
    top: float
    side: float

    @classmethod
    def around(cls, x: float, y: float, side: float) -> Square:
        """The square of that side centred at (x, y)."""
        return cls(x - side / 2, y - side / 2, side)

    def cut(self, image: np.ndarray, pixels: int, *, cubic: bool = False) -> np.ndarray:
        """The square at `pixels` x `pixels`, dtype and channels of `image` [H, W(, C)]; the border is replicated."""
        step = self.side / pixels
        part, x0, y0 = self._surroundings(image, margin=math.ceil(4 + 2 * step))
        if step >= _ALIAS_STEP:
            part = cv2.GaussianBlur(part, (0, 0), step * _BLUR, borderType=cv2.BORDER_REPLICATE)
        # Output centre i + .5 lies at left + (i + .5) * step; OpenCV counts centres as whole numbers.
        shift = step / 2 - 0.5
        matrix = np.array([[step, 0, self.left - x0 + shift], [0, step, self.top - y0 + shift]])
        flags = (cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(part, matrix, (pixels, pixels), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def _surroundings(self, image: np.ndarray, margin: int) -> tuple[np.ndarray, int, int]:
        """The part of the picture that matters (at least one pixel), and its corner."""
        height, width = image.shape[:2]
        x0 = min(max(0, math.floor(self.left) - margin), width - 1)
        y0 = min(max(0, math.floor(self.top) - margin), height - 1)
        x1 = max(min(width, math.ceil(self.left + self.side) + margin), x0 + 1)
        y1 = max(min(height, math.ceil(self.top + self.side) + margin), y0 + 1)
        return np.ascontiguousarray(image[y0:y1, x0:x1]), x0, y0

    def without_streaks(self, cut: np.ndarray, height: int, width: int) -> np.ndarray:
        """What was cut [P, P, 3] of a picture of that size, its replicated border smoothed along the border.

        It becomes smooth within a fiftieth of the square, or hair and skin would go on as a curtain of streaks.
        """
        pixels = cut.shape[0]
        reach = 2 * (round(pixels * _STREAK) // 2) + 1
        for axis, start, end in ((0, self.top, height), (1, self.left, width)):
            at = start + (np.arange(pixels) + 0.5) * self.side / pixels
            beyond = np.maximum(np.maximum(-at, at - end), 0) / self.side
            share = np.minimum(beyond / 0.02, 1).astype(cut.dtype)
            if share.any():
                kernel = (reach, 1) if axis == 0 else (1, reach)
                smooth = cv2.GaussianBlur(cut, kernel, 0, borderType=cv2.BORDER_REPLICATE)
                cut = cut + (smooth - cut) * (share[:, None, None] if axis == 0 else share[:, None])
        return cut

    def share_inside(self, height: int, width: int) -> float:
        """Which share of the square lies on the picture, in [0, 1]."""
        across = min(self.left + self.side, width) - max(self.left, 0)
        down = min(self.top + self.side, height) - max(self.top, 0)
        return max(0.0, across) * max(0.0, down) / self.side**2
