"""What hats and headphones share: where ears and skull are, and hair that yields to what is worn over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from perse.studio.groups import Skinned, SurfaceDiscs
from perse.studio.parts._sitter import Array, Sitter
from perse.studio.puppet import Puppet, label_code


def hair_groups(puppet: Puppet) -> Iterator[tuple[str, Skinned]]:
    """All groups of hair, the photo's and grown ones."""
    code = label_code("hair")
    for name, group in list(puppet.groups.items()):
        if isinstance(group, Skinned) and len(group) and float((group.labels == code).float().mean()) > 0.5:
            yield name, group


def hair_points(puppet: Puppet) -> Array:
    """[N, 3] where hair is; some of its Gaussians if there are many."""
    points = [group.means.numpy().astype(float)[::3] for _, group in hair_groups(puppet)]
    return np.concatenate(points) if points else np.zeros((0, 3))


def reshape_hair(puppet: Puppet, change: Callable[[Array], tuple[Array, NDArray[np.bool_]]]) -> None:
    """Move and remove hair: ``change`` maps means [N, 3] to (new means [N, 3], keep [N] bool).

    Gaussians that move far apart from their neighbours grow with the way they go, so that no holes open.
    """
    for name, group in hair_groups(puppet):
        means = group.means.numpy().astype(float)
        moved, keep = change(means)
        if not keep.any():
            puppet.remove(name)
            continue
        way = np.linalg.norm(moved - means, axis=1)
        if name != "hair_strands":  # strands stay as thin as they are
            grown = torch.from_numpy(np.clip(1 + 40 * (way - 0.002), 1, 1.7).astype(np.float32))[:, None]
            group = replace(group, scales=group.scales * grown)
        group = replace(group, means=torch.from_numpy(moved.astype(np.float32)))
        puppet.add(name, group if keep.all() else group.select(torch.from_numpy(keep)))


def tuck_hair(sitter: Sitter, share: float = 1.0, below: float = 0.0) -> None:
    """Tuck the hair behind the ears, so that what is worn in them shows.

    ``share`` of the way; ``below`` is how far down from the lobes something hangs in front of the hair (metres).
    """
    ears = [ear_centre(sitter, side) for side in (1, -1)]

    def change(means: Array) -> tuple[Array, NDArray[np.bool_]]:
        moved = means.copy()
        for ear in ears:
            side = np.sign(ear[0])
            forward = means[:, 2] - ear[2] - 0.004
            up = means[:, 1] - ear[1] + 0.006
            up = np.where(up < 0, np.minimum(up + below, 0), up)
            ring = np.hypot(up / 0.036, forward / np.where(forward > 0, 0.026, 0.015))
            outside = np.maximum(ring - 1.0, 0) * 0.033
            limit = abs(ear[0]) - 0.021 + 1.1 * outside + 30 * outside**2
            here = means[:, 0] * side > 0.03
            moved[here, 0] = side * np.minimum(np.abs(means[here, 0]), limit[here])
        return means + share * (moved - means), np.ones(len(means), bool)

    reshape_hair(sitter.puppet, change)
    _bare_ears(sitter.puppet, share)


def _bare_ears(puppet: Puppet, share: float) -> None:
    """Give ears that were under hair the colours of skin."""
    skin = puppet.groups.get("skin")
    if not isinstance(skin, SurfaceDiscs) or "bald" not in skin.extras:
        return
    x, y, z = puppet.template_points(skin).unbind(1)
    ear = puppet.regions.eye[1] - 0.018
    ring = torch.hypot((y - ear) / 0.040, (z - 0.006) / 0.026)
    ears = (6 * (1 - ring)).clamp(0, 1) * (x.abs() > 0.062)
    colors = skin.colors.lerp(skin.extras["bald"], (share * ears)[:, None])
    bare = (ears > 0.5) & (skin.labels == label_code("hair")) & (share > 0.5)
    labels = torch.where(bare, label_code("skin"), skin.labels).to(torch.uint8)
    puppet.add("skin", replace(skin, colors=colors, labels=labels))


def ear_vertices(sitter: Sitter, side: int) -> Array:
    """[M, 3] vertices of the ear of one side (+1: the person's left) on the rest head."""
    t = sitter.template[sitter.skin_vertices]
    eye_y = sitter.eye[1]
    ear = (t[:, 0] * side > 0.0695) & (t[:, 1] > eye_y - 0.062) & (t[:, 1] < eye_y + 0.03)
    ear &= (t[:, 2] > -0.03) & (t[:, 2] < 0.045)
    return sitter.rest[sitter.skin_vertices][ear]


def ear_centre(sitter: Sitter, side: int) -> Array:
    """[3] the middle of an ear, at its outermost x."""
    ear = ear_vertices(sitter, side)
    centre = (ear.min(0) + ear.max(0)) / 2
    centre[0] = side * np.abs(ear[:, 0]).max()
    return centre


def ear_lobe(sitter: Sitter, side: int) -> Array:
    """[3] the lobe of an ear."""
    ear = ear_vertices(sitter, side)
    return ear[np.argsort(ear[:, 1])[:5]].mean(0)


def skull_points(sitter: Sitter) -> Array:
    """[M, 3] rest vertices of the head above the eyes, without the ears."""
    t = sitter.template[sitter.skin_vertices]
    skull = (np.abs(t[:, 0]) < 0.0735) & (t[:, 1] > sitter.eye[1] - 0.045)
    skull &= ~(
        (np.abs(t[:, 0]) > 0.069) & (t[:, 1] < sitter.eye[1] + 0.03) & (t[:, 2] > -0.03) & (t[:, 2] < 0.045)
    )
    return sitter.rest[sitter.skin_vertices][skull]


def radius_around(points: Array, centre: Array, directions: Array, neighbours: int = 8) -> Array:
    """How far [...] a cloud of points reaches from a centre in unit directions [..., 3]."""
    offset = points - centre
    length = np.linalg.norm(offset, axis=1)
    _, near = cKDTree(offset / length[:, None]).query(directions.reshape(-1, 3), min(neighbours, len(points)))
    return length[near].max(1).reshape(directions.shape[:-1])


def smooth_ring(values: Array, sigma: float) -> Array:
    """Smooth along the last axis, which is a closed ring."""
    return ndimage.gaussian_filter1d(values, sigma, axis=-1, mode="wrap")


def ring_profile(angles: Array, values: Array, bins: int, quantile: float, missing: float) -> Array:
    """A quantile of ``values`` [N] in each of ``bins`` sectors of ``angles`` [N] (radians), smoothed [bins]."""
    sector = np.floor((angles % (2 * np.pi)) / (2 * np.pi) * bins).astype(int) % bins
    profile = np.full(bins, np.nan)
    for k in range(bins):
        inside = values[sector == k]
        if len(inside) >= 5:
            profile[k] = np.quantile(inside, quantile)
    profile = np.where(np.isnan(profile), missing, profile)
    return smooth_ring(profile, 1.0)


def at_angle(profile: Array, angles: Array) -> Array:
    """A ring profile [bins] read at angles [...] (radians)."""
    bins = len(profile)
    position = (angles % (2 * np.pi)) / (2 * np.pi) * bins - 0.5
    low = np.floor(position).astype(int)
    share = position - low
    return profile[low % bins] * (1 - share) + profile[(low + 1) % bins] * share
