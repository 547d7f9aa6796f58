"""From canonical points to the Gaussians of a frame: blendshapes, skinning, MLP_pose (paper Eqs. 21-29)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perse.avatar import _native_pose_mlp
from perse.avatar.networks import SplitMLP
from perse.head import Binding, native_takes, skin_runs
from perse.splat import Gaussians

MIN_LOG_SCALE, MAX_LOG_SCALE = math.log(1e-4), math.log(0.025)
"""Standard deviations stay between 0.1 mm and 25 mm: outside, a Gaussian of a head is noise or fog."""


@dataclass
class Canonical:
    """One subject in FLAME-canonical space, before activation: what MLP_d and MLP_c give (Eqs. 18-20, 23)."""

    means: Tensor
    """[N, 3] x_fc in metres."""
    quats: Tensor
    """[N, 4], any length."""
    log_scales: Tensor
    """[N, 3]"""
    opacity: Tensor
    """[N] logits."""
    colors: Tensor
    """[N, 3] logits."""
    presence: Tensor
    """[N] factor of the opacity."""
    bindings: list[Binding]
    """E, P, W in runs that together cover the N points in order (copying them would cost more than using them)."""
    labels: Tensor
    """[N] uint8 codes of LABELS."""
    pose_code: Tensor | None = None
    """[N, P] what MLP_pose knows of each point."""
    z: Tensor | None = None
    """[C * d] the code, where MLP_pose takes it."""
    layers: dict[str, slice] = field(default_factory=dict)
    """The points of every layer that is there; "base" always is."""

    def __len__(self) -> int:
        return int(self.means.shape[0])

    def detach(self) -> Canonical:
        """The same numbers without a graph."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {k: v.detach() if isinstance(v, Tensor) else v for k, v in plain.items()}
        plain["bindings"] = [Binding(b.E.detach(), b.P.detach(), b.W.detach()) for b in self.bindings]
        return Canonical(**plain)

    def select(self, keep: Tensor) -> Canonical:
        """Only the points where `keep` [N] is true; layers are forgotten."""
        parts, start = [], 0
        for b in self.bindings:
            mask = keep[start : start + len(b.W)]
            parts.append(Binding(b.E[mask], b.P[mask], b.W[mask]))
            start += len(b.W)
        names = ["means", "quats", "log_scales", "opacity", "colors", "presence", "labels"]
        names += ["pose_code"] if self.pose_code is not None else []
        return replace(self, **{n: getattr(self, n)[keep] for n in names}, bindings=parts, layers={})


