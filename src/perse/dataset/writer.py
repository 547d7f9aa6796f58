"""Writing a dataset: every subject appears whole or not at all.

A subject is written into a hidden folder beside its place and renamed when everything in it has reached the disk.
So a build can be interrupted at any moment, several processes can write different subjects of one dataset, and a
full disk costs the subject at hand and no other.
"""

import errno
import hashlib
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perse import _files
from perse.dataset import _layout, _tensors
from perse.dataset._digest import file_digest, head_stamp, motion_digest, portrait_digest, subject_digest
from perse.dataset._parts import PartsWriter
from perse.dataset._video import VideoWriter
from perse.dataset.labels import LABELS
from perse.dataset.reader import read_subject
from perse.dataset.records import (
    Attribute,
    Frame,
    Motion,
    Portrait,
    SubjectPoints,
    camera_from_json,
    camera_to_json,
    to_uint8,
)
from perse.errors import PerseError
from perse.head import Head, open_head

_ASIDE = re.compile(r"\.writing-(?P<host>[^-]*)-(?P<pid>\d+)-[0-9a-f]{8}")
_OWN_NAMES = {_layout.DATASET_JSON, _layout.PORTRAIT, _layout.MOTION, _layout.SUBJECTS}


class DatasetWriter:
    """Writes one dataset folder; make it with `create` (once) or `open` (in a worker process)."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self._settings = settings
        self.size: int = _layout.check_size(settings.get("size"))
        self.camera = camera_from_json(settings.get("camera"))
        self.portrait = Portrait.load(path / _layout.PORTRAIT)
        self.motion = Motion.load(path / _layout.MOTION)

    @staticmethod
    def create(
        path: str | Path,
        portrait: Portrait,
        motion: Motion,
        size: int,
        maker: str | Mapping[str, str],
        seed: int,
        order: Sequence[str] | None = None,
        head: Head | None = None,
    ) -> "DatasetWriter":
        """Begin a dataset, or go on with one begun with the same settings.

        Args:
            path: the folder; new, empty, or a dataset of the same portrait, motion, size, maker and seed.
            motion: the rows to render, with their train flags.
            size: frames are size x size pixels.
            maker: who makes the data, e.g. "studio" or {"editor": "studio", ...}; kept as told.
            order: ids of the subjects to come, in order, the reference first. Without it subjects are listed in
                the order in which they were finished.
            head: what the portrait's betas and the motion's expressions belong to; the open head if None.

        Errors: PerseError if the folder holds something else or a dataset with other settings.
        """
        path = Path(path)
        _layout.check_size(size)
        if len(motion) == 0:
            raise PerseError("the motion is empty; a dataset needs at least one frame")
        subjects = [_layout.check_subject_id(name) for name in order or ()]
        if len(set(subjects)) != len(subjects):
            raise PerseError("two subjects in the order have the same id")
        settings = {
            "format": _layout.FORMAT,
            "version": _layout.VERSION,
            "size": size,
            "frames": len(motion),
            "fps": motion.fps,
            "labels": list(LABELS),
            "camera": camera_to_json(portrait.camera.resized(size, size)),
            "maker": maker if isinstance(maker, str) else dict(maker),
            "seed": int(seed),
            "head": head_stamp(head or open_head()),
            "portrait": portrait_digest(portrait),
            "motion": motion_digest(motion),
            "planned": order is not None,
            "subjects": subjects,
        }
        with _disk_errors(path):
            _begin(path, settings, portrait, motion)
        return DatasetWriter.open(path)

    @staticmethod
    def open(path: str | Path) -> "DatasetWriter":
        """A writer for a dataset that `create` has begun, e.g. in another process."""
        path = Path(path)
        return DatasetWriter(path, _read_settings(path))

    def has(self, subject_id: str) -> bool:
        """Is this subject there, whole and readable?"""
        folder = _layout.subject_folder(self.path, subject_id)
        if not folder.is_dir():
            return False
        try:
            read_subject(self.path, subject_id, size=self.size, frames=len(self.motion))
        except PerseError:
            return False
        return True

    @contextmanager
    def subject(
        self, subject_id: str, attributes: Sequence[Attribute], seed: int
    ) -> Iterator["SubjectWriter"]:
        """Write one subject inside a `with`; it appears when the block ends without an error."""
        place = _layout.subject_folder(self.path, subject_id)
        if self.has(subject_id):
            raise PerseError(f"{place}: this subject is written already (ask has() first)")
        aside = place.with_name(f".writing-{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
        with _disk_errors(place):
            aside.mkdir(parents=True)
            writer = SubjectWriter(aside, self.size, self.motion.fps)
            try:
                yield writer
                writer._finish(subject_id, tuple(attributes), seed, self._settings["maker"], len(self.motion))
                self._put_in_place(aside, place)
            finally:
                writer._abort()
                shutil.rmtree(aside, ignore_errors=True)
        if not self._settings.get("planned"):
            self._append(subject_id)

    def finish(self) -> None:
        """Check that every planned subject is there. PerseError names those that are not."""
        subjects = _read_settings(self.path)["subjects"]
        missing = [name for name in subjects if not self.has(name)]
        if missing:
            raise PerseError(
                f"{self.path}: {len(missing)} of {len(subjects)} subjects are missing ({', '.join(missing[:5])});"
                " run the same command again to make them"
            )

    def _put_in_place(self, aside: Path, place: Path) -> None:
        if place.exists() and not self.has(place.name):  # damaged: make room
            broken = aside.with_name(aside.name[:-8] + uuid.uuid4().hex[:8])
            os.rename(place, broken)
            shutil.rmtree(broken, ignore_errors=True)
        try:
            os.rename(aside, place)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY) and self.has(place.name):
                return  # another process was first; both made the same
            raise
        _files.fsync_directory(place.parent)

    def _append(self, subject_id: str) -> None:
        """List a finished subject in dataset.json; a lock keeps two processes from losing each other's line."""
        with _locked(self.path / ".lock"):
            settings = _read_settings(self.path)
            if subject_id not in settings["subjects"]:
                settings["subjects"].append(subject_id)
                _files.write_json(self.path / _layout.DATASET_JSON, settings)


