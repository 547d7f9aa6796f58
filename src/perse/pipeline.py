"""The story of one avatar on one page: photo, portrait, dataset, avatar, metrics, report.

:func:`build` runs seven stages. Each leaves its result in the output folder in one atomic step and is skipped when
the result is there, so the same command goes on where an interrupted one stopped, and ends with the same avatar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perse._build_folder import BuildFolder, sha256
from perse._ranks import Ranks, ranks
from perse.errors import PerseError

if TYPE_CHECKING:
    import numpy as np

    from perse.dataset import Attribute
    from perse.training import TrainConfig

Preset = Literal["tiny", "demo", "full", "paper"]
BUNDLED_PORTRAITS = ("astronaut",)


@dataclass(frozen=True)
class BuildConfig:
    """What ``perse build`` makes, and from what."""

    photo: Path | None = None
    """The portrait photo. Leave out to use a bundled one (--portrait)."""
    portrait: str | None = None
    """Name of a bundled portrait instead of a photo: astronaut."""
    out: Path = Path("runs/avatar")
    """Folder that receives everything. An interrupted build in it is continued."""
    preset: Preset = "demo"
    """demo: minutes on two CPU cores; full: one GPU; paper: the paper's scale, eight GPUs; tiny: a smoke test."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the avatar is trained. auto takes CUDA when there is one."""
    seed: int = 0
    """Seed of every random choice. The same seed gives the same avatar."""
    face: int | None = None
    """Which face to take when the photo shows several, counted from the left, 0 first."""
    editor: str = "studio"
    """Maker of the edited portraits."""
    animator: str = "studio"
    """Maker of the videos."""
    tensorboard: bool = False
    """Write scalars and pictures of the training to OUT/training/tensorboard (needs perse[tensorboard])."""
    morpher: str = "studio"
    """Maker of the looks between two edits, on which the avatar is tuned; images: from the frames of both alone."""


@dataclass(frozen=True)
class Scale:
    """How much data a preset makes."""

    size: int
    """Frame size in pixels."""
    per_category: int | None
    """Edited subjects a category; None: the fixed demo list."""
    train_frames: int
    """Frames of the motion that are trained on."""
    heldout_frames: int
    """Frames of the motion that are only measured on."""
    combined: int = 0
    """Subjects that show two or three of the edits at once: what hides what is learned from them."""
    categories: tuple[str, ...] | None = None
    """Take only the first demo subject of each of these categories; None: all of them."""


SCALES: dict[str, Scale] = {
    "tiny": Scale(
        size=64, per_category=None, categories=("beard", "hair", "hat"), train_frames=6, heldout_frames=2
    ),
    "demo": Scale(size=256, per_category=None, train_frames=40, heldout_frames=10, combined=6),
    "full": Scale(size=512, per_category=12, train_frames=200, heldout_frames=56, combined=60),
    "paper": Scale(size=512, per_category=106, train_frames=400, heldout_frames=113),
}


@dataclass
class BuildResult:
    """Where the results lie, and the figures of ``metrics.json``."""

    out: Path
    metrics: dict = field(default_factory=dict)


