"""The same pictures from gsplat's CUDA kernels, for tensors that live on a GPU."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from perse.errors import PerseError
from perse.splat._details import Details
from perse.splat._first_order import refuse_second
from perse.splat._reference import LARGEST_RADIUS, MAX_ALPHA, well_formed
from perse.splat.options import DEFAULTS, RenderOptions, limit_anisotropy

TILE = 16  # pixels a side
CHANNELS = 32  # drawn in one pass
RANGE = TILE * TILE  # gsplat walks its tile lists in batches of this many Gaussians


class Splats(NamedTuple):
    """gsplat's view of G sets x C cameras (one of them is 1, unless each set has its own camera)."""

    means2d: torch.Tensor  # [G, C, N, 2]
    conics: torch.Tensor  # [G, C, N, 3]
    opacities: torch.Tensor  # [G, C, N]
    offsets: torch.Tensor  # [G, C, tiles_y, tiles_x] into `order`
    order: torch.Tensor  # Gaussians of each tile, near to far


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
    """Draw B images in one call.

    viewmat [B, 4, 4], K [B, 3, 3] and background [B, C] are given for each image; means, quats, scales, opacities and
    channels lead with B, or with 1 where all images share them; shapes otherwise as in `_reference.render`.
    """
    gsplat = _import_gsplat()
    images, count = len(viewmat), means.shape[-2]
    if not images or not count:  # gsplat's kernels want at least one Gaussian
        nothing = sum(
            tensor.sum() for tensor in (means, quats, scales, opacities, channels)
        )  # 0, and differentiable
        image = background[:, None, None].expand(-1, height, width, -1) + nothing
        return image, torch.zeros_like(image[..., 0]) + nothing
    inputs = [means, quats, scales, opacities, channels, viewmat, K, background]
    means, quats, scales, opacities, channels, viewmat, K, background = _first_derivatives_only(
        [tensor.float() for tensor in inputs]
    )

    # A broken Gaussian becomes one without opacity: its numbers must not reach the kernels.
    good = well_formed(means, quats, scales, opacities, channels)
    means, quats, scales, channels = (
        torch.where(good[..., None], tensor, 1.0) for tensor in (means, quats, scales, channels)
    )
    opacities = torch.where(good, opacities.clamp(max=1.0), 0.0)
    scales = limit_anisotropy(scales, options.max_anisotropy)

    sets = max(len(tensor) for tensor in (means, quats, scales, opacities))
    cameras = images // sets
    shaped = [tensor.expand(sets, *tensor.shape[1:]) for tensor in (means, quats, scales, opacities)]
    splats, radii, means2d = _project(
        gsplat, shaped, viewmat.unflatten(0, (sets, cameras)), K.unflatten(0, (sets, cameras)), (width, height),
        options, None if details is None or details.probe is None else details.probe.unflatten(0, (sets, cameras)),
    )  # fmt: skip
    colors = channels.expand(images, -1, -1).unflatten(0, (sets, cameras))
    behind = background.unflatten(0, (sets, cameras))
    image, alpha = _blend(gsplat, splats, colors, behind, (width, height))
    if details is not None:
        details.radii.copy_(radii.flatten(0, 1).clamp(max=LARGEST_RADIUS))
        details.means2d.copy_(means2d.detach().flatten(0, 1))
        _look(gsplat, details, splats, width, height)
        if details.labels is not None:
            _label(gsplat, details, splats, (width, height))
    return image.flatten(0, 1), alpha.flatten(0, 1)  # [B, H, W, C], [B, H, W]


