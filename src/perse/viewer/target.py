"""What the live viewer is told to show: a photo, an avatar's folder, or a build's. Nothing slow is imported here."""

from __future__ import annotations

from pathlib import Path

from perse.errors import PerseError


def avatar_folder(target: Path) -> Path | None:
    """The avatar's folder in what may be it or a build's folder; None for a file, which must be a photo.

    Raises:
        PerseError: there is nothing of that name, or no avatar in the folder.
    """
    if target.is_file():
        return None
    if not target.exists():
        raise PerseError(f"{target}: there is no such file or folder")
    for folder in (target / "avatar", target):
        if (folder / "avatar.json").is_file():
            return folder
    if (target / "build.json").is_file():
        raise PerseError(
            f"{target}: this build has no avatar yet; go on with it (perse build --out {target})"
        )
    raise PerseError(f"{target}: neither an avatar, nor a build that has one, nor a photo")
