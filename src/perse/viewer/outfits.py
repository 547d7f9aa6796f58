"""Outfits kept under names: in a small file beside the avatar of a build, or until the viewer ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perse._files import check_format, read_json, require_file, write_json
from perse.errors import PerseError
from perse.viewer.stage import Choice, Outfit, Stage, check_outfit

FILE = "outfits.json"
FORMAT, VERSION = "perse outfits", 1
MAX_BYTES, MAX_OUTFITS, MAX_NAME = 1 << 20, 200, 60


class Outfits:
    """Outfits by name. Every change is on disk before it is told of; what another viewer kept meanwhile stays."""

    def __init__(self, build: Path | None) -> None:
        """`build`: folder of a build; None: they are kept in memory.

        Raises:
            PerseError: there is a file that cannot be used.
        """
        self._file = None if build is None else build / FILE
        self._kept: dict[str, dict[str, Choice]] = {}
        self._read()

    @property
    def lasting(self) -> bool:
        """Whether they are there after a restart."""
        return self._file is not None

    @property
    def names(self) -> tuple[str, ...]:
        """In the order in which they were kept."""
        return tuple(self._kept)

    def find(self, name: str) -> dict[str, Choice]:
        """The outfit of a name. PerseError if there is none."""
        if name not in self._kept:
            raise PerseError(f'no outfit is called "{name}"')
        return dict(self._kept[name])

    def keep(self, name: str, outfit: Outfit) -> None:
        """Keep an outfit, in place of one of the same name. PerseError for a name that is no plain text, or if full."""
        name = check_name(name)
        self._read()
        if name not in self._kept and len(self._kept) >= MAX_OUTFITS:
            raise PerseError(f"{MAX_OUTFITS} outfits are kept already; forget one first")
        self._kept[name] = {c: choice for c, choice in outfit.items() if choice != Choice()}
        self._write()

    def forget(self, name: str) -> None:
        """Forget one. PerseError if there is none of that name."""
        self._read()
        self.find(name)
        del self._kept[name]
        self._write()

    def take_over(self, other: Outfits, stage: Stage) -> None:
        """Keep what another keeps as well, as far as somebody can wear it and no outfit here has its name."""
        for name in other.names:
            if name in self.names:
                continue
            with suppress(PerseError):
                stage.dress(other.find(name))
                self.keep(name, other.find(name))
        stage.dress({})

    def _read(self) -> None:
        if self._file is None or not (self._file.exists() or self._file.is_symlink()):
            return
        require_file(self._file, "the kept outfits", MAX_BYTES)
        value = read_json(self._file, "the kept outfits")
        check_format(self._file, value, FORMAT, VERSION)
        entries = value.get("outfits")
        try:
            if not isinstance(entries, dict) or len(entries) > MAX_OUTFITS:
                raise PerseError(f"there must be outfits by name, at most {MAX_OUTFITS}")
            self._kept = {check_name(name): check_outfit(outfit) for name, outfit in entries.items()}
        except PerseError as error:
            raise PerseError(f"{self._file}: {error}. Mend it or delete it") from error

    def _write(self) -> None:
        if self._file is None:
            return
        outfits = {name: outfit_to_json(outfit) for name, outfit in self._kept.items()}
        try:
            write_json(self._file, {"format": FORMAT, "version": VERSION, "outfits": outfits})
        except OSError as error:
            raise PerseError(f"{self._file} cannot be written ({error.strerror})") from error


def check_name(name: str) -> str:
    """A name without spaces around it. PerseError unless it is a line of plain text."""
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise PerseError(f"an outfit's name must be 1 to {MAX_NAME} printable characters, not {name[:80]!r}")
    return name


def outfit_to_json(outfit: Mapping[str, Choice]) -> dict[str, Any]:
    """As plain values; `check_outfit` reads them."""
    return {category: asdict(choice) for category, choice in outfit.items()}


def read_outfit(content: bytes) -> dict[str, Choice]:
    """An outfit out of an untrusted JSON file. PerseError if it is something else."""
    if len(content) > MAX_BYTES:
        raise PerseError("this file is too large for an outfit")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PerseError(f"this file is no outfit ({error})") from error
    return check_outfit(value)
