"""Which Gaussians are drawn, and how sharply."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class RenderOptions:
    """What every backend understands in the same way; the defaults are gsplat's."""

    antialiased: bool = False
    """Multiply each opacity by sqrt(det(S) / det(S + eps2d I)), S being the covariance in the image: what is smaller
    than a pixel fades instead of growing. gsplat calls it `rasterize_mode="antialiased"`, its opposite "classic"."""
    near_plane: float = 0.01
    """Metres; Gaussians whose centre is nearer, or behind the camera, are not drawn. Above 0."""
    far_plane: float = 1e10
    """Metres; Gaussians whose centre is farther are not drawn."""
    eps2d: float = 0.3
    """Square pixels added to each covariance in the image, so that nothing falls between pixel centres."""
    radius_clip: float = 0.0
    """Pixels; Gaussians whose radius (`Rendering.radii`) is at most this are not drawn. Saves time in large scenes."""
    max_radius: float = math.inf
    """Pixels; Gaussians whose radius is larger are not drawn. Keeps one near the camera from covering the picture."""
    max_anisotropy: float = math.inf
    """Largest ratio of a Gaussian's longest to its shortest axis. Shorter axes are drawn as longest / max_anisotropy;
    their own gradient is then zero, and the longest axis receives what it causes. Forbids needles."""

    def __post_init__(self) -> None:
        if not 0 < self.near_plane < self.far_plane:
            raise ValueError(f"planes must be 0 < near < far, not {self.near_plane} and {self.far_plane}")
        if not 0 <= self.eps2d < math.inf:
            raise ValueError(f"eps2d must be a number of square pixels from 0, not {self.eps2d}")
        if not 0 <= self.radius_clip < self.max_radius:
            raise ValueError(
                f"radii must be 0 <= radius_clip < max_radius, not {self.radius_clip} and {self.max_radius}"
            )
        if not self.max_anisotropy >= 1:
            raise ValueError(
                f"max_anisotropy is the ratio of two axes and at least 1, not {self.max_anisotropy}"
            )


DEFAULTS = RenderOptions()


def limit_anisotropy(scales: torch.Tensor, largest: float) -> torch.Tensor:
    """Raise the shorter axes of scales [..., N, 3] to their longest / largest; differentiable."""
    if largest == math.inf:
        return scales
    lengths = scales.abs()
    return torch.maximum(lengths, lengths.amax(dim=-1, keepdim=True) / largest)
