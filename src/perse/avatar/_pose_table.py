"""A look packed for playback by the native kernels: a frame reads each number once, and most at half the size."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from perse import _kernels
from perse.avatar import _native_pose_mlp
from perse.splat import Gaussians

if TYPE_CHECKING:
    from perse.avatar.posing import Canonical, PoseMLP

BLOCK = 16
"""Points that the kernels pose together."""
LARGEST = 32767
"""A column kept in 16-bit integers is in units of its largest value over this: ten times as exact as float16."""


class PoseTable:
    """N points in blocks of 16, each with the columns of its E and P that are not zero, and its constants.

    Without gradients, on the CPU, in float32; with `compact`, E and P are kept in 16-bit integers, every column of a
    block in units of its own (docs/avatar.md says what that changes: far less than a grey level).
    """

    def __init__(
        self,
        canonical: Canonical,
        joints: Tensor,
        pose_mlp: PoseMLP | None,
        log_scale_range: tuple[float, float],
        compact: bool = True,
    ) -> None:
        """Pack. Takes about as long as a dozen frames, and as much memory again while it does."""
        self._plain = None
        if pose_mlp is None:
            self._plain = (
                canonical.log_scales.clamp(*log_scale_range).exp(),
                canonical.opacity.sigmoid() * canonical.presence,
                canonical.colors.sigmoid(),
            )
        self._count = len(canonical)
        columns, units, which, first = _pack_bases(canonical, compact)
        constants = [
            canonical.means,
            F.normalize(canonical.quats, dim=-1),
            torch.cat([b.W for b in canonical.bindings]),
        ]
        widths, weights = _fold(pose_mlp, canonical.z) if pose_mlp is not None else ([], torch.empty(0))
        if pose_mlp is not None:
            at_rest = pose_mlp.at_rest(canonical.pose_code, canonical.z)[0].expand(self._count, -1)
            constants += [canonical.log_scales, canonical.opacity[:, None], canonical.presence[:, None]]
            constants += [canonical.colors, at_rest]
            constants += [canonical.pose_code] if canonical.pose_code is not None else []
        self._native = _kernels.module().PoseTable(
            self._count,
            sum(basis.shape[-1] for basis in canonical.bindings[0][:2]),
            columns,
            units,
            which,
            first,
            _blocks(torch.cat(constants, 1)).transpose(1, 2).contiguous(),
            joints.contiguous(),
            widths,
            weights,
            [] if pose_mlp is None else list(pose_mlp.BOUNDS),
            *log_scale_range,
        )

    @staticmethod
    def takes(canonical: Canonical, joints: Tensor, pose_mlp: PoseMLP | None) -> bool:
        """Whether the kernels can play this: float32 on a CPU, and a network that is not too large."""
        tensors = [canonical.means, joints, canonical.bindings[0].E]
        if not _kernels.built() or any(t.device.type != "cpu" or t.dtype != torch.float32 for t in tensors):
            return False
        return pose_mlp is None or _native_pose_mlp.fits(pose_mlp.layers(canonical.z)[0])

    def buffers(self, frames: int) -> list[Tensor]:
        """What `pose` writes: means [F, N, 3], quats [F, N, 4], and with MLP_pose scales, opacities, colours."""
        shapes = [(3,), (4,)] if self._plain else [(3,), (4,), (3,), (), (3,)]
        return [torch.empty(frames, self._count, *shape) for shape in shapes]

    def pose(self, expr: Tensor, pose: Tensor, out: list[Tensor] | None = None) -> Gaussians:
        """expr [F, 50], pose [F, 15] -> Gaussians [F, N, .]; what does not change between frames has no leading F.

        Args:
            out: `buffers(F)` to write into; new ones by default.
        """
        out = out or self.buffers(len(expr))
        changed = out if self._plain is None else [*out, None, None, None]
        isa = os.environ.get(_kernels.SIMD_VARIABLE, "")
        expr, pose = expr.float().contiguous(), pose.float().contiguous()
        self._native.pose(expr, pose, *changed, torch.get_num_threads(), isa)
        return Gaussians(*out, *(self._plain or ()))


def _blocks(values: Tensor) -> Tensor:
    """[N, ...] -> [blocks, 16, ...], zeros behind the last point."""
    missing = -len(values) % BLOCK
    values = torch.cat([values, values.new_zeros(missing, *values.shape[1:])])
    return values.unflatten(0, (-1, BLOCK))


def _pack_bases(canonical: Canonical, compact: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Columns [L, 3, 16] block by block, their units [L], which coefficient each answers to [L], and where each block

    begins [blocks + 1].
    """
    bases = _blocks(torch.cat([torch.cat([b.E, b.P], -1) for b in canonical.bindings]))
    bases = bases.permute(0, 3, 2, 1)  # [blocks, 86, 3, 16]
    size = bases.abs().amax((2, 3))  # [blocks, 86]
    alive = size > 0
    first = torch.zeros(len(bases) + 1, dtype=torch.int32)
    first[1:] = alive.sum(1).cumsum(0)
    columns, units = bases[alive], torch.ones(int(first[-1]))
    if compact:
        units = size[alive] / LARGEST
        columns = (columns / units[:, None, None]).round_().to(torch.int16)
    return columns.contiguous(), units, alive.nonzero()[:, 1].to(torch.uint8), first


def _fold(pose_mlp: PoseMLP, z: Tensor | None) -> tuple[list[int], Tensor]:
    """Widths of all layers, and their weights with the scales of the inputs.

    A layer is [inputs, outputs] and then its biases, outputs padded with zeros to a multiple of 8.
    """
    weights, biases = pose_mlp.layers(z)
    scale = torch.ones(weights[0].shape[1])
    scale[:3], scale[3:6] = pose_mlp.MOVED_SCALE, pose_mlp.BENT_SCALE
    widths, flat = [weights[0].shape[1]], []
    for number, (weight, bias) in enumerate(zip(weights, biases)):
        own = (weight * scale if number == 0 else weight).T
        more = -len(bias) % 8
        flat += [F.pad(own, (0, more, 0, widths[-1] - len(own))).flatten(), F.pad(bias, (0, more))]
        widths.append(len(bias) + more)
    return widths, torch.cat(flat).detach()
