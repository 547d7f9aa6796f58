"""A tiny dataset made in code: coloured points on the open head, drawn by the real rasterizer and writer.

Rooms above the studio are developed and tested on it in seconds. Everything real but the person: ten subjects of
six categories, among them a bald one, a hat that presses hair down, and a nose that grows.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perse.avatar import Avatar, AvatarModel, FieldConfig, LatentConfig, ModelConfig, Start
from perse.dataset import (
    LABEL_CODE,
    LABELS,
    Attribute,
    Dataset,
    DatasetWriter,
    Frame,
    Motion,
    Portrait,
    SubjectPoints,
    to_uint8,
)
from perse.head import PARTS, Head, open_head, quaternion_multiply, skin
from perse.splat import Camera, Gaussians, rasterize
from perse.training import TrainConfig, train
from perse.training.reconstruct import build_model
from perse.training.starts import make_start
from perse.training.subjects import Cast

SKIN, LIPS = (0.85, 0.65, 0.55), (0.75, 0.35, 0.35)


def attribute(category: str, prompt: str, *adjectives: str) -> Attribute:
    """Short for Attribute(...)."""
    return Attribute(category, prompt, adjectives)


SUBJECTS: dict[str, tuple[Attribute, ...]] = {
    "000-reference": (),
    "001-hair": (attribute("hair", "a person with long curly red hair", "long", "curly", "red"),),
    "002-bald": (attribute("hair", "a person with a bald head", "bald"),),
    "003-beard": (attribute("beard", "a person with a full brown beard", "full", "brown"),),
    "004-hat": (attribute("hat", "a person wearing a blue knitted beanie", "blue", "knitted", "beanie"),),
    "005-hat": (attribute("hat", "a person wearing a black fedora", "black", "fedora"),),
    "006-nose": (attribute("nose", "a person with a wide nose", "wide"),),
    "007-clothes": (attribute("clothes", "a person wearing a green turtleneck", "green", "turtleneck"),),
}


def motion(train: int = 8, heldout: int = 3, seed: int = 0) -> Motion:
    """Random head turns, jaw and expressions; frame 0 is at rest."""
    generator = torch.Generator().manual_seed(seed)
    count = train + heldout
    pose = torch.zeros(count, 15)
    pose[:, 3:6] = 0.25 * torch.randn(count, 3, generator=generator).clamp(-1.2, 1.2)
    pose[:, 6] = 0.25 * torch.rand(count, generator=generator)
    expr = 0.3 * torch.randn(count, 50, generator=generator)
    pose[0], expr[0] = 0, 0
    flags = torch.arange(count) < train
    return Motion(expr, pose, flags, source="made up")


def camera(size: int) -> Camera:
    """A metre before the face."""
    viewmat = torch.tensor([[1.0, 0, 0, 0], [0, -1.0, 0, 0.02], [0, 0, -1.0, 1.05], [0, 0, 0, 1.0]])
    focal = 2.5 * size
    K = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
    return Camera(viewmat, K, size, size)


def portrait(size: int = 512) -> Portrait:
    """Grey stand-in; only its camera and head shape matter here."""
    generator = torch.Generator().manual_seed(7)
    return Portrait(
        image=torch.full((size, size, 3), 0.5),
        alpha=torch.ones(size, size),
        segmentation=torch.full((size, size, 6), 1 / 6),
        landmarks=torch.zeros(478, 3),
        camera=camera(size),
        betas=0.5 * torch.randn(100, generator=generator),
        expr=torch.zeros(50),
        pose=torch.zeros(15),
        name="made up",
    )


@dataclass
class Body:
    """Makes the points of any subject on one head."""

    head: Head
    rest: Tensor

    @staticmethod
    def of(person: Portrait) -> Body:
        head = open_head()
        return Body(head, head.rest_vertices(person.betas))

    def discs(
        self, mask: Tensor, count: int, lift: float, color: tuple[float, ...], label: str, seed: int = 0
    ):
        """Discs spread over the triangles in `mask` [F], lifted off the surface by `lift` metres."""
        corners = self.rest[self.head.faces]
        cross = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        generator = torch.Generator().manual_seed(seed)
        face = torch.multinomial(cross.norm(dim=1) * mask, count, replacement=True, generator=generator)
        u = torch.rand(count, 2, generator=generator)
        u = torch.where(u.sum(1, keepdim=True) > 1, 1 - u, u)
        bary = torch.cat([1 - u.sum(1, keepdim=True), u], 1)
        normal = torch.nn.functional.normalize(cross[face], dim=1)
        means = (corners[face] * bary[..., None]).sum(1) + lift * normal
        shade = 0.85 + 0.15 * torch.sin(40 * means.sum(1, keepdim=True))
        quats = torch.stack([1 + normal[:, 2], -normal[:, 1], normal[:, 0], torch.zeros(count)], 1)
        return SubjectPoints(
            means=means,
            quats=torch.nn.functional.normalize(quats + 1e-6, dim=1),
            scales=torch.tensor([0.004, 0.004, 0.0008]).expand(count, 3).clone(),
            opacities=torch.full((count,), 0.95),
            colors=(torch.tensor(color) * shade).clamp(0, 1),
            labels=torch.full((count,), LABEL_CODE[label], dtype=torch.uint8),
            face=face,
            bary=bary,
            weights=self.head.interpolate(face, bary).W,
        )

    def region(self, low: tuple[float, float, float], high: tuple[float, float, float]) -> Tensor:
        """Skin triangles whose middle lies in a box of the template head. [F] float"""
        middle = self.head.v_template[self.head.faces].mean(1)
        inside = ((middle > torch.tensor(low)) & (middle < torch.tensor(high))).all(1)
        return (inside & (self.head.face_part == PARTS.index("skin"))).float()

    def points(self, attributes: tuple[Attribute, ...]) -> SubjectPoints:
        """All points of one subject."""
        wants = {a.category: a for a in attributes}
        scalp = self.region((-1, 0.06, -1), (1, 1, 0.06))
        chin = self.region((-0.06, -0.12, 0.03), (0.06, -0.03, 1))
        chest = self.region((-1, -1, -1), (1, -0.13, 1))
        parts = [self.discs(torch.ones(len(self.head.faces)), 3500, 0.0, SKIN, "skin", 1)]
        if "nose" in wants:
            nose = parts[0].means
            near = torch.exp(-(nose[:, :2] - torch.tensor([0.0, 0.0])).square().sum(1) / 0.02**2) * (
                nose[:, 2] > 0.06
            )
            parts[0] = replace(parts[0], means=nose + near[:, None] * nose * torch.tensor([0.3, 0.0, 0.08]))
        if "hair" not in wants:
            hair = self.discs(scalp, 900, 0.008, (0.35, 0.25, 0.15), "hair", 2)
            if "hat" in wants:
                hair = hair[hair.means[:, 1] < 0.11]
            parts.append(hair)
        elif "long" in wants["hair"].adjectives:
            parts.append(self.discs(scalp, 1200, 0.02, (0.7, 0.2, 0.1), "hair", 3))
        if "beard" in wants:
            parts.append(self.discs(chin, 500, 0.006, (0.3, 0.2, 0.1), "beard", 4))
        if "hat" in wants:
            color = (0.1, 0.2, 0.7) if "blue" in wants["hat"].adjectives else (0.08, 0.08, 0.08)
            high = self.region((-1, 0.1, -1), (1, 1, 1))
            parts.append(self.discs(high, 700, 0.015, color, "hat", 5))
        color = (0.1, 0.5, 0.2) if "clothes" in wants else (0.4, 0.4, 0.6)
        parts.append(self.discs(chest, 500, 0.004, color, "clothes", 6))
        names = SubjectPoints.__dataclass_fields__
        return SubjectPoints(**{n: torch.cat([getattr(p, n) for p in parts]) for n in names})

    def frame(self, points: SubjectPoints, joints: Tensor, expr: Tensor, pose: Tensor, view: Camera) -> Frame:
        """Draw one frame with alpha and labels."""
        binding = self.head.interpolate(points.face.clamp_min(0), points.bary)
        means, rotations = skin(points.means, binding.E, binding.P, points.weights, joints, expr, pose)
        gaussians = Gaussians(
            means,
            quaternion_multiply(rotations, points.quats),
            points.scales,
            points.opacities,
            points.colors,
        )
        shares = torch.nn.functional.one_hot(points.labels.long(), len(LABELS)).float()
        image, alpha = rasterize(gaussians, view, torch.ones(3), shares)
        mass = image[..., 3:].clone()
        mass[..., 0] += 1 - alpha
        return Frame(to_uint8(image[..., :3]), to_uint8(alpha), mass.argmax(-1).to(torch.uint8))


def grey_points(label: str, means: np.ndarray, strands: np.ndarray) -> SubjectPoints:
    """A maker's points of one part at `means` [N, 3], told by `strands` [N, 4]; small, grey, carried by the head."""
    count = len(means)
    return SubjectPoints(
        means=torch.from_numpy(means).float(),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        scales=torch.full((count, 3), 1e-3),
        opacities=torch.ones(count),
        colors=torch.full((count, 3), 0.5),
        labels=torch.full((count,), LABEL_CODE[label], dtype=torch.uint8),
        face=torch.full((count,), -1),
        bary=torch.zeros(count, 3),
        weights=torch.tensor([0.0, 1, 0, 0, 0]).repeat(count, 1),
        strands=torch.from_numpy(strands).float(),
    )


