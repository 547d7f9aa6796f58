"""What a look between learned ones shows beyond the linear blend; silent at every learned look (section 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perse.avatar.fields.base import empty
from perse.avatar.start import VALUES

WIDTH = 64
"""Hidden numbers of the network from a code to coefficients."""
CLOSED = 1e-3
"""A LayerNorm's output is this near to unit variance; below it the gate stays shut."""


class Between(nn.Module):
    """K more directions of a layer, whose coefficients are zero at every learned look by construction.

    A learned code leaves MLP_z through a LayerNorm, so that its numbers, gain and bias taken off, have a mean square
    of one. A blend (1 - w) a + w b lies inside that sphere: one minus its mean square is w (1 - w) |a - b|^2 / d.
    That is the gate. A part that only one side has keeps its code and fades instead (`Codes.mix`): what it does
    on the way is `absence`, times what is missing of its presence.
    """

    gain: Tensor
    bias: Tensor

    def __init__(self, n: int, directions: int, latent_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(latent_dim, WIDTH)
        self.coefficients = nn.Linear(WIDTH, directions, bias=False)
        self.directions = empty(directions, n, VALUES)
        self.absence = empty(n, VALUES)
        self.fade = empty(1)
        """Logarithm of the power of the presence by which opacity fades: 0 as it is; below, later."""
        self.register_buffer("gain", torch.ones(latent_dim))
        self.register_buffer("bias", torch.zeros(latent_dim))

    def initialize(self, norm: nn.LayerNorm, generator: torch.Generator) -> None:
        """Nothing in between yet, but ready to learn."""
        with torch.no_grad():
            self.gain.copy_(norm.weight)
            self.bias.copy_(norm.bias)
            bound = self.hidden.in_features**-0.5
            for tensor in (self.hidden.weight, self.hidden.bias):
                tensor.copy_((torch.rand(tensor.shape, generator=generator) * 2 - 1) * 2 * bound)
            self.coefficients.weight.copy_(
                torch.randn(self.coefficients.weight.shape, generator=generator) * WIDTH**-0.5
            )
            self.directions.copy_(torch.randn(self.directions.shape, generator=generator) * 1e-3)

    def own(self, z: Tensor) -> Tensor:
        """Codes [..., d] without the LayerNorm's gain and bias."""
        return (z - self.bias) / self.gain

    def gate(self, z: Tensor) -> Tensor:
        """0 at every learned code, up to about one half between two [...]."""
        return (1 - CLOSED - self.own(z).square().mean(-1)).clamp(0, 1)

    def features(self, z: Tensor) -> Tensor:
        """What the coefficients are linear in [..., WIDTH], the gate included."""
        return torch.tanh(self.hidden(self.own(z))) * self.gate(z)[..., None]

    def change(self, z: Tensor, presence: Tensor) -> Tensor:
        """[n, 19] in units of a value, added to the blend's."""
        coefficients = self.coefficients(self.features(z))
        along = (coefficients @ self.directions.flatten(1)).view(self.absence.shape)
        return along + (1 - presence) * self.absence

    def shown(self, presence: Tensor) -> Tensor:
        """The factor of the opacity."""
        return presence ** self.fade.exp()
