"""A `perse` command started from the live viewer: a process of its own that is watched and can be interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

TAIL_BYTES = 1 << 14
"""How much of a command's last output is looked at."""
MAX_WORDS = 600
_BAR = re.compile(r"\| *(\d+)/(\d+) \[[\d:]+<([\d:]+|\?)")
"""A bar of tqdm: how much of how much, and the time left."""
_STAGE = re.compile(r"^\[\w+\].*$", re.MULTILINE)
"""A line by which `perse build` says which stage begins, or how long it took."""


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    share: float
    """0 to 1."""
    words: str
    """What it does at the moment, or why it ended."""
    state: Literal["running", "done", "stopped", "failed"]


class Bar(NamedTuple):
    """The bar that a command shows at the moment."""

    share: float
    """0 to 1."""
    left: str
    """The time left, to be said after what it does; empty where it is not known."""


class Job(ABC):
    """One command, started at once. It yields to the viewer, is repeatable, and goes on where it was interrupted."""

    doing = ""
    """What it is about, for a message about its end."""

    def __init__(self, *arguments: str) -> None:
        self._stopped, self._lock = False, threading.Lock()
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed by stop
        self._process = subprocess.Popen(
            [sys.executable, "-m", "perse.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        os.setpriority(os.PRIO_PROCESS, self._process.pid, 10)

    def progress(self) -> Progress:
        """Where it is now."""
        status = self._process.poll()
        if status is None:
            now = self._now()
            return replace(now, words="stopping") if self._stopped else now
        if status == 0:
            return Progress(1.0, "done", "done")
        if self._stopped:
            return Progress(0.0, "Stopped. The button goes on where it was.", "stopped")
        return Progress(0.0, self._complaint(status), "failed")

    def stop(self) -> None:
        """Interrupt it as Ctrl-C would; what is finished stays. Nothing happens to one that has ended."""
        if self._process.poll() is None:
            self._stopped = True
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        with self._lock:
            self._log.close()

    @abstractmethod
    def _now(self) -> Progress:
        """Where it is while it runs."""

    def _bar(self) -> Bar | None:
        """The bar of the stage that runs, if it shows one."""
        text = _STAGE.split(self._tail())[-1]
        found = _BAR.findall(text)
        if not found:
            return None
        done, total, left = found[-1]
        words = f", {left} left" if ":" in left and done != total else ""
        return Bar(min(1.0, int(done) / max(1, int(total))), words)

    def _tail(self) -> str:
        """The end of what it has said, one line for every state of a bar."""
        with self._lock:
            if self._log.closed:
                return ""
            size = os.fstat(self._log.fileno()).st_size
            # Not by seek: the process writes at the same place of the same open file.
            content = os.pread(self._log.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES))
        return content.decode(errors="replace").replace("\r", "\n")

    def _complaint(self, status: int) -> str:
        """Why it ended: the command's own message for the user, or else its last words."""
        tail = self._tail()
        message = tail.rpartition("error: ")[2] if "error: " in tail else ""
        if status == USER_ERROR and message:
            return " ".join(message.split())[:MAX_WORDS]
        lines = [line for line in tail.splitlines() if line.strip() and not _BAR.search(line)]
        said = " ".join(lines)[-MAX_WORDS:] or "without a word"
        return f"{self.doing} ended with status {status}: {said}"


USER_ERROR = 2
"""Exit status of a command that says what the user can mend."""


def entries_of(folder: Path) -> int:
    """How many subjects lie in a dataset that is being made."""
    return sum(1 for _ in (folder / "subjects").glob("*/subject.json"))
