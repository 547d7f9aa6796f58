"""A driver before the live viewer: a thread that follows a face and says what the avatar does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from perse.capture import DriverFrame, FaceDriver, Source
from perse.errors import PerseError
from perse.viewer.stage import Acting

SHOWN_SECONDS = 0.15
"""How often the driver's own picture is sent to the page."""


class Panel(Protocol):
    """Where the driver is shown."""

    def say(self, text: str) -> None:
        """A line for the user."""
        ...

    def show(self, picture: np.ndarray, frame: DriverFrame) -> None:
        """The driver's picture and what was read off it."""
        ...


class Feed:
    """Follows the face of a source until it is closed; a file starts over at its end."""

    def __init__(self, source: Source, act: Callable[[Acting | None], None], panel: Panel) -> None:
        self._source, self._act, self._panel = source, act, panel
        self._closed, self._calibrate = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="perse-driver", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it, and let the source go."""
        self._closed.set()
        self._thread.join(timeout=10)
        self._source.close()

    def recalibrate(self) -> None:
        """Take the face of the next moment as neutral."""
        self._calibrate.set()

    def _run(self) -> None:
        try:
            with FaceDriver() as driver:
                relaxed = (
                    "Look into the camera with a relaxed face"
                    if self._source.live
                    else "Looking for a calm face"
                )
                self._panel.say(f"{relaxed} ...")
                driver.calibrate(self._source.calm())
                start = 0.0
                while not self._closed.is_set():
                    last = self._play(driver, start)
                    if self._source.live or last is None:
                        break
                    start = last + 1 / self._source.fps
        except PerseError as error:
            self._panel.say(f"{error}.")

    def _play(self, driver: FaceDriver, start: float) -> float | None:
        """One round of the source; the time of its last frame."""
        shown, now = 0.0, None
        for at, picture in self._source.frames(paced=True):
            if self._closed.is_set():
                return None
            if self._calibrate.is_set():
                self._calibrate.clear()
                driver.calibrate(self._source.calm() if self._source.live else [picture])
            now = start + at
            frame = driver(picture, now)
            self._act(Acting(frame.expr, frame.pose))
            if time.monotonic() - shown > SHOWN_SECONDS:
                self._panel.show(picture, frame)
                shown = time.monotonic()
        return now
