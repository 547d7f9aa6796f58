"""How close are two pictures? PSNR, SSIM and LPIPS, one number a frame.

Pictures are [F, H, W, 3] in [0, 1]. Higher is better for PSNR and SSIM, lower for LPIPS.
"""

import torch
from torch import Tensor

from perse.errors import PerseError
from perse.perception import LPIPS
from perse.training.losses import SSIM_WINDOW, ssim_map

PSNR_CAP = 100.0
"""PSNR of equal pictures, in dB; the true value is infinite and could be neither averaged nor kept as JSON."""

LPIPS_MIN_SIZE = 64


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB, [F], at most 100.

    With `mask` [F, H, W] bool only over its pixels (100 where a mask is empty).
    """
    square = (image - target).square().mean(-1)  # [F, H, W]
    if mask is None:
        error = square.flatten(1).mean(1)
    else:
        inside = mask.to(square.dtype)
        error = (square * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp_min(1)
    return (-10 * torch.log10(error.clamp_min(10 ** (-PSNR_CAP / 10)))).clamp_max(PSNR_CAP)


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), [F].

    Gaussian window of 11 pixels, sigma 1.5, population covariance, mean over the three colours and over the pixels
    whose window lies inside the picture: what skimage's structural_similarity gives with these settings.
    """
    border = SSIM_WINDOW // 2
    similarity = ssim_map(image, target)[..., border:-border, border:-border, :]
    return similarity.flatten(1).mean(1)


class Perceptual:
    """LPIPS with AlexNet, [F]; the network is read once."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._network = LPIPS("alexnet").to(device)
        self.device = torch.device(device)

    @torch.no_grad()
    def __call__(self, image: Tensor, target: Tensor) -> Tensor:
        """Perceptual distance of every pair. PerseError below 64 pixels a side."""
        if min(image.shape[1:3]) < LPIPS_MIN_SIZE:
            raise PerseError(
                f"LPIPS needs pictures of at least {LPIPS_MIN_SIZE} pixels a side, not {image.shape[1:3]}"
            )
        pairs = (t.to(self.device).movedim(-1, 1) for t in (image, target))
        return self._network(*pairs).flatten()
