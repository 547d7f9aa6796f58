"""The losses of training (Eqs. 11, 12, 31), each a plain function of tensors."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from perse.avatar import Canonical
from perse.head import Binding

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
"""Constants of SSIM for colours in [0, 1]."""


def l1(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference; with `mask` [..., H, W] only where it is 1."""
    difference = (image - target).abs()
    if mask is None:
        return difference.mean()
    return (difference * mask[..., None]).sum() / (mask.sum() * image.shape[-1]).clamp_min(1.0)


@lru_cache(maxsize=1)
def _taps() -> list[float]:
    """The Gaussian window of SSIM from its middle outwards; both sides together sum to 1."""
    half = SSIM_WINDOW // 2
    kernel = [math.exp(-(k**2) / (2 * SSIM_SIGMA**2)) for k in range(half + 1)]
    total = kernel[0] + 2 * sum(kernel[1:])
    return [k / total for k in kernel]


def _blur_along(x: Tensor, dim: int) -> Tensor:
    size, (middle, *sides) = x.shape[dim], _taps()
    out = x * middle
    for k, tap in enumerate(sides[: size - 1], start=1):
        out.narrow(dim, k, size - k).add_(x.narrow(dim, 0, size - k), alpha=tap)
        out.narrow(dim, 0, size - k).add_(x.narrow(dim, k, size - k), alpha=tap)
    return out


def _blur(x: Tensor) -> Tensor:
    """11x11 Gaussian window, sigma 1.5, of images [..., H, W, C]; outside the image counts as zero. Its own adjoint.

    Sums of shifted images: on a CPU twice as fast as products with banded matrices, and many times as a convolution.
    """
    return _blur_along(_blur_along(x, -3), -2)


def ssim_map(image: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) of every pixel and channel of images [..., H, W, 3] in [0, 1]; the

    outermost five pixels see zeros beyond the border. The definition; `ssim` is its mean with faster gradients.
    """
    mean_x, mean_y = _blur(image), _blur(target)
    var_x, var_y = _blur(image * image) - mean_x * mean_x, _blur(target * target) - mean_y * mean_y
    covariance = _blur(image * target) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    return numerator / ((mean_x * mean_x + mean_y * mean_y + C1) * (var_x + var_y + C2))


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """Mean structural similarity of images [..., H, W, 3] in [0, 1], differentiable once in `image`."""
    return _MeanSSIM.apply(image, target)  # type: ignore[no-any-return]


class _MeanSSIM(torch.autograd.Function):
    """The mean of `ssim_map` and its gradient in closed form: three blurs, where autograd would do six."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor) -> Tensor:
        x, y = image.detach(), target.detach()
        mean_x, mean_y = _blur(x), _blur(y)
        product, square_x, square_y = mean_x * mean_y, mean_x * mean_x, mean_y * mean_y
        luminance, contrast = square_x.add_(square_y).add_(C1), _blur(x * x + y * y)
        contrast.sub_(luminance).add_(C1 + C2)  # var_x + var_y + C2
        upper = 2 * product + C1
        lower = (_blur(x * y) - product).mul_(2).add_(C2)
        scale = 1 / (luminance * contrast)
        similarity = upper * lower * scale
        if ctx.needs_input_grad[0]:
            by_mean = mean_y * (lower - upper) * scale
            by_mean -= mean_x * similarity * (1 / luminance - 1 / contrast)
            ctx.save_for_backward(x, y, by_mean, similarity / contrast, upper * scale)
        return similarity.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None]:
        x, y, by_mean, by_square, by_product = ctx.saved_tensors
        total = _blur(by_mean).sub_(x * _blur(by_square)).add_(y * _blur(by_product))
        return total.mul_(2 * grad / x.numel()), None


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
