"""Reading and writing files safely: whole or not at all, bounded reads, no pickle, no way out of a folder.

numpy and Pillow are imported by what needs them: the command line writes JSON without waiting for either.
"""

from __future__ import annotations

import json
import os
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from perse.errors import PerseError

if TYPE_CHECKING:
    import numpy as np

MAX_JSON_BYTES = 32 << 20
MAX_ARRAY_BYTES = 2 << 30
MAX_SIDE = 8192


def fsync_directory(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut (a no-op where the system cannot open a folder)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file aside to write inside the block: synced and renamed to `path` at its end, removed if it fails.

    Readers see all of it or nothing. The name aside ends as `path` does, for libraries that go by the suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        yield aside
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    fsync_directory(path.parent)


def write_atomic(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Call `write(file)` on a file that appears as `path` when it is whole."""
    with written_whole(path) as aside, open(aside, "wb") as file:
        write(file)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, atomically."""
    write_atomic(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def require_file(path: Path, what: str, max_bytes: int) -> Path:
    """`path` if it is a plain file of bounded size (a link is refused: it may point out of the folder)."""
    if path.is_symlink():
        raise PerseError(
            f"{path}: {what} is a symbolic link; links are not followed, put the file itself there"
        )
    if not path.is_file():
        raise PerseError(f"{path}: {what} is missing")
    size = path.stat().st_size
    if size > max_bytes:
        raise PerseError(f"{path}: {what} has {size} bytes, more than the {max_bytes} allowed")
    return path


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a bounded file; PerseError names the file if it is missing or broken."""
    require_file(path, what, MAX_JSON_BYTES)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise PerseError(f"{path}: {what} is not valid JSON ({error}); it may be damaged") from error
    if not isinstance(value, dict):
        raise PerseError(f"{path}: {what} must hold a JSON object, not a {type(value).__name__}")
    return value


def write_png(path: Path, image: np.ndarray) -> None:
    """Write uint8 [H, W] or [H, W, 3] as PNG, atomically."""
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    write_atomic(path, lambda file: picture.save(file, format="PNG"))


def read_png(path: Path, what: str, *, channels: int) -> np.ndarray:
    """Read a PNG of at most 8192 x 8192 pixels: [H, W] for 1 channel, [H, W, 3] for 3; uint8."""
    import numpy as np
    from PIL import Image

    require_file(path, what, 256 << 20)
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if max(picture.size) > MAX_SIDE:
                raise PerseError(f"{path}: {what} is {picture.size}, more than {MAX_SIDE} pixels on a side")
            return np.array(picture.convert("L" if channels == 1 else "RGB"))
    except PerseError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PerseError(f"{path}: {what} is not a readable PNG ({error})") from error


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed npz without pickles, atomically."""
    import numpy as np

    plain = dict(arrays)
    write_atomic(path, lambda file: np.savez_compressed(file, allow_pickle=False, **plain))


def read_npz(path: Path, what: str) -> dict[str, np.ndarray]:
    """All arrays of an npz; the unpacked size is checked before anything is unpacked, pickles are refused."""
    import numpy as np

    require_file(path, what, MAX_ARRAY_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_ARRAY_BYTES:
            raise PerseError(
                f"{path}: {what} unpacks to {unpacked} bytes, more than {MAX_ARRAY_BYTES} allowed"
            )
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except PerseError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise PerseError(f"{path}: {what} is not a readable npz without pickles ({error})") from error


def check_format(path: Path, value: Mapping[str, Any], name: str, version: int) -> None:
    """Refuse a file of another kind or of another version."""
    if value.get("format") != name:
        raise PerseError(f"{path}: this is not a {name} (its format is {value.get('format')!r})")
    if value.get("version") != version:
        raise PerseError(
            f"{path}: written as version {value.get('version')!r}; this perse reads version {version}. "
            "Make it anew, or use the perse that wrote it"
        )
