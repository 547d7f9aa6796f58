"""Frames of a user's video, upright and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perse.capture.images import MAX_PIXELS
from perse.errors import PerseError

MAX_FRAMES = 20_000
_DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class VideoInfo:
    """What a video's header says."""

    fps: float
    """Frames a second."""
    frames: int
    """Number of frames, 0 if the header does not say."""


def video_info(path: Path) -> VideoInfo:
    """Read the header. PerseError if it is no video, or too large."""
    import av

    if not path.is_file():
        raise PerseError(f"{path}: there is no such file")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise PerseError(f"{path}: holds no video")
            stream = container.streams.video[0]
            width, height = stream.codec_context.width, stream.codec_context.height
            if width * height > MAX_PIXELS:
                raise PerseError(
                    f"{path}: {width} x {height} pixels a frame are too many; make it smaller first"
                )
            if stream.frames > MAX_FRAMES:
                raise PerseError(f"{path}: {stream.frames} frames, more than {MAX_FRAMES}; cut it shorter")
            return VideoInfo(float(stream.average_rate or _DEFAULT_FPS), int(stream.frames))
    except (av.FFmpegError, ValueError) as error:
        raise PerseError(f"{path}: not a video that can be read ({error})") from error


def read_video(path: Path) -> Iterator[np.ndarray]:
    """Frames uint8 [H, W, 3], turned upright. PerseError when the file breaks off before the first frame.

    A file that is cut short gives the frames it holds.
    """
    import av

    count = 0
    try:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                count += 1
                if count > MAX_FRAMES:
                    raise PerseError(f"{path}: more than {MAX_FRAMES} frames; cut it shorter")
                picture = frame.to_ndarray(format="rgb24")
                quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
                yield np.ascontiguousarray(np.rot90(picture, quarter_turns))
    except (av.FFmpegError, ValueError) as error:
        if count == 0:
            raise PerseError(f"{path}: not a video that can be read ({error})") from error