class PoseMLP(nn.Module):
    """MLP_pose (Eq. 25): small changes of rotation, scale, opacity and colour with a point's displacement.

    Besides the displacement of Eq. 24 it reads its non-rigid part, and a few learned numbers a point.
    Every change is bounded by a tanh, so that a pose never seen in training cannot make points jump in or out.
    With `latent` = 0 it takes no code: a changed hat then cannot recolour the face. A point that does not move
    does not change: otherwise the network would carry what belongs to the canonical points, and playback without
    it would look wrong.
    """

    BOUNDS = (0.1,) * 4 + (0.3,) * 3 + (0.5,) + (1.0,) * 3
    """Largest change: quaternion (4), log scale (3), opacity logit, colour logits (3)."""
    MOVED_SCALE, BENT_SCALE = 10.0, 100.0
    """Heads move by centimetres and faces by millimetres: bring both near one."""

    bounds: Tensor

    def __init__(self, latent: int, width: int, depth: int, pose_code: int) -> None:
        super().__init__()
        self.net = SplitMLP(6 + pose_code, latent, width, depth, len(self.BOUNDS), output_bias=False)
        self.register_buffer("bounds", torch.tensor(self.BOUNDS), persistent=False)

    def forward(
        self, moved: Tensor, bent: Tensor, pose_code: Tensor | None, z: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Changes of quats, log scales, opacity, colours [F, N, .].

        Args:
            moved: x_d - x_fc (Eq. 24) [F, N, 3] metres.
            bent: the part of it that expression and pose correctives make, before skinning [F, N, 3] metres: what
                a face does, apart from where the head turns.
            pose_code: [N, P].
        """
        weights, biases = self.layers(z)
        given = [moved, bent, *weights, *([] if pose_code is None else [pose_code])]
        if moved.dim() == 3 and native_takes(*given) and _native_pose_mlp.fits(weights):
            codes = moved.new_zeros(moved.shape[1], 0) if pose_code is None else pose_code
            numbers = (self.MOVED_SCALE, self.BENT_SCALE, *self.BOUNDS)
            out = _native_pose_mlp.changes(moved, bent, codes, weights, biases, numbers)
        else:
            out = self.changes_torch(moved, bent, pose_code, z)
        quats, scales, opacity, colors = out.split([4, 3, 1, 3], -1)
        return quats, scales, opacity[..., 0], colors

    def changes_torch(
        self, moved: Tensor, bent: Tensor, pose_code: Tensor | None, z: Tensor | None
    ) -> Tensor:
        """All changes [F, N, 11] by the definition, for any device and precision, with derivatives of any order."""
        inputs = torch.cat([moved * self.MOVED_SCALE, bent * self.BENT_SCALE], -1)
        if pose_code is not None:
            inputs = torch.cat([inputs, pose_code.expand(*inputs.shape[:-1], -1)], -1)
        return torch.tanh(self.net(inputs, z) - self.at_rest(pose_code, z)) * self.bounds

    def layers(self, z: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """Weights [outputs, inputs] and biases [outputs] of every layer, the code's share added to the first bias."""
        layers = [self.net.first, *self.net.hidden, self.net.last]
        weights = [layer.weight for layer in layers]
        biases = [
            w.new_zeros(len(w)) if layer.bias is None else layer.bias for w, layer in zip(weights, layers)
        ]
        if self.net.latent is not None and z is not None:
            biases[0] = biases[0] + self.net.latent(z)
        return weights, biases

    def at_rest(self, pose_code: Tensor | None, z: Tensor | None) -> Tensor:
        """What the network says of points that do not move [1, N or 1, 11]."""
        if pose_code is None:
            return self.net(self.bounds.new_zeros(1, 1, 6), z)
        return self.net(F.pad(pose_code, (6, 0))[None], z)


def pose_canonical(
    canonical: Canonical, joints: Tensor, expr: Tensor, pose: Tensor, pose_mlp: PoseMLP | None = None
) -> Gaussians:
    """The Gaussians of F frames of one subject (Eqs. 21-29). Without `pose_mlp` (warm-up), Eq. 25 is left out.

    Args:
        joints: rest joints [5, 3]. expr: [F, 50]. pose: [F, 15].

    Returns:
        Gaussians; what does not change between frames has no leading F.
    """
    # quats: Rot(r, dx_d / dx_fc), Eq. 29, of unit length
    means, quats, bent = skin_runs(canonical.means, canonical.bindings, joints, expr, pose, canonical.quats)
    log_scales, opacity, colors = canonical.log_scales, canonical.opacity, canonical.colors
    if pose_mlp is not None:
        changes = pose_mlp(means - canonical.means, bent, canonical.pose_code, canonical.z)
        d_quats, d_scales, d_opacity, d_colors = changes
        quats = F.normalize(quats + d_quats, dim=-1)
        log_scales, opacity, colors = log_scales + d_scales, opacity + d_opacity, colors + d_colors
    return Gaussians(
        means=means,
        quats=quats,
        scales=log_scales.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE).exp(),
        opacities=opacity.sigmoid() * canonical.presence,
        colors=colors.sigmoid(),
    )


def layer_slices(sizes: Sequence[tuple[str, int]]) -> dict[str, slice]:
    """Consecutive slices of the given sizes, by name."""
    slices, start = {}, 0
    for name, size in sizes:
        slices[name] = slice(start, start + size)
        start += size
    return slices
