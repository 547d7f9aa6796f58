"""The paper's field: coordinate networks MLP_d and MLP_c over shared points (Eqs. 17-20, 23)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from perse.avatar.codes import Codes
from perse.avatar.fields._points import Moved, rearrange_buffers, rearrange_parameters
from perse.avatar.fields.base import FieldConfig, Layout, empty
from perse.avatar.networks import SplitMLP, positional_encoding
from perse.avatar.posing import Canonical
from perse.avatar.start import COLOR, OPACITY, ROTATION, SCALE, Start, value_steps
from perse.head import Binding

if TYPE_CHECKING:
    from perse.avatar.latent import LatentSpace

OFFSETS, EXPR, POSE, WEIGHTS = 6, 3 * 50, 3 * 36, 5
"""Outputs of MLP_d (Eq. 18): O1 and O2, E, P, W."""
COORDINATE_SCALE = 5.0
"""A head of 20 cm becomes about one unit, which is what the encoding's octaves are meant for."""


class MlpField(nn.Module):
    """x_gc -> O1, O2, E, P, W by MLP_d; x_sc -> o, r, s, c by MLP_c; both conditioned on the whole code z.

    Differences from the paper: E, P, W are the nearest head surface's values plus what the network adds (a
    fresh avatar already moves like a head); optionally every point has learned values of its own.
    """

    uses_presence = False
    flame_E: Tensor
    flame_P: Tensor
    flame_W: Tensor
    labels: Tensor
    steps: Tensor
    values: Tensor
    opacity: nn.Parameter
    scale: nn.Parameter
    rotation: nn.Parameter
    color: nn.Parameter

    def __init__(self, config: FieldConfig, layout: Layout, slots: tuple[str, ...], latent_dim: int) -> None:
        super().__init__()
        self.config, self.layout = config, Layout(layout.base + sum(layout.layers.values()))
        self.latent_dim = latent_dim
        n, z = self.layout.base, len(slots) * latent_dim
        inputs = 3 * (1 + 2 * config.frequencies)
        self.points = empty(n, 3)  # x_gc, Eq. 17
        self.deform = SplitMLP(
            inputs, z, config.width, config.depth, OFFSETS + EXPR + POSE + WEIGHTS, config.skip
        )
        self.appear = SplitMLP(inputs, z, config.width, max(2, config.depth // 2), 11)
        self.register_buffer(
            "values", torch.zeros(n, 11)
        )  # opacity, log scale, quaternion, colour: start values
        if config.point_values:
            self.opacity, self.scale = empty(n, 1), empty(n, 3)
            self.rotation, self.color = empty(n, 4), empty(n, 3)
        self.pose_code = empty(n, config.pose_code) if config.pose_code else None
        self.register_buffer("flame_E", torch.zeros(n, 3, 50))
        self.register_buffer("flame_P", torch.zeros(n, 3, 36))
        self.register_buffer("flame_W", torch.zeros(n, 5))
        self.register_buffer("labels", torch.zeros(n, dtype=torch.uint8))
        self.register_buffer("steps", value_steps(config.offset_step), persistent=False)
        self.ancestors: dict[str, Tensor] = {}

    def initialize(self, start: Start, latent: LatentSpace, generator: torch.Generator) -> None:
        """Points, colours and bindings of the reference; the networks begin by adding almost nothing."""
        points, opacity = start.flat()
        with torch.no_grad():
            self.points.copy_(points.means)
            self.values.copy_(
                torch.cat([opacity[:, None], points.log_scales, points.quats, points.colors], 1)
            )
            self.flame_E.copy_(points.E)
            self.flame_P.copy_(points.P)
            self.flame_W.copy_(points.W)
            self.labels.copy_(points.labels)
            if not self.config.point_values:
                # Without values of its own a point starts as the average one: the paper's bare beginning.
                self.values.copy_(self.values.mean(0).expand_as(self.values))
                self.values[:, 4:8] = torch.tensor([1.0, 0.0, 0.0, 0.0])
        self.ancestors = {"base": torch.arange(len(points))}
        self.deform.initialize(generator, 1e-3)
        self.appear.initialize(generator, 3e-2)

    def evaluate(self, codes: Codes, learn_flame: bool = True) -> Canonical:
        """MLP_d once and MLP_c once for all points of one subject; the code's share of the first layers once."""
        z, n = codes.z.reshape(-1), len(self.points)
        encoded = positional_encoding(self.points * COORDINATE_SCALE, self.config.frequencies)
        offsets, E, P, W = self.deform(encoded, z).split([OFFSETS, EXPR, POSE, WEIGHTS], -1)
        if not learn_flame:
            E, P, W = E.detach(), P.detach(), W.detach()
        offsets = offsets * self.config.offset_step
        means_sc = self.points + offsets[:, :3]  # Eq. 19
        means_fc = means_sc + offsets[:, 3:]  # Eq. 20
        encoded = positional_encoding(means_sc * COORDINATE_SCALE, self.config.frequencies)
        values = self.values + self.appear(encoded, z) * self.steps[:11]  # Eq. 23
        if self.config.point_values:
            values = values + torch.cat([self.opacity, self.scale, self.rotation, self.color], 1)
        # E, P of the head are millimetres a unit of psi; the network's outputs are near one.
        binding = Binding(
            self.flame_E + E.reshape(n, 3, 50) * 1e-2,
            self.flame_P + P.reshape(n, 3, 36) * 1e-2,
            normalize_weights(self.flame_W + W * 0.1),
        )
        return Canonical(
            means=means_fc,
            quats=values[:, ROTATION],
            log_scales=values[:, SCALE],
            opacity=values[:, OPACITY][:, 0],
            colors=values[:, COLOR],
            presence=torch.ones_like(values[:, 0]),
            bindings=[binding],
            labels=self.labels,
            pose_code=self.pose_code,
            z=z,
            layers={"base": slice(0, n)},
        )

    def effect(self, category: str) -> Tensor:
        """[d, d]: every number of a code counts alike."""
        return torch.eye(self.latent_dim, device=self.points.device)

    def flame_targets(self, canonical: Canonical) -> list[Binding]:
        """E, P, W of the nearest head surface."""
        return [Binding(self.flame_E, self.flame_P, self.flame_W)]

    def rearrange(self, name: str, source: Tensor, fresh: Tensor) -> list[Moved]:
        """Rows of the points and of whatever each has of its own; the networks know no points."""
        own = [key for key, _ in self.named_parameters(recurse=False)]
        rearrange_buffers(self, ("values", "flame_E", "flame_P", "flame_W", "labels"), source)
        if self.ancestors:
            self.ancestors[name] = self.ancestors[name][source.cpu()]
        self.layout = Layout(len(source))
        return rearrange_parameters(self, dict.fromkeys(own, 0), source, fresh)

    def adjust(self, name: str, points: Tensor, offset: Tensor, log_scale: Tensor) -> None:
        """x_gc, and the value that MLP_c's scale is added to."""
        with torch.no_grad():
            self.points[points] += offset
            self.values[points, SCALE] += log_scale

    def roles(self) -> dict[str, str]:
        """The networks learn as networks, the points' own values by kind."""
        own = {
            "points": "position",
            "pose_code": "pose_code",
            "opacity": "opacity",
            "scale": "scale",
            "rotation": "rotation",
            "color": "color",
        }
        return {name: own.get(name, "net") for name, _ in self.named_parameters()}


def normalize_weights(weights: Tensor) -> Tensor:
    """Skinning weights [..., 5] whose rows sum to 1 (small negative ones are allowed: they extrapolate)."""
    return weights / weights.sum(-1, keepdim=True).clamp_min(0.1)
