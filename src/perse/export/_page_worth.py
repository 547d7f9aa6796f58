"""What every point of an avatar is worth to its pictures: how much they change when it is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from perse.avatar import Avatar, Look
from perse.head import arkit_to_motion
from perse.splat import rasterize

SIDE = 256
"""Pixels of the pictures' sides."""
PROBES = 2
"""Random signs of a picture."""
VIEWS: tuple[tuple[float, float, dict[str, float]], ...] = (
    (0.0, 0.0, {}),
    (-0.4, 0.1, {"jawOpen": 0.6, "mouthUpperUpLeft": 0.5, "mouthUpperUpRight": 0.5}),
    (0.4, -0.1, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0, "mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}),
    (0.1, 0.5, {"eyeWideLeft": 0.8, "eyeWideRight": 0.8, "mouthFunnel": 0.6, "browInnerUp": 0.7}),
    (-0.1, -0.5, {"jawOpen": 0.3, "mouthLowerDownLeft": 0.8, "mouthLowerDownRight": 0.8}),
    (-1.1, 0.0, {"mouthPucker": 0.7}),
    (1.1, 0.0, {"jawOpen": 0.4}),
    (-1.9, 0.0, {}),
    (1.9, 0.0, {}),
)
"""What is looked at: turn and nod of everything in radians, as far as the page's camera goes, and face units."""


def worth(avatar: Avatar, looks: Iterable[Look], probes: int = PROBES) -> dict[str, Tensor]:
    """Squared change of a picture of 256 x 256 when one point is left out, in the look where it counts most.

    A picture is affine in the opacity of one Gaussian, so what goes with it is opacity times derivative, pixel by
    pixel. The sum of its squares over pixels is the mean square of sum(signs * derivative) over random signs, of
    which a backward pass gives all points' at once (Hutchinson's estimator). Summed over :data:`VIEWS`.

    Returns:
        by layer, [n] in squared units of colour, summed over pixels, channels and views.
    """
    generator = torch.Generator().manual_seed(0)
    found: dict[str, Tensor] = {}
    camera = avatar.camera.resized(SIDE, SIDE)
    white = torch.ones(3, device=avatar.device)
    acted = list(_acted(avatar))
    for look in looks:
        with torch.no_grad():
            canonical = avatar.canonical(look)
        change = canonical.means.new_zeros(len(canonical))
        for expr, pose in acted:
            with torch.no_grad():
                gaussians = avatar.model.pose(canonical, expr, pose)
            opacities = gaussians.opacities.detach().requires_grad_()
            image = rasterize(replace(gaussians, opacities=opacities), camera, white)[0]
            for _ in range(probes):
                signs = torch.randint(0, 2, image.shape, generator=generator).to(image) * 2 - 1
                (slope,) = torch.autograd.grad((image * signs).sum(), opacities, retain_graph=True)
                change += (slope * opacities.detach()).flatten().square() / probes
        for name, rows in canonical.layers.items():
            before = found.get(name)
            found[name] = change[rows] if before is None else torch.maximum(before, change[rows])
    return {name: values.cpu() for name, values in found.items()}


def _acted(avatar: Avatar) -> Iterator[tuple[Tensor, Tensor]]:
    """psi [1, 50] and theta [1, 15] of every view; the root turns instead of the camera."""
    rest = [part.to(avatar.device) for part in avatar.rest]
    for yaw, pitch, units in VIEWS:
        expr, pose = (part.to(avatar.device) for part in arkit_to_motion(avatar.head, units))
        expr, pose = rest[0] + expr, rest[1] + pose
        pose[0] += pitch
        pose[1] += yaw
        yield expr[None], pose[None]
