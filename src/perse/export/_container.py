"""Arrays in few bytes: columns rounded to a stated step, split into byte planes, deflated.

A rounding step says how wrong a number may be, whatever its largest neighbour is; what a column does not need of its
16 bits is a plane of zeros, which deflate stores for nothing. The sign is the lowest bit, so that this holds for
negative numbers too.
"""

from __future__ import annotations

import gzip
import json
import math
import struct
from typing import Any

import numpy as np

from perse.errors import PerseError

MAGIC = b"PERSEPG2"


class Container:
    """Collects named arrays, then gives one block of bytes. `web/src/container.ts` reads it."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Any]] = {}
        self._blocks: list[bytes] = []
        self._size = 0

    def add(self, name: str, values: np.ndarray, steps: np.ndarray | float | None = None) -> None:
        """Keep an array [n, columns] or [n].

        Args:
            steps: rounding step of every column, or of all; float32 is kept as it is where this is None. A column
                that has no room for its largest value in 16 bits gets a larger step.
        """
        entry: dict[str, Any] = {"shape": list(values.shape), "offset": self._size}
        if not np.isfinite(values).all():
            raise PerseError(f"the avatar's {name} holds numbers that are not finite")
        if steps is None:
            entry["type"] = "f32"
            block = np.ascontiguousarray(values, "<f4").tobytes()
        else:
            flat = values.reshape(len(values), math.prod(values.shape[1:])).astype(np.float64)  # [n, columns]
            size = np.abs(flat).max(0, initial=0.0)
            step = np.maximum(np.broadcast_to(steps, size.shape), size / 32767)
            step = np.where(step > 0, step, 1.0).astype(np.float32)
            rounded = np.rint(flat / step).clip(-32767, 32767).astype(np.int16).T  # [columns, n]
            words = np.ascontiguousarray((rounded << 1) ^ (rounded >> 15)).view(np.uint16)  # 0, -1, 1, -2...
            entry |= {"type": "i16", "steps": [float(s) for s in step]}
            block = (words & 255).astype(np.uint8).tobytes() + (words >> 8).astype(np.uint8).tobytes()
        self._append(name, entry, block)

    def add_indices(self, name: str, values: np.ndarray) -> None:
        """Keep non-negative integers [n] as uint32."""
        entry = {"shape": list(values.shape), "offset": self._size, "type": "u32"}
        self._append(name, entry, np.ascontiguousarray(values, "<u4").tobytes())

    def add_bytes(self, name: str, content: bytes) -> None:
        """Keep a file as it is."""
        self._append(name, {"shape": [len(content)], "offset": self._size, "type": "u8"}, content)

    def pack(self, header: dict[str, Any]) -> bytes:
        """Everything, deflated; `header` is any JSON."""
        text = json.dumps(
            {**header, "arrays": self._entries}, allow_nan=False, separators=(",", ":")
        ).encode()
        text += b" " * (-len(text) % 4)
        return gzip.compress(
            MAGIC + struct.pack("<I", len(text)) + text + b"".join(self._blocks), compresslevel=9, mtime=0
        )

    def _append(self, name: str, entry: dict[str, Any], block: bytes) -> None:
        if name in self._entries:
            raise ValueError(f"{name} is there already")
        block += b"\0" * (-len(block) % 4)
        entry["bytes"] = len(block)
        self._entries[name] = entry
        self._blocks.append(block)
        self._size += len(block)
