"""Peak memory of this process and the processes it started."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def resident_mb(pid: int | None = None) -> float:
    """Resident memory of a process and all below it, in MiB (Linux; 0 elsewhere)."""
    pid = pid or os.getpid()
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * _PAGE_MB + sum(resident_mb(child) for child in _children(pid))
    except (OSError, ValueError, IndexError):  # gone meanwhile, or no /proc
        return 0.0


class PeakMemory:
    """Samples :func:`resident_mb` in the background; pages shared between processes count once for each."""

    def __init__(self, every: float = 0.5) -> None:
        self._every = every
        self._peak = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def peak_mb(self) -> float:
        """The highest value seen so far, at least this process's own high-water mark."""
        return max(self._peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    def start(self) -> None:
        """Begin to sample."""
        self._thread = threading.Thread(target=self._run, name="peak-memory", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop sampling; :attr:`peak_mb` keeps its value."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self._peak = max(self._peak, resident_mb())
