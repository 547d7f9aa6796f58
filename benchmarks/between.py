"""Looks between learned ones, before and after tuning on blends, beside the studio's exact morph of the same looks.

    python benchmarks/between.py runs/demo --unseen runs/unseen

Of a build with its training and its tuning. Pairs and poses are those of `perse evaluate`; the exact morph is drawn
anew at the same weights, in held-out poses. For each: how even the way is (PPL, PDV), how near the pictures are to the
exact ones (LPIPS, by category), and the Frechet distance to a dataset of prompts that were not learned: that of the
exact morph says what is to be had.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from perse._ranks import ranks
from perse.avatar import Avatar, LearnedSubject
from perse.dataset import Dataset, Motion, from_uint8
from perse.evaluate import unseen_frames
from perse.evaluation import (
    InterpolationProtocol,
    Perceptual,
    PictureFeatures,
    between,
    chosen_pairs,
    evenly,
    frechet_distance,
    neighbour_distances,
    path_length,
    path_variance,
)
from perse.generate import Blend, generate_blends
from perse.head import open_head
from perse.training import PlannedBlend, TrainConfig, Training, matching_rows

Pair = tuple[str, LearnedSubject, LearnedSubject]


@dataclass(frozen=True)
class Options:
    """What to compare."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a build (perse build --out)."""
    unseen: Path | None = None
    """A dataset of prompts that were not learned; none: no Frechet distance."""
    preset: str = "demo"
    """That of the build."""
    seed: int = 0
    """That of the build."""
    pairs: int = 6
    """Pairs of a category."""


STEPS = 8
"""Looks between: ninths, so that none is one of the sixths that tuning shows."""


def exact(dataset: Dataset, pairs: list[Pair], poses: Motion, seed: int, folder: Path) -> list[Tensor]:
    """The studio's morph of every pair [STEPS + 2, F, H, W, 3]."""
    ids = [subject.id for subject in dataset.subjects]
    names = [
        [PlannedBlend(c, ids.index(a.id), ids.index(b.id), k, STEPS + 1).id for k in range(1, STEPS + 1)]
        for c, a, b in pairs
    ]
    blends = {
        name: Blend(a.attributes[0], b.attributes[0], k / (STEPS + 1))
        for (_, a, b), way in zip(pairs, names)
        for k, name in enumerate(way, 1)
    }
    generate_blends(dataset.portrait, blends, poses, folder, size=dataset.size, seed=seed)
    made = Dataset.open(folder, blends=True)
    subjects = {subject.id: subject for subject in made.subjects}
    rows = matching_rows(poses, dataset.motion).tolist()

    def frames(source: Dataset, subject: Any, at: list[int]) -> Tensor:
        return from_uint8(source.load_frames(subject, at)[0])

    every = list(range(len(poses)))
    return [
        torch.stack(
            [
                frames(dataset, dataset.subjects[ids.index(a.id)], rows),
                *(frames(made, subjects[name], every) for name in way),
                frames(dataset, dataset.subjects[ids.index(b.id)], rows),
            ]
        )
        for (_, a, b), way in zip(pairs, names)
    ]


def drawn(avatar: Avatar, pairs: list[Pair], poses: Motion) -> Iterator[Tensor]:
    """An avatar's pictures of every pair [STEPS + 2, F, H, W, 3]."""
    camera = poses.camera(avatar.camera)
    for category, a, b in pairs:
        looks = between(avatar, avatar.look_of(a.id), avatar.look_of(b.id), category, STEPS)
        yield torch.stack([avatar.render(look, poses.expr, poses.pose, camera).cpu() for look in looks])


def figures(
    ways: list[Tensor], truth: list[Tensor], pairs: list[Pair], unseen: Tensor | None
) -> dict[str, Any]:
    """Of one row: means over pairs and poses."""
    judge = Perceptual("cpu")
    steps = [neighbour_distances(judge, way) for way in ways]
    row: dict[str, Any] = {
        "ppl": float(torch.cat([path_length(s) for s in steps]).mean()),
        "100 pdv": 100 * float(torch.cat([path_variance(s) for s in steps]).mean()),
    }
    if unseen is not None:
        features = PictureFeatures()(torch.cat([way[1:-1].flatten(0, 1) for way in ways]))
        count = min(len(features), len(unseen))
        row["frechet"] = frechet_distance(evenly(features, count), evenly(unseen, count))
    apart: dict[str, list[float]] = {}
    for (category, _, _), way, true in zip(pairs, ways, truth):
        lpips = judge(way[1:-1].flatten(0, 1), true[1:-1].flatten(0, 1))
        apart.setdefault(category, []).append(float(lpips.mean()))
    return row | {f"lpips {category}": sum(found) / len(found) for category, found in apart.items()}


def main(options: Options) -> None:
    """Draw the three, print one table."""
    dataset = Dataset.open(options.run / "dataset")
    tuned = Avatar.load(options.run / "avatar")
    config = TrainConfig.preset(options.preset, seed=options.seed, device="cpu")
    with ranks() as group:
        training = Training(dataset, config, options.run / "training", open_head(), group)
        untuned = training.avatar()
    heldout = dataset.motion.select(dataset.heldout_indices)
    poses = heldout.select(torch.tensor([0, len(heldout) - 1]))
    pairs = chosen_pairs(tuned, InterpolationProtocol(pairs=options.pairs, seed=options.seed))
    unseen = None
    if options.unseen is not None:
        unseen = PictureFeatures()(unseen_frames(Dataset.open(options.unseen), tuned))
    with tempfile.TemporaryDirectory(prefix="perse-between-") as scratch:
        truth = exact(dataset, pairs, poses, options.seed, Path(scratch) / "blends")
    rows = {}
    for title, ways in (
        ("before tuning", list(drawn(untuned, pairs, poses))),
        ("after", list(drawn(tuned, pairs, poses))),
        ("exact morph", truth),
    ):
        rows[title] = figures(ways, truth, pairs, unseen)
        print(json.dumps({title: rows[title]}), flush=True)
    print(f"\n| {len(pairs)} pairs | " + " | ".join(rows) + " |")
    print("|---" + "|---:" * len(rows) + "|")
    for key in rows["after"]:
        print(f"| {key} | " + " | ".join(f"{row[key]:.4g}" for row in rows.values()) + " |")


if __name__ == "__main__":
    main(tyro.cli(Options))
