"""The same image from gsplat's CUDA kernels, for tensors that live on a GPU."""

from __future__ import annotations

import torch

from perse.errors import PerseError
from perse.splat._reference import BLUR, NEAR_PLANE


def render(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    channels: torch.Tensor,
    viewmat: torch.Tensor,
    K: torch.Tensor,
    width: int,
    height: int,
    background: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a batch of B images in one call; every tensor leads with B, shapes otherwise as in `_reference.render`.

    gsplat gives gradients to the Gaussians, the channels, the background and `viewmat`, but none to `K`.
    """
    if not means.is_cuda:
        raise ValueError(
            "backend 'gsplat' needs CUDA tensors; move the Gaussians and the camera with .to('cuda')"
        )
    if K.requires_grad:
        raise ValueError("backend 'gsplat' has no gradient for K; use backend='torch'")
    rasterization = _import_gsplat()
    if not means.numel():  # gsplat's kernels want at least one Gaussian
        image = background[:, None, None].expand(-1, height, width, -1)
        return image, torch.zeros_like(image[..., 0])
    inputs = (means, quats, scales, opacities, channels, viewmat, K, background)
    means, quats, scales, opacities, channels, viewmat, K, background = (tensor.float() for tensor in inputs)
    image, alpha, _ = rasterization(
        means=means,
        quats=quats,
        scales=scales,
        opacities=opacities,
        colors=channels,
        viewmats=viewmat[:, None],  # one camera for each set
        Ks=K[:, None],
        width=width,
        height=height,
        near_plane=NEAR_PLANE,
        eps2d=BLUR,
        packed=False,
        backgrounds=background[:, None],
        rasterize_mode="classic",
    )
    return image[:, 0], alpha[:, 0, ..., 0]  # [B, H, W, C], [B, H, W]


def _import_gsplat():
    try:
        from gsplat import rasterization
    except ImportError as error:
        raise PerseError(
            "drawing CUDA tensors needs gsplat: pip install 'perse[cuda]', or move the tensors to the CPU"
        ) from error
    return rasterization
