"""A puppet without a photo, for tests of parts: the average head in one skin colour, dressed in a few Gaussians."""

from __future__ import annotations

import torch

from perse.dataset import Portrait
from perse.dataset.vocabulary import Vocabulary
from perse.head import PARTS, open_head
from perse.splat import Camera
from perse.studio import parts
from perse.studio.groups import Skinned, SurfaceDiscs
from perse.studio.puppet import FaceRig, Light, Puppet, label_code

DETAIL = 0.04
"""Share of the Gaussians that is enough to test with."""


def plain_puppet() -> Puppet:
    """A puppet of the average head in one skin colour, with a shell of hair and a flat piece of clothes."""
    head = open_head()
    camera = Camera(
        torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 1.1], [0, 0, 0, 1]]),
        torch.tensor([[1300.0, 0, 256], [0, 1300, 256], [0, 0, 1]]),
        512,
        512,
    )
    portrait = Portrait(
        image=torch.full((512, 512, 3), 0.6),
        alpha=torch.ones(512, 512),
        segmentation=torch.full((512, 512, 6), 1 / 6),
        landmarks=torch.zeros(478, 3),
        camera=camera,
        betas=torch.zeros(100),
        expr=torch.zeros(50),
        pose=torch.zeros(15),
    )
    light = Light(torch.tensor([0.9, 0, 0.1, 0.2, 0, 0, 0, 0, 0]), torch.tensor([0.8, 0.6, 0.5]))
    rig = FaceRig(torch.full((2,), 0.01))
    puppet = Puppet(head, portrait, light, rig)
    puppet.add("skin", _skin(puppet))
    puppet.add("hair", _photo_hair(puppet))
    puppet.add("clothes", _photo_clothes())
    return puppet


def _skin(puppet: Puppet) -> SurfaceDiscs:
    head = puppet.head
    face = torch.nonzero(head.face_part != PARTS.index("lashes")).squeeze(1)
    count = len(face)
    bary = torch.full((count, 3), 1 / 3)
    template = head.v_template[head.faces[face]].mean(1)
    labels = torch.full((count,), label_code("skin"), dtype=torch.uint8)
    labels[head.face_part[face] != PARTS.index("skin")] = label_code("mouth_interior")
    scalp = puppet.regions.scalp(template)
    labels[scalp > 0.5] = label_code("hair")
    color = torch.tensor([0.8, 0.6, 0.5]).expand(count, 3).clone()
    return SurfaceDiscs(
        face=face,
        bary=bary,
        k=torch.ones(count),
        opacities=torch.full((count,), 0.97),
        colors=color,
        labels=labels,
        closed_colors=color.clone(),
        lid=torch.zeros(count, 2),
        extras={
            "bald": color.clone(),
            "clean": color.clone() * 0.99,
            "scalp": scalp,
            "known": torch.ones(count) - scalp,
            "shade": torch.ones(count),
        },
    )


def _photo_hair(puppet: Puppet) -> Skinned:
    head = puppet.head
    on = puppet.regions.scalp(head.v_template) > 0.3
    means = (puppet.rest_vertices() + 0.02 * puppet.rest_normals())[on]
    return _skinned(means, "hair", joint=1)


def _photo_clothes() -> Skinned:
    x, y = torch.meshgrid(torch.linspace(-0.18, 0.18, 20), torch.linspace(-0.20, -0.13, 8), indexing="ij")
    return _skinned(torch.stack([x, y, 0 * x + 0.03], -1).reshape(-1, 3), "clothes", joint=0)


def _skinned(means: torch.Tensor, label: str, joint: int) -> Skinned:
    count = len(means)
    return Skinned(
        means=means,
        quats=torch.tensor([1.0, 0, 0, 0]).expand(count, 4).clone(),
        scales=torch.full((count, 3), 0.003),
        weights=torch.nn.functional.one_hot(torch.full((count,), joint), 5).float(),
        opacities=torch.full((count,), 0.9),
        colors=torch.full((count, 3), 0.3),
        labels=torch.full((count,), label_code(label), dtype=torch.uint8),
    )


def edited(plain: Puppet, *wishes: str, seed: int = 0) -> Puppet:
    """The plain puppet with wishes such as "hat: red baseball cap"."""
    puppet = plain.copy()
    attributes = [Vocabulary().parse(text.split(":")[1], text.split(":")[0]) for text in wishes]
    parts.apply_all(puppet, attributes, seed, detail=DETAIL)
    return puppet
