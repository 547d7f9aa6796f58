"""The mouth: lips fuller, thinner, wider or narrower (the skin follows), and their colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from perse.studio.groups import SurfaceDiscs
from perse.studio.parts import _colours
from perse.studio.parts._params import Params
from perse.studio.parts._sitter import Array, Sitter, smoothstep
from perse.studio.puppet import Puppet, label_code

LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class MouthParams(Params):
    """A mouth as numbers."""

    fullness: float = 0.0
    """1: full lips; -1: thin lips; 0: the person's own."""
    width: float = 0.0
    """1: wide; -1: narrow; 0: the person's own."""
    tint: float = 0.0
    """How much of the colour below is put on, 0 to 1."""
    gloss: float = 0.0
    """How much the lips' own highlights are raised."""
    red: float = 0.72
    green: float = 0.07
    blue: float = 0.11


def params_from(adjectives: Sequence[str]) -> MouthParams:
    """The mouth of the words, e.g. ("full", "red")."""
    fullness = 1.0 if "full" in adjectives else -1.0 if "thin" in adjectives else 0.0
    width = 1.0 if "wide" in adjectives else -1.0 if "narrow" in adjectives else 0.0
    params = MouthParams(fullness=fullness, width=width)
    colour = next((w for w in adjectives if w in _colours.LIPS), None)
    if colour is None:
        return params
    strength = 0.55 if colour == "pale" else 0.72
    return params.but(tint=strength, gloss=0.0 if colour == "pale" else 0.5).painted(_colours.LIPS[colour])


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Change the mouth as the words say."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: MouthParams, seed: int, detail: float = 1.0) -> None:
    """Change the mouth's shape and colour."""
    offsets = shape_offsets(Sitter(puppet), params)
    puppet.deform(offsets=torch.from_numpy(offsets.astype(np.float32)))
    _paint(Sitter(puppet), params)


def shape_offsets(sitter: Sitter, params: MouthParams) -> Array:
    """[V, 3] metres: a smooth field around the lips; teeth, tongue and eyes stay."""
    t = sitter.template
    marks = sitter.marks
    seam = (marks[13] + marks[14]) / 2
    corner_x = float(np.abs(marks[[61, 291], 0]).mean())
    corner_y = float(marks[[61, 291], 1].mean())
    seam_y = np.interp(np.abs(t[:, 0]), [0, corner_x], [seam[1], corner_y])
    above = t[:, 1] - seam_y
    across = t[:, 0] / (corner_x * 1.25)
    band = np.exp(-((above / 0.0125) ** 2)) * np.clip(1 - across**2, 0, 1)
    near = band * smoothstep(t[:, 2], float(marks[61, 2]) - 0.022, float(marks[61, 2]) - 0.004)
    offsets = np.zeros_like(t)
    amount = params.fullness
    lift = np.tanh(above / 0.0040) * np.exp(-((above / 0.012) ** 2))
    offsets[:, 1] += amount * 0.0030 * lift * np.clip(1 - across**2, 0, 1)
    offsets[:, 2] += amount * 0.0034 * near * np.exp(-((above / 0.0075) ** 2))
    reach = np.exp(-(((np.abs(t[:, 0]) - corner_x) / 0.016) ** 2)) * np.exp(-((above / 0.019) ** 2))
    inner = np.clip(np.abs(t[:, 0]) / corner_x, 0, 1)
    pull = np.where(np.abs(t[:, 0]) < corner_x, inner * np.exp(-((above / 0.019) ** 2)), reach)
    front = smoothstep(t[:, 2], float(marks[61, 2]) - 0.035, float(marks[61, 2]) - 0.012)
    offsets[:, 0] += params.width * 0.0058 * np.sign(t[:, 0]) * pull * front
    offsets[:, 2] -= (
        params.width * 0.0012 * pull * front * np.exp(-(((np.abs(t[:, 0]) - corner_x) / 0.012) ** 2))
    )
    offsets[~_skin(sitter)] = 0
    return offsets


def _skin(sitter: Sitter) -> NDArray[np.bool_]:
    mask = np.zeros(len(sitter.template), bool)
    mask[sitter.skin_vertices] = True
    return mask


def _paint(sitter: Sitter, params: MouthParams) -> None:
    """Lipstick: the colour takes the light and the texture of the lips below."""
    puppet = sitter.puppet
    skin = puppet.groups.get("skin")
    if params.tint <= 0 or not isinstance(skin, SurfaceDiscs):
        return
    template = puppet.template_points(skin)
    weight = puppet.regions.lips(template, soft=0.0010).numpy().astype(float)
    inside = torch.isin(skin.labels, torch.tensor([label_code("mouth_interior"), label_code("eyes")]))
    weight[inside.numpy()] = 0  # teeth and tongue keep their colour
    lips = weight > 0.6
    if not lips.any():
        return
    colors = skin.colors.numpy().astype(float)
    luma = colors @ LUMA
    middle = float(np.median(luma[lips]))
    relative = np.clip(luma / max(middle, 1e-3), 0.3, 2.0)
    target = np.array([params.red, params.green, params.blue]) * sitter.exposure
    shine = params.gloss * np.maximum(relative - 1.10, 0)
    painted = np.clip(target * relative[:, None] ** 0.85 + 0.35 * shine[:, None], 0, 1)
    blend = torch.from_numpy((weight * params.tint).astype(np.float32))[:, None]
    lipstick = torch.from_numpy(painted.astype(np.float32))
    puppet.add("skin", replace(skin, colors=skin.colors.lerp(lipstick, blend)))
