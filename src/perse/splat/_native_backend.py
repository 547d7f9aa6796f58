"""The CPU kernel as an autograd function."""

from __future__ import annotations

import math
import os
from typing import Any

import torch

from perse import _kernels
from perse.splat._details import Details
from perse.splat._first_order import refuse_second
from perse.splat.options import DEFAULTS, RenderOptions, limit_anisotropy


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
    *,
    options: RenderOptions = DEFAULTS,
    details: Details | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one image with the native kernel; shapes as in `_reference.render`.

    Computes in float32: other floating types are converted, and their gradients come back in their own type.
    `isa` forces an instruction set (one of `instruction_sets()`); by default PERSE_SIMD, else the best there is.
    """
    scales = limit_anisotropy(scales, options.max_anisotropy)
    inputs = (means, quats, scales, opacities, channels, viewmat, K, background)
    if means.device.type != "cpu":
        raise ValueError(f"backend 'native' draws CPU tensors, and these are on {means.device}")
    converted = [tensor.to(torch.float32).contiguous() for tensor in inputs]
    isa = isa or os.environ.get(_kernels.SIMD_VARIABLE, "")
    probe = None if details is None else details.probe
    return _Render.apply(*converted, probe, width, height, isa, options, details)  # type: ignore[no-any-return]


def _view_options(options: RenderOptions) -> Any:
    """The kernel compares radii before it rounds them up, so the limits are rounded down."""
    return _kernels.module().ViewOptions(
        near_plane=options.near_plane,
        far_plane=options.far_plane,
        blur=options.eps2d,
        radius_clip=math.floor(options.radius_clip),
        radius_limit=math.floor(options.max_radius) if options.max_radius < math.inf else math.inf,
        antialiased=options.antialiased,
    )


class _Render(torch.autograd.Function):
    """Forward keeps one native state alive; backward reads it, so calls may interleave in any order."""

    @staticmethod
    def forward(
        ctx: Any, means, quats, scales, opacities, channels, viewmat, K, background, probe, width, height,
        isa, options, details,
    ):  # fmt: skip
        native = _kernels.module()
        tensors = [t.detach() for t in (means, quats, scales, opacities, channels, viewmat, K, background)]
        image = torch.empty(height, width, channels.shape[-1])
        alpha = torch.empty(height, width)
        asked = (None, None) if details is None else (details.means2d, details.radii)
        view_options = _view_options(options)
        state = native.forward(*tensors, view_options, image, alpha, *asked, torch.get_num_threads(), isa)
        if details is not None and details.looks:
            seen = None if details.seen is None else details.seen.view(torch.uint8)
            classes = None if details.classes is None else details.classes.contiguous()
            native.inspect(state, details.median, seen, details.labels, classes, details.codes)
        if any(ctx.needs_input_grad):
            ctx.state = state
            ctx.options = view_options
            ctx.save_for_backward(*tensors, alpha)
        return image, alpha

    @staticmethod
    def backward(ctx: Any, grad_image, grad_alpha):
        *tensors, alpha = ctx.saved_tensors
        means, quats, scales, opacities, channels, viewmat, K, _ = tensors
        if grad_image is None:
            grad_image = alpha.new_zeros(*alpha.shape, channels.shape[-1])
        grad_image = grad_image.detach().contiguous()
        grad_alpha = torch.zeros_like(alpha) if grad_alpha is None else grad_alpha.detach().contiguous()
        geometry = [torch.empty_like(t) for t in (means, quats, scales, opacities, channels)]
        need_viewmat, need_K, need_background, need_means2d = ctx.needs_input_grad[5:9]
        grad_means2d = torch.empty(means.shape[0], 2) if need_means2d else None
        camera = torch.zeros(16, dtype=torch.float64)  # viewmat rows 0-2 [12], then fx, fy, cx, cy
        _kernels.module().backward(
            ctx.state,
            *tensors,
            ctx.options,
            grad_image,
            grad_alpha,
            *geometry,
            grad_means2d,
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
        gradients = [*geometry, grad_viewmat, grad_K, grad_background, grad_means2d]
        return *refuse_second("native", gradients), None, None, None, None, None