def build(config: BuildConfig, log: Callable[[str], None] = print) -> BuildResult:
    """Make an avatar of the person in one photo.

    Under ``torchrun`` the processes make the dataset and learn together; the first does everything else, and only
    its result has metrics.

    Raises:
        PerseError: the photo cannot be used, the folder holds something else, or an option makes no sense.
    """
    photo, name = the_photo(config.photo, config.portrait)
    settings = {
        "preset": config.preset,
        "seed": config.seed,
        "editor": config.editor,
        "animator": config.animator,
        "morpher": config.morpher,
        "face": config.face,
        "photo": sha256(photo) if isinstance(photo, Path) else f"bundled:{name}",
    }
    device = pick_device(config.device)
    with ranks() as all_ranks:
        together = {
            "dataset": lambda: _make_dataset(config, config.out, log),
            "avatar": lambda: _train(config, config.out, device, all_ranks),
            "blends": lambda: _make_blends(config, config.out, log),
        }
        if not all_ranks.first:
            _help(together, all_ranks)
            return BuildResult(config.out)
        with BuildFolder.open(config.out, settings) as folder:
            folder.stage("portrait", lambda: _capture(photo, name, config, folder.path / "portrait"), log)
            for number, (stage, run) in enumerate(together.items()):
                folder.stage(stage, partial(_lead, number, run, all_ranks), log)
            _call(DISMISSED, all_ranks)
            folder.stage("tuning", lambda: _tune(config, folder.path, device, all_ranks), log, ["avatar"])
            folder.stage("metrics", lambda: _measure(folder, device), log)
            folder.stage("report", lambda: _report(folder, device, log), log, REPORT)
            metrics = folder.write_metrics()
    for line in summary(config.out, metrics):
        log(line)
    return BuildResult(config.out, metrics)


REPORT = ("report.html", "report.png", "avatar.mp4")
"""What the last stage leaves, whatever the field."""
DISMISSED = -1
"""What the first process says to the others when there is nothing left to do together."""


def _call(number: int, all_ranks: Ranks) -> int:
    """The number that the first process said, on every process."""
    if all_ranks.world == 1:
        return number
    import torch

    return int(all_ranks.of_first(torch.tensor([number])))


def _lead(number: int, run: Callable[[], None], all_ranks: Ranks) -> None:
    """Do a stage, and have the other processes do it too."""
    _call(number, all_ranks)
    run()


def _help(together: dict[str, Callable[[], None]], all_ranks: Ranks) -> None:
    """What the other processes do: each stage that the first calls, until it dismisses them."""
    stages = list(together.values())
    while (number := _call(DISMISSED, all_ranks)) != DISMISSED:
        stages[number]()


def summary(out: Path, metrics: dict) -> list[str]:
    """The lines a build ends with: figures, and where to look."""
    identity = "-" if metrics["identity"] is None else f"{metrics['identity']:.3f}"
    return [
        "",
        f"PSNR {metrics['psnr']:.2f} dB   SSIM {metrics['ssim']:.4f}   LPIPS {metrics['lpips']:.4f}   "
        f"identity {identity}   ({metrics['subjects']} subjects, "
        f"{metrics['frames_heldout']} held-out frames each)",
        f"took {metrics['seconds_total'] / 60:.1f} minutes, {metrics['peak_rss_mb'] / 1024:.1f} GiB at most",
        f"  look   {out / 'report.html'}  (one picture: {out / 'report.png'})",
        f"  play   {out / 'avatar.mp4'}",
        f'  use    perse render {out / "avatar"} --set hair="long curly red" --out me.mp4',
    ]


# --- stages ---


def the_photo(photo: Path | None, portrait: str | None) -> tuple[Path | np.ndarray, str]:
    """The photo to capture (a path, or a bundled picture as an array) and its name.

    Raises:
        PerseError: neither or both are given, or there is no such file or bundled picture.
    """
    if (photo is None) == (portrait is None):
        raise PerseError(
            "give either a photo (perse build photo.jpg) or a bundled portrait (--portrait astronaut)"
        )
    if photo is not None:
        if not photo.is_file():
            raise PerseError(f"there is no photo at {photo}")
        return photo, photo.stem
    if portrait not in BUNDLED_PORTRAITS:
        raise PerseError(
            f"no bundled portrait is called {portrait!r}; there is: {', '.join(BUNDLED_PORTRAITS)}"
        )
    import skimage.data

    return skimage.data.astronaut(), "astronaut"


