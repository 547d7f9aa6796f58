"""Skinning by the native kernels, as an autograd function: CPU tensors of float32. Used through `perse.head`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from perse import _kernels

Run = Sequence[Tensor]  # E, P, W of consecutive points


def takes(*tensors: Tensor) -> bool:
    """Whether the kernels can take these tensors. (torch.func's transforms cannot look into a native call.)"""
    return (
        all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
        and _kernels.built()
        and not torch._C._are_functorch_transforms_active()
    )


def needs_graph(*tensors: Tensor) -> bool:
    """Whether gradients will be asked of something computed from these."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def joint_motion(joints: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`perse.head.pose_transforms` without gradients: joints [5, 3], pose [..., 15]."""
    batch = pose.shape[:-1]
    transforms, quats, feature = (torch.empty(*batch, *shape) for shape in ((5, 3, 4), (5, 4), (36,)))
    count = batch.numel()
    _kernels.module().joint_motion(
        joints.detach().contiguous(),
        pose.detach().reshape(count, 15).contiguous(),
        transforms.view(count, 5, 3, 4),
        quats.view(count, 5, 4),
        feature.view(count, 36),
    )
    return transforms, quats, feature


def skin_runs(
    points: Tensor,
    quats: Tensor | None,
    runs: Sequence[Run],
    expr: Tensor,
    motion: tuple[Tensor, Tensor, Tensor],
    isa: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Posed points [F, N, 3], rotations [F, N, 4], offsets before skinning [F, N, 3]; see `perse.head.skin_runs`.

    Args:
        motion: transforms [F, 5, 3, 4], quaternions [F, 5, 4] and pose features [F, 36] of `pose_transforms`.
        isa: forces an instruction set; by default PERSE_SIMD, else the best there is.
    """
    isa = isa or os.environ.get(_kernels.SIMD_VARIABLE, "")
    tensors = [points, quats, expr, *motion, *(t for run in runs for t in run)]
    contiguous = [None if t is None else t.contiguous() for t in tensors]
    return _Skin.apply(isa, *contiguous)  # type: ignore[no-any-return]


def _runs(flat: Sequence[Any]) -> list[tuple[Any, Any, Any]]:
    """Consecutive threes."""
    return list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))


class _Skin(torch.autograd.Function):
    """Inputs: isa, points, quats, expr, transforms, joint quaternions, features, then E, P, W of every run."""

    @staticmethod
    def forward(ctx: Any, isa, *inputs):
        tensors: list[Any] = [None if t is None else t.detach() for t in inputs]
        points, quats, expr, transforms, joint_quats, feature, *flat = tensors
        frames, count = len(expr), len(points)
        posed, turned = torch.empty(frames, count, 3), torch.empty(frames, count, 4)
        bent = torch.empty(frames, count, 3)
        first, threads = 0, torch.get_num_threads()
        for E, P, W in _runs(flat):
            part = slice(first, first + len(W))
            own_quats = None if quats is None else quats[part]
            own = (points[part], own_quats, E, P, W, expr, transforms, joint_quats, feature)
            _kernels.module().skin(*own, posed, turned, bent, first, threads, isa)
            first += len(W)
        if any(ctx.needs_input_grad):
            ctx.isa = isa
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*tensors, bent)
        return posed, turned, bent

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads):
        *tensors, bent = ctx.saved_tensors
        points, quats, expr, transforms, joint_quats, feature, *flat = tensors
        given = [None if grad is None else grad.contiguous() for grad in grads]
        needs = ctx.needs_input_grad[1:]
        grad_points, grad_quats = (
            torch.empty_like(t) if need else None for t, need in zip((points, quats), needs)
        )
        grad_expr, *grad_motion = _motion_gradients(needs[2:6], (expr, transforms, joint_quats, feature))
        grad_flat = [torch.empty_like(t) if need else None for t, need in zip(flat, needs[6:])]
        first, threads = 0, torch.get_num_threads()
        for (E, P, W), grad_run in zip(_runs(flat), _runs(grad_flat), strict=True):
            part = slice(first, first + len(W))
            own_quats, grad_own, grad_own_quats = (
                None if t is None else t[part] for t in (quats, grad_points, grad_quats)
            )
            sums = [None if t is None else torch.empty_like(t) for t in (grad_expr, *grad_motion)]
            _kernels.module().skin_backward(
                *(points[part], own_quats, E, P, W, expr, transforms, joint_quats, feature, bent, first),
                *(*given, grad_own, grad_own_quats, *grad_run, *sums, threads, ctx.isa),
            )
            for total, share in zip((grad_expr, *grad_motion), sums, strict=True):
                if total is not None and share is not None:
                    total += share
            first += len(W)
        return None, grad_points, grad_quats, grad_expr, *grad_motion, *grad_flat


def _motion_gradients(needs: Sequence[bool], tensors: Sequence[Tensor]) -> list[Tensor | None]:
    """Zeros for expr, transforms, joint quaternions and features: those of the joints, and the others, go together."""
    wants_coefficients, wants_joints = needs[0] or needs[3], needs[1] or needs[2]
    wanted = (wants_coefficients, wants_joints, wants_joints, wants_coefficients)
    return [torch.zeros_like(t) if want else None for t, want in zip(tensors, wanted, strict=True)]
