"""Dense Gaussian splatting in plain torch: the definition the fast backends are held to.

Written for clarity and for float64: every step is an ordinary torch operation, so autograd gives exact gradients
with respect to the Gaussians, the channels, the background and the camera. Tiles are drawn one after another, so
that memory stays bounded; it is still hundreds of times slower than the native backend.
"""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

NEAR_PLANE = 0.01  # metres; what lies nearer, or behind, is not drawn
BLUR = 0.3  # square pixels added to each projected covariance (classic anti-aliasing)
MAX_ALPHA = 0.999
MIN_ALPHA = 1.0 / 255.0  # fainter contributions are skipped
MIN_TRANSMITTANCE = 1e-4  # a pixel is finished before it falls to this
MAX_SIGMA = 3.33  # radius, in standard deviations, beyond which a Gaussian is not listed
TILE = 32


def render(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    channels: torch.Tensor,
    viewmat: torch.Tensor,
    K: torch.Tensor,
    width: int,
    height: int,
    background: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one image.

    means [N, 3], quats [N, 4], scales [N, 3], opacities [N], channels [N, C], viewmat [4, 4], K [3, 3],
    background [C] -> image [H, W, C], alpha [H, W].
    """
    drawable = _drawable(means, quats, scales, opacities, channels, viewmat)
    means, quats, scales = means[drawable], quats[drawable], scales[drawable]
    opacities, channels = opacities[drawable], channels[drawable]
    means2d, conics, depths, extents = _project(means, quats, scales, opacities, viewmat, K, width, height)
    order = torch.argsort(depths, stable=True)
    splats = [tensor[order] for tensor in (means2d, conics, opacities, channels)]
    boxes = torch.cat([means2d - extents, means2d + extents], dim=-1)[order].detach()  # [M, 4] x0 y0 x1 y1

    rows = []
    for top in range(0, height, TILE):
        bottom = min(top + TILE, height)
        tiles = [
            _draw_tile(splats, boxes, left, top, min(left + TILE, width), bottom)
            for left in range(0, width, TILE)
        ]
        rows.append(torch.cat(tiles, dim=1))
    drawn = torch.cat(rows, dim=0)  # [H, W, C + 1]
    image, alpha = drawn[..., :-1], drawn[..., -1]
    return image + (1.0 - alpha)[..., None] * background, alpha


def rotation_matrices(quats: torch.Tensor) -> torch.Tensor:
    """wxyz quaternions of any length [..., 4] -> rotation matrices [..., 3, 3]."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    entries = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def _drawable(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    channels: torch.Tensor,
    viewmat: torch.Tensor,
) -> torch.Tensor:
    """Indices [M] of the Gaussians that are finite, in front of the camera and visible at all."""
    with torch.no_grad():
        finite = torch.isfinite(torch.cat([means, quats, scales, opacities[:, None], channels], dim=-1)).all(
            -1
        )
        depths = means @ viewmat[2, :3] + viewmat[2, 3]
        return torch.nonzero(finite & (depths > NEAR_PLANE) & (opacities > MIN_ALPHA)).squeeze(-1)


def _project(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    viewmat: torch.Tensor,
    K: torch.Tensor,
    width: int,
    height: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """World Gaussians to image ellipses.

    Returns means2d [M, 2], conics [M, 3] (inverse covariance xx, xy, yy), depths [M], extents [M, 2] (half sizes of
    the box outside which the Gaussian stays below MIN_ALPHA).
    """
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    camera_means = means @ rotation.T + translation  # [M, 3]
    depths = camera_means[:, 2]
    focal = torch.stack([K[0, 0], K[1, 1]])
    center = torch.stack([K[0, 2], K[1, 2]])
    slopes = camera_means[:, :2] / depths[:, None]  # [M, 2] tangents of the viewing angles
    means2d = slopes * focal + center

    # Far outside the image the linearised projection explodes, so the slope at which it is taken is clamped to 15 %
    # of the image size beyond the border. The limits count as constants.
    with torch.no_grad():
        size = center.new_tensor([width, height])
        margin = 0.15 * size / focal
        low, high = -center / focal - margin, (size - center) / focal + margin
    clamped = torch.minimum(torch.maximum(slopes, low), high)

    inverse_depth = 1.0 / depths
    zero = torch.zeros_like(depths)
    jacobian = torch.stack(
        [
            torch.stack([focal[0] * inverse_depth, zero, -focal[0] * clamped[:, 0] * inverse_depth], dim=-1),
            torch.stack([zero, focal[1] * inverse_depth, -focal[1] * clamped[:, 1] * inverse_depth], dim=-1),
        ],
        dim=-2,
    )  # [M, 2, 3]
    axes = jacobian @ rotation @ (rotation_matrices(quats) * scales[:, None, :])  # [M, 2, 3]
    covariances = axes @ axes.transpose(-1, -2) + BLUR * torch.eye(2, dtype=means.dtype, device=means.device)
    xx, xy, yy = covariances[:, 0, 0], covariances[:, 0, 1], covariances[:, 1, 1]
    determinants = xx * yy - xy * xy
    conics = torch.stack([yy, -xy, xx], dim=-1) / determinants[:, None]
    with torch.no_grad():
        sigmas = torch.sqrt(2.0 * torch.log(opacities / MIN_ALPHA)).clamp(max=MAX_SIGMA)
        extents = sigmas[:, None] * torch.sqrt(torch.stack([xx, yy], dim=-1))
    return means2d, conics, depths, extents


def _draw_tile(
    splats: list[torch.Tensor], boxes: torch.Tensor, left: int, top: int, right: int, bottom: int
) -> torch.Tensor:
    """Blend the depth-sorted splats into one tile [h, w, C + 1]; the last channel is alpha."""
    touches = (boxes[:, 0] <= right) & (boxes[:, 2] >= left) & (boxes[:, 1] <= bottom) & (boxes[:, 3] >= top)
    listed = torch.nonzero(touches).squeeze(-1)
    means2d, conics, opacities, channels = (tensor[listed] for tensor in splats)
    xs = torch.arange(left, right, dtype=means2d.dtype, device=means2d.device) + 0.5
    ys = torch.arange(top, bottom, dtype=means2d.dtype, device=means2d.device) + 0.5
    pixels = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)  # [h, w, 2]
    blended = checkpoint(
        _blend, pixels.flatten(0, 1), means2d, conics, opacities, channels, use_reentrant=False
    )
    return blended.unflatten(0, pixels.shape[:2])


def _blend(
    pixels: torch.Tensor,
    means2d: torch.Tensor,
    conics: torch.Tensor,
    opacities: torch.Tensor,
    channels: torch.Tensor,
) -> torch.Tensor:
    """Front-to-back blending of M splats at P pixels: pixels [P, 2] -> [P, C + 1]."""
    dx, dy = (pixels[:, None] - means2d).unbind(-1)  # [P, M]
    distance = 0.5 * (conics[:, 0] * dx * dx + conics[:, 2] * dy * dy) + conics[:, 1] * dx * dy
    alpha = (opacities * torch.exp(-distance)).clamp(max=MAX_ALPHA)
    alpha = torch.where(alpha >= MIN_ALPHA, alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1.0 - alpha, dim=1)  # transmittance behind each splat
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=1)
    weights = torch.where(after > MIN_TRANSMITTANCE, alpha * before, torch.zeros_like(alpha))
    return torch.cat([weights @ channels, weights.sum(dim=1, keepdim=True)], dim=-1)
