"""Taking named members out of a zip or tar archive without trusting it."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from perse.assets.manifest import Member
from perse.errors import PerseError

_BLOCK = 1 << 20


class _Reader(Protocol):
    """What extraction needs of an archive, whatever its format."""

    def names(self) -> list[str]: ...

    def open(self, name: str) -> IO[bytes]: ...


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def names(self) -> list[str]:
        return [info.filename for info in self._archive.infolist() if not info.is_dir()]

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(name)


class _Tar:
    """Regular files only: links and devices in a tar are as good as absent."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._files = {info.name: info for info in archive.getmembers() if info.isreg()}

    def names(self) -> list[str]:
        return list(self._files)

    def open(self, name: str) -> IO[bytes]:
        stream = self._archive.extractfile(self._files[name])
        assert stream is not None  # a regular file always has one
        return stream


@contextmanager
def _open_archive(path: Path) -> Iterator[_Reader]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                yield _Zip(zipped)
        else:
            with tarfile.open(path) as tarred:
                yield _Tar(tarred)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise PerseError(
            f"{path} is damaged and cannot be unpacked ({error}); delete it and try again"
        ) from error


def extract(archive: Path, members: tuple[Member, ...], folder: Path) -> None:
    """Write ``members`` of ``archive`` below ``folder``, and nothing else.

    File names come from the manifest, or, below a folder member, from the archive after a check that they stay inside.
    No more bytes are written than the manifest says.

    Raises:
        PerseError: a member is missing, larger than it should be, or would be written outside its folder.
    """
    with _open_archive(archive) as reader:
        names = reader.names()
        known = set(names)
        for member in members:
            if member.is_folder:
                budget = member.size
                for name in names:
                    if name.startswith(member.inside):
                        target = folder / member.to / _safe_relative(name[len(member.inside) :], archive)
                        budget -= _copy(reader, name, target, budget, archive)
            elif member.inside in known:
                _copy(reader, member.inside, folder / member.to, member.size, archive)
            else:
                raise PerseError(
                    f"{archive.name} holds no file {member.inside}: it is not the release expected"
                )


def _safe_relative(name: str, archive: Path) -> PurePosixPath:
    """``name`` as a relative path that cannot climb out of the folder it is put in."""
    relative = PurePosixPath(name)
    if not name or "\\" in name or ":" in name or relative.is_absolute() or ".." in relative.parts:
        raise PerseError(f"{archive.name} holds a file with the unsafe name {name!r}; it was not unpacked")
    return relative


def _copy(reader: _Reader, name: str, target: Path, limit: int, archive: Path) -> int:
    """Copy one archived file to ``target``; returns its size, which may not pass ``limit`` bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with reader.open(name) as source, target.open("wb") as sink:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > limit:
                raise PerseError(f"{archive.name}: {name} is larger than the {limit} bytes expected")
            sink.write(block)
    return written
