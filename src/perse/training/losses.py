"""The losses of training (Eqs. 11, 12, 31), each a plain function of tensors."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from perse.avatar import Canonical
from perse.head import Binding

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5


def l1(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference; with `mask` [..., H, W] only where it is 1."""
    difference = (image - target).abs()
    if mask is None:
        return difference.mean()
    return (difference * mask[..., None]).sum() / (mask.sum() * image.shape[-1]).clamp_min(1.0)


BLOCK = 64
"""Samples filtered at once: the filter's matrix is a band, and blocks of it leave out most of the zeros."""


@lru_cache(maxsize=64)
def _band(size: int, start: int, stop: int, device: torch.device) -> tuple[int, int, Tensor]:
    """Gaussian filtering as a matrix: inputs [low, high) to outputs [start, stop); outside the image counts as zero."""
    half = SSIM_WINDOW // 2
    low, high = max(0, start - half), min(size, stop + half)
    taps = torch.arange(SSIM_WINDOW, dtype=torch.float64) - half
    kernel = torch.exp(-taps.square() / (2 * SSIM_SIGMA**2))
    kernel = kernel / kernel.sum()
    distance = torch.arange(low, high)[None] - torch.arange(start, stop)[:, None] + half
    inside = (distance >= 0) & (distance < SSIM_WINDOW)
    band = torch.where(
        inside, kernel[distance.clamp(0, SSIM_WINDOW - 1)], torch.zeros((), dtype=torch.float64)
    )
    return low, high, band.to(device, torch.float32)


def _blur_rows(planes: Tensor) -> Tensor:
    """Filter along the second to last axis."""
    size, parts = planes.shape[-2], []
    for start in range(0, size, BLOCK):
        low, high, band = _band(size, start, min(size, start + BLOCK), planes.device)
        parts.append(band.to(planes.dtype) @ planes[..., low:high, :])
    return torch.cat(parts, -2)


def _blur(planes: Tensor) -> Tensor:
    """11x11 Gaussian window, sigma 1.5, of planes [..., H, W] as matrix products (many times faster than a
    convolution on a CPU). The result is transposed, [..., W, H]: no mean over pixels minds."""
    return _blur_rows(_blur_rows(planes).transpose(-1, -2))


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """Mean structural similarity of images [..., H, W, 3] in [0, 1] (Wang et al. 2004), differentiable in `image`."""
    return ssim_map(image, target).mean()


def ssim_map(image: Tensor, target: Tensor) -> Tensor:
    """Structural similarity at every pixel [..., 3, H, W] of images [..., H, W, 3] in [0, 1]; the outermost five
    pixels see zeros beyond the border."""
    x, y = image.movedim(-1, -3), target.movedim(-1, -3)
    with torch.no_grad():
        mean_y, square_y = _blur(torch.stack([y, y * y])).unbind(0)
    mean_x, square_x, product = _blur(torch.stack([x, x * x, x * y])).unbind(0)
    var_x, var_y = square_x - mean_x * mean_x, square_y - mean_y * mean_y
    covariance = product - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    denominator = (mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2)
    return numerator / denominator


def label_loss(share: Tensor, labels: Tensor, code: int, unsure: Tensor | None = None) -> Tensor:
    """Visible share of one layer [F, H, W] against the pixels that carry its label [F, H, W] uint8.

    `unsure` [F, H, W]: share of head points that may carry the same label (brows painted on the skin); where they
    show, nothing is asked of the layer.
    """
    difference = (share - (labels == code).to(share.dtype)).abs()
    if unsure is not None:
        difference = difference * (unsure.detach() < 0.05)
    return difference.mean()


def latent_loss(z: Tensor) -> Tensor:
    """L_z: mean square of the codes [C, d]. (The codes leave MLP_z through a LayerNorm whose gain is learned, so
    that this term has something to pull on.)"""
    return z.square().mean()


def flame_loss(
    canonical: Canonical, targets: list[Binding], weight_e: float, weight_p: float, weight_w: float
) -> Tensor:
    """L_FLAME (Eq. 31): mean over points of the weighted norms of E, P, W minus those of the head.

    The norms are smoothed at zero (1e-4): where E starts at the head's own value, the plain norm has no gradient.
    """
    total = canonical.means.new_zeros(())
    for found, wanted in zip(canonical.bindings, targets):
        for value, target, weight in (
            (found.E, wanted.E, weight_e),
            (found.P, wanted.P, weight_p),
            (found.W, wanted.W, weight_w),
        ):
            square = (value - target).flatten(1).square().sum(1)
            total = total + weight * ((square + 1e-8).sqrt() - 1e-4).sum()
    return total / len(canonical)