class SubjectWriter:
    """Takes the pieces of one subject; get it from `DatasetWriter.subject`."""

    def __init__(self, folder: Path, size: int, fps: float) -> None:
        self._folder = folder
        self._size = size
        self._count = 0
        self._closed = False
        self._frames = VideoWriter(folder / _layout.FRAMES, size, fps)
        self._preview = VideoWriter(folder / _layout.PREVIEW, size, fps, preview=True)
        self._parts = PartsWriter(folder / _layout.PARTS)

    def portrait(self, image: torch.Tensor) -> None:
        """The edited portrait [512, 512, 3] in [0, 1]."""
        if image.ndim != 3 or image.shape[-1] != 3:
            raise PerseError(f"a subject's portrait is [H, W, 3], not {list(image.shape)}")
        _files.write_png(self._folder / _layout.PORTRAIT_PNG, to_uint8(image).numpy())

    def mask(self, mask: torch.Tensor) -> None:
        """The edited region M_edit [512, 512] bool."""
        if mask.ndim != 2:
            raise PerseError(f"a subject's mask is [H, W], not {list(mask.shape)}")
        _files.write_png(self._folder / _layout.MASK_PNG, mask.cpu().numpy().astype(np.uint8) * 255)

    def frame(self, frame: Frame) -> None:
        """The next frame of the motion."""
        rgb = self._plane("rgb", frame.rgb, (self._size, self._size, 3))
        alpha = self._plane("alpha", frame.alpha, (self._size, self._size))
        labels = self._plane("labels", frame.labels, (self._size, self._size))
        if int(labels.max()) >= len(LABELS):
            raise PerseError(f"a frame has label {int(labels.max())}; labels go from 0 to {len(LABELS) - 1}")
        self._frames.write(rgb)
        self._preview.write(rgb)
        self._parts.write(alpha, labels)
        self._count += 1

    def points(self, points: SubjectPoints) -> None:
        """The maker's own Gaussians, where it has any."""
        _tensors.write_points(self._folder / _layout.POINTS, points)

    def features(self, image: torch.Tensor, text: torch.Tensor) -> None:
        """f_I [D_I] and f_T [D_T]."""
        _tensors.write_features(self._folder / _layout.FEATURES, image, text)

    @staticmethod
    def _plane(name: str, value: torch.Tensor, shape: tuple[int, ...]) -> np.ndarray:
        array = np.asarray(value)
        if array.dtype != np.uint8 or array.shape != shape:
            raise PerseError(
                f"a frame's {name} must be uint8 {list(shape)}, not {array.dtype} {list(array.shape)}"
            )
        return np.ascontiguousarray(array)

    def _finish(
        self, subject_id: str, attributes: tuple[Attribute, ...], seed: int, maker: Any, frames: int
    ) -> None:
        if self._count != frames:
            raise PerseError(f"subject {subject_id} has {self._count} frames, the motion {frames}")
        for name in (_layout.PORTRAIT_PNG, _layout.MASK_PNG):
            if not (self._folder / name).is_file():
                raise PerseError(f"subject {subject_id} was given no {name.removesuffix('.png')}")
        self._closed = True
        for part in (self._frames, self._preview, self._parts):
            part.close()
        names = [name for name in _layout.REQUIRED + _layout.OPTIONAL if (self._folder / name).is_file()]
        files = {
            name: {"bytes": (self._folder / name).stat().st_size, "sha256": file_digest(self._folder / name)}
            for name in names
        }
        value = {
            "format": _layout.SUBJECT_FORMAT,
            "version": _layout.SUBJECT_VERSION,
            "id": subject_id,
            "attributes": [attribute.to_json() for attribute in attributes],
            "seed": int(seed),
            "maker": maker,
            "size": self._size,
            "frames": frames,
            "files": files,
        }
        value["content"] = subject_digest(value)
        _files.write_json(self._folder / _layout.SUBJECT_JSON, value)

    def _abort(self) -> None:
        if not self._closed:
            self._closed = True
            for part in (self._frames, self._preview, self._parts):
                part.abort()


