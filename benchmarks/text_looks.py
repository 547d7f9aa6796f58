"""Looks from words alone: prompts that were held out of training, drawn from their text and compared with the studio.

    python benchmarks/text_looks.py runs/text --learned 30 --heldout 8

For every held-out prompt the avatar is drawn from the text's features only. It counts as right if LPIPS puts the
drawing nearer to the studio's picture of that prompt than to the studio's picture of any other held-out prompt of its
category (chance: one in `--heldout`). Beside it: the same for the nearest learned prompt in the text encoder (what a
lookup would give), and for the studio's picture of the learned prompts too.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from perse.avatar import Avatar, LatentSpace, Look
from perse.avatar.text import text_code
from perse.dataset import Dataset, Portrait, Subject, Vocabulary, default_motion, from_uint8
from perse.evaluation import psnr
from perse.frames import select_frames
from perse.generate import generate
from perse.perception import LPIPS
from perse.training import TrainConfig, train
from perse.viewer import save_image


@dataclass(frozen=True)
class Options:
    """How much to learn and to hold out."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder for the datasets, the training and the figures; what is there is kept."""
    categories: tuple[str, ...] = ("hair", "beard", "hat")
    """Categories to learn."""
    learned: int = 30
    """Prompts a category to learn from."""
    heldout: int = 8
    """Prompts a category that are only measured."""
    frames: int = 10
    """Frames to learn from; two more are held out."""
    size: int = 256
    """Pixels."""
    steps: int = 4500
    """Training steps."""
    rank: int = 8
    """Directions a category."""
    seed: int = 0
    """Of everything."""
    workers: int = 1
    """Processes that make the dataset."""


def make_datasets(options: Options) -> tuple[Dataset, Dataset]:
    """The dataset to learn from, and one of the held-out prompts."""
    import skimage.data

    from perse.capture import capture

    vocabulary = Vocabulary()
    folder = options.out / "portrait"
    if not folder.is_dir():
        capture(skimage.data.astronaut(), name="astronaut").save(folder)
    portrait = Portrait.load(folder)
    motion = select_frames(default_motion(), options.frames, 2)
    learned, heldout = [()], [()]
    for category in options.categories:
        chosen = vocabulary.spread(category, options.learned + options.heldout, options.seed)
        learned += [(a,) for a in chosen[: options.learned]]
        heldout += [(a,) for a in chosen[options.learned :]]
    for name, subjects in (("learned", learned), ("heldout", heldout)):
        generate(portrait, subjects, motion, options.out / name, size=options.size, workers=options.workers)
    return Dataset.open(options.out / "learned"), Dataset.open(options.out / "heldout")


@dataclass(frozen=True)
class Case:
    """One way to make a look from words."""

    name: str
    code: Callable[[str, str, Tensor], tuple[Tensor, float]]
    """Category, prompt and text features [T] -> code [d] and presence."""


def cases(avatar: Avatar, seed: int) -> list[Case]:
    """What is compared: words by regression, by MLP_z without a picture, and the nearest learned prompt."""
    latent = avatar.model.latent
    dropped = drop_features(latent, seed)

    prompts = {e: a.prompt for s in avatar.subjects for e, a in zip(s.entries, s.attributes)}

    def by_words(category: str, prompt: str, feature: Tensor) -> tuple[Tensor, float]:
        code = text_code(avatar.model, category, prompt, feature, prompts)
        return code.z, code.presence

    def by_network(category: str, _: str, feature: Tensor) -> tuple[Tensor, float]:
        return dropped.feature_code(None, feature, category), 1.0

    def by_nearest(category: str, _: str, feature: Tensor) -> tuple[Tensor, float]:
        slot = torch.tensor([latent.categories.index(category)])
        rows = torch.nonzero(latent.entry_category == slot)[:, 0]
        pair = torch.cat([feature.new_zeros(latent.split[0]), feature])[None]
        text = latent.standardize(pair, slot)[:, latent.split[0] :]
        known = latent.features[rows][:, latent.split[0] :]
        best = rows[torch.nn.functional.cosine_similarity(known, text).argmax()]
        return latent.entry_codes(best[None])[0], float(latent.entry_presence[best])

    return [
        Case("words (Avatar.look)", by_words),
        Case("MLP_z, features dropped at random", by_network),
        Case("nearest learned prompt", by_nearest),
    ]


