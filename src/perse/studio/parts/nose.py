"""The nose: smooth vertex offsets; the skin with its photo colours follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from perse.studio.parts._params import Params
from perse.studio.parts._sitter import Array, Sitter, smoothstep
from perse.studio.puppet import Puppet


@dataclass(frozen=True)
class NoseParams(Params):
    """A nose as numbers; 0 is the person's own, 1 what the word says."""

    width: float = 0.0
    """Wings and bridge: wide (1) or narrow (-1)."""
    length: float = 0.0
    """Long (1) or short (-1)."""
    tip_up: float = 0.0
    """Upturned (1) or hanging (-1)."""
    bridge: float = 0.0
    """A hump on the bridge (1) or a scooped bridge (-1)."""
    tip: float = 0.0
    """A bulbous (1) or a pointed tip (-1)."""


_WORDS: dict[str, NoseParams] = {
    "wide": NoseParams(width=1.0),
    "narrow": NoseParams(width=-1.0),
    "long": NoseParams(length=1.0),
    "short": NoseParams(length=-1.0),
    "upturned": NoseParams(tip_up=1.0, bridge=-0.5),
    "hooked": NoseParams(tip_up=-0.7, bridge=1.0),
    "straight": NoseParams(bridge=0.25, tip_up=0.1),
    "bulbous": NoseParams(tip=1.0),
    "pointed": NoseParams(tip=-1.0),
}


def params_from(adjectives: Sequence[str]) -> NoseParams:
    """The nose of the words, e.g. ("long", "hooked"): their sum."""
    vectors = [_WORDS[word].vector() for word in adjectives if word in _WORDS]
    return NoseParams.from_vector([sum(values) for values in zip(*vectors)]) if vectors else NoseParams()


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Change the nose as the words say."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: NoseParams, seed: int, detail: float = 1.0) -> None:
    """Change the nose's shape."""
    offsets = shape_offsets(Sitter(puppet), params)
    puppet.deform(offsets=torch.from_numpy(offsets.astype(np.float32)))


def shape_offsets(sitter: Sitter, params: NoseParams) -> Array:
    """[V, 3] metres: a smooth field on the nose that fades out on cheeks and lip."""
    t = sitter.template
    tip, base, root = sitter.marks[4], sitter.marks[2], sitter.marks[168]
    x, y, z = t.T
    along = np.clip((y - tip[1]) / (root[1] - tip[1]), -0.5, 1.3)  # 0 tip, 1 root of the nose
    side = np.tanh(x / 0.009)
    near = np.exp(-((x / 0.024) ** 4)) * smoothstep(z, tip[2] - 0.042, tip[2] - 0.020)
    low = np.exp(-(((y - (tip[1] - 0.002)) / 0.0145) ** 2)) * near  # tip and wings
    ridge = np.exp(-(((along - 0.55) / 0.30) ** 2)) * np.exp(-((x / 0.012) ** 2)) * near
    bulb = (
        np.exp(-(((y - tip[1]) / 0.011) ** 2) - (x / 0.016) ** 2)
        * near
        * smoothstep(z, tip[2] - 0.03, tip[2] - 0.008)
    )
    offsets = np.zeros_like(t)
    spread = np.where(params.width > 0, params.width, 0.62 * params.width)
    offsets[:, 0] += spread * side * (0.0058 * low + 0.0015 * np.exp(-(((along - 0.6) / 0.4) ** 2)) * near)
    offsets[:, 2] -= np.maximum(params.width, 0) * 0.0012 * bulb
    slide = smoothstep(1 - along, 0.0, 1.0) * smoothstep(y, base[1] - 0.010, base[1] - 0.001) * near
    offsets[:, 1] -= params.length * 0.0050 * slide
    offsets[:, 2] += params.length * 0.0022 * bulb
    turn = bulb + 0.35 * low
    offsets[:, 1] += params.tip_up * 0.0037 * turn
    offsets[:, 2] += params.tip_up * 0.0006 * turn
    offsets[:, 2] += params.bridge * 0.0036 * ridge
    swell = params.tip * bulb
    offsets[:, 0] += swell * 0.0030 * np.tanh(x / 0.005)
    offsets[:, 2] += swell * 0.0014 - np.minimum(params.tip, 0) * 0.0020 * bulb
    offsets[:, 1] += swell * 0.0012 * np.tanh((y - tip[1]) / 0.005)
    mask = np.zeros(len(t), bool)
    mask[sitter.skin_vertices] = True
    offsets[~mask] = 0
    return offsets