def pick_device(device: str) -> str:
    """Resolve ``auto``; refuse ``cuda`` where there is none."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise PerseError("--device cuda: no CUDA device is visible to torch; use --device cpu or auto")
    return device


def _capture(photo: Path | np.ndarray, name: str, config: BuildConfig, out: Path) -> None:
    from perse.capture import capture, fit_overlay, parts_overlay
    from perse.viewer import save_image

    portrait = capture(photo, face=config.face, name=name)
    portrait.save(out)
    save_image(out / "fit.jpg", fit_overlay(portrait))
    save_image(out / "parts_overlay.jpg", parts_overlay(portrait))


def _make_dataset(config: BuildConfig, out: Path, log: Callable[[str], None]) -> None:
    from perse.dataset import Portrait, default_motion
    from perse.frames import select_frames, with_open_mouth, with_photo_frames, with_turned_heldout
    from perse.generate import generate

    scale = SCALES[config.preset]
    portrait = Portrait.load(out / "portrait")
    motion = select_frames(default_motion(), scale.train_frames, scale.heldout_frames)
    motion = with_open_mouth(with_photo_frames(motion, portrait), portrait.camera)
    motion = with_turned_heldout(motion, portrait.camera)
    pace = generate(
        portrait,
        subjects_of(scale, config.seed),
        motion,
        out / "dataset",
        size=scale.size,
        editor=config.editor,
        animator=config.animator,
        seed=config.seed,
    )
    if pace is not None:
        log(f"dataset: {pace}")


def subjects_of(scale: Scale, seed: int) -> list[tuple[Attribute, ...]]:
    """Attributes of every subject: the reference first, then one edit each as in the paper (section 4.2), then a few
    that show several of these at once."""
    from perse.dataset import CATEGORIES, Vocabulary, combinations_of, demo_attributes

    if scale.per_category is None:
        chosen = list(demo_attributes())
        if scale.categories:
            chosen = [next(a for a in chosen if a.category == category) for category in scale.categories]
    else:
        vocabulary = Vocabulary()
        chosen = [a for c in CATEGORIES for a in vocabulary.spread(c, scale.per_category, seed)]
    singles: list[tuple[Attribute, ...]] = [(), *((attribute,) for attribute in chosen)]
    return singles + combinations_of(singles, scale.combined, f"train/{seed}")


def _settings(config: BuildConfig, device: str, all_ranks: Ranks) -> TrainConfig:
    """The preset, with a subject for every process, and as many as the others have."""
    from perse.training import TrainConfig

    settings = TrainConfig.preset(
        config.preset, seed=config.seed, device=device, tensorboard=config.tensorboard
    )
    if settings.subjects_per_step % all_ranks.world:
        subjects = -(-settings.subjects_per_step // all_ranks.world) * all_ranks.world
        settings = replace(settings, subjects_per_step=subjects)
    return settings


def _train(config: BuildConfig, out: Path, device: str, all_ranks: Ranks) -> None:
    from perse.dataset import Dataset
    from perse.training import train

    dataset = Dataset.open(out / "dataset")
    avatar = train(dataset, _settings(config, device, all_ranks), out / "training")
    if all_ranks.first:
        avatar.save(out / "avatar")


def _make_blends(config: BuildConfig, out: Path, log: Callable[[str], None]) -> None:
    from perse.dataset import CATEGORIES, Dataset
    from perse.generate import Blend, generate_blends
    from perse.image_blends import image_blends
    from perse.training import POINT_CATEGORIES, InterpolationConfig, TrainConfig, blend_motion, plan_blends

    dataset = Dataset.open(out / "dataset")
    how = InterpolationConfig.preset(config.preset)
    basis = TrainConfig.preset(config.preset).model.field.kind == "basis"
    drawn = POINT_CATEGORIES if basis else CATEGORIES  # shapes of nose and mouth blend linearly
    subjects = [subject.attributes for subject in dataset.subjects]
    planned = plan_blends(subjects, how.pairs_a_subject, how.alphas_a_pair, config.seed, drawn)
    motion = blend_motion(dataset.motion, how.frames)
    if config.morpher == "images":
        image_blends(dataset, planned, motion, out / "blends")
        return
    ends = [next(iter(attributes), None) for attributes in subjects]
    pace = generate_blends(
        dataset.portrait,
        {p.id: Blend(ends[p.first], ends[p.second], p.weight) for p in planned},
        motion,
        out / "blends",
        size=dataset.size,
        morpher=config.morpher,
        animator=config.animator,
        seed=config.seed,
    )
    if pace is not None:
        log(f"blends: {pace}")


def _tune(config: BuildConfig, out: Path, device: str, all_ranks: Ranks) -> None:
    from perse.dataset import Dataset
    from perse.training import InterpolationConfig, tune

    avatar = tune(
        Dataset.open(out / "dataset"),
        _settings(config, device, all_ranks),
        out / "training",
        Dataset.open(out / "blends", blends=True),
        InterpolationConfig.preset(config.preset),
        out / "tuning",
    )
    avatar.save(out / "avatar")


def _measure(folder: BuildFolder, device: str) -> None:
    from perse.avatar import Avatar
    from perse.dataset import Dataset
    from perse.evaluation import evaluate

    avatar = Avatar.load(folder.path / "avatar", device=device)
    folder.metrics.update(evaluate(avatar, Dataset.open(folder.path / "dataset"), device=device))


def _report(folder: BuildFolder, device: str, log: Callable[[str], None]) -> None:
    from perse.avatar import Avatar
    from perse.dataset import Dataset, default_motion
    from perse.export import PageOptions, write_page
    from perse.viewer import write_report, write_showreel

    avatar = Avatar.load(folder.path / "avatar", device=device)
    dataset = Dataset.open(folder.path / "dataset")
    write_showreel(avatar, default_motion(), dataset.camera, folder.path / "avatar.mp4")
    try:
        options = PageOptions(title=dataset.portrait.name)
        write_page(avatar, folder.path / "avatar.html", default_motion(), options)
    except PerseError as error:
        log(f"the report has no page to play with: {error}")
    write_report(avatar, dataset, folder.path, folder.figures())


# --- render ---


@dataclass(frozen=True)
class RenderConfig:
    """What ``perse render`` draws."""

    avatar: Path
    """Folder of a built avatar (runs/demo/avatar)."""
    looks: dict[str, str | None] = field(default_factory=dict)
    """Prompt per category; None takes the part off."""
    out: Path = Path("avatar.mp4")
    """An .mp4 plays the motion, a .png or .jpg shows its first frame."""
    motion: Path | None = None
    """Motion file (.npz); the bundled one by default."""
    frames: int = 200
    """How many frames of the motion to play."""
    size: int = 512
    """Picture size in pixels."""
    fps: float | None = None
    """Frames a second; the motion's own by default."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to draw."""


