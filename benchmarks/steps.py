"""What a training step costs: variants of the demo preset, taking turns in one process on one thread.

    python benchmarks/steps.py runs/demo/dataset

Prints the median processor time of a step of each, and the ratio to the first. Steps on pasted combinations, which have
no perceptual loss, are left out.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from perse.dataset import Dataset
from perse.head import open_head
from perse.training import TrainConfig, Training

WARM_UP = 4
"""Steps before the clock starts."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    dataset: tyro.conf.Positional[Path]
    """A dataset folder."""
    steps: int = 24
    """Steps of each variant."""


def variants() -> dict[str, TrainConfig]:
    """Each lacks one thing that the demo preset has."""
    demo = TrainConfig.preset("demo", warmup=0.0, combinations=0.0)
    return {
        "demo": demo,
        "LPIPS of whole pictures": replace(demo, perceptual_window=1.0),
        "no LPIPS": replace(demo, weights=replace(demo.weights, perceptual=0.0)),
        "points that stay": replace(demo, density=None),
        "four frames": replace(demo, frames_per_step=4),
    }


def main(options: Options) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    dataset, head = Dataset.open(options.dataset), open_head()
    trainings: dict[str, Training] = {}
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, config in variants().items():
            trainings[name] = Training(dataset, config, Path(folder) / name, head)
            seconds[name] = []
        for _ in range(WARM_UP + options.steps):
            for name, training in trainings.items():
                start = time.process_time()
                training.one_step()
                seconds[name].append(time.process_time() - start)
    first = statistics.median(seconds["demo"][WARM_UP:])
    print("| a step of | ms | ratio |\n|---|---:|---:|")
    for name, spent in seconds.items():
        median = statistics.median(spent[WARM_UP:])
        print(f"| {name} | {1e3 * median:.0f} | {median / first:.2f} |")


if __name__ == "__main__":
    main(tyro.cli(Options))
