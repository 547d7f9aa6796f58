"""Drawing Gaussians: one function, the same numbers from every backend."""

from __future__ import annotations

import torch

from perse.splat._draw import Job, draw
from perse.splat.camera import Camera
from perse.splat.gaussians import Gaussians
from perse.splat.options import DEFAULTS


def rasterize(
    gaussians: Gaussians,
    camera: Camera,
    background: torch.Tensor | None = None,
    extra: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw Gaussians: `-> image [..., H, W, 3 + C], alpha [..., H, W]`. `render` tells more of them.

    The leading dimensions of every Gaussian tensor, of the camera, of `extra` and of `background` broadcast against
    one another, so sets x cameras are one call. `extra` [..., N, C] adds channels that are blended as colours are.
    `background` is [..., 3], [..., 3 + C] or None for black; the extra channels of a three-channel background are zero.
    Differentiable once in everything.

    `backend`: "native" (CPU, float32), "torch" (dense reference, any device, also float64, slow), "gsplat" (CUDA),
    or "auto": gsplat for CUDA tensors, native otherwise. They agree but for pixels on one of the thresholds:
    Gaussians nearer than 1 cm are dropped, 0.3 square pixels of blur are added, alpha is clamped at 0.999, alpha
    below 1/255 is skipped, a pixel is finished before its transmittance falls to 1e-4.

    Not drawn, and given zero gradients: Gaussians that hold a number that is not finite or a quaternion of length 0.
    Opacities above 1 are drawn as 1, those under 1/255 (negative ones too) not at all; the sign of a scale does not
    matter, and an axis of length 0 is flat.

    Raises TypeError or ValueError for arguments that do not fit, PerseError for pictures that the memory cannot hold.
    """
    return draw(Job.of(gaussians, camera, background, extra, backend=backend), DEFAULTS)
