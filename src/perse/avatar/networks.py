"""Small networks: positional encoding, and an MLP whose latent part is computed once per subject."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def positional_encoding(x: Tensor, frequencies: int) -> Tensor:
    """[..., D] -> [..., D * (1 + 2 * frequencies)]: x, and sin and cos of x * pi * 2^k."""
    if frequencies == 0:
        return x
    octaves = torch.pi * 2.0 ** torch.arange(frequencies, dtype=x.dtype, device=x.device)
    angles = (x[..., None] * octaves).flatten(-2)  # [..., D * frequencies]
    return torch.cat([x, angles.sin(), angles.cos()], -1)


class SplitMLP(nn.Module):
    """An MLP of a point and a latent code, ``f([x, z])``, that multiplies z by its weights once, not once a point.

    ``W [x, z] = W_x x + W_z z``: the second term is the same for every point of a subject.
    """

    def __init__(
        self,
        inputs: int,
        latent: int,
        width: int,
        depth: int,
        outputs: int,
        skip: int | None = None,
        output_bias: bool = True,
    ) -> None:
        """`depth` hidden layers of `width`; the input enters again before hidden layer `skip` where given."""
        super().__init__()
        self.skip = skip if skip is not None and 0 < skip < depth else None
        self.first = nn.Linear(inputs, width)
        self.latent = nn.Linear(latent, width, bias=False) if latent else None
        self.hidden = nn.ModuleList(
            nn.Linear(width + (inputs if i == self.skip else 0), width) for i in range(1, depth)
        )
        self.last = nn.Linear(width, outputs, bias=output_bias)

    def initialize(self, generator: torch.Generator, output_std: float) -> None:
        """He initialisation of the hidden layers; outputs start near zero with the given deviation."""
        with torch.no_grad():
            for layer in [self.first, *([self.latent] if self.latent else []), *self.hidden]:
                std = (2.0 / layer.in_features) ** 0.5
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * std)
                if layer.bias is not None:
                    layer.bias.zero_()
            self.last.weight.copy_(torch.randn(self.last.weight.shape, generator=generator) * output_std)
            if self.last.bias is not None:
                self.last.bias.zero_()

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Points [..., inputs] and one code [latent] -> [..., outputs]."""
        h = self.first(x)
        if self.latent is not None:
            if z is None:
                raise ValueError("this network takes a latent code")
            h = h + self.latent(z)
        h = torch.relu(h)
        for i, layer in enumerate(self.hidden, start=1):
            h = torch.relu(layer(torch.cat([h, x], -1) if i == self.skip else h))
        return self.last(h)