def make_dataset(
    path: Path,
    size: int = 64,
    train: int = 8,
    heldout: int = 3,
    with_points: bool = True,
    subjects: dict[str, tuple[Attribute, ...]] | None = None,
) -> Dataset:
    """Write the dataset and open it."""
    subjects = subjects or SUBJECTS
    person, moves = portrait(), motion(train, heldout)
    writer = DatasetWriter.create(
        path,
        portrait=person,
        motion=moves,
        size=size,
        maker={"editor": "synthetic"},
        seed=0,
        order=list(subjects),
    )
    body = Body.of(writer.portrait)
    joints = body.head.joints(writer.portrait.betas)
    for number, (name, attributes) in enumerate(subjects.items()):
        points = body.points(attributes)
        generator = torch.Generator().manual_seed(100 + number)
        with writer.subject(name, attributes, number) as s:
            s.portrait(torch.full((512, 512, 3), 0.5))
            s.mask(torch.zeros(512, 512, dtype=torch.bool))
            s.features(torch.randn(24, generator=generator), torch.randn(16, generator=generator))
            if with_points:
                s.points(points)
            for t in range(len(moves)):
                s.frame(body.frame(points, joints, moves.expr[t], moves.pose[t], writer.camera))
    writer.finish()
    return Dataset.open(path)


