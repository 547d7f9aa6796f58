"""Dense Gaussian splatting in plain torch: the definition the fast backends are held to.

Written for clarity and for float64: every step is an ordinary torch operation, so autograd gives exact gradients
with respect to the Gaussians, the channels, the background and the camera. Tiles are drawn one after another, so
that memory stays bounded; it is still hundreds of times slower than the native backend.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

from perse.splat._details import Details
from perse.splat.options import DEFAULTS, RenderOptions, limit_anisotropy

MAX_ALPHA = 0.999
MIN_ALPHA = 1.0 / 255.0  # fainter contributions are skipped
MIN_TRANSMITTANCE = 1e-4  # a pixel is finished before it falls to this
MAX_SIGMA = 3.33  # radius, in standard deviations, beyond which a Gaussian is not listed
QUAT_LENGTHS = (1e-12, 1e18)  # outside of these a quaternion is no rotation, or float32 cannot normalise it
LARGEST_RADIUS = 2**24  # pixels; larger ones are reported as this
TILE = 32


class Ellipses(NamedTuple):
    """M Gaussians in the image."""

    means2d: torch.Tensor  # [M, 2]
    covariances: torch.Tensor  # [M, 3] xx, xy, yy, blur included
    determinants: torch.Tensor  # [M]
    sharp_determinants: torch.Tensor  # [M] before the blur
    depths: torch.Tensor  # [M]

    def select(self, index: torch.Tensor) -> Ellipses:
        """Those that a mask or an index names."""
        return Ellipses(*(tensor[index] for tensor in self))


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
    *,
    options: RenderOptions = DEFAULTS,
    details: Details | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one image.

    means [N, 3], quats [N, 4], scales [N, 3], opacities [N], channels [N, C], viewmat [4, 4], K [3, 3],
    background [C] -> image [H, W, C], alpha [H, W].
    """
    drawable = well_formed(means, quats, scales, opacities, channels) & _in_range(means, viewmat, options)
    numbers = torch.nonzero(drawable).squeeze(-1)
    scales = limit_anisotropy(scales[numbers], options.max_anisotropy)
    ellipses = _project(means[numbers], quats[numbers], scales, viewmat, K, (width, height), options.eps2d)
    if details is not None and details.probe is not None:
        probe = details.probe[numbers]
        ellipses = ellipses._replace(means2d=ellipses.means2d + (probe - probe.detach()))
    drawn, extents = _cull(ellipses, opacities[numbers], options)
    numbers, ellipses, extents = numbers[drawn], ellipses.select(drawn), extents[drawn]
    if details is not None:
        _report(details, numbers, ellipses.means2d, extents, (width, height))

    order = torch.argsort(ellipses.depths, stable=True)
    numbers, ellipses, extents = numbers[order], ellipses.select(order), extents[order]
    xx, xy, yy = ellipses.covariances.unbind(-1)
    conics = torch.stack([yy, -xy, xx], dim=-1) / ellipses.determinants[:, None]  # the inverse: xx, xy, yy
    splats = [
        ellipses.means2d,
        conics,
        _blended_opacities(opacities[numbers], ellipses, options),
        channels[numbers],
    ]
    boxes = torch.cat(
        [ellipses.means2d - extents, ellipses.means2d + extents], dim=-1
    ).detach()  # [M, 4] x0 y0 x1 y1

    rows = []
    for top in range(0, height, TILE):
        bottom = min(top + TILE, height)
        tiles = []
        for left in range(0, width, TILE):
            tile = (left, top, min(left + TILE, width), bottom)
            listed = _listed(boxes, tile)
            inputs = (_pixels(tile, means), *(tensor[listed] for tensor in splats))
            blended = checkpoint(_blend, *inputs, use_reentrant=False)  # [h * w, C + 1]
            tiles.append(blended.unflatten(0, (bottom - top, -1)))
            if details is not None:
                _look(details, tile, numbers[listed], *inputs[:4])
        rows.append(torch.cat(tiles, dim=1))
    drawn_image = torch.cat(rows, dim=0)  # [H, W, C + 1]; the last channel is alpha
    image, alpha = drawn_image[..., :-1], drawn_image[..., -1]
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


def well_formed(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    channels: torch.Tensor,
) -> torch.Tensor:
    """Mask [..., N] of the Gaussians that are finite, and whose quaternion is a rotation; batches broadcast."""
    with torch.no_grad():
        lengths = torch.linalg.vector_norm(quats, dim=-1)
        good = (lengths >= QUAT_LENGTHS[0]) & (lengths <= QUAT_LENGTHS[1]) & torch.isfinite(opacities)
        for rows in (means, scales, channels):
            good = good & torch.isfinite(rows).all(dim=-1)
        return good


@torch.no_grad()
def _in_range(means: torch.Tensor, viewmat: torch.Tensor, options: RenderOptions) -> torch.Tensor:
    """Mask [N] of the Gaussians between the near and the far plane."""
    depths = means @ viewmat[2, :3] + viewmat[2, 3]
    return (depths >= options.near_plane) & (depths <= options.far_plane)


def _project(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    viewmat: torch.Tensor,
    K: torch.Tensor,
    size: tuple[int, int],
    blur: float,
) -> Ellipses:
    """World Gaussians to image ellipses."""
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
        far_corner = center.new_tensor(size)
        margin = 0.15 * far_corner / focal
        low, high = -center / focal - margin, (far_corner - center) / focal + margin
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
    u, v = axes.unbind(1)
    xx, xy, yy = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    sharp = torch.linalg.cross(u, v).square().sum(-1)  # xx yy - xy xy, without its cancellation
    return Ellipses(
        means2d=means2d,
        covariances=torch.stack([xx + blur, xy, yy + blur], dim=-1),
        determinants=sharp + blur * (xx + yy) + blur * blur,
        sharp_determinants=sharp,
        depths=depths,
    )