@torch.enable_grad()
def drop_features(latent: LatentSpace, seed: int, steps: int = 1500) -> LatentSpace:
    """A copy whose MLP_z has been taught to give the learned codes with picture or text left out at random."""
    copy = deepcopy(latent).requires_grad_(True)
    image, _ = latent.split
    wanted = latent.entry_codes(torch.arange(len(latent.features))).detach()
    parameters = [*copy.net.parameters(), *copy.norm.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-4, weight_decay=1e-5)
    for step in range(steps):
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        draw = torch.rand(len(wanted), 1, generator=generator)
        features = latent.features.clone()
        features[:, :image] *= draw > 1 / 3  # a third each: no picture, no text, both
        features[:, image:] *= draw < 2 / 3
        loss = (copy.codes_of(features, latent.entry_category) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return copy.requires_grad_(False)


@torch.no_grad()
def measure(avatar: Avatar, learned: Dataset, heldout: Dataset, seed: int) -> dict[str, Any]:
    """Every way on every held-out prompt: found, rank, LPIPS and PSNR to the right picture."""
    judge = LPIPS("alexnet")
    frames = heldout.heldout_indices
    motion = heldout.motion.select(frames)
    camera = motion.camera(heldout.camera)

    def features(pictures: Tensor) -> list[Tensor]:
        return judge.features(pictures.movedim(-1, 1))

    def truth(dataset: Dataset, subject: Subject) -> Tensor:
        return from_uint8(dataset.load_frames(subject, frames)[0])

    rows: dict[str, list[dict[str, Any]]] = {}
    pictures: dict[str, list[Tensor]] = {}
    ways = cases(avatar, seed)
    for category in dict.fromkeys(s.category for s in heldout.subjects if s.category):
        asked = [s for s in heldout.subjects if s.category == category]
        known = [s for s in learned.subjects if s.category == category]
        right = [truth(heldout, s) for s in asked]
        held_features = [features(t) for t in right]
        known_features = [features(truth(learned, s)) for s in known]
        slot = avatar.model.latent.categories.index(category)
        for k, subject in enumerate(asked):
            strip = [right[k][0]]
            for way in ways:
                z, presence = way.code(category, subject.attributes[0].prompt, subject.features[1].float())
                look = Look(avatar.reference.codes.replaced(slot, z, presence))
                drawn = avatar.render(look, motion.expr, motion.pose, camera)
                strip.append(drawn[0])
                own = features(drawn)
                to_held = torch.stack([judge.distance(own, f).mean() for f in held_features])
                to_known = torch.stack([judge.distance(own, f).mean() for f in known_features])
                others = [*(d for j, d in enumerate(to_held) if j != k), *to_known]
                rows.setdefault(way.name, []).append(
                    {
                        "category": category,
                        "prompt": subject.attributes[0].prompt,
                        "found": int(to_held.argmin()) == k,
                        "found_among_all": bool(to_held[k] < torch.stack(others).min()),
                        "lpips": float(to_held[k]),
                        "psnr": float(psnr(drawn, right[k]).mean()),
                    }
                )
            pictures.setdefault(category, []).append(torch.cat(strip, 0))
    sheet = torch.cat([torch.cat(column[:6], 1) for column in pictures.values()], 0)
    return {"rows": rows, "picture": sheet}


def main(options: Options) -> None:
    """Make, learn, measure, print."""
    learned, heldout = make_datasets(options)
    config = TrainConfig.preset("demo", seed=options.seed, steps=options.steps)
    field = dataclasses.replace(config.model.field, rank=options.rank)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, field=field))
    avatar = train(learned, config, options.out / f"training-{options.steps}-{options.rank}")
    result = measure(avatar, learned, heldout, options.seed)
    save_image(options.out / "text.jpg", result.pop("picture"), quality=85)
    (options.out / "text.json").write_text(json.dumps(result, indent=1))
    print(f"\n{options.learned} learned and {options.heldout} held-out prompts a category")
    print("| | found | among learned ones too | LPIPS | PSNR |")
    print("|---|---:|---:|---:|---:|")
    for name, found in result["rows"].items():
        for category in ("all", *options.categories):
            part = [r for r in found if category in ("all", r["category"])]
            mean = {
                key: sum(r[key] for r in part) / len(part)
                for key in ("found", "found_among_all", "lpips", "psnr")
            }
            print(
                f"| {name}: {category} | {mean['found']:.0%} | {mean['found_among_all']:.0%} | {mean['lpips']:.3f} | "
                f"{mean['psnr']:.1f} |"
            )


if __name__ == "__main__":
    main(tyro.cli(Options))
