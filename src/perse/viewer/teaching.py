"""A look out of another photo, taught from the live viewer to the avatar of a build."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from perse._files import write_png
from perse.avatar import folder_name
from perse.capture import load_image
from perse.dataset import check_category
from perse.errors import PerseError
from perse.viewer.job import Job, Progress, entries_of
from perse.viewer.media import to_uint8

PHOTOS = "photos"
"""Folder of a build for photos that were given to the page."""
MAX_PHOTO_BYTES, MAX_PHOTOS = 64 << 20, 200
STAGES = {"photo": 0.1, "edit": 0.25, "learning": 0.55, "measuring": 0.1}
"""What a transfer does, and the usual shares of its time."""


class Teaching(Job):
    """One `perse transfer`, started at once.

    Raises:
        PerseError: there is no such category, or the name cannot be a look's.
    """

    doing = "the transfer"

    def __init__(self, build: Path, photo: Path, category: str, name: str) -> None:
        check_category(category)
        self.category, self.name = category, name
        self._place = build / "transfers" / folder_name(name)
        super().__init__("transfer", str(build), str(photo), "--category", category, f"--name={name}")

    def _now(self) -> Progress:
        made, bar = entries_of(self._place / "dataset"), self._bar()
        photo, edit, learning, _ = STAGES.values()
        if bar is not None and bar.share < 1:
            return Progress(photo + edit + learning * bar.share, f"learning the look{bar.left}", "running")
        if bar is not None:
            return Progress(photo + edit + learning, "measuring it", "running")
        if (self._place / "dataset").is_dir():
            return Progress(photo + edit * made / 2, "moving it as the avatar moves", "running")
        return Progress(0.0, "looking at the photo", "running")


def keep_photo(build: Path, content: bytes) -> tuple[Path, np.ndarray]:
    """Check a photo from the page and keep its pixels in the build; the file, and what it shows: uint8 [H, W, 3].

    Nothing of the given bytes is written, and no name: the file is called by what it holds.

    Raises:
        PerseError: it is too large or no picture, or the build's folder for photos is full or elsewhere.
    """
    if len(content) > MAX_PHOTO_BYTES:
        raise PerseError(f"this file is larger than {MAX_PHOTO_BYTES >> 20} MB")
    picture = to_uint8(load_image(content))
    folder = build / PHOTOS
    if folder.is_symlink():
        raise PerseError(f"{folder} is a symbolic link; links are not followed")
    path = folder / f"{hashlib.sha256(picture.tobytes()).hexdigest()[:16]}.png"
    if not path.is_file():
        if folder.is_dir() and len(list(folder.iterdir())) >= MAX_PHOTOS:
            raise PerseError(f"{folder} holds {MAX_PHOTOS} photos; delete some that are no longer needed")
        write_png(path, picture)
    return path, picture


def why_not(build: Path) -> str | None:
    """Why a build's avatar cannot be taught looks; None if it can."""
    if not (build / "dataset" / "dataset.json").is_file():
        return (
            f"This needs the videos that the avatar learned from, but there are none in {build / 'dataset'}."
        )
    return None
