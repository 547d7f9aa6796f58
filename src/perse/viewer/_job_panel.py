"""What the parts of the live viewer have in common that start a job: buttons, a bar, words."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from perse.errors import PerseError
from perse.viewer._words import Words
from perse.viewer.job import Job

if TYPE_CHECKING:
    import viser

    from perse.viewer.live import LiveViewer

LOOK_SECONDS = 1.0
"""How often a job is looked at."""


class JobPanel(ABC):
    """Starts one job at a time, says how far it is, stops it."""

    words: Words
    button: viser.GuiButtonHandle

    def __init__(self, viewer: LiveViewer) -> None:
        self._viewer = viewer
        self._job: Job | None = None
        self._lock, self._closed = threading.Lock(), threading.Event()

    def start(self, _: Any = None) -> None:
        """Start the job, unless it runs."""
        with self._lock:
            if self._job is not None or self._closed.is_set():
                return
            try:
                self._job = self._make()
            except PerseError as error:
                self.words.say(f"{error}.")
                return
        self._show_running(True)
        threading.Thread(target=self._watch, args=(self._job,), name="perse-job", daemon=True).start()

    def stop(self, _: Any = None) -> None:
        """Interrupt what runs; the button goes on with it."""
        job = self._job
        if job is not None:
            job.stop()

    def close(self) -> None:
        """Interrupt what runs, and start nothing any more."""
        self._closed.set()
        with self._lock:
            if self._job is not None:
                self._job.stop()

    # ---- for those that fill it ---------------------------------------------------------------------------

    def _add_buttons(self, gui: viser.GuiApi, label: str) -> None:
        """The controls that every job has, at this place of the page."""
        self.button = gui.add_button(label)
        self._bar: Any = gui.add_progress_bar(0.0, visible=False)
        self._stop = gui.add_button("Stop", visible=False)
        self.button.on_click(self.start)
        self._stop.on_click(self.stop)

    @abstractmethod
    def _make(self) -> Job:
        """The job. PerseError, shown to the user, where something lacks."""

    def _look(self, job: Any) -> None:
        """Look at what it has made so far."""
        return

    @abstractmethod
    def _finish(self, job: Any) -> None:
        """Do something with what it has made."""

    # ---- watching -----------------------------------------------------------------------------------------

    def _watch(self, job: Job) -> None:
        now = job.progress()
        while now.state == "running":
            self._bar.value = 100 * now.share
            self.words.say(f"{now.words} ...")
            self._look(job)
            if self._closed.wait(LOOK_SECONDS):
                return
            now = job.progress()
        job.stop()
        self.words.say(now.words)
        self._show_running(False)
        try:
            if now.state == "done":
                self._finish(job)
        except PerseError as error:
            self.words.say(f"{error}.")
        finally:
            self._job = None

    def _show_running(self, running: bool) -> None:
        self._bar.value = 0.0
        self._bar.visible = self._stop.visible = running
        self.button.visible = not running
