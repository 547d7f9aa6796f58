"""A pinhole camera in OpenCV convention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Camera:
    """World-to-camera pose and pixel intrinsics of a pinhole camera (x right, y down, z forward).

    The image covers [0, width] x [0, height] in pixels; the centre of the first pixel is at (0.5, 0.5).
    `viewmat` and `K` may carry leading batch dimensions; all cameras of a batch share one image size.
    """

    viewmat: torch.Tensor
    """World-to-camera matrix [..., 4, 4]."""
    K: torch.Tensor
    """Intrinsics in pixels [..., 3, 3]: focal lengths and principal point. Skew must be zero."""
    width: int
    """Image width in pixels."""
    height: int
    """Image height in pixels."""

    def __post_init__(self) -> None:
        if self.viewmat.shape[-2:] != (4, 4):
            raise ValueError(f"Camera.viewmat must end in [4, 4], not {list(self.viewmat.shape)}")
        if self.K.shape[-2:] != (3, 3):
            raise ValueError(f"Camera.K must end in [3, 3], not {list(self.K.shape)}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"Camera size must be at least 1 x 1 pixel, not {self.width} x {self.height}")

    def resized(self, width: int, height: int) -> Camera:
        """The same view drawn at another size. Scales K; needs no shift, as pixel centres are at +0.5."""
        scale = self.K.new_tensor([width / self.width, height / self.height, 1.0])
        return Camera(self.viewmat, self.K * scale[:, None], int(width), int(height))

    def to(self, *args: Any, **kwargs: Any) -> Camera:
        """Move or convert both tensors, with the arguments of `torch.Tensor.to`."""
        return Camera(self.viewmat.to(*args, **kwargs), self.K.to(*args, **kwargs), self.width, self.height)
