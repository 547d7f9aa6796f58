"""`perse drive`: a face in a video, before a webcam or in a take moves an avatar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from perse.errors import PerseError
from perse.serving import Address, leave_cores, serve, welcome

if TYPE_CHECKING:
    import numpy as np

    from perse.capture import DriverFrame, Source
    from perse.dataset import Motion
    from perse.viewer.lobby import Lobby
    from perse.viewer.stage import Choice, Stage


@dataclass(frozen=True)
class DriveConfig:
    """What ``perse drive`` moves, and by what."""

    target: Path
    """An avatar (runs/me/avatar), a build (runs/me), or a photo: that needs no training."""
    source: str
    """A video of one face, `webcam` (`webcam:1` is the second one), or a CSV of ARKit blendshapes."""
    looks: dict[str, str | None] = field(default_factory=dict)
    """Prompt per category; None takes the part off."""
    out: Path | None = None
    """The video to write (.mp4), driver and avatar side by side; driven.mp4 unless it is shown live."""
    live: bool = False
    """Show it in the browser instead of writing a video. A webcam is always shown live unless --out is given."""
    csv: Path | None = None
    """Also write what the face did as a take of Live Link Face (.csv)."""
    motion: Path | None = None
    """Also write it as a motion file (.npz) for perse render --motion."""
    seconds: float | None = None
    """Stop after so many seconds; a video's end, or ten seconds of a webcam that is written to a file."""
    alone: bool = False
    """Write the avatar alone, without the driver beside it."""
    size: int = 512
    """Height of the video in pixels."""
    fps: float | None = None
    """Frames a second of a CSV; None: as its time codes say."""
    address: Address = field(default_factory=Address)
    """Where the live view is served."""


WEBCAM_SECONDS = 10.0


def drive(config: DriveConfig) -> None:
    """Drive an avatar: live in the browser, or into files.

    Raises:
        PerseError: no such avatar, photo, video, webcam or take; no face in it; an option makes no sense.
    """
    check(config)
    webcam = config.source.partition(":")[0] == "webcam"
    if config.source.lower().endswith(".csv"):
        _show_take(config) if config.live else _write_take(config)
    elif config.live or (webcam and config.out is None):
        _show(config)
    else:
        _write(config)


def check(config: DriveConfig) -> None:
    """PerseError for options that make no sense."""
    for name, path, suffix in (
        ("out", config.out, ".mp4"),
        ("csv", config.csv, ".csv"),
        ("motion", config.motion, ".npz"),
    ):
        if path is not None and path.suffix.lower() != suffix:
            raise PerseError(f"--{name} {path}: write to {suffix}")
    if not 64 <= config.size <= 4096:
        raise PerseError("--size must lie between 64 and 4096")
    if config.seconds is not None and not config.seconds > 0:
        raise PerseError("--seconds must be above 0")
    if config.live and config.out is not None:
        raise PerseError("--live shows the avatar in the browser, --out writes a video: choose one")


def _dressed(config: DriveConfig, lobby: Lobby | None = None) -> tuple[Stage, dict[str, Choice]]:
    from perse.viewer.stage import open_stage, outfit_of

    stage = open_stage(config.target) if lobby is None else open_stage(config.target, lobby.say)
    outfit = outfit_of(stage, config.looks)
    stage.dress(outfit)
    return stage, outfit


def _show(config: DriveConfig) -> None:
    """The live viewer, with the source driving it."""
    leave_cores()
    from perse.capture import open_source
    from perse.dataset import default_motion

    source = open_source(config.source)  # before anything opens: is it there?
    with closing(source), welcome(config.target, config.address) as lobby:
        stage, outfit = _dressed(config, lobby)
        serve(lobby, stage, default_motion(), outfit, source)


def _show_take(config: DriveConfig) -> None:
    """The live viewer, playing a CSV of blendshapes."""
    leave_cores()
    motion = _read_take(config)
    with welcome(config.target, config.address) as lobby:
        stage, outfit = _dressed(config, lobby)
        serve(lobby, stage, motion, outfit, playing=True)


