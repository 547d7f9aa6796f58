"""The latent space: one code per category, from image and text features of a subject (paper section 4.1, Eqs. 4-5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perse.avatar.codes import Codes
from perse.dataset import ABSENTABLE, CATEGORIES

SKIN_SLOT = "skin"


@dataclass(frozen=True)
class LatentConfig:
    """Sizes of the latent space."""

    dim: int = 32
    """d: numbers a category's code has (the paper's release: 32)."""
    hidden: int = 256
    """Width of the one hidden layer of MLP_z."""
    free: bool = False
    """Learn every entry's code by itself instead of MLP_z(f_I, f_T): Table 3's ablation of the features."""
    skin_slot: bool = False
    """Add the tenth slot of the paper's release, a code of the skin that no subject changes."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the slots, in the order of the rows of a code."""
        return (*CATEGORIES, SKIN_SLOT) if self.skin_slot else CATEGORIES


class LatentSpace(nn.Module):
    """MLP_z, the reference's codes z_ref, and the shared code z_zero of an absent part.

    Every *entry* is one learned attribute: the features (f_I, f_T) of the subject that shows it, its category, and
    whether it draws anything ("bald" does not). Features are standardised within a category with numbers that
    are part of the weights, because portraits that differ in one attribute have almost the same image features.
    """

    features: Tensor
    feature_mean: Tensor
    feature_scale: Tensor
    entry_category: Tensor
    entry_presence: Tensor
    reference_presence: Tensor

    def __init__(self, config: LatentConfig, entries: int, image_features: int, text_features: int) -> None:
        super().__init__()
        self.config = config
        self.categories = config.categories
        self.split = (image_features, text_features)
        slots, width = len(self.categories), image_features + text_features
        self.register_buffer("features", torch.zeros(entries, width))  # [M, D] standardised (f_I, f_T)
        self.register_buffer("feature_mean", torch.zeros(slots, width))
        self.register_buffer("feature_scale", torch.ones(slots, 2))  # image block, text block
        self.register_buffer("entry_category", torch.zeros(entries, dtype=torch.int64))
        self.register_buffer("entry_presence", torch.ones(entries))
        self.register_buffer("reference_presence", torch.ones(slots))
        self.z_ref = nn.Parameter(torch.zeros(slots, config.dim))
        self.z_zero = nn.Parameter(torch.zeros(config.dim))
        self.free = nn.Parameter(torch.zeros(entries, config.dim)) if config.free else None
        self.net = nn.Sequential(
            nn.Linear(width + slots, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.dim)
        )
        # Without it the scale of the codes drifts and everything behind it learns several times slower.
        self.norm = nn.LayerNorm(config.dim)

    def initialize(
        self,
        features: Tensor,
        entry_category: Sequence[int],
        entry_presence: Sequence[float],
        reference_presence: Sequence[float],
        generator: torch.Generator,
    ) -> None:
        """Set features [M, D], categories and presences, and draw the weights from `generator`."""
        with torch.no_grad():
            own = [(self.free, 1.0)] if self.free is not None else []
            for parameter, scale in ((self.z_ref, 1.0), (self.z_zero, 0.1), *own):
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
            for layer in self.net:
                if isinstance(layer, nn.Linear):
                    bound = layer.in_features**-0.5
                    layer.weight.copy_((torch.rand(layer.weight.shape, generator=generator) * 2 - 1) * bound)
                    layer.bias.copy_((torch.rand(layer.bias.shape, generator=generator) * 2 - 1) * bound)
            self.entry_category.copy_(torch.tensor(entry_category, dtype=torch.int64))
            self.entry_presence.copy_(torch.tensor(entry_presence))
            self.reference_presence.copy_(torch.tensor(reference_presence))
            for slot in range(len(self.categories)):
                rows = self.entry_category == slot
                if rows.any():
                    self._measure(slot, features[rows])
            self.features.copy_(self.standardize(features, self.entry_category))

    @torch.no_grad()
    def place(self, entries: Tensor, codes: Tensor) -> None:
        """Change MLP_z's last layer as little as it takes to give entries [M'] these codes [M', d], of zero mean and
        unit variance: exactly while they are fewer than its hidden units, else as nearly as can be."""
        if self.free is not None:
            self.free[entries] = codes
            return
        hidden = self.net[:-1](self._inputs(self.features[entries], self.entry_category[entries])).double()
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        missed = codes - last(hidden.to(codes.dtype))
        last.weight += (torch.linalg.pinv(hidden, rtol=1e-3) @ missed.double()).T.to(codes.dtype)

    @torch.no_grad()
    def place_reference(self, category: str, code: Tensor) -> None:
        """Give the reference this code [d] in a category; it counts where the reference has the part."""
        self.z_ref[self.categories.index(category)] = code

    def _measure(self, slot: int, features: Tensor) -> None:
        """Mean and spread of one category's features; image and text each get their own spread."""
        mean = features.mean(0) if len(features) > 1 else torch.zeros_like(features[0])
        self.feature_mean[slot] = mean
        for block, part in enumerate((features - mean).split(self.split, dim=1)):
            self.feature_scale[slot, block] = part.square().mean().sqrt().clamp_min(1e-6)

    def standardize(self, features: Tensor, category: Tensor) -> Tensor:
        """Raw (f_I, f_T) [M, D] of categories [M] -> zero mean and unit spread within their category."""
        image, text = (features - self.feature_mean[category]).split(self.split, dim=1)
        scale = self.feature_scale[category]
        return torch.cat([image / scale[:, :1], text / scale[:, 1:]], 1)

    def entry_codes(self, entries: Tensor) -> Tensor:
        """z_k = MLP_z(f_I, f_T) of entries [M'] -> [M', d] (Eq. 5); where codes are free, their own."""
        if self.free is not None:
            return self.norm(self.free[entries])
        return self.codes_of(self.features[entries], self.entry_category[entries])

    def feature_code(self, image: Tensor | None, text: Tensor | None, category: str) -> Tensor:
        """z_k = MLP_z(f_I, f_T) [d] of a new attribute; the learned ones' mean stands in for what is not known."""
        slot = torch.tensor([self.categories.index(category)], device=self.features.device)
        means = self.feature_mean[slot[0]].split(self.split)
        known = [mean if part is None else part for mean, part in zip(means, (image, text))]
        return self.codes_of(self.standardize(torch.cat(known)[None], slot), slot)[0]

    def codes_of(self, features: Tensor, category: Tensor) -> Tensor:
        """MLP_z: standardised features [M, D] of categories [M] -> [M, d]. The category enters as a one-hot."""
        return self.norm(self.net(self._inputs(features, category)))

    def _inputs(self, features: Tensor, category: Tensor) -> Tensor:
        one_hot = nn.functional.one_hot(category, len(self.categories)).to(features.dtype)
        # The one-hot weighs as much as the features do together.
        one_hot = one_hot * features.shape[1] ** 0.5
        return torch.cat([features, one_hot], 1)

    def reference_codes(self) -> Tensor:
        """z_ref [C, d], on the same scale as the subjects' codes; z_zero where the reference lacks the part."""
        present = (self.reference_presence > 0)[:, None]
        return torch.where(present, self.norm(self.z_ref), self.z_zero)

    def codes(self, entries: Iterable[int] = (), absent: Iterable[str] = ()) -> Codes:
        """The reference's codes with some categories' replaced (Eq. 4).

        Args:
            entries: learned attributes to put on, at most one a category.
            absent: categories to take off (z_zero, presence 0).
        """
        z, presence = self.reference_codes(), self.reference_presence
        chosen = torch.tensor(list(entries), dtype=torch.int64, device=z.device)
        if len(chosen):
            slots = self.entry_category[chosen]
            z = z.index_put((slots,), self.entry_codes(chosen))
            presence = presence.index_put((slots,), self.entry_presence[chosen])
        for category in absent:
            if category not in ABSENTABLE:
                raise ValueError(f"{category} cannot be absent")
            slot = torch.tensor(self.categories.index(category), device=z.device)
            z = z.index_put((slot,), self.z_zero)
            presence = presence.index_put((slot,), torch.zeros((), device=z.device))
        return Codes(z, presence)
