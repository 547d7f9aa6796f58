"""The CPU kernel as an autograd function."""

from __future__ import annotations

import math
import os
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from perse import _kernels
from perse.splat import _reference


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
    isa: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one image with the native kernel; shapes as in `_reference.render`.

    Computes in float32: other floating types are converted, and their gradients come back in their own type.
    `isa` forces an instruction set (one of `instruction_sets()`); by default PERSE_SIMD, else the best there is.
    """
    inputs = (means, quats, scales, opacities, channels, viewmat, K, background)
    if means.device.type != "cpu":
        raise ValueError(f"backend 'native' draws CPU tensors, and these are on {means.device}")
    converted = [tensor.to(torch.float32).contiguous() for tensor in inputs]
    isa = isa or os.environ.get(_kernels.SIMD_VARIABLE, "")
    return _Render.apply(*converted, width, height, isa)  # type: ignore[no-any-return]


class _Render(torch.autograd.Function):
    """Forward keeps one native state alive; backward reads it, so calls may interleave in any order."""

    @staticmethod
    def forward(
        ctx: Any, means, quats, scales, opacities, channels, viewmat, K, background, width, height, isa
    ):
        tensors = [t.detach() for t in (means, quats, scales, opacities, channels, viewmat, K, background)]
        image = torch.empty(height, width, channels.shape[-1])
        alpha = torch.empty(height, width)
        native = _kernels.module()
        ctx.options = native.ViewOptions(_reference.NEAR_PLANE, 1e10, _reference.BLUR, 0.0, math.inf, False)
        threads = torch.get_num_threads()
        state = native.forward(*tensors, ctx.options, image, alpha, None, None, threads, isa)
        if any(ctx.needs_input_grad):
            ctx.state = state
            ctx.save_for_backward(*tensors, image, alpha)
        return image, alpha

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image, grad_alpha):
        *tensors, image, alpha = ctx.saved_tensors
        means, quats, scales, opacities, channels, viewmat, K, _ = tensors
        grad_image = torch.zeros_like(image) if grad_image is None else grad_image.contiguous()
        grad_alpha = torch.zeros_like(alpha) if grad_alpha is None else grad_alpha.contiguous()
        geometry = [torch.empty_like(t) for t in (means, quats, scales, opacities, channels)]
        need_viewmat, need_K, need_background = ctx.needs_input_grad[5:8]
        camera = torch.zeros(16, dtype=torch.float64)  # viewmat rows 0-2 [12], then fx, fy, cx, cy
        _kernels.module().backward(
            ctx.state,
            *tensors,
            ctx.options,
            image,
            alpha,
            grad_image,
            grad_alpha,
            *geometry,
            None,
            camera,
            need_viewmat or need_K,
        )
        grad_viewmat = grad_K = grad_background = None
        if need_viewmat:
            grad_viewmat = torch.zeros_like(viewmat)
            grad_viewmat[:3] = camera[:12].reshape(3, 4)
        if need_K:
            grad_K = torch.zeros_like(K)
            grad_K[[0, 1, 0, 1], [0, 1, 2, 2]] = camera[12:].to(K.dtype)
        if need_background:
            grad_background = ((1.0 - alpha)[..., None] * grad_image).sum(dim=(0, 1))
        return *geometry, grad_viewmat, grad_K, grad_background, None, None, None
