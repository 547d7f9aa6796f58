"""What a caller may want to know besides the image; backends fill it in."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from typing import Any

import torch


@dataclass
class Details:
    """Buffers for one image, or with leading dimensions for several; they come in as zeros (median as -1)."""

    means2d: torch.Tensor
    """Centres in pixels [..., N, 2], 0 where radii is."""
    probe: torch.Tensor | None
    """Receives the gradient of the centres [..., N, 2]; None if nothing is differentiated. Its leaf shares the memory
    of means2d, so that one tensor holds both value and gradient; no backend reads its values."""
    radii: torch.Tensor
    """Pixels from the centre to where alpha falls below 1/255 along x or y, whichever is more, rounded up
    [..., N] int32. 0: not drawn, or wholly outside the image."""
    median: torch.Tensor | None
    """The Gaussian at which a pixel's transmittance falls to one half [..., H, W] int32; -1: none."""
    seen: torch.Tensor | None
    """Whether any pixel was blended with the Gaussian [..., N] bool."""

    labels: torch.Tensor | None
    """The label with the largest share of the pixel [..., H, W] uint8; 0 if the background has more."""
    classes: torch.Tensor | None
    """What labels are found from: for each Gaussian the place of its label in `codes` [..., N] uint8."""
    codes: torch.Tensor | None = None
    """The labels that occur [K] uint8, in order; the same for all images."""

    @staticmethod
    def empty(
        batch: torch.Size,
        size: tuple[int, int],
        means: torch.Tensor,
        labels: torch.Tensor | None,
        *,
        gradient: bool,
        median: bool,
        seen: bool,
    ) -> Details:
        """Buffers for `batch` images of (width, height) pixels; means and labels [..., N] as the caller gave them."""
        points, pixels = (*batch, means.shape[-2]), (*batch, size[1], size[0])
        buffer = functools.partial(torch.zeros, device=means.device)
        means2d = buffer(*points, 2, dtype=means.dtype)
        # `.data`: filling in means2d changes nothing that autograd watches.
        probe = means2d.data.requires_grad_() if gradient else None
        codes, classes = (None, None) if labels is None else _number(labels)
        return Details(
            means2d=means2d,
            probe=probe,
            radii=buffer(points, dtype=torch.int32),
            median=buffer(pixels, dtype=torch.int32) - 1 if median else None,
            seen=buffer(points, dtype=torch.bool) if seen else None,
            labels=None if labels is None else buffer(pixels, dtype=torch.uint8),
            classes=None if classes is None else classes.expand(points),
            codes=codes,
        )

    @property
    def looks(self) -> bool:
        """Whether anything is asked for that takes another look at the picture."""
        return not (self.median is None and self.seen is None and self.labels is None)

    def one_hot(self, dtype: torch.dtype) -> torch.Tensor:
        """Channels [..., N, K] in which each Gaussian has 1 for its own label."""
        assert self.classes is not None
        assert self.codes is not None
        return torch.eye(len(self.codes), dtype=dtype, device=self.codes.device)[self.classes.to(torch.int64)]

    def decide_labels(self, background: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """What most of a pixel shows, from the shares of the background [...] and of each label [..., K] -> [...]."""
        assert self.codes is not None
        of_all = torch.cat([background[..., None], shares], dim=-1)
        return torch.cat([self.codes.new_zeros(1), self.codes])[of_all.argmax(dim=-1)]

    def flattened(self, batch: torch.Size) -> Details:
        """Views that lead with one dimension [B, ...] instead of `batch`; their gradients add up in these buffers."""

        flat: dict[str, Any] = {
            name: None if buffer is None else buffer.reshape(batch.numel(), *buffer.shape[len(batch) :])
            for name, buffer in self._buffers().items()
        }
        return Details(**flat, codes=self.codes)

    def unbatched(self, batch: torch.Size) -> list[Details]:
        """The same, one for each image."""
        flat = self.flattened(batch)._buffers()
        views: dict[str, Any] = {
            name: None if buffer is None else buffer.unbind(0) for name, buffer in flat.items()
        }
        return [
            Details(**{name: view and view[b] for name, view in views.items()}, codes=self.codes)
            for b in range(batch.numel())
        ]

    def _buffers(self) -> dict[str, Any]:
        """All that leads with the batch."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "codes"}


def _number(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The labels that occur [K], and the place among them of each of labels [..., N]; both uint8."""
    if not labels.numel():
        return labels.new_zeros(0, dtype=torch.uint8), labels.to(torch.uint8)
    low, high = (int(end) for end in torch.aminmax(labels))
    if low < 0 or high > 255:
        raise ValueError(f"labels must be 0 to 255, not {low} to {high}")
    occurs = torch.bincount(labels.flatten().to(torch.int64), minlength=256) > 0
    places = (occurs.cumsum(0) - 1).clamp(min=0).to(torch.uint8)
    return torch.nonzero(occurs).squeeze(-1).to(torch.uint8), places[labels.to(torch.int64)]