# ---- things made from it once a test run ------------------------------------------------------------------


@functools.cache
def shared_dataset(with_points: bool = True) -> Dataset:
    """The dataset at 64 pixels; made once, kept until the tests end. Do not write into its folder."""
    folder = Path(tempfile.mkdtemp(prefix="perse-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_dataset(folder / "dataset", with_points=with_points)


def tiny_config(kind: str = "basis", start: str = "studio", **changes: Any) -> TrainConfig:
    """A training of seconds."""
    field = FieldConfig(kind=kind, rank=6, width=32, depth=3, skip=1, frequencies=3)  # type: ignore[arg-type]
    model = ModelConfig(field=field, latent=LatentConfig(dim=8, hidden=16), pose_width=8)
    config = TrainConfig.preset("tiny", start=start, points=1500, steps=24, model=model)
    return dataclasses.replace(config, **changes)


@functools.cache
def small_model(kind: str) -> tuple[AvatarModel, Start]:
    """A model at step 0 of the studio start, and the start. Do not change it."""
    dataset, config = shared_dataset(), tiny_config(kind)
    cast = Cast.of(dataset)
    start = make_start(dataset, open_head(), cast, config)
    model = build_model(dataset, cast, start, config, open_head())
    return model.requires_grad_(False), start


@functools.cache
def small_avatar() -> Avatar:
    """An avatar trained for a few steps. Do not change it."""
    folder = Path(tempfile.mkdtemp(prefix="perse-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return train(shared_dataset(), tiny_config(steps=6), folder / "training", progress=False)
