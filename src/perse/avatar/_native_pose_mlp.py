"""MLP_pose by the native kernels, as an autograd function: CPU tensors of float32. Used through `PoseMLP`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from perse import _kernels

MAX_LAYERS, MAX_WIDTH = 8, 256
"""The largest network that the kernels run."""


def fits(weights: Sequence[Tensor]) -> bool:
    """Whether a network of these layers [outputs, inputs] is small enough."""
    return len(weights) <= MAX_LAYERS and all(max(weight.shape) <= MAX_WIDTH for weight in weights)


def changes(
    moved: Tensor,
    bent: Tensor,
    codes: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    scales_and_bounds: Sequence[float],
    isa: str | None = None,
) -> Tensor:
    """``tanh(net(moving) - net(at rest)) * bounds`` [F, N, 11]; see `perse.avatar.posing.PoseMLP`. Differentiable once.

    Args:
        moved, bent: [F, N, 3] metres. codes: [N, C].
        weights, biases: [outputs, inputs] and [outputs] of every layer, rectified in between.
        scales_and_bounds: factors of `moved` and `bent`, then 11 bounds.
        isa: forces an instruction set; by default PERSE_SIMD, else the best there is.
    """
    isa = isa or os.environ.get(_kernels.SIMD_VARIABLE, "")
    tensors = [t.contiguous() for t in (moved, bent, codes, *weights, *biases)]
    return _PoseMLP.apply(isa, list(scales_and_bounds), *tensors)  # type: ignore[no-any-return]


class _PoseMLP(torch.autograd.Function):
    """Inputs: isa, scales and bounds, moved, bent, codes, then the weights and then the biases of all layers."""

    @staticmethod
    def forward(ctx: Any, isa, scales_and_bounds, *inputs):
        tensors = [t.detach() for t in inputs]
        moved, bent, codes, *layers = tensors
        depth = len(layers) // 2
        out = torch.empty(*moved.shape[:2], 11)
        threads = torch.get_num_threads()
        _kernels.module().mlp_forward(
            moved, bent, codes, layers[:depth], layers[depth:], scales_and_bounds, out, threads, isa
        )
        if any(ctx.needs_input_grad):
            ctx.isa, ctx.scales_and_bounds = isa, scales_and_bounds
            ctx.save_for_backward(*tensors)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        moved, bent, codes, *layers = ctx.saved_tensors
        depth = len(layers) // 2
        grads = [torch.empty_like(t) for t in (moved, bent, codes, *layers)]
        _kernels.module().mlp_backward(
            *(moved, bent, codes, layers[:depth], layers[depth:], ctx.scales_and_bounds, grad.contiguous()),
            *(*grads[:3], grads[3 : 3 + depth], grads[3 + depth :], torch.get_num_threads(), ctx.isa),
        )
        return None, None, *grads
