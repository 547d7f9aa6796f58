"""Where a driver's frames come from: a video file, or a webcam."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from perse.capture.video import read_video, video_info
from perse.errors import PerseError

Timed = tuple[float, np.ndarray]
"""Seconds since the start, and a frame uint8 [H, W, 3]."""
CALIBRATION_SECONDS = 10.0
"""How much of a video is looked through for the calmest face."""
_LOOKS = 24
_WEBCAM_LOOKS, _WEBCAM_SECONDS = 12, 1.5
_SILENT_SECONDS = 5.0


class VideoFile:
    """Frames of a file; `paced` ones come no faster than they were taken, and late ones are left out."""

    live = False

    def __init__(self, path: Path) -> None:
        """PerseError: no video, or one that cannot be read."""
        info = video_info(path)
        self.path, self.name, self.fps, self.count = path, path.name, info.fps, info.frames

    def calm(self) -> list[np.ndarray]:
        """Frames to calibrate on, spread over the first ten seconds."""
        reach = round(CALIBRATION_SECONDS * self.fps)
        reach = max(1, min(reach, self.count or reach))
        every = max(1, reach // _LOOKS)
        chosen = []
        for index, frame in enumerate(read_video(self.path)):
            if index >= reach:
                break
            if index % every == 0:
                chosen.append(frame)
        return chosen

    def frames(self, paced: bool = False) -> Iterator[Timed]:
        """Every frame with its time."""
        start = None
        for index, frame in enumerate(read_video(self.path)):
            due = index / self.fps
            start = start or time.monotonic()  # opening the file takes time of its own
            if paced:
                ahead = due - (time.monotonic() - start)
                if ahead > 0:
                    time.sleep(ahead)
                elif ahead < -1.5 / self.fps:
                    continue
            yield due, frame

    def close(self) -> None:
        """Nothing stays open."""


class Webcam:
    """The newest frame of a camera of this machine. Read in a thread, so that no old frame waits in a queue."""

    live = True

    def __init__(self, index: int = 0) -> None:
        """PerseError: there is no such camera, or it gives no picture."""
        import cv2

        cv2.utils.logging.setLogLevel(
            cv2.utils.logging.LOG_LEVEL_SILENT
        )  # what it says of a missing camera is in the error
        self.name, self.fps, self.count = f"webcam {index}", 30.0, 0
        self._camera: Any = cv2.VideoCapture(index)
        self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if not self._camera.isOpened() or not self._camera.read()[0]:
            self._camera.release()
            raise PerseError(no_webcam(index))
        self._newest: Timed | None = None
        self._fresh, self._closed = threading.Condition(), False
        self._start = time.monotonic()
        self._reader = threading.Thread(target=self._read, name="perse-webcam", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self._closed:
            good, frame = self._camera.read()
            with self._fresh:
                if not good:
                    self._closed = True
                else:
                    self._newest = (time.monotonic() - self._start, np.ascontiguousarray(frame[..., ::-1]))
                self._fresh.notify_all()
        self._camera.release()

    def calm(self) -> list[np.ndarray]:
        """Frames of the next second and a half: look relaxed."""
        chosen: list[np.ndarray] = []
        for at, frame in self.frames():
            chosen.append(frame)
            if len(chosen) >= _WEBCAM_LOOKS:
                break
            time.sleep(max(0.0, _WEBCAM_SECONDS / _WEBCAM_LOOKS - (time.monotonic() - self._start - at)))
        return chosen

    def frames(self, paced: bool = True) -> Iterator[Timed]:
        """The newest frame whenever one is asked for, until :meth:`close`."""
        while True:
            with self._fresh:
                if not self._fresh.wait_for(lambda: self._newest or self._closed, timeout=_SILENT_SECONDS):
                    raise PerseError(
                        f"{self.name} gives no pictures any more; is it unplugged, or used by another program?"
                    )
                if self._newest is None:
                    return
                newest, self._newest = self._newest, None
            yield newest

    def close(self) -> None:
        """Let the camera go."""
        self._closed = True
        self._reader.join(timeout=2)


Source = VideoFile | Webcam


def open_source(text: str) -> Source:
    """``webcam``, ``webcam:1`` or a video file. PerseError where it is not there."""
    name, _, number = text.partition(":")
    if name == "webcam":
        if number and not (number.isascii() and number.isdigit() and len(number) < 4):
            raise PerseError(f"{text}: write webcam, or webcam:1 for the second one")
        return Webcam(int(number or 0))
    return VideoFile(Path(text))


def no_webcam(index: int) -> str:
    """Why a camera may not open, and what to do."""
    hint = ""
    if sys.platform.startswith("linux"):
        found = sorted(str(path) for path in Path("/dev").glob("video*"))
        hint = f" This machine has {', '.join(found)}." if found else " This machine has no /dev/video*."
    return (
        f"no picture from webcam {index}: it is not there, another program uses it, or this program may not."
        f"{hint} Another one is webcam:1; a video file does as well"
    )
