"""Alpha and part labels, lossless: parts.zip, an uncompressed zip of small PNG pictures.

Anyone can unpack it and look: `alpha/00000.png` is grey, `labels/00000.png` carries the labels' colours in its
palette while its pixels stay the codes. The pictures use the plainest PNG there is (8 bits, one channel, no row
filters), so that reading one is a single zlib call, four times as fast as a general decoder.
"""

import os
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from perse.dataset.labels import LABEL_COLORS
from perse.errors import PerseError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3
_LEVEL = 5
_LOCAL_HEADER = 30
_MAX_PICTURE_BYTES = 32 << 20


def encode_plane(plane: np.ndarray, *, palette: bool = False) -> bytes:
    """A PNG of plane [H, W] uint8; with `palette`, its codes are shown in the labels' colours."""
    height, width = plane.shape
    rows = np.zeros((height, width + 1), np.uint8)  # column 0: row filter "none"
    rows[:, 1:] = plane
    header = struct.pack(">IIBBBBB", width, height, 8, _PALETTE if palette else _GREY, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header)]
    if palette:
        chunks.append(_chunk(b"PLTE", LABEL_COLORS.tobytes()))
    chunks += [_chunk(b"IDAT", zlib.compress(rows.tobytes(), _LEVEL)), _chunk(b"IEND", b"")]
    return _SIGNATURE + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def decode_plane(data: bytes, size: int) -> np.ndarray:
    """Inverse of `encode_plane` for a square picture: [size, size] uint8. ValueError if damaged."""
    if data[:8] != _SIGNATURE:
        raise ValueError("not a PNG")
    position, packed, seen_header = 8, b"", False
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data) or zlib.crc32(data[position + 4 : end]) != int.from_bytes(
            data[end : end + 4], "big"
        ):
            raise ValueError("a chunk is damaged")
        if kind == b"IHDR":
            width, height, depth, color, *rest = struct.unpack(">IIBBBBB", data[position + 8 : end])
            seen_header = (width, height, depth, rest) == (size, size, 8, [0, 0, 0]) and color in (
                _GREY,
                _PALETTE,
            )
            if not seen_header:
                raise ValueError(f"not a plain {size} x {size} picture")
        elif kind == b"IDAT":
            packed += data[position + 8 : end]
        position = end + 4
    if not seen_header:
        raise ValueError("no picture header")
    total = size * (size + 1)
    raw = zlib.decompressobj().decompress(packed, total + 1)
    if len(raw) != total:
        raise ValueError(f"holds {len(raw)} bytes instead of {total}")
    rows = np.frombuffer(raw, np.uint8).reshape(size, size + 1)
    if rows[:, 0].any():
        raise ValueError("uses PNG row filters; perse writes none")
    return np.ascontiguousarray(rows[:, 1:])


class PartsWriter:
    """Writes parts.zip frame by frame."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = open(path, "wb")  # noqa: SIM115 - closed in close()
        self._archive = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)
        self._count = 0

    def write(self, alpha: np.ndarray, labels: np.ndarray) -> None:
        """Append one frame. alpha, labels [S, S] uint8."""
        for folder, plane in (("alpha", alpha), ("labels", labels)):
            entry = zipfile.ZipInfo(
                f"{folder}/{self._count:05d}.png"
            )  # its date is fixed: same input, same bytes
            self._archive.writestr(entry, encode_plane(plane, palette=folder == "labels"))
        self._count += 1

    def close(self) -> None:
        """Finish the file and push it to the disk."""
        try:
            self._archive.close()
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def abort(self) -> None:
        """Give up: release the file, whatever is in it (a full disk must not hide the first error)."""
        self._archive.fp = None  # so that the archive does not write its directory when collected
        with suppress(OSError):
            self._file.close()


class PartsIndex:
    """Where the alpha and the labels of every frame lie in one parts.zip."""

    def __init__(self, path: Path, frames: int) -> None:
        """Read the zip's directory only. PerseError if it is not what the dataset promises."""
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                entries = {entry.filename: entry for entry in archive.infolist()}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise PerseError(f"{path}: not a readable zip ({error}); it may be truncated") from error
        self.alpha = [self._place(entries, f"alpha/{t:05d}.png") for t in range(frames)]
        self.labels = [self._place(entries, f"labels/{t:05d}.png") for t in range(frames)]
        if len(entries) != 2 * frames:
            raise PerseError(f"{path}: holds {len(entries)} pictures instead of {2 * frames}")

    def _place(self, entries: dict[str, zipfile.ZipInfo], name: str) -> tuple[int, int]:
        """Start and length of the stored bytes of one picture, its local header included."""
        entry = entries.get(name)
        if entry is None:
            raise PerseError(f"{self.path}: {name} is missing")
        stored = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size <= _MAX_PICTURE_BYTES
        if not stored:
            raise PerseError(f"{self.path}: {name} is packed in a way perse does not write")
        return entry.header_offset, _LOCAL_HEADER + len(entry.filename.encode()) + entry.compress_size

    def decode(self, name: str, t: int, data: bytes, size: int) -> np.ndarray:
        """Picture `t` of `name` out of the bytes that its place names. [S, S] uint8."""
        try:
            header = (
                _LOCAL_HEADER + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
            )
            if data[:4] != b"PK\x03\x04":
                raise ValueError("no picture at its place")
            return decode_plane(data[header:], size)
        except (ValueError, zlib.error, struct.error) as error:
            raise PerseError(f"{self.path}: {name} of frame {t} is damaged ({error})") from error
