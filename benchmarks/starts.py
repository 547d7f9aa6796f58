"""The same dataset, the same steps, three beginnings: a maker's points, images alone, the bare head.

    python benchmarks/starts.py runs/demo/dataset --steps 1500

Why: with the studio's own points, data and avatar share rig, binding and light, and the figures flatter. The images
start is what videos from anywhere else will have; the bare head is the paper's.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from perse.avatar import Avatar
from perse.dataset import Dataset
from perse.evaluation import Perceptual, psnr, ssim
from perse.training import TrainConfig, train

STARTS = ("studio", "images", "head")


@dataclass(frozen=True)
class Options:
    """What to compare."""

    dataset: Annotated[Path, tyro.conf.Positional]
    """Folder of a dataset."""
    steps: int = 1500
    """Optimizer steps of each training."""
    starts: tuple[str, ...] = STARTS
    """Which beginnings."""
    preset: str = "demo"
    """Settings of the training."""
    field: str = "basis"
    """basis or mlp."""
    seed: int = 0
    """Seed of each training."""
    out: Path | None = None
    """Keep trainings and avatars here; else they are thrown away."""


def measure(avatar: Avatar, dataset: Dataset) -> dict[str, float]:
    """PSNR, SSIM and LPIPS over all subjects' held-out frames."""
    frames = dataset.heldout_indices
    expr, pose = dataset.motion.expr[frames], dataset.motion.pose[frames]
    camera = dataset.motion.select(frames).camera(dataset.camera)
    perceptual = Perceptual()
    rows = []
    for subject in dataset.subjects:
        target = dataset.load_frames(subject, frames)[0].float() / 255
        image = avatar.render(avatar.look_of(subject.id), expr, pose, camera)
        rows.append(
            torch.stack([psnr(image, target), ssim(image, target), perceptual(image, target)]).mean(1)
        )
    values = torch.stack(rows).mean(0).tolist()
    return dict(zip(("psnr", "ssim", "lpips"), values))


def main(options: Options) -> None:
    """Train from each start, print one table."""
    dataset = Dataset.open(options.dataset)
    rows = []
    with tempfile.TemporaryDirectory(prefix="perse-starts-") as scratch:
        folder = options.out or Path(scratch)
        for start in options.starts:
            config = TrainConfig.preset(options.preset, seed=options.seed, steps=options.steps, start=start)
            field = dataclasses.replace(config.model.field, kind=options.field)
            config = dataclasses.replace(config, model=dataclasses.replace(config.model, field=field))
            begun = time.perf_counter()
            avatar = train(dataset, config, folder / f"{start}-{options.field}")
            seconds = time.perf_counter() - begun
            row = {"start": start, **measure(avatar, dataset), "seconds": seconds}
            rows.append(row)
            print(json.dumps(row), flush=True)
    print(f"\n| start ({options.field}, {options.steps} steps) | PSNR | SSIM | LPIPS | seconds |")
    print("|---|---|---|---|---|")
    for row in rows:
        print("| {start} | {psnr:.2f} | {ssim:.4f} | {lpips:.4f} | {seconds:.0f} |".format(**row))


if __name__ == "__main__":
    main(tyro.cli(Options))
