"""How good after how long? Our training from its three starts, and the paper's way, on the same data in one run.

    python benchmarks/training.py runs/demo/dataset --seconds 120 --plot docs/images/training.svg
    python benchmarks/training.py runs/many/dataset --ways rank-8 rank-31 mlp      # fields, for many looks a category

The paper's way: points on the bare head, coordinate MLPs without learned values of points, one frame a step (its sizes
scaled to a laptop: 8 x 256; its step size of 1e-4, meant for days, raised to 1e-3). Everyone has the same loss network
and the same time. Why three starts: with the studio's own points, data and avatar share rig, binding and light, and
the figures flatter; images are what videos from anywhere else will have; the bare head is the paper's.

Measured on frames that were held out, those that span the head's turns most evenly (printed). Seconds are of the
training alone, its start included, measuring excluded: of the wall, and of the process's CPU time, which a machine
that others use too does not stretch.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from perse._ranks import ranks
from perse.avatar import FieldConfig, ModelConfig
from perse.dataset import Dataset, Subject, from_uint8
from perse.evaluation import Perceptual, curves_plot, psnr, ssim
from perse.head import open_head
from perse.training import LossWeights, StepSizes, TrainConfig, Training

PROBE = 12
"""Steps that tell how long one takes; the first few are left out."""
TITLES = {
    "studio": "ours, from the studio's points",
    "images": "ours, from images",
    "head": "ours, bare head",
    "mlp": "coordinate MLPs with learned values of points, from the studio's points",
    "paper": "as the paper: MLPs, bare head",
}
"""What a way is called; besides, `rank-K` is ours from the studio's points with K directions a category."""


@dataclass(frozen=True)
class Options:
    """What to compare."""

    dataset: Annotated[Path, tyro.conf.Positional]
    """Folder of a dataset."""
    seconds: float = 120.0
    """CPU seconds of each training."""
    ways: tuple[str, ...] = ("studio", "images", "head", "paper")
    """Which trainings: studio, images, head, paper, mlp, rank-K."""
    marks: int = 5
    """How often to measure on the way."""
    subjects: int = 12
    """Subjects to measure on, evenly spread."""
    frames: int = 5
    """Held-out frames of each."""
    threads: int = 1
    """Threads of torch."""
    seed: int = 0
    """Seed of each training."""
    plot: Path | None = None
    """Draw the curves here (.svg)."""
    json: Path | None = None
    """Write the figures here."""


def title_of(way: str) -> str:
    """What a way is called in the table."""
    return (
        TITLES[way] if way in TITLES else f"{TITLES['studio']}, {int(way.removeprefix('rank-'))} directions"
    )


def config_of(way: str, seed: int) -> TrainConfig:
    """Settings of one training; its number of steps is set by the time."""
    config = TrainConfig.preset("demo", seed=seed)
    if way == "paper":
        field = FieldConfig(kind="mlp", width=256, depth=8, skip=4, pose_code=0, point_values=False)
        return dataclasses.replace(
            config,
            start="head",
            model=ModelConfig(field=field, pose_width=128, pose_depth=4),
            combinations=0.0,
            weights=LossWeights(ssim=0.25, alpha=0.0, label=0.0),
            step_sizes=StepSizes(net=1e-3),
            flame_every=1,
        )
    if way == "mlp":
        field = FieldConfig(kind="mlp", width=128, depth=4, skip=2)
        return dataclasses.replace(config, start="studio", model=ModelConfig(field=field))
    if way.startswith("rank-"):
        field = dataclasses.replace(config.model.field, rank=int(way.removeprefix("rank-")))
        return dataclasses.replace(
            config, start="studio", model=dataclasses.replace(config.model, field=field)
        )
    return dataclasses.replace(config, start=way)  # type: ignore[arg-type]


def turns(dataset: Dataset, frames: Tensor) -> Tensor:
    """How far the head is turned in frames, degrees."""
    pose = dataset.motion.pose[frames]
    return torch.rad2deg(pose[:, 1] + pose[:, 4])


def spread_frames(dataset: Dataset, count: int) -> Tensor:
    """Held-out frames whose turns of the head are as evenly spread as there are any."""
    frames = dataset.heldout_indices
    yaw = turns(dataset, frames)
    wanted = torch.linspace(float(yaw.min()), float(yaw.max()), count)
    chosen = {int((yaw - w).abs().argmin()) for w in wanted}
    return frames[torch.tensor(sorted(chosen))]


