"""Reading a dataset: validated when opened, any frame of any subject within milliseconds afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perse import _files
from perse.dataset import _layout, _tensors
from perse.dataset._access import FrameAccess
from perse.dataset._digest import file_digest, head_stamp, motion_digest, portrait_digest, subject_digest
from perse.dataset.labels import LABELS
from perse.dataset.records import (
    Attribute,
    Frame,
    Motion,
    Portrait,
    SubjectPoints,
    camera_from_json,
    from_uint8,
)
from perse.errors import PerseError
from perse.head import Head, open_head
from perse.splat import Camera


@dataclass(frozen=True, eq=False)
class Subject:
    """One member of the dataset: the person with some attributes. `attributes` () is the reference."""

    id: str
    attributes: tuple[Attribute, ...]
    seed: int
    maker: Any
    folder: Path
    size: int
    frames: int
    files: dict[str, dict[str, Any]] = field(repr=False)
    """Name -> bytes and sha256, as subject.json states them."""
    content: str = field(repr=False)
    """sha256 over all of the above and the files."""

    @property
    def is_reference(self) -> bool:
        """The unedited person?"""
        return not self.attributes

    @property
    def category(self) -> str | None:
        """The category of a subject with one attribute; None for the reference and for combinations."""
        return self.attributes[0].category if len(self.attributes) == 1 else None

    def portrait(self) -> torch.Tensor:
        """The edited portrait [512, 512, 3] in [0, 1]."""
        path = self.folder / _layout.PORTRAIT_PNG
        return from_uint8(torch.from_numpy(_files.read_png(path, "the subject's portrait", channels=3)))

    def mask(self) -> torch.Tensor:
        """The edited region M_edit [512, 512] bool."""
        path = self.folder / _layout.MASK_PNG
        return torch.from_numpy(_files.read_png(path, "the subject's mask", channels=1) > 127)

    def points(self) -> SubjectPoints | None:
        """The maker's own Gaussians, or None where it has none."""
        if _layout.POINTS not in self.files:
            return None
        return _tensors.read_points(self.folder / _layout.POINTS)

    @cached_property
    def features(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(f_I [D_I], f_T [D_T]). PerseError if the dataset was made without an encoder."""
        if _layout.FEATURES not in self.files:
            raise PerseError(f"{self.folder}: was written without features; make the dataset with an encoder")
        return _tensors.read_features(self.folder / _layout.FEATURES)

    def verify(self) -> None:
        """Compare every file with its hash. PerseError names the first that differs."""
        for name, entry in self.files.items():
            if file_digest(self.folder / name) != entry["sha256"]:
                raise PerseError(
                    f"{self.folder / name}: its content is not what was written (sha256 differs); "
                    "delete this subject's folder and make it again"
                )


class Dataset:
    """All subjects of one person under one motion. Safe to use from threads, forks and, pickled, from workers."""

    def __init__(self, path: Path, settings: dict[str, Any], subjects: Sequence[Subject]) -> None:
        """Use `Dataset.open`."""
        self.path = path
        self.settings = settings
        self.size: int = settings["size"]
        self.camera: Camera = camera_from_json(settings["camera"])
        self.portrait = Portrait.load(path / _layout.PORTRAIT)
        self.motion = Motion.load(path / _layout.MOTION)
        self.subjects: tuple[Subject, ...] = tuple(subjects)
        self._by_id = {subject.id: subject for subject in self.subjects}
        self._access = FrameAccess()
        if len(self.motion) != settings["frames"]:
            raise PerseError(
                f"{path / _layout.MOTION}: has {len(self.motion)} frames; dataset.json says {settings['frames']}"
            )

    @staticmethod
    def open(
        path: str | Path,
        *,
        verify: bool = False,
        partial: bool = False,
        blends: bool = False,
        head: Head | None = None,
    ) -> "Dataset":
        """Open a dataset folder: versions, names, presence and sizes of all files are checked.

        Args:
            verify: also compare every file with its hash (reads everything).
            partial: accept a dataset that is still being written, with the subjects that are whole.
            blends: it holds looks between two subjects of another dataset, and no reference.
            head: the head it must have been made with. By default a dataset of the open head must have been made
                with the one that this perse brings.

        Errors: PerseError naming the file and what to do about it.
        """
        path = Path(path)
        if not path.is_dir():
            raise PerseError(f"{path}: there is no such folder; a dataset is a folder with a dataset.json")
        settings = _read_settings(path)
        _check_head(path, settings, head)
        subjects = []
        for subject_id in settings["subjects"]:
            whole = _layout.subject_folder(path, subject_id).is_dir()
            if whole:
                subjects.append(
                    read_subject(path, subject_id, size=settings["size"], frames=settings["frames"])
                )
            elif not partial:
                raise PerseError(
                    f"{path}: subject {subject_id} is not written yet; "
                    "run the command that makes the dataset again, it goes on where it stopped"
                )
        subjects.sort(key=lambda subject: not subject.is_reference)  # the reference is always the first
        if not partial and not blends and not (subjects and subjects[0].is_reference):
            raise PerseError(
                f"{path}: holds no reference, the subject without attributes; make the dataset again"
            )
        dataset = Dataset(path, settings, subjects)
        if verify:
            dataset.verify()
        return dataset

    @property
    def train_indices(self) -> torch.Tensor:
        """Frames to learn from, int64."""
        return self.motion.train.nonzero().flatten()

    @property
    def heldout_indices(self) -> torch.Tensor:
        """Frames kept for evaluation, int64."""
        return (~self.motion.train).nonzero().flatten()

    def subject(self, subject: Subject | str | int) -> Subject:
        """A subject by itself, its id or its number."""
        if isinstance(subject, Subject):
            return subject
        if isinstance(subject, str):
            if subject not in self._by_id:
                raise PerseError(f"{self.path}: has no subject {subject!r}")
            return self._by_id[subject]
        return self.subjects[subject]

    def frame(self, subject: Subject | str | int, t: int) -> Frame:
        """Frame `t` of a subject, uint8 tensors."""
        rgb, alpha, labels = self._read(self.subject(subject), int(t))
        return Frame(torch.from_numpy(rgb), torch.from_numpy(alpha), torch.from_numpy(labels))

    def load_frames(
        self, subject: Subject | str | int, indices: Sequence[int] | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Decoded frames for training: rgb [F, S, S, 3], alpha [F, S, S], labels [F, S, S], all uint8."""
        found = self.subject(subject)
        shape = (len(indices), self.size, self.size)
        rgb, alpha, labels = (
            np.empty((*shape, 3), np.uint8),
            np.empty(shape, np.uint8),
            np.empty(shape, np.uint8),
        )
        for row, t in enumerate(indices):
            rgb[row], alpha[row], labels[row] = self._read(found, int(t))
        return torch.from_numpy(rgb), torch.from_numpy(alpha), torch.from_numpy(labels)

    def verify(self) -> None:
        """Compare every file with its hash; PerseError names the first that differs."""
        for name, digest, found in (
            (_layout.PORTRAIT, self.settings.get("portrait"), portrait_digest(self.portrait)),
            (_layout.MOTION, self.settings.get("motion"), motion_digest(self.motion)),
        ):
            if digest != found:
                raise PerseError(f"{self.path / name}: its content is not what was written (sha256 differs)")
        for subject in self.subjects:
            subject.verify()

    def _read(self, subject: Subject, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not 0 <= t < subject.frames:
            raise IndexError(f"frame {t} of {subject.id}: there are {subject.frames}")
        return self._access.read(subject.folder, subject.size, subject.frames, t)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Dataset, (self.path, self.settings, self.subjects))


def read_subject(root: Path, subject_id: str, *, size: int, frames: int) -> Subject:
    """The description of one subject, checked against the files beside it. PerseError says what is wrong."""
    folder = _layout.subject_folder(root, subject_id)
    for place in (folder.parent, folder):
        if place.is_symlink() or not place.is_dir():
            raise PerseError(f"{place}: must be a plain folder (links are not followed)")
    path = folder / _layout.SUBJECT_JSON
    value = _files.read_json(path, "the subject's description")
    _files.check_format(path, value, _layout.SUBJECT_FORMAT, _layout.SUBJECT_VERSION)
    for name, expected in (("id", subject_id), ("size", size), ("frames", frames)):
        if value.get(name) != expected:
            raise PerseError(f"{path}: its {name} is {value.get(name)!r}, expected {expected!r}")
    try:
        attributes = tuple(Attribute.from_json(entry) for entry in _list(value, "attributes"))
        files = _check_files(folder, value.get("files"))
    except PerseError as error:
        raise PerseError(f"{path}: {error}") from error
    if not isinstance(value.get("seed"), int) or value.get("content") != subject_digest(value):
        raise PerseError(f"{path}: was changed after it was written (its content hash does not match)")
    return Subject(
        id=subject_id,
        attributes=attributes,
        seed=value["seed"],
        maker=value.get("maker"),
        folder=folder,
        size=size,
        frames=frames,
        files=files,
        content=value["content"],
    )


def _check_files(folder: Path, files: Any) -> dict[str, dict[str, Any]]:
    """The stated files are known by name, plain, and of the stated size."""
    if not isinstance(files, dict):
        raise PerseError("lists no files")
    unknown = set(files) - set(_layout.REQUIRED + _layout.OPTIONAL)
    if unknown:
        raise PerseError(f"lists files of unknown names: {', '.join(sorted(unknown))}")
    missing = set(_layout.REQUIRED) - set(files)
    if missing:
        raise PerseError(f"does not list {', '.join(sorted(missing))}")
    for name, entry in files.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("bytes"), int) or "sha256" not in entry:
            raise PerseError(f"says no size and hash for {name}")
        found = _files.require_file(folder / name, "this file", _layout.MAX_FRAME_FILE_BYTES).stat().st_size
        if found != entry["bytes"]:
            raise PerseError(
                f"{folder / name} has {found} bytes instead of {entry['bytes']}; it is truncated or changed"
            )
    return files