def render(config: RenderConfig) -> Path:
    """Draw one look of an avatar as a video or a picture, and say where it lies."""
    from perse.avatar import Avatar
    from perse.dataset import Motion, default_motion
    from perse.viewer import save_image, write_video

    if config.frames < 1 or not 16 <= config.size <= 4096:
        raise PerseError("--frames must be at least 1 and --size between 16 and 4096")
    kind = config.out.suffix.lower()
    if kind not in (".mp4", ".png", ".jpg", ".jpeg"):
        raise PerseError(f"--out {config.out}: write to .mp4, .png or .jpg")
    avatar = Avatar.load(config.avatar, device=pick_device(config.device))
    look = avatar.look(**config.looks)
    for category, learned in look.from_words.items():
        print(
            f'"{look.attributes[category]}" was not learned: drawn from its words by {learned} looks of {category}'
        )
    motion = Motion.load(config.motion) if config.motion else default_motion()
    camera = avatar.camera.resized(config.size, config.size)
    count = min(config.frames, len(motion.expr)) if kind == ".mp4" else 1
    config.out.parent.mkdir(parents=True, exist_ok=True)

    def pictures():
        for start in range(0, count, 16):
            part = slice(start, min(start + 16, count))
            yield from avatar.render(look, motion.expr[part], motion.pose[part], camera)

    if kind == ".mp4":
        write_video(config.out, pictures(), fps=config.fps or motion.fps)
    else:
        save_image(config.out, next(iter(pictures())))
    return config.out