class Judge:
    """PSNR, SSIM and LPIPS of some subjects' held-out frames, and the hardest subject's PSNR."""

    def __init__(self, dataset: Dataset, options: Options) -> None:
        self.frames = spread_frames(dataset, options.frames)
        step = max(1, len(dataset.subjects) // options.subjects)
        self.subjects: list[Subject] = list(dataset.subjects[::step][: options.subjects])
        motion = dataset.motion.select(self.frames)
        self.motion, self.camera = motion, motion.camera(dataset.camera)
        self.truth = [from_uint8(dataset.load_frames(s, self.frames)[0]) for s in self.subjects]
        self._perceptual = Perceptual()

    def __call__(self, training: Training) -> dict[str, float]:
        avatar = training.avatar()
        rows = []
        for subject, truth in zip(self.subjects, self.truth):
            drawn = avatar.render(avatar.look_of(subject.id), self.motion.expr, self.motion.pose, self.camera)
            rows.append(
                torch.stack([psnr(drawn, truth), ssim(drawn, truth), self._perceptual(drawn, truth)]).mean(1)
            )
        each = torch.stack(rows)
        return dict(zip(("psnr", "ssim", "lpips"), each.mean(0).tolist())) | {
            "least": float(each[:, 0].min())
        }


def pace(dataset: Dataset, config: TrainConfig, folder: Path) -> tuple[float, float]:
    """CPU seconds of making the start, and of one step, MLP_pose included."""
    # Of a long training: a short one changes its points at every step.
    config = dataclasses.replace(config, steps=1000 * PROBE, warmup=0.0)
    times = []
    with ranks() as group:
        begun = time.process_time()
        training = Training(dataset, config, folder, open_head(), group)
        start = time.process_time() - begun
        for _ in range(PROBE):
            begun = time.process_time()
            training.one_step()
            times.append(time.process_time() - begun)
    usual = sorted(times[PROBE // 3 :])
    return start, usual[len(usual) // 2]


def run(dataset: Dataset, way: str, options: Options, judge: Judge, folder: Path) -> list[dict[str, float]]:
    """Train for the time; figures at every mark."""
    config = config_of(way, options.seed)
    start, each = pace(dataset, config, folder / f"{way}-probe")
    steps = max(options.marks, math.ceil((options.seconds - start) / each))
    spent = [0.0, 0.0]  # on measuring: not to be counted
    rows: list[dict[str, float]] = []
    wall, cpu = time.perf_counter(), time.process_time()
    with ranks() as group:
        training = Training(
            dataset, dataclasses.replace(config, steps=steps), folder / way, open_head(), group
        )
        marks = {round(steps * (k + 1) / options.marks) for k in range(options.marks)}

        def look(step: int) -> None:
            if step not in marks:
                return
            now = (time.perf_counter(), time.process_time())
            row = {
                "step": float(step),
                "wall": now[0] - wall - spent[0],
                "cpu": now[1] - cpu - spent[1],
                **judge(training),
            }
            rows.append(row)
            print(json.dumps({"way": way, **row}), flush=True)
            spent[0] += time.perf_counter() - now[0]
            spent[1] += time.process_time() - now[1]

        training.run(progress=False, on_step=look)
    return rows


def main(options: Options) -> None:
    """Train each way, print one table, draw the curves."""
    for way in options.ways:
        title_of(way)  # an unknown one fails here, not after an hour
    torch.set_num_threads(options.threads)
    dataset = Dataset.open(options.dataset)
    judge = Judge(dataset, options)
    yaws = ", ".join(f"{float(v):.0f}" for v in turns(dataset, judge.frames).sort().values)
    print(f"{len(judge.subjects)} subjects, held-out frames turned by {yaws} degrees")
    results = {}
    with tempfile.TemporaryDirectory(prefix="perse-training-") as scratch:
        for way in options.ways:
            results[way] = run(dataset, way, options, judge, Path(scratch))
    print("\n| training | steps | CPU s | wall s | PSNR | SSIM | LPIPS | hardest |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for way, rows in results.items():
        name = title_of(way)
        for row in rows:
            print(
                f"| {name} | {row['step']:.0f} | {row['cpu']:.0f} | {row['wall']:.0f} | {row['psnr']:.2f} | "
                f"{row['ssim']:.4f} | {row['lpips']:.4f} | {row['least']:.2f} |"
            )
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1))
    if options.plot is not None:
        curves = {title_of(w): [(r["cpu"], r["psnr"]) for r in rows] for w, rows in results.items()}
        title = f"Held-out PSNR, {dataset.size} px, {options.threads} thread"
        options.plot.write_text(curves_plot(title, curves, "seconds of CPU time", "dB"))


if __name__ == "__main__":
    main(tyro.cli(Options))