def _read_settings(path: Path) -> dict[str, Any]:
    """dataset.json, checked."""
    file = path / _layout.DATASET_JSON
    if not file.exists():
        raise PerseError(f"{path}: this folder is not a dataset, it holds no {_layout.DATASET_JSON}")
    settings = _files.read_json(file, "the dataset's description")
    _files.check_format(file, settings, _layout.FORMAT, _layout.VERSION)
    try:
        _layout.check_size(settings.get("size"))
        camera = camera_from_json(settings.get("camera"))
        ids = [_layout.check_subject_id(value) for value in _list(settings, "subjects")]
        if (camera.width, camera.height) != (settings["size"], settings["size"]):
            raise PerseError(f"the camera is {camera.width} x {camera.height}, frames are {settings['size']}")
        if settings.get("labels") != list(LABELS):
            raise PerseError("it was written with other part labels than this perse knows")
        if not isinstance(settings.get("frames"), int) or settings["frames"] < 1:
            raise PerseError("it states no number of frames")
        if len(set(ids)) != len(ids) or len(ids) > _layout.MAX_SUBJECTS:
            raise PerseError("subjects are listed twice, or too many")
    except PerseError as error:
        raise PerseError(f"{file}: {error}") from error
    if (path / _layout.PORTRAIT).is_symlink():
        raise PerseError(f"{path / _layout.PORTRAIT}: is a symbolic link; links are not followed")
    return settings


def _check_head(path: Path, settings: dict[str, Any], head: Head | None) -> None:
    """A dataset's points and motion mean something only on the head that they were made with."""
    stated = settings.get("head")
    if not isinstance(stated, dict) or not isinstance(stated.get("name"), str):
        raise PerseError(f"{path / _layout.DATASET_JSON}: states no head; it may be damaged")
    expected = head_stamp(head or open_head())
    if head is None and stated["name"] != expected["name"]:
        return  # another head than ours; whoever trains on it brings it
    if stated != expected:
        raise PerseError(
            f"{path}: was made with another head ({stated['name']!r}, sha256 {str(stated.get('sha256'))[:12]}), not "
            f"with {expected['name']!r}, sha256 {expected['sha256'][:12]}; make the dataset again with this head"
        )


def _list(value: dict[str, Any], name: str) -> list[Any]:
    if not isinstance(value.get(name), list):
        raise PerseError(f"it holds no list of {name}")
    return value[name]
