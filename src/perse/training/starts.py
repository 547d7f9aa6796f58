"""The three beginnings of a training: a maker's points, images alone, the bare head (the paper's).

Be honest about `studio`: data and avatar then share rig, binding, camera and light, and the points come from
the generator. `benchmarks/training.py` prints the figures of all three side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from perse.avatar import Start
from perse.dataset import Dataset
from perse.errors import PerseError
from perse.head import Head
from perse.training.config import TrainConfig
from perse.training.subjects import Cast


@dataclass(frozen=True)
class Context:
    """What every start is made from."""

    dataset: Dataset
    head: Head
    cast: Cast
    points: int
    """Points to end with, roughly."""
    seed: int

    @property
    def pixel(self) -> float:
        """Metres that one pixel of a frame covers at the head: the unit of every spacing."""
        camera = self.dataset.camera
        centre = camera.viewmat[:3, :3] @ self.head.v_template.mean(0) + camera.viewmat[:3, 3]
        return float(centre[2] / camera.K[0, 0])

    @property
    def rest_vertices(self) -> torch.Tensor:
        """[V, 3] the portrait-shaped head at rest."""
        return self.head.rest_vertices(self.dataset.portrait.betas)


def make_start(dataset: Dataset, head: Head, cast: Cast, config: TrainConfig) -> Start:
    """The start that the config names.

    Raises:
        PerseError: `studio` was asked for and the dataset holds no points.
    """
    context = Context(dataset, head, cast, config.first_points, config.seed)
    kind = config.start
    if kind in ("auto", "studio"):
        missing = [s.id for s in dataset.subjects if "points.safetensors" not in s.files]
        if missing and kind == "studio":
            raise PerseError(
                f"{dataset.path}: subject {missing[0]} has no points.safetensors, so training cannot start from "
                "them; use start=images, or a maker that writes points"
            )
        kind = "images" if missing else "studio"
    with torch.no_grad():
        if kind == "studio":
            from perse.training._start_points import start_from_points

            return start_from_points(context)
        if kind == "images":
            from perse.training._start_images import start_from_images

            return start_from_images(context)
        from perse.training._start_head import start_from_head

        return start_from_head(context)
