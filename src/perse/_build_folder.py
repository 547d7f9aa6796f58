"""The output folder of a build: whose it is, which stages are done, how long they took.

``build.json`` is written aside and renamed after every stage, so that it never tells of a result that is not
there. A lock keeps two builds out of one folder; a folder that holds something else is refused, not overwritten.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from perse._files import write_json
from perse._memory import PeakMemory
from perse.errors import PerseError

FORMAT = 1


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


class BuildFolder:
    """State of one build. Use :meth:`open` as a context manager."""

    def __init__(self, path: Path, state: dict[str, Any], lock: IO[str]) -> None:
        self.path = path
        self._state = state
        self._lock = lock
        self._memory = PeakMemory()

    @classmethod
    def open(cls, path: Path, settings: dict[str, Any]) -> BuildFolder:
        """Claim a folder for a build with these settings, new or to be continued.

        Raises:
            PerseError: it is no folder, holds something else or a build with other settings, or one is running.
        """
        if path.exists() and not path.is_dir():
            raise PerseError(f"--out {path} is a file; give a folder")
        record = path / "build.json"
        if path.is_dir() and not record.exists() and any(p.name != ".build.lock" for p in path.iterdir()):
            raise PerseError(
                f"--out {path} holds something that is not a build; choose an empty or new folder"
            )
        path.mkdir(parents=True, exist_ok=True)
        lock = open(path / ".build.lock", "w")  # noqa: SIM115 - held until __exit__
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise PerseError(
                f"another build is running in {path}; wait for it or choose another folder"
            ) from None
        try:
            state = cls._load(record, settings)
        except PerseError:
            lock.close()
            raise
        folder = cls(path, state, lock)
        folder._write()
        return folder

    @staticmethod
    def _load(record: Path, settings: dict[str, Any]) -> dict[str, Any]:
        fresh = {
            "format": FORMAT,
            "settings": settings,
            "done": [],
            "seconds": {},
            "metrics": {},
            "peak_rss_mb": 0.0,
        }
        if not record.exists():
            return fresh
        try:
            state = json.loads(record.read_text())
            old = state["settings"]
            missing = fresh.keys() - state.keys()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise PerseError(f"{record} cannot be read; choose another folder, or delete this one") from None
        if missing or state["format"] != FORMAT:
            raise PerseError(
                f"{record.parent} holds a build of another version of perse; choose another folder"
            )
        if old != settings:
            different = sorted(k for k in settings.keys() | old.keys() if settings.get(k) != old.get(k))
            raise PerseError(
                f"{record.parent} holds a build with another {', '.join(different)}; "
                "choose another folder, or delete it"
            )
        return state

    def __enter__(self) -> BuildFolder:
        self._memory.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ):
        self._memory.stop()
        self._note_memory()
        self._write_quietly()
        self._lock.close()

    @property
    def metrics(self) -> dict[str, Any]:
        """Figures gathered so far; kept across interruptions."""
        return self._state["metrics"]

    def stage(
        self, name: str, run: Callable[[], None], log: Callable[[str], None], leaves: Sequence[str] = ()
    ) -> None:
        """Run a stage unless it is done and what it leaves in the folder is there; if it was deleted, what came after
        is done again, too. Time spent in interrupted tries counts."""
        done = self._state["done"]
        if name in done and not all((self.path / left).exists() for left in leaves):
            log(f"[{name}] {' or '.join(leaves)} is gone: again")
            del done[done.index(name) :]
        if name in done:
            log(f"[{name}] done before")
            return
        log(f"[{name}]")
        start = time.monotonic()
        try:
            run()
        finally:
            spent = time.monotonic() - start
            self._state["seconds"][name] = round(self._state["seconds"].get(name, 0.0) + spent, 2)
            self._note_memory()
            self._write_quietly()
        self._state["done"].append(name)
        self._write()
        log(f"[{name}] {self._state['seconds'][name]:.0f} s")

    def figures(self) -> dict[str, Any]:
        """Metrics with the build's time and memory so far."""
        seconds = self._state["seconds"]
        return {
            **self.metrics,
            "seconds_total": round(sum(seconds.values()), 1),
            "seconds_by_stage": dict(seconds),
            "peak_rss_mb": round(self._state["peak_rss_mb"], 1),
        }

    def write_metrics(self) -> dict[str, Any]:
        """Write ``metrics.json`` and return what it holds."""
        self._note_memory()
        write_json(self.path / "metrics.json", self.figures())
        return self.figures()

    def _note_memory(self) -> None:
        self._state["peak_rss_mb"] = max(self._state["peak_rss_mb"], self._memory.peak_mb)

    def _write(self) -> None:
        write_json(self.path / "build.json", self._state)

    def _write_quietly(self) -> None:
        """On the way out of an error the error matters, not that its timing could not be noted."""
        with contextlib.suppress(OSError):
            self._write()