def _blend(
    gsplat: Any, splats: Splats, colors: torch.Tensor, background: torch.Tensor, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend colors [G, C, N, D] over background [G, C, D] -> image [G, C, H, W, D], alpha [G, C, H, W]."""
    drawn = [
        gsplat.rasterize_to_pixels(
            splats.means2d,
            splats.conics,
            colors[..., first : first + CHANNELS],
            splats.opacities,
            *size,
            TILE,
            splats.offsets,
            splats.order,
            backgrounds=background[..., first : first + CHANNELS],
        )
        for first in range(0, colors.shape[-1], CHANNELS)
    ]
    return torch.cat([image for image, _ in drawn], dim=-1), drawn[0][1].squeeze(-1)


@torch.no_grad()
def _label(gsplat: Any, details: Details, splats: Splats, size: tuple[int, int]) -> None:
    """Fill in the labels: blend one channel for each that occurs."""
    assert details.labels is not None
    colors = details.one_hot(torch.float32).unflatten(0, splats.opacities.shape[:2])
    shares, alpha = _blend(
        gsplat, splats, colors, colors.new_zeros(*colors.shape[:2], colors.shape[-1]), size
    )
    details.labels.copy_(details.decide_labels(1.0 - alpha, shares).flatten(0, 1))


def _project(
    gsplat: Any,
    gaussians: list[torch.Tensor],
    viewmats: torch.Tensor,
    Ks: torch.Tensor,
    size: tuple[int, int],
    options: RenderOptions,
    probe: torch.Tensor | None,
) -> tuple[Splats, torch.Tensor, torch.Tensor]:
    """Project G sets into C cameras each -> splats, radii [G, C, N] (0: not drawn), centres [G, C, N, 2] (0 likewise).

    The gradient of the centres also arrives in `probe`.
    """
    means, quats, scales, opacities = gaussians
    radii, means2d, depths, conics, compensations = gsplat.fully_fused_projection(
        means,
        None,
        quats,
        scales,
        viewmats,
        Ks.detach(),
        *size,
        eps2d=options.eps2d,
        near_plane=options.near_plane,
        far_plane=min(options.far_plane, 3e38),
        radius_clip=options.radius_clip,
        packed=False,
        calc_compensations=options.antialiased,
        opacities=opacities.detach(),
    )
    larger = radii.amax(dim=-1)
    drawn = (radii > 0).all(dim=-1) & (larger <= options.max_radius)
    radii = radii * drawn[..., None]
    # What is not drawn was never written.
    means2d = torch.where(drawn[..., None], means2d, 0.0)
    conics = torch.where(drawn[..., None], conics, conics.new_tensor([1.0, 0.0, 1.0]))
    opacities = opacities[:, None].expand(drawn.shape)
    if compensations is not None:
        compensations = torch.where(drawn, compensations, 0.0)
    if Ks.requires_grad:
        means2d, conics, factor = _follow_intrinsics(means2d, conics, Ks, options.eps2d)
        compensations = None if compensations is None else compensations * factor
    if compensations is not None:
        opacities = opacities * compensations
    centres = means2d
    if probe is not None:
        means2d = means2d + (probe - probe.detach())
    tiles = [math.ceil(side / TILE) for side in size]
    images = drawn.shape[0] * drawn.shape[1]
    _, keys, order = gsplat.isect_tiles(means2d, radii, depths, TILE, *tiles, packed=False, n_images=images)
    offsets = gsplat.isect_offset_encode(keys, images, *tiles).reshape(*drawn.shape[:2], tiles[1], tiles[0])
    return Splats(means2d, conics, opacities, offsets, order), larger * drawn, centres


def _follow_intrinsics(
    means2d: torch.Tensor, conics: torch.Tensor, Ks: torch.Tensor, eps2d: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Let K have the gradient that gsplat's projection does not give it.

    Focal lengths scale the image about the centre, blur aside. So what depends on K is written anew around the values
    that gsplat found, and added as terms that are zero. Returns means2d, conics, and the factor 1 [G, C, N] by which
    antialiasing follows.
    """
    focal, center = Ks[..., None, (0, 1), (0, 1)], Ks[..., None, (0, 1), (2, 2)]  # [G, C, 1, 2]
    zoom_x, zoom_y = (focal / focal.detach()).unbind(-1)  # 1
    moved = (means2d.detach() - center.detach()) * torch.stack([zoom_x, zoom_y], dim=-1) + center
    xx, xy, yy = _inverse(*conics.detach().unbind(-1))
    xx, xy, yy = (
        (xx - eps2d) * zoom_x.square() + eps2d,
        xy * zoom_x * zoom_y,
        (yy - eps2d) * zoom_y.square() + eps2d,
    )
    zoomed = torch.stack(_inverse(xx, xy, yy), dim=-1)
    determinant = xx * yy - xy * xy
    factor = zoom_x * zoom_y * torch.sqrt(determinant.detach() / determinant)
    return (
        means2d + (moved - moved.detach()),
        conics + (zoomed - zoomed.detach()),
        1.0 + (factor - factor.detach()),
    )


def _inverse(
    xx: torch.Tensor, xy: torch.Tensor, yy: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The inverse of symmetric 2 x 2 matrices, entry by entry."""
    determinant = xx * yy - xy * xy
    return yy / determinant, -xy / determinant, xx / determinant


@torch.no_grad()
def _look(gsplat: Any, details: Details, splats: Splats, width: int, height: int) -> None:
    """Fill in the median and the seen Gaussians, batch after batch of each tile's list."""
    if details.median is None and details.seen is None:
        return
    batch = splats.means2d.shape[:2]
    transmittance = splats.means2d.new_ones(*batch, height, width)
    ends = torch.cat([splats.offsets.flatten()[1:], splats.offsets.new_tensor([len(splats.order)])])
    longest = int((ends - splats.offsets.flatten()).max())
    flat = [tensor.flatten(0, 1) for tensor in (splats.means2d, splats.conics, splats.opacities)]
    for step in range(math.ceil(longest / RANGE)):
        numbers, pixels, which = gsplat.rasterize_to_indices_in_range(
            step, step + 1, transmittance, *splats[:3], width, height, TILE, splats.offsets, splats.order
        )
        if not len(numbers):
            continue
        at = which * (width * height) + pixels  # into the flattened [B, H, W]
        x, y = pixels % width + 0.5, torch.div(pixels, width, rounding_mode="floor") + 0.5
        means2d, conics, opacities = (tensor[which, numbers] for tensor in flat)
        dx, dy = x - means2d[:, 0], y - means2d[:, 1]
        distance = 0.5 * (conics[:, 0] * dx * dx + conics[:, 2] * dy * dy) + conics[:, 1] * dx * dy
        alphas = (opacities * torch.exp(-distance)).clamp(max=MAX_ALPHA)
        before, after = transmittances(at, alphas, transmittance.flatten())
        if details.seen is not None:
            details.seen[which, numbers] = True
        if details.median is not None:
            halved = (before > 0.5) & (after <= 0.5)
            details.median.view(-1)[at[halved]] = numbers[halved].to(torch.int32)
        transmittance.view(-1).scatter_reduce_(0, at, after.to(transmittance.dtype), "amin")


def transmittances(
    pixels: torch.Tensor, alphas: torch.Tensor, start: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Transmittance before and behind each of M contributions [M], in float64.

    pixels [M] says which pixel of start [P], the transmittance so far, is meant; the contributions to one pixel are
    neighbours, near to far.
    """
    logarithms = torch.log1p(-alphas.double()).cumsum(0)
    first = torch.ones_like(pixels, dtype=torch.bool)
    first[1:] = pixels[1:] != pixels[:-1]
    earlier = torch.cat([logarithms.new_zeros(1), logarithms[:-1]])
    group = first.cumsum(0) - 1
    base = earlier[first][group]  # the sum before the pixel's first contribution
    so_far = start.double()[pixels]
    return so_far * torch.exp(earlier - base), so_far * torch.exp(logarithms - base)


def _first_derivatives_only(tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return _FirstOnly.apply(*tensors)  # type: ignore[no-any-return]


class _FirstOnly(torch.autograd.Function):
    """Hands tensors on, and refuses to be differentiated twice: gsplat's backward passes would say zero."""

    @staticmethod
    def forward(ctx: Any, *tensors):
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients):
        return tuple(refuse_second("gsplat", list(gradients)))


def _import_gsplat() -> Any:
    try:
        import gsplat
    except ImportError as error:
        raise PerseError(
            "drawing CUDA tensors needs gsplat: pip install 'perse[cuda]', or move the tensors to the CPU"
        ) from error
    return gsplat