def _begin(path: Path, settings: dict[str, Any], portrait: Portrait, motion: Motion) -> None:
    """Write portrait, motion and dataset.json, or check that those there say the same."""
    if path.exists() and not path.is_dir():
        raise PerseError(f"{path}: this is a file; a dataset is a folder")
    if (path / _layout.DATASET_JSON).exists():
        _go_on(path, settings)
    else:
        strangers = {entry.name for entry in path.iterdir()} - _OWN_NAMES if path.is_dir() else set()
        strangers = {name for name in strangers if not name.startswith(".")}
        if strangers:
            raise PerseError(
                f"{path}: this folder holds something else ({', '.join(sorted(strangers)[:3])}); "
                "choose a new or empty folder for the dataset"
            )
        portrait.save(path / _layout.PORTRAIT)
        motion.save(path / _layout.MOTION)
        (path / _layout.SUBJECTS).mkdir(exist_ok=True)
        _files.write_json(path / _layout.DATASET_JSON, settings)
    _sweep(path / _layout.SUBJECTS)


def _go_on(path: Path, settings: dict[str, Any]) -> None:
    before = _read_settings(path)
    fixed = [name for name in settings if name not in ("subjects", "planned", "labels")]
    different = [name for name in fixed if before.get(name) != settings[name]]
    if different:
        raise PerseError(
            f"{path}: holds a dataset made with other settings ({', '.join(different)} differ); "
            "choose another folder, or delete this one to begin anew"
        )
    if settings["planned"] and before["subjects"] != settings["subjects"]:
        _files.write_json(path / _layout.DATASET_JSON, settings)


def _read_settings(path: Path) -> dict[str, Any]:
    file = path / _layout.DATASET_JSON
    settings = _files.read_json(file, "the dataset's description")
    _files.check_format(file, settings, _layout.FORMAT, _layout.VERSION)
    if not isinstance(settings.get("subjects"), list):
        raise PerseError(f"{file}: lists no subjects; it may be damaged")
    return settings


def _sweep(subjects: Path) -> None:
    """Delete what writers of this machine that are no longer alive have left half done."""
    for entry in subjects.iterdir() if subjects.is_dir() else ():
        match = _ASIDE.fullmatch(entry.name)
        if match and match["host"] == _host() and not _alive(int(match["pid"])):
            shutil.rmtree(entry, ignore_errors=True)


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock file (where the system has them)."""
    with open(path, "a") as file:
        try:
            import fcntl
        except ImportError:
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into a message."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise PerseError(
                f"{path}: no space left to write ({error.strerror}); what was finished before is intact: "
                "free some space and run the same command again"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise PerseError(f"{error.filename or path}: cannot be written ({error.strerror})") from error
        raise
