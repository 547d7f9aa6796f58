"""Refusing second derivatives where there are none."""

from __future__ import annotations

from typing import Any

import torch


def refuse_second(backend: str, gradients: list[Any]) -> list[Any]:
    """Call on the results of a backward pass: mark them, so that differentiating them raises instead of giving zero."""
    if not torch.is_grad_enabled():  # the usual case: autograd was not asked for create_graph=True
        return gradients
    anchor = torch.ones((), requires_grad=True)  # so that the mark becomes part of the graph
    return [
        gradient if gradient is None else _Refuse.apply(anchor, backend, gradient) for gradient in gradients
    ]


class _Refuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor, backend, gradient):
        ctx.backend = backend
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, _):
        raise RuntimeError(
            f"backend '{ctx.backend}' has first derivatives only, and this asks for second ones; "
            "draw with backend='torch'"
        )
