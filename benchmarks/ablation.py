"""The ablations of the paper's Table 3, by one command, at the size of a demo.

    python benchmarks/ablation.py runs/demo/dataset --blends runs/demo/blends --steps 1000

The whole method; without the tuning on blends; without image and text features (every attribute's code is free); with
shared points (the paper's coordinate networks instead of layers); and without combinations, which Table 3 has not.
Everyone gets the same steps, and all but one the tuning, if there are blends. Held-out frames, looks between learned
ones, leakage, and what became of the seconds.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from perse.avatar import Avatar, FieldConfig
from perse.dataset import Dataset
from perse.evaluate import unseen_frames
from perse.evaluation import InterpolationProtocol, PictureFeatures, evaluate, evaluate_interpolation
from perse.training import InterpolationConfig, TrainConfig, train, tune


@dataclass(frozen=True)
class Options:
    """What to take away."""

    dataset: Annotated[Path, tyro.conf.Positional]
    """Folder of a dataset."""
    steps: int = 1000
    """Optimizer steps of each training."""
    blends: Path | None = None
    """Looks between the dataset's, on which the avatars are tuned; none: no tuning."""
    ways: tuple[str, ...] = ("no-tuning", "whole", "free-codes", "shared-points", "no-combinations")
    """Which trainings."""
    unseen: Path | None = None
    """A dataset of prompts that were not learned: adds Frechet and kernel distances of the looks between."""
    preset: str = "demo"
    """Settings of the training."""
    seed: int = 0
    """Seed of each training."""
    out: Path | None = None
    """Keep trainings and figures here; else they are thrown away."""


def _free(config: TrainConfig) -> TrainConfig:
    latent = dataclasses.replace(config.model.latent, free=True)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, latent=latent))


def _shared(config: TrainConfig) -> TrainConfig:
    field = FieldConfig(kind="mlp", width=128, depth=4, skip=2)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, field=field))


WAYS: dict[str, tuple[str, Callable[[TrainConfig], TrainConfig]]] = {
    "whole": ("all of it", lambda config: config),
    "no-tuning": ("without tuning on blends", lambda config: config),
    "free-codes": ("without image and text features", _free),
    "shared-points": ("shared points instead of layers", _shared),
    "no-combinations": (
        "without pasted combinations",
        lambda config: dataclasses.replace(config, combinations=0.0),
    ),
}


def learn(dataset: Dataset, config: TrainConfig, blends: Dataset | None, preset: str, folder: Path) -> Avatar:
    """Train, and tune on blends if there are any; what lies in the folder is kept."""
    avatar = train(dataset, config, folder)
    if blends is None:
        return avatar
    how = InterpolationConfig.preset(preset)
    return tune(dataset, config, folder, blends, how, folder / "tuning")


def figures(avatar: Avatar, dataset: Dataset, unseen: Dataset | None) -> dict[str, Any]:
    """Measure held-out frames and looks in between."""
    whole = evaluate(avatar, dataset)
    references = {} if unseen is None else {"unseen": PictureFeatures()(unseen_frames(unseen, avatar))}
    poses = dataset.motion.select(dataset.heldout_indices)
    between = evaluate_interpolation(avatar, poses, references, InterpolationProtocol(pairs=3))
    row = {key: whole[key] for key in ("psnr", "ssim", "lpips", "identity")}
    row |= {"leakage": whole["leakage"]["mean"], "ppl": between["ppl"], "pdv": 100 * between["pdv"]}
    row |= {key: between[key] for key in between if key.startswith(("frechet_", "kernel_"))}
    return row


def main(options: Options) -> None:
    """Train each way, print one table."""
    dataset = Dataset.open(options.dataset)
    unseen = None if options.unseen is None else Dataset.open(options.unseen)
    blends = None if options.blends is None else Dataset.open(options.blends, blends=True)
    base = TrainConfig.preset(options.preset, seed=options.seed, steps=options.steps)
    rows: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="perse-ablation-") as scratch:
        folder = options.out or Path(scratch)
        for way in options.ways:
            title, change = WAYS[way]
            name = way.replace("no-tuning", "whole")  # the same training, before its tuning
            tuned = blends if way != "no-tuning" else None
            begun = time.process_time()
            avatar = learn(dataset, change(base), tuned, options.preset, folder / name)
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - begun
            rows[title] = {**figures(avatar, dataset, unseen), "seconds": seconds[name]}
            print(json.dumps({title: rows[title]}), flush=True)
        (folder / "ablation.json").write_text(json.dumps(rows, indent=1))
    keys = list(next(iter(rows.values())))
    print(f"\n| {options.steps} steps | " + " | ".join(keys) + " |")
    print("|---" + "|---:" * len(keys) + "|")
    for title, row in rows.items():
        cells = ["-" if row[key] is None else f"{row[key]:.4g}" for key in keys]
        print(f"| {title} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(tyro.cli(Options))
