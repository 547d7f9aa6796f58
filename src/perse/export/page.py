"""An avatar as one web page that opens from a file, with no network and nothing to install."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

from perse._files import write_atomic
from perse.avatar import Avatar
from perse.dataset import Motion
from perse.export._page_data import Quality, page_data

PART = 240_000
"""Bytes of a part (a multiple of 3): the page's loading bar counts arriving parts."""


def write_page(
    avatar: Avatar,
    path: str | Path,
    motion: Motion,
    *,
    title: str = "Avatar",
    wearing: Mapping[str, str | None] | None = None,
    quality: Quality = "normal",
    points: int | None = None,
    pose_detail: bool = True,
    thumbnails: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write the page of an avatar with all its looks.

    Args:
        wearing: what the page opens with, as in `Avatar.look`.
        motion: the idle motion is a stretch of it.
        quality: how finely numbers are rounded; decides the size.
        points: at most so many Gaussians; all by default.
        pose_detail: include MLP_pose, the change of colour and shape with pose.
        thumbnails: small pictures of every look.

    Raises:
        PerseError: the avatar has no basis field, or an MLP_pose too large for a page.
    """
    packed = page_data(
        avatar,
        motion,
        title=title,
        wearing=wearing,
        quality=quality,
        points=points,
        pose_detail=pose_detail,
        thumbnails=thumbnails,
        progress=progress,
    )
    count = len(avatar.subjects) - 1
    subtitle = f"{count} looks to blend. Drag to turn." if count > 1 else "Drag to turn."
    return write_filled(Path(path), packed, title, subtitle)


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
