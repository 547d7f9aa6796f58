"""Make the puppet's front look like the photo: normalised back-projection of the residual."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from perse.splat import Gaussians, rasterize
from perse.studio._image import Photo, erode
from perse.studio.puppet import Puppet

STEP = 1.2
DAMPING = 0.35
MOST = 0.3
"""No colour changes by more: what is hardly seen must not make up for what hides it."""
RIM = 7
"""Skin within half as many pixels of the person's outline shows some of the wall behind: no colour to keep."""
BACKGROUND = (0.9, 0.9, 0.92)


def refine(puppet: Puppet, photo: Photo, trust: dict[str, Tensor], rounds: int = 14) -> None:
    """Correct colours so that the puppet reproduces the photo from the photo's view (SIRT).

    Each round adds to every Gaussian the mean residual of the pixels it shows, weighted by how much of them it
    shows: ``c_i += step * sum_p w_ip r_p / (sum_p w_ip + damping)``. ``trust`` gives per group name how much each
    Gaussian may change [N] in 0..1; other groups stay. Plain gradient steps would leave coloured noise on hardly
    seen Gaussians, which shows once the head turns.
    """
    portrait = puppet.portrait
    gaussians, _ = puppet.posed(portrait.expr, portrait.pose)
    background = torch.tensor(BACKGROUND)
    alpha = torch.from_numpy(photo.foreground).float()[..., None]
    target = alpha * torch.from_numpy(photo.image) + (1 - alpha) * background
    inside = torch.from_numpy(photo.foreground > 0.9)
    rim = inside & torch.from_numpy((erode(photo.foreground > 0.9, RIM) < 0.5) & (photo.skin > 0.5))
    inside = (inside & ~rim).float()[..., None]
    freedom = torch.cat([trust.get(name, torch.zeros(len(group))) for name, group in puppet.groups.items()])[
        :, None
    ]

    def back_project(colors: Tensor, pixels: Tensor | None) -> tuple[Tensor, Tensor]:
        """The drawing, and for every Gaussian the sum of ``pixels`` (or of ``target - drawing``) it shows."""
        colors = colors.detach().requires_grad_(True)
        drawn, _ = rasterize(_with_colors(gaussians, colors), portrait.camera, background=background)
        pixels = inside * (target - drawn.detach()) if pixels is None else pixels
        return drawn, torch.autograd.grad((drawn * pixels).sum(), colors)[0]

    colors = gaussians.colors
    lowest, highest = (colors - MOST).clamp_min(0), (colors + MOST).clamp_max(1)
    _, weight = back_project(colors, inside.expand_as(target))
    weight = weight[:, :1]
    for _ in range(rounds):
        _, residual = back_project(colors, None)
        changed = colors + STEP * freedom * residual / (weight + DAMPING)
        colors = changed.clamp(lowest, highest)
    start = 0
    for name, group in list(puppet.groups.items()):
        end = start + len(group)
        if name in trust:
            puppet.add(name, replace(group, colors=colors[start:end].detach().clone()))
        start = end


def _with_colors(gaussians: Gaussians, colors: Tensor) -> Gaussians:
    return Gaussians(gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, colors)


def foreground_psnr(puppet: Puppet, photo: Photo) -> float:
    """PSNR in dB of the puppet's front view against the photo, inside the foreground."""
    portrait = puppet.portrait
    drawn, _, _ = puppet.render(portrait.expr, portrait.pose, portrait.camera, torch.tensor(BACKGROUND))
    inside = torch.from_numpy(photo.foreground > 0.9)
    error = ((drawn - torch.from_numpy(photo.image)) ** 2)[inside].mean()
    return float(-10 * torch.log10(error))