def _blended_opacities(opacities: torch.Tensor, ellipses: Ellipses, options: RenderOptions) -> torch.Tensor:
    """The opacity [M] with which a Gaussian is blended: at most 1, and less if antialiased."""
    opacities = opacities.clamp(max=1.0)
    if options.antialiased:
        opacities = opacities * torch.sqrt(ellipses.sharp_determinants / ellipses.determinants)
    return opacities


@torch.no_grad()
def _cull(
    ellipses: Ellipses, opacities: torch.Tensor, options: RenderOptions
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which Gaussians are drawn [M], and the half sizes [M, 2] of the box outside which each stays below MIN_ALPHA."""
    opacities = _blended_opacities(opacities, ellipses, options)
    sigmas = torch.sqrt(2.0 * torch.log(opacities / MIN_ALPHA)).clamp(max=MAX_SIGMA)
    extents = sigmas[:, None] * torch.sqrt(ellipses.covariances[:, ::2])
    radii = extents.amax(dim=-1).ceil()
    right_size = (radii > options.radius_clip) & (radii <= options.max_radius)  # false for NaN
    return right_size & (opacities > MIN_ALPHA) & (ellipses.determinants > 0), extents


@torch.no_grad()
def _report(
    details: Details,
    numbers: torch.Tensor,
    means2d: torch.Tensor,
    extents: torch.Tensor,
    size: tuple[int, int],
) -> None:
    """Fill in the radii and centres of the Gaussians `numbers` [M] that reach into the image."""
    whole = extents.ceil()
    inside = ((means2d + whole > 0) & (means2d - whole < means2d.new_tensor(size))).all(dim=-1)
    details.radii[numbers[inside]] = whole[inside].amax(dim=-1).clamp(max=LARGEST_RADIUS).to(torch.int32)
    details.means2d[numbers[inside]] = means2d[inside]


def _listed(boxes: torch.Tensor, tile: tuple[int, int, int, int]) -> torch.Tensor:
    """Indices of the boxes that touch a tile (left, top, right, bottom)."""
    left, top, right, bottom = tile
    touches = (boxes[:, 0] <= right) & (boxes[:, 2] >= left) & (boxes[:, 1] <= bottom) & (boxes[:, 3] >= top)
    return torch.nonzero(touches).squeeze(-1)


def _pixels(tile: tuple[int, int, int, int], like: torch.Tensor) -> torch.Tensor:
    """Pixel centres of a tile [h * w, 2], row by row."""
    left, top, right, bottom = tile
    xs = torch.arange(left, right, dtype=like.dtype, device=like.device) + 0.5
    ys = torch.arange(top, bottom, dtype=like.dtype, device=like.device) + 0.5
    return torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).flatten(0, 1)


def _blend(
    pixels: torch.Tensor,
    means2d: torch.Tensor,
    conics: torch.Tensor,
    opacities: torch.Tensor,
    channels: torch.Tensor,
) -> torch.Tensor:
    """Front-to-back blending of M depth-sorted splats at P pixels: pixels [P, 2] -> [P, C + 1], alpha last."""
    weights, _, _ = _weights(pixels, means2d, conics, opacities)
    return torch.cat([weights @ channels, weights.sum(dim=1, keepdim=True)], dim=-1)


def _weights(
    pixels: torch.Tensor, means2d: torch.Tensor, conics: torch.Tensor, opacities: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Blend weights, and the transmittance before and behind each splat [P, M]."""
    dx, dy = (pixels[:, None] - means2d).unbind(-1)  # [P, M]
    distance = 0.5 * (conics[:, 0] * dx * dx + conics[:, 2] * dy * dy) + conics[:, 1] * dx * dy
    alpha = (opacities * torch.exp(-distance)).clamp(max=MAX_ALPHA)
    alpha = torch.where(alpha >= MIN_ALPHA, alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1.0 - alpha, dim=1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=1)
    weights = torch.where(after > MIN_TRANSMITTANCE, alpha * before, torch.zeros_like(alpha))
    return weights, before, after


@torch.no_grad()
def _look(
    details: Details,
    tile: tuple[int, int, int, int],
    numbers: torch.Tensor,
    pixels: torch.Tensor,
    means2d: torch.Tensor,
    conics: torch.Tensor,
    opacities: torch.Tensor,
) -> None:
    """Fill in the median, the seen Gaussians and the labels of a tile; `numbers` [M] are of the splats listed there."""
    if not len(numbers) or not details.looks:
        return
    left, top, right, bottom = tile
    weights, before, after = _weights(pixels, means2d, conics, opacities)
    if details.seen is not None:
        details.seen[numbers[(weights > 0).any(dim=0)]] = True
    if details.median is not None:
        halved = (before > 0.5) & (after <= 0.5) & (weights > 0)  # at most one for each pixel
        median = torch.where(halved.any(dim=1), numbers[halved.int().argmax(dim=1)], -1).to(torch.int32)
        details.median[top:bottom, left:right] = median.unflatten(0, (bottom - top, right - left))
    if details.labels is not None:
        shares = weights @ details.one_hot(weights.dtype)[numbers]
        labels = details.decide_labels(1.0 - weights.sum(dim=1), shares)
        details.labels[top:bottom, left:right] = labels.unflatten(0, (bottom - top, right - left))
