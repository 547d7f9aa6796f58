"""`perse evaluate`: every figure of an avatar, against its dataset, unseen edits and real faces (Tables 1-3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perse._files import write_json, write_text
from perse.errors import PerseError

if TYPE_CHECKING:
    from torch import Tensor

    from perse.avatar import Avatar
    from perse.dataset import Dataset
    from perse.evaluation import Combination

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
FRAMES_A_SUBJECT = 5


@dataclass(frozen=True)
class EvaluateConfig:
    """What ``perse evaluate`` measures."""

    avatar: Path
    """Folder of a built avatar (runs/demo/avatar)."""
    dataset: Path
    """The dataset it learned from; its held-out frames are compared."""
    unseen: Path | None = None
    """A dataset of the same person with prompts that were not learned (perse dataset --seed 1): looks between learned
    ones are compared with it (FID_SYN and KID_SYN in the paper)."""
    faces: Path | None = None
    """A folder of photos of other people: the same (FID_FFHQ, KID_FFHQ). Their backgrounds are removed."""
    combinations: int = 0
    """How many looks of two or three categories never seen together are compared with the maker's own rendering."""
    out: Path = Path("evaluation")
    """Folder for evaluation.json, evaluation.md, evaluation.svg, and pictures of looks between and worn together."""
    preset: Literal["demo", "paper"] = "demo"
    """paper: 200 pairs of looks a category in 5 poses; demo: 6 in 2."""
    seed: int = 0
    """Chooses the pairs of looks."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to draw and judge."""


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Measure, write and say where. Returns what evaluation.json holds."""
    from dataclasses import replace

    from perse.avatar import Avatar
    from perse.dataset import Dataset
    from perse.evaluation import (
        PAPER,
        InterpolationProtocol,
        PictureFeatures,
        combination_figures,
        draw_combinations,
        evaluate_interpolation,
        metrics_plot,
        table,
    )
    from perse.evaluation import evaluate as evaluate_frames
    from perse.pipeline import pick_device
    from perse.viewer import save_image

    device = pick_device(config.device)
    avatar = Avatar.load(config.avatar, device=device)
    dataset = Dataset.open(config.dataset)
    features = PictureFeatures(device)
    references: dict[str, Tensor] = {}
    if config.unseen is not None:
        references["unseen"] = features(unseen_frames(Dataset.open(config.unseen), avatar))
    if config.faces is not None:
        references["faces"] = features(_faces(config.faces))
    result = evaluate_frames(avatar, dataset, device=device)
    protocol = replace(PAPER if config.preset == "paper" else InterpolationProtocol(), seed=config.seed)
    unseen_poses = dataset.motion.select(dataset.heldout_indices)
    result["interpolation"] = evaluate_interpolation(
        avatar, unseen_poses, references, protocol, device=device
    )
    text = table(result) + "\n\n" + interpolation_table(result["interpolation"])
    files = ["evaluation.json", "evaluation.md", "evaluation.svg", "between.jpg"]
    if config.combinations:
        found = list(draw_combinations(avatar, dataset, config.combinations, seed=config.seed))
        result["combinations"] = combination_figures(found)
        text += "\n\n" + combination_table(result["combinations"])
        save_image(config.out / "combinations.jpg", combination_picture(found))
        files.append("combinations.jpg")
    write_json(config.out / "evaluation.json", result)
    write_text(config.out / "evaluation.md", text)
    write_text(config.out / "evaluation.svg", metrics_plot(result))
    save_image(config.out / "between.jpg", between_picture(avatar, dataset))
    for name in files:
        print(config.out / name)
    return result


def interpolation_table(figures: dict[str, Any]) -> str:
    """Markdown: one row for all, one for each category."""
    from perse.evaluation import format_figure

    names = [key for key in figures if key.startswith(("frechet_", "kernel_"))]
    titles = [
        "looks between",
        "pairs",
        "PPL",
        "of a cross-fade",
        "100 x PDV",
        *(n.replace("_", ", ") for n in names),
    ]
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|---:" * (len(titles) - 1) + "|"]
    for name, row in (("all", figures), *figures["per_category"].items()):
        cells = [
            name,
            str(row["pairs"]),
            format_figure(row["ppl"], 3),
            format_figure(row["ppl_crossfade"], 3),
        ]
        cells += [format_figure(100 * row["pdv"], 4)]
        cells += [format_figure(row.get(key), 2 if key.startswith("frechet") else 4) for key in names]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def combination_table(figures: dict[str, Any]) -> str:
    """Markdown: one row a look never seen together, the mean first."""
    lines = ["| worn together, never seen so | PSNR | of the single edits |", "|---|---:|---:|"]
    for name, row in ((f"all {figures['looks']}", figures), *figures["per_look"].items()):
        lines.append(f"| {name} | {row['psnr']:.2f} | {row['psnr_singles']:.2f} |")
    return "\n".join(lines) + "\n"


def combination_picture(found: Sequence[Combination], columns: int = 8) -> Tensor:
    """The first frame of every look, by the maker above and by the avatar below: [R H, K W, 3]."""
    import torch

    rows = []
    for start in range(0, len(found), columns):
        part = found[start : start + columns]
        for name in ("truth", "drawn"):
            pictures = [getattr(c, name)[0] for c in part]
            pictures += [torch.ones_like(pictures[0])] * (columns - len(part))
            rows.append(torch.cat(pictures, 1))
    return torch.cat(rows)


def between_picture(avatar: Avatar, dataset: Dataset, steps: int = 7) -> Tensor:
    """The first two learned looks of every category and ``steps`` between them, one row each: [R H, K W, 3]."""
    import torch

    from perse.dataset import CATEGORIES
    from perse.evaluation import between

    rows = []
    expr, pose = avatar.rest[0][None], avatar.rest[1][None]
    for category in CATEGORIES:
        learned = [s for s in avatar.subjects if [a.category for a in s.attributes] == [category]]
        if len(learned) < 2:
            continue
        first, second = (avatar.look_of(s.id) for s in learned[:2])
        looks = between(avatar, first, second, category, steps)
        rows.append(
            torch.cat([avatar.render(look, expr, pose, dataset.camera)[0].cpu() for look in looks], 1)
        )
    return torch.cat(rows)


def unseen_frames(dataset: Dataset, avatar: Avatar) -> Iterator[Tensor]:
    """Frames of the subjects whose prompts the avatar has not learned, on white."""
    from perse.dataset import from_uint8

    learned = {tuple(a.prompt for a in subject.attributes) for subject in avatar.subjects}
    new = [s for s in dataset.subjects if tuple(a.prompt for a in s.attributes) not in learned]
    if not new:
        raise PerseError(
            f"--unseen {dataset.path}: every prompt in it was learned; make one with another --seed"
        )
    count = len(dataset.motion)
    rows = sorted({round(k * (count - 1) / max(FRAMES_A_SUBJECT - 1, 1)) for k in range(FRAMES_A_SUBJECT)})
    for subject in new:
        yield from from_uint8(dataset.load_frames(subject, rows)[0])


def _faces(folder: Path) -> Iterator[Tensor]:
    """Every photo of a folder, framed as portraits are, on white; photos without a usable face are named and left."""
    from perse.capture import capture

    if not folder.is_dir():
        raise PerseError(f"--faces {folder}: there is no such folder")
    used = 0
    for file in sorted(f for f in folder.rglob("*") if f.suffix.lower() in PICTURES):
        try:
            portrait = capture(file)
        except PerseError as error:
            print(f"left out: {error}")
            continue
        used += 1
        alpha = portrait.alpha[..., None]
        yield portrait.image * alpha + 1 - alpha
    if used < 2:
        raise PerseError(
            f"--faces {folder}: {used} photos with a face; two are the least, thousands are better"
        )