def _read_take(config: DriveConfig) -> Motion:
    from perse.capture import read_take

    motion = read_take(config.source, config.fps)
    if config.seconds is not None:
        motion = motion.select(range(min(len(motion), max(1, round(config.seconds * motion.fps)))))
    return motion


def _write_take(config: DriveConfig) -> None:
    """A video of a CSV of blendshapes."""
    from tqdm import tqdm

    from perse.viewer import write_video

    motion = _read_take(config)
    stage, _ = _dressed(config)
    out = config.out or Path("driven.mp4")
    frames = tqdm(range(len(motion)), unit="frame", desc="drawing", disable=None)
    write_video(out, (_drawn(stage, motion, t, config.size) for t in frames), motion.fps)
    print(out)
    _keep(config, motion)


def _drawn(stage: Stage, motion: Motion, t: int, size: int) -> np.ndarray:
    import torch

    from perse.viewer.media import to_uint8
    from perse.viewer.stage import Acting

    camera = stage.camera.resized(round(size * stage.camera.width / stage.camera.height), size)
    return to_uint8(stage.draw(Acting(motion.expr[t], motion.pose[t]), camera, torch.ones(3)))


def _write(config: DriveConfig) -> None:
    """Drive frame by frame and write what comes out."""
    from perse.capture import open_source

    with closing(open_source(config.source)) as source:  # before anything slow: is it there?
        _write_driven(config, source)


def _write_driven(config: DriveConfig, source: Source) -> None:
    import numpy as np
    from tqdm import tqdm

    from perse.capture import FaceDriver, motion_of
    from perse.viewer import write_video

    stage, _ = _dressed(config)
    out = config.out or Path("driven.mp4")
    limit = config.seconds or (WEBCAM_SECONDS if source.live else None)
    done: list[DriverFrame] = []
    times: list[float] = []
    with FaceDriver() as driver:
        if source.live:
            print("look into the camera with a relaxed face", flush=True)
        driver.calibrate(source.calm())
        total = source.count or None
        if limit is not None:
            total = round(limit * source.fps)
        bar = tqdm(total=total, unit="frame", desc="driving", disable=None)

        def pictures() -> Iterator[np.ndarray]:
            for time, picture in source.frames():
                if not times:
                    start = time
                if limit is not None and time - start >= limit:
                    break
                done.append(driver(picture, time))
                times.append(time)
                motion = motion_of(done[-1:], source.fps, source.name)
                drawn = _drawn(stage, motion, 0, config.size)
                yield drawn if config.alone else np.hstack([beside(picture, config.size), drawn])
                bar.update()

        with bar:
            write_video(out, pictures(), source.fps)
    print(out)
    print(summary(done))
    _keep(config, motion_of(done, _rate(times, source.fps), f"driven by {source.name}"))


def _rate(times: list[float], fps: float) -> float:
    """Frames a second that really came."""
    return fps if len(times) < 2 else (len(times) - 1) / (times[-1] - times[0])


def beside(picture: np.ndarray, size: int) -> np.ndarray:
    """A driver's frame at `size` rows."""
    import cv2

    height, width = picture.shape[:2]
    return cv2.resize(picture, (round(width * size / height), size), interpolation=cv2.INTER_AREA)


def summary(frames: list[DriverFrame]) -> str:
    """One line: how many frames, how quick, how many without a face."""
    import numpy as np

    if not frames:
        return "no frames"
    spent = np.array([frame.seconds for frame in frames]) * 1000
    lost = sum(frame.face is None for frame in frames)
    return (
        f"{len(frames)} frames, {lost} without a face that could be trusted; from picture to motion "
        f"{np.median(spent):.0f} ms (95 %: {np.percentile(spent, 95):.0f} ms)"
    )


def _keep(config: DriveConfig, motion: Motion) -> None:
    """Write the motion where it was asked for."""
    from perse.capture import write_take

    if config.csv is not None:
        print(write_take(config.csv, motion))
    if config.motion is not None:
        config.motion.parent.mkdir(parents=True, exist_ok=True)
        motion.save(config.motion)
        print(config.motion)
