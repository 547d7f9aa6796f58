"""The five functions of gsplat 1.5.3 that perse calls, in plain torch for the CPU, tile by tile and very slow.

Without a GPU this is how far the backend can be tested: what perse hands to gsplat and makes of its answers, in the
shapes that gsplat's documentation gives. As in the real one, what is culled is never written (here: NaN), K gets no
gradient, and lists are walked 256 Gaussians at a time.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch

from perse.splat import _reference


def fully_fused_projection(
    means, covars, quats, scales, viewmats, Ks, width, height, eps2d=0.3, near_plane=0.01, far_plane=1e10,
    radius_clip=0.0, packed=False, sparse_grad=False, calc_compensations=False, camera_model="pinhole", opacities=None,
):  # fmt: skip
    assert covars is None
    assert not packed
    assert (means.dim(), viewmats.dim()) == (3, 4)
    size = torch.tensor([width, height])
    columns = []
    for g in range(len(means)):
        for viewmat, K in zip(viewmats[g], Ks[g].detach(), strict=True):

            def project(which, g=g, viewmat=viewmat, K=K):
                gaussians = means[g, which], quats[g, which], scales[g, which]
                return _reference._project(*gaussians, viewmat, K, (width, height), eps2d)

            with torch.no_grad():
                e = project(slice(None))
                visible = opacities[g]
                if calc_compensations:
                    visible = visible * torch.sqrt(e.sharp_determinants / e.determinants)
                sigmas = torch.sqrt(2 * torch.log(visible * 255.0)).clamp(max=3.33)
                radii = (sigmas[:, None] * e.covariances[:, ::2].sqrt()).ceil()
                inside = ((e.means2d + radii > 0) & (e.means2d - radii < size)).all(-1)
                kept = inside & (radii > radius_clip).any(-1) & (visible >= 1 / 255)
                kept &= (e.depths >= near_plane) & (e.depths <= far_plane)
            e = project(kept)
            xx, xy, yy = e.covariances.unbind(-1)
            written = (
                e.means2d,
                e.depths,
                torch.stack([yy, -xy, xx], -1) / e.determinants[:, None],
                torch.sqrt(e.sharp_determinants / e.determinants) if calc_compensations else e.depths,
            )
            unwritten = (means.new_full((len(kept), *t.shape[1:]), math.nan) for t in written)
            columns.append(
                (
                    torch.where(kept[:, None], radii, 0.0).to(torch.int32),
                    *(u.index_put((kept,), t) for u, t in zip(unwritten, written, strict=True)),
                )
            )
    stacked = [torch.stack(c).unflatten(0, viewmats.shape[:2]) for c in zip(*columns, strict=True)]
    return (*stacked[:4], stacked[4] if calc_compensations else None)


def isect_tiles(means2d, radii, depths, tile_size, tile_width, tile_height, packed=False, n_images=None):
    """Keys are (image * tiles + tile, rank in depth); only isect_offset_encode reads them."""
    count = means2d.shape[-2]
    assert not packed
    assert n_images == means2d.shape[:-2].numel()
    entries = []
    flat = zip(means2d.flatten(0, 1).detach(), radii.flatten(0, 1), depths.flatten(0, 1), strict=True)
    for image, (centres, halves, z) in enumerate(flat):
        low = ((centres - halves) / tile_size).floor()
        high = ((centres + halves) / tile_size).ceil()
        for g in torch.nonzero((halves > 0).all(-1)).flatten().tolist():
            for y in range(max(0, int(low[g, 1])), min(tile_height, int(high[g, 1]))):
                for x in range(max(0, int(low[g, 0])), min(tile_width, int(high[g, 0]))):
                    tile = (image * tile_height + y) * tile_width + x
                    entries.append((tile, float(z[g].detach()), image * count + g))
    entries.sort()
    return (
        None,
        torch.tensor([e[0] for e in entries]),
        torch.tensor([e[2] for e in entries], dtype=torch.int32),
    )


def isect_offset_encode(keys, n_images, tile_width, tile_height):
    tiles = torch.arange(n_images * tile_width * tile_height)
    return torch.searchsorted(keys, tiles).to(torch.int32).reshape(n_images, tile_height, tile_width)


def _tiles(means2d, offsets, order, tile_size, width, height):
    """For each tile of each image: image, pixel numbers [P], pixel centres [P, 2], Gaussians near to far."""
    count, (images, rows, columns) = means2d.shape[-2], offsets.flatten(0, 1).shape
    ends = torch.cat([offsets.flatten()[1:], torch.tensor([len(order)])]).reshape(images, rows, columns)
    starts = offsets.flatten(0, 1)
    for image in range(images):
        for row in range(rows):
            for column in range(columns):
                ys = torch.arange(row * tile_size, min((row + 1) * tile_size, height))
                xs = torch.arange(column * tile_size, min((column + 1) * tile_size, width))
                y, x = (t.flatten() for t in torch.meshgrid(ys, xs, indexing="ij"))
                listed = order[starts[image, row, column] : ends[image, row, column]].long() - image * count
                yield image, y * width + x, torch.stack([x + 0.5, y + 0.5], -1), listed


def rasterize_to_pixels(
    means2d, conics, colors, opacities, width, height, tile_size, offsets, order, backgrounds=None
):
    flat = [tensor.flatten(0, 1) for tensor in (means2d, conics, opacities, colors)]
    image = means2d.new_zeros(len(flat[0]), height * width, colors.shape[-1] + 1)
    for b, numbers, pixels, listed in _tiles(means2d, offsets, order, tile_size, width, height):
        drawn = _reference._blend(pixels, *(tensor[b, listed] for tensor in flat))
        image = image.index_put((torch.tensor(b), numbers), drawn)
    image = image.reshape(*means2d.shape[:2], height, width, -1)
    colors, alpha = image[..., :-1], image[..., -1:]
    return colors + (1 - alpha) * backgrounds[..., None, None, :], alpha


def rasterize_to_indices_in_range(
    start, end, transmittances, means2d, conics, opacities, width, height, tile_size, offsets, order
):
    flat = [tensor.flatten(0, 1) for tensor in (means2d, conics, opacities)]
    found = []
    for b, numbers, pixels, listed in _tiles(means2d, offsets, order, tile_size, width, height):
        batch = listed[start * tile_size**2 : end * tile_size**2]
        left = transmittances.flatten(0, 1)[b].flatten()[numbers]
        _, before, after = _reference._weights(pixels, *(tensor[b, batch] for tensor in flat))
        blended = (after < before) & (left[:, None] * after > _reference.MIN_TRANSMITTANCE)
        pixel, place = torch.nonzero(blended, as_tuple=True)  # pixel by pixel, near to far
        found.append((batch[place], numbers[pixel], torch.full_like(pixel, b)))
    return tuple(torch.cat(column) for column in zip(*found, strict=True))


STAND_IN = SimpleNamespace(
    fully_fused_projection=fully_fused_projection,
    isect_tiles=isect_tiles,
    isect_offset_encode=isect_offset_encode,
    rasterize_to_pixels=rasterize_to_pixels,
    rasterize_to_indices_in_range=rasterize_to_indices_in_range,
)
