"""Latent codes of a whole avatar, and looks: codes with the words they came from (paper section 4.1, Eqs. 4, 13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Worn(NamedTuple):
    """How an adapter is worn."""

    slot: int
    """Row of its category."""
    weight: Tensor
    """0 to 1, a scalar: how much of its change is applied."""


@dataclass(frozen=True, eq=False)
class Codes:
    """The latent code z of one avatar: one code and one presence a category."""

    z: Tensor
    """[C, d] one code a category, in the order of `LatentSpace.categories`."""
    presence: Tensor
    """[C] 1: the part is there, 0: it is not; in between while it fades. It multiplies the part's opacity."""
    worn: Mapping[str, Worn] = field(default_factory=dict)
    """Adapters of looks that were learned after the avatar, by name."""

    def mix(
        self, other: Codes, weight: float | Tensor, only: int | None = None, by_presence: bool = True
    ) -> Codes:
        """Blend towards `other`: weight 0 gives these codes, 1 gives `other`'s (Eq. 13).

        Args:
            weight: how far, 0 to 1.
            only: index of the one category to blend; the others stay as they are here.
            by_presence: a part that only one side has keeps that side's code and merely fades, instead of
                drifting towards z_zero. Right for fields that draw parts as layers; the paper's field has only
                the code to tell absence from, and blends the codes alone.
        """
        w = torch.zeros_like(self.presence)
        w[slice(None) if only is None else only] = weight
        here, there = 1 - w, w
        if by_presence:
            a, b = here * self.presence, there * other.presence
            total = a + b
            present = total > 0
            safe = torch.where(present, total, torch.ones_like(total))
            # Where the part is on both sides alike, the shares are the plain weights.
            alike = self.presence == other.presence
            here = torch.where(present & ~alike, a / safe, here)
            there = torch.where(present & ~alike, b / safe, there)
        z = here[:, None] * self.z + there[:, None] * other.z
        worn = _mixed_adapters(self.worn, other.worn, here, there)
        return Codes(z, (1 - w) * self.presence + w * other.presence, worn)

    def replaced(self, slot: int, z: Tensor, presence: float, adapter: str | None = None) -> Codes:
        """These codes with one category's replaced (Eq. 4), worn with an adapter or with none."""
        at = torch.tensor(slot, device=self.z.device)
        shown = self.presence.index_put((at,), self.presence.new_tensor(presence))
        worn = {name: how for name, how in self.worn.items() if how.slot != slot}
        if adapter is not None:
            worn[adapter] = Worn(slot, self.presence.new_ones(()))
        return Codes(self.z.index_put((at,), z.to(self.z)), shown, worn)

    def to(self, device: torch.device | str) -> Codes:
        """The same codes on another device."""
        worn = {name: Worn(how.slot, how.weight.to(device)) for name, how in self.worn.items()}
        return Codes(self.z.to(device), self.presence.to(device), worn)


def _mixed_adapters(
    a: Mapping[str, Worn], b: Mapping[str, Worn], here: Tensor, there: Tensor
) -> dict[str, Worn]:
    """Every adapter's weights on the two sides, in the shares that their category's codes are mixed in."""
    mixed = {}
    for name, how in {**a, **b}.items():
        weight = here.new_zeros(())
        for side, share in ((a, here), (b, there)):
            if name in side:
                weight = weight + share[how.slot] * side[name].weight
        if float(weight) > 0:  # an adapter that is not worn must not even be evaluated
            mixed[name] = Worn(how.slot, weight)
    return mixed


@dataclass(frozen=True, eq=False)
class Look:
    """What an avatar looks like: its codes and the words that chose them."""

    codes: Codes
    """What the model draws from."""
    attributes: Mapping[str, str | None] = field(default_factory=dict)
    """Prompt of every category that was set; None where the part was taken off."""
    name: str = "reference"
    """A few words for captions."""
    from_words: Mapping[str, int] = field(default_factory=dict)
    """Categories whose prompt was never learned and is drawn from its words alone; of how many learned looks."""
