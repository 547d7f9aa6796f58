"""M_Theta (Eqs. 2, 30): the latent space, a field and MLP_pose, as one module."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perse.avatar.adapters import Adapter, evaluate_adapted
from perse.avatar.codes import Codes
from perse.avatar.fields import Field, FieldConfig, Layout, make_field
from perse.avatar.latent import LatentConfig, LatentSpace
from perse.avatar.posing import Canonical, PoseMLP, pose_canonical
from perse.splat import Gaussians


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of the networks."""

    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)
    """The field and its sizes."""
    latent: LatentConfig = dataclasses.field(default_factory=LatentConfig)
    """The latent space and its sizes."""
    pose_width: int = 32
    """Width of MLP_pose's hidden layers."""
    pose_depth: int = 2
    """Hidden layers of MLP_pose."""
    pose_latent: bool | None = None
    """Whether MLP_pose takes z (Eq. 25). None: as the field needs it: `mlp` yes, `basis` no (else edits leak)."""

    @property
    def pose_takes_code(self) -> bool:
        """`pose_latent`, decided."""
        return self.field.kind == "mlp" if self.pose_latent is None else self.pose_latent


class AvatarModel(nn.Module):
    """Codes, expression and pose in, Gaussians out. Trained by `perse.training`, used through `Avatar`."""

    joints: Tensor

    def __init__(
        self, config: ModelConfig, layout: Layout, entries: int, image_features: int, text_features: int
    ) -> None:
        """Empty weights of the given sizes; `initialize` or a state dict fills them.

        Args:
            layout: points a layer. entries: learned attributes. image_features, text_features: widths of f_I, f_T.
        """
        super().__init__()
        self.config = config
        self.latent = LatentSpace(config.latent, entries, image_features, text_features)
        slots = config.latent.categories
        self._field = make_field(config.field, layout, slots, config.latent.dim)
        latent = len(slots) * config.latent.dim if config.pose_takes_code else 0
        self.pose_mlp = PoseMLP(latent, config.pose_width, config.pose_depth, config.field.pose_code)
        self.register_buffer("joints", torch.zeros(5, 3))
        self.adapters: dict[str, Adapter] = {}  # no part of the state: they are kept beside it

    @property
    def field(self) -> Field:
        """The field, by its interface."""
        return self._field  # type: ignore[return-value]

    def canonical(self, codes: Codes, learn_flame: bool = True) -> Canonical:
        """One subject before posing, with the adapters it wears: once per subject, however many frames follow."""
        canonical = evaluate_adapted(self.field, codes, self.adapters, learn_flame)
        if self.config.pose_takes_code:
            canonical.z = codes.z.reshape(-1)
        return canonical

    def pose(self, canonical: Canonical, expr: Tensor, pose: Tensor, use_pose_mlp: bool = True) -> Gaussians:
        """Frames of one subject: expr [F, 50], pose [F, 15] -> Gaussians [F, N, .] (Eqs. 21-29)."""
        return pose_canonical(canonical, self.joints, expr, pose, self.pose_mlp if use_pose_mlp else None)

    def roles(self) -> dict[str, str]:
        """What every parameter is, by its full name; training has a step size a role."""
        roles = {f"_field.{name}": role for name, role in self.field.roles().items()}
        for name, _ in self.named_parameters():
            if name.startswith("pose_mlp."):
                roles[name] = "net"
            elif name.startswith("latent."):
                roles[name] = "code" if name.endswith((".z_ref", ".z_zero", ".free")) else "latent_net"
        return roles
