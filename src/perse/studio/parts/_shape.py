"""Edits of the face's shape: a wanted displacement of the rest head becomes shape coefficients, offsets and light.

Most of a natural change lies inside the head's shape basis; what does not is made with free offsets. The skin and
everything rooted in it follow by themselves, and its colours are shaded anew where the surface has turned.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from perse.studio.groups import SurfaceDiscs
from perse.studio.parts._sitter import Array, Sitter, tensor
from perse.studio.puppet import Puppet

OUTSIDE = 0.3
"""Weight of keeping still what is to keep still, against moving what is to move, when coefficients are sought."""
MODEST = 3e-6
"""Weight of small coefficients: one unit of shape may be spent for about 2 mm at one vertex."""
RELIEF = 1.35
"""How much the change of light is deepened: smooth normals and second-order light understate small shapes."""


def reshape(puppet: Puppet, wanted: Array) -> None:
    """Move the rest head by ``wanted`` [V, 3] metres (skin only; eyes, teeth and tongue stay).

    The shape coefficients take the share that they can make without moving the rest of the face, free offsets
    the remainder, so that the sum is exactly ``wanted``.
    """
    sitter = Sitter(puppet)
    still = np.ones(len(wanted), bool)
    still[sitter.skin_vertices] = False
    wanted = np.where(still[:, None], 0.0, wanted)
    if not wanted.any():
        return
    before = _normals(puppet)
    betas = shape_share(puppet, wanted)
    made = torch.einsum("vdk,k->vd", puppet.head.shapedirs, betas)
    puppet.deform(offsets=tensor(wanted) - made, betas=betas)
    _shade_anew(puppet, before)


def shape_share(puppet: Puppet, wanted: Array) -> torch.Tensor:
    """[100] the shape coefficients that come closest to ``wanted`` [V, 3] (ridge regression)."""
    directions = puppet.head.shapedirs.double()  # [V, 3, K]
    size = torch.from_numpy(np.linalg.norm(wanted, axis=1))
    weight = torch.where(size > 0.15 * float(size.max()), 1.0, OUTSIDE).sqrt()[:, None]
    basis = (directions * weight[..., None]).flatten(0, 1)  # [3 V, K]
    target = (torch.from_numpy(wanted) * weight).flatten()
    system = basis.T @ basis + MODEST * torch.eye(basis.shape[1], dtype=basis.dtype)
    return torch.linalg.solve(system, basis.T @ target).float()


def _normals(puppet: Puppet) -> torch.Tensor | None:
    """Smooth normals [N, 3] of the skin's discs."""
    skin = puppet.groups.get("skin")
    return puppet.surface_normals(skin.face, skin.bary) if isinstance(skin, SurfaceDiscs) else None


def _shade_anew(puppet: Puppet, before: torch.Tensor | None) -> None:
    """Multiply the skin's colours by the light that its new normals get over what the old ones got."""
    skin = puppet.groups.get("skin")
    if before is None or not isinstance(skin, SurfaceDiscs):
        return
    after = puppet.surface_normals(skin.face, skin.bary)
    ratio = puppet.light.shade(after, 0.3, 1.4) / puppet.light.shade(before, 0.3, 1.4)
    factor = (ratio**RELIEF).clamp(0.55, 1.45)[:, None]
    extras = dict(skin.extras)
    for name in {"bald", "clean"} & extras.keys():
        extras[name] = (extras[name] * factor).clamp(0, 1)
    if "shade" in extras:
        extras["shade"] = extras["shade"] * factor[:, 0]
    closed = None if skin.closed_colors is None else (skin.closed_colors * factor).clamp(0, 1)
    colors = (skin.colors * factor).clamp(0, 1)
    puppet.add("skin", replace(skin, colors=colors, closed_colors=closed, extras=extras))


def bump(distance: Array, radius: float) -> Array:
    """1 at distance 0, smoothly 0 at about twice the ``radius``."""
    return np.exp(-((distance / radius) ** 2))
