"""Random access to frames: packet places of every video kept in memory, a bounded number of open files."""

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perse.dataset import _layout
from perse.dataset._parts import PartsIndex
from perse.dataset._video import FrameDecoder, VideoIndex
from perse.errors import PerseError

MAX_OPEN_FILES = 128


@dataclass(frozen=True)
class _SubjectIndex:
    video: VideoIndex
    parts: PartsIndex


class FrameAccess:
    """Reads single frames. Threads share it; a forked process gets a state of its own on first use."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._files: OrderedDict[Path, int] = OrderedDict()
        self._indices: dict[Path, _SubjectIndex] = {}
        self._decoder = FrameDecoder()

    def read(self, folder: Path, size: int, frames: int, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """rgb [S, S, 3], alpha [S, S], labels [S, S], uint8, of frame t."""
        if self._process != os.getpid():
            self._start()
        index = self._index(folder, size, frames)
        parts = index.parts
        packet = self._bytes(index.video.path, *index.video.packets[t])
        alpha = parts.decode("alpha", t, self._bytes(parts.path, *parts.alpha[t]), size)
        labels = parts.decode("labels", t, self._bytes(parts.path, *parts.labels[t]), size)
        return self._decoder.decode(index.video, t, packet, size), alpha, labels

    def _index(self, folder: Path, size: int, frames: int) -> _SubjectIndex:
        found = self._indices.get(folder)
        if found is None:
            video = VideoIndex(folder / _layout.FRAMES, size, frames)
            found = _SubjectIndex(video, PartsIndex(folder / _layout.PARTS, frames))
            self._indices[folder] = found
        return found

    def _bytes(self, path: Path, position: int, length: int) -> bytes:
        """`length` bytes at `position`; the file stays open among the most recently used ones."""
        with self._lock:
            handle = self._files.pop(path, None)
            if handle is None:
                handle = os.open(path, os.O_RDONLY)
            self._files[path] = handle
            if len(self._files) > MAX_OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
            data = os.pread(handle, length, position)
        if len(data) != length:
            raise PerseError(f"{path}: ends too early, it is truncated")
        return data

    def __del__(self) -> None:
        if self._process == os.getpid():
            for handle in self._files.values():
                os.close(handle)
