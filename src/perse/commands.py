"""The commands beside `perse build` and `perse render`: a dataset alone, and a video's motion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perse.errors import PerseError
from perse.pipeline import Preset, Scale, subjects_of, the_photo
from perse.serving import Address, serve, welcome

PAPER_SUBJECTS, PAPER_FRAMES = 957, 513


@dataclass(frozen=True)
class DatasetConfig:
    """What ``perse dataset`` makes, and from what."""

    photo: Path | None = None
    """The portrait photo. Leave out to use a bundled one (--portrait)."""
    portrait: str | None = None
    """Name of a bundled portrait instead of a photo: astronaut."""
    out: Path = Path("runs/dataset")
    """The dataset's folder. An interrupted one in it is continued."""
    per_category: int = 106
    """Edited subjects in each of the nine categories (106 is the paper's scale), or as many as there are prompts."""
    frames: int = PAPER_FRAMES
    """Frames of the bundled motion, spread over what it shows; 513 are all."""
    size: int = 512
    """Frame size in pixels."""
    seed: int = 0
    """Seed of every random choice. The same seed gives the same dataset."""
    face: int | None = None
    """Which face to take when the photo shows several, counted from the left, 0 first."""
    editor: str = "studio"
    """Maker of the edited portraits."""
    animator: str = "studio"
    """Maker of the videos."""
    workers: int | None = None
    """Processes; by default the machine's cores (shared out, when torchrun starts several ranks)."""


def make_dataset(config: DatasetConfig) -> Path:
    """Make the dataset of one photo (section 3): edit, animate and write every subject."""
    from perse.capture import capture
    from perse.dataset import default_motion
    from perse.frames import select_frames
    from perse.generate import generate

    motion = default_motion()
    total, heldout = len(motion), int((~motion.train).sum())
    if not 2 <= config.frames <= total:
        raise PerseError(f"--frames {config.frames}: the bundled motion has {total}; take 2 to {total}")
    if config.per_category < 1 or (config.workers is not None and config.workers < 1):
        raise PerseError("--per-category and --workers must be at least 1")
    if config.frames < total:
        measured = max(1, round(config.frames * heldout / total))
        motion = select_frames(motion, config.frames - measured, measured)
    photo, name = the_photo(config.photo, config.portrait)
    scale = Scale(config.size, config.per_category, config.frames, 0)
    pace = generate(
        capture(photo, face=config.face, name=name),
        subjects_of(scale, config.seed),
        motion,
        config.out,
        size=config.size,
        editor=config.editor,
        animator=config.animator,
        seed=config.seed,
        workers=config.workers,
    )
    if pace is not None:
        print(pace)
        print(
            f"the paper's {PAPER_SUBJECTS} subjects x {PAPER_FRAMES} frames at {config.size} px: about "
            f"{pace.hours(PAPER_SUBJECTS, PAPER_FRAMES):.1f} hours at this pace"
        )
    print(config.out)
    return config.out


@dataclass(frozen=True)
class TrackConfig:
    """What ``perse track`` follows."""

    video: Path
    """The video: one face, well lit, seen from the front."""
    out: Path = Path("motion.npz")
    """The motion file (.npz)."""
    overlay: Path | None = None
    """Also write this video (.mp4): the head over every frame, red-bordered where it was repaired."""


def track(config: TrackConfig) -> Path:
    """Follow the face in a video, say how well that went and what the motion covers, and save it."""
    from tqdm import tqdm

    from perse.capture import track_details, tracking_overlay
    from perse.dataset import motion_coverage
    from perse.viewer import write_video

    if config.out.suffix != ".npz":
        raise PerseError(f"--out {config.out}: a motion file ends in .npz")
    if config.overlay is not None and config.overlay.suffix.lower() != ".mp4":
        raise PerseError(f"--overlay {config.overlay}: write to .mp4")
    with tqdm(unit="frame", desc="following the face", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        tracking = track_details(config.video, progress=progress)
    print(tracking.summary())
    reach = {
        name: span for name, span in motion_coverage(tracking.motion).items() if max(map(abs, span)) > 0.1
    }
    for name, (low, high) in reach.items():
        print(f"  {name:22s} {low:7.2f} to {high:6.2f}")
    config.out.parent.mkdir(parents=True, exist_ok=True)
    tracking.motion.save(config.out)
    print(config.out)
    if config.overlay is not None:
        config.overlay.parent.mkdir(parents=True, exist_ok=True)
        frames = tracking_overlay(config.video, tracking)
        write_video(
            config.overlay,
            tqdm(frames, total=len(tracking.motion), unit="frame", desc="drawing the overlay", disable=None),
            tracking.motion.fps,
        )
        print(config.overlay)
    return config.out


@dataclass(frozen=True)
class ViewConfig:
    """What ``perse view`` shows."""

    target: Path
    """An avatar (runs/me/avatar), a build (runs/me), or a photo: that needs no training."""
    host: str = "127.0.0.1"
    """Address to serve on. Others than this machine's own let anyone in the network in."""
    port: int = 8080
    """Port to serve on; the next free one if it is taken."""
    motion: Path | None = None
    """Motion file (.npz) to play; the bundled one by default."""
    out: Path | None = None
    """Folder that an avatar of the photo is built into, if the page's button is pressed; runs/NAME of the photo."""
    preset: Preset = "demo"
    """Size of that build, as in perse build; tiny only tries it."""
    browser: bool = True
    """Open a browser window (--no-browser: only print the address)."""


def view(config: ViewConfig) -> None:
    """Serve the live viewer until interrupted."""
    if not config.target.is_file() and (config.out is not None or config.preset != "demo"):
        raise PerseError(f"--out and --preset are for a photo; {config.target} is a folder")
    with welcome(config.target, Address(config.host, config.port, config.browser)) as lobby:
        from perse.dataset import Motion, default_motion
        from perse.viewer.building import Plan
        from perse.viewer.stage import open_stage

        motion = Motion.load(config.motion) if config.motion else default_motion()
        build = None
        if config.target.is_file():
            build = Plan(config.target, config.out or Path("runs") / config.target.stem, config.preset)
        serve(lobby, open_stage(config.target, lobby.say), motion, build=build)
