"""What a caller may want to know besides the image; backends fill it in."""

from __future__ import annotations

from dataclasses import dataclass
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

    @staticmethod
    def empty(
        batch: torch.Size,
        count: int,
        size: tuple[int, int],
        device: torch.device,
        dtype: torch.dtype,
        *,
        gradient: bool,
        median: bool,
        seen: bool,
    ) -> Details:
        """Buffers for `batch` images of (width, height) pixels and `count` Gaussians."""
        width, height = size
        means2d = torch.zeros(*batch, count, 2, device=device, dtype=dtype)
        return Details(
            means2d=means2d,
            probe=means2d.data.requires_grad_()
            if gradient
            else None,  # .data: filling means2d in is no change to it
            radii=torch.zeros(*batch, count, device=device, dtype=torch.int32),
            median=torch.full((*batch, height, width), -1, device=device, dtype=torch.int32)
            if median
            else None,
            seen=torch.zeros(*batch, count, device=device, dtype=torch.bool) if seen else None,
        )

    def flattened(self, batch: torch.Size) -> Details:
        """Views that lead with one dimension [B, ...] instead of `batch`; their gradients add up in these buffers."""

        def view(tensor: Any) -> Any:
            return None if tensor is None else tensor.reshape(batch.numel(), *tensor.shape[len(batch) :])

        return Details(*(view(buffer) for buffer in self._buffers()))

    def unbatched(self, batch: torch.Size) -> list[Details]:
        """The same, one for each image."""
        columns = self.flattened(batch)._buffers()
        rows = zip(*([None] * batch.numel() if c is None else c.unbind(0) for c in columns), strict=True)
        return [Details(*row) for row in rows]

    def _buffers(self) -> tuple[Any, ...]:
        return self.means2d, self.probe, self.radii, self.median, self.seen
