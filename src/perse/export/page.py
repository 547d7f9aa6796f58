"""An avatar as one web page that opens from a file, with no network and nothing to install."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from perse._files import write_atomic
from perse.avatar import Avatar
from perse.dataset import CATEGORIES, Motion
from perse.export._page_data import page_data
from perse.export._page_options import PageOptions

PART = 240_000
"""Bytes of a part (a multiple of 3): the page's loading bar counts arriving parts."""
DEFAULTS = PageOptions()


def write_page(
    avatar: Avatar,
    path: str | Path,
    motion: Motion,
    options: PageOptions = DEFAULTS,
    progress: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write the page of an avatar with all its looks.

    Args:
        motion: the idle motion is a stretch of it.

    Raises:
        PerseError: the avatar has no basis field, or an MLP_pose too large for a page.
    """
    packed = page_data(avatar, motion, options, progress)
    count = sum(len(avatar.learned(category)) for category in CATEGORIES)
    subtitle = f"{count} looks to blend. Drag to turn." if count > 1 else "Drag to turn."
    return write_filled(Path(path), packed, options.title, subtitle)


def write_filled(path: Path, packed: bytes, title: str, subtitle: str) -> Path:
    """The page in the package with its holes filled; text from the avatar is escaped."""
    frame = resources.files("perse.export").joinpath("page.html").read_text(encoding="utf-8")
    head, tail = frame.split("{{payload}}")
    parts = [packed[at : at + PART] for at in range(0, len(packed), PART)]
    for hole, text in (("title", title), ("subtitle", subtitle), ("parts", str(len(parts)))):
        head = head.replace("{{" + hole + "}}", html.escape(text))

    def write(file) -> None:
        file.write(head.encode())
        for part in parts:
            file.write(b'<script type="application/octet-stream" class="part">')
            file.write(base64.b64encode(part) + b"</script>\n")
        file.write(tail.encode())

    write_atomic(path, write)
    return path
