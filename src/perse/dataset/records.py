"""The records that rooms hand one another: attributes, portrait, motion, frames, points, edits.

All tensors are torch CPU tensors, float32 unless said. Units and frames: metres, head frame y up and z out of
the face, OpenCV cameras with pixel centres at +0.5, images sRGB in [0, 1] as [H, W, 3].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perse import _files
from perse.dataset.labels import LABEL_CODE, check_category, color_labels
from perse.errors import PerseError
from perse.splat import Camera

N_BETAS, N_EXPR, N_POSE, N_LANDMARKS = 100, 50, 15, 478

PORTRAIT_FORMAT = 1
MOTION_FORMAT = 1
MAX_FRAMES = 1_000_000


@dataclass(frozen=True)
class Attribute:
    """One wish: a category and what it is to look like."""

    category: str
    """One of CATEGORIES."""
    prompt: str
    """The whole sentence, e.g. "a person with long curly red hair"."""
    adjectives: tuple[str, ...] = ()
    """The words that make this one different from others of its category, e.g. ("long", "curly", "red")."""

    def __post_init__(self) -> None:
        check_category(self.category)
        object.__setattr__(self, "adjectives", tuple(self.adjectives))

    def to_json(self) -> dict[str, Any]:
        """A plain dict for subject.json."""
        return {"category": self.category, "prompt": self.prompt, "adjectives": list(self.adjectives)}

    @staticmethod
    def from_json(value: Any) -> "Attribute":
        """Inverse of `to_json`; PerseError if the shape is wrong."""
        if (
            not isinstance(value, dict)
            or not isinstance(value.get("category"), str)
            or not isinstance(value.get("prompt"), str)
            or not isinstance(value.get("adjectives"), list)
            or not all(isinstance(word, str) for word in value["adjectives"])
        ):
            raise PerseError(f"not an attribute (category, prompt, adjectives): {value!r}")
        return Attribute(value["category"], value["prompt"], tuple(value["adjectives"]))


@dataclass
class Portrait:
    """A photo made ready: the person, cut out, labelled, and the head and camera that explain it."""

    image: torch.Tensor
    """[S, S, 3] the cropped photo (S = 512)."""
    alpha: torch.Tensor
    """[S, S] how much of a pixel is person."""
    segmentation: torch.Tensor
    """[S, S, 6] probabilities: background, hair, body skin, face skin, clothes, other."""
    landmarks: torch.Tensor
    """[478, 3] x, y in pixels of `image`, z in pixels towards the camera as the landmarker gives it."""
    camera: Camera
    """The fitted camera; its width and height are S."""
    betas: torch.Tensor
    """[100] head shape."""
    expr: torch.Tensor
    """[50] expression psi in the photo."""
    pose: torch.Tensor
    """[15] theta in the photo: root, neck, jaw, left eye, right eye (axis-angle)."""
    name: str = "portrait"

    def __post_init__(self) -> None:
        side = self.image.shape[0]
        _check_shape("Portrait.image", self.image, (side, side, 3))
        _check_shape("Portrait.alpha", self.alpha, (side, side))
        _check_shape("Portrait.segmentation", self.segmentation, (side, side, 6))
        _check_shape("Portrait.landmarks", self.landmarks, (N_LANDMARKS, 3))
        _check_shape("Portrait.betas", self.betas, (N_BETAS,))
        _check_shape("Portrait.expr", self.expr, (N_EXPR,))
        _check_shape("Portrait.pose", self.pose, (N_POSE,))

    def save(self, folder: str | Path) -> Path:
        """Write a folder that a person can look at: photo.png, alpha.png, parts.png, portrait.json, and the
        segmentation as npz.

        Images are kept at 8 bits and probabilities at float16: load the saved folder and go on with that,
        and an interrupted build equals one that ran through (saving a loaded portrait changes nothing).
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _files.write_png(folder / "photo.png", to_uint8(self.image).numpy())
        _files.write_png(folder / "alpha.png", to_uint8(self.alpha).numpy())
        _files.write_png(folder / "parts.png", _paint_segmentation(self.segmentation))
        segmentation = self.segmentation.detach().cpu().numpy().astype(np.float16)
        _files.write_npz(folder / "segmentation.npz", {"segmentation": segmentation})
        _files.write_json(  # last: its presence says that the folder is whole
            folder / "portrait.json",
            {
                "format": "perse portrait",
                "version": PORTRAIT_FORMAT,
                "name": self.name,
                "camera": camera_to_json(self.camera),
                "betas": self.betas.tolist(),
                "expr": self.expr.tolist(),
                "pose": self.pose.tolist(),
                "landmarks": self.landmarks.tolist(),
            },
        )
        return folder

    @staticmethod
    def load(folder: str | Path) -> "Portrait":
        """Read what `save` wrote. PerseError names the missing or damaged file."""
        folder = Path(folder)
        path = folder / "portrait.json"
        value = _files.read_json(path, "the portrait")
        _files.check_format(path, value, "perse portrait", PORTRAIT_FORMAT)
        photo = _files.read_png(folder / "photo.png", "the portrait's photo", channels=3)
        alpha = _files.read_png(folder / "alpha.png", "the portrait's alpha", channels=1)
        arrays = _files.read_npz(folder / "segmentation.npz", "the portrait's segmentation")
        if "segmentation" not in arrays or arrays["segmentation"].dtype.kind != "f":
            raise PerseError(f"{folder / 'segmentation.npz'}: holds no float array named segmentation")
        try:
            return Portrait(
                image=from_uint8(torch.from_numpy(photo)),
                alpha=from_uint8(torch.from_numpy(alpha)),
                segmentation=torch.from_numpy(arrays["segmentation"].astype(np.float32)),
                landmarks=_numbers(value, "landmarks", (N_LANDMARKS, 3)),
                camera=camera_from_json(value.get("camera")),
                betas=_numbers(value, "betas", (N_BETAS,)),
                expr=_numbers(value, "expr", (N_EXPR,)),
                pose=_numbers(value, "pose", (N_POSE,)),
                name=str(value.get("name", "portrait")),
            )
        except PerseError as error:
            raise PerseError(f"{path}: {error}") from error


@dataclass
class Motion:
    """A driving motion: one row of expression and pose for every frame of time."""

    expr: torch.Tensor
    """[T, 50] psi."""
    pose: torch.Tensor
    """[T, 15] theta."""
    train: torch.Tensor
    """[T] bool: frames to learn from; the others are held out."""
    fps: float = 24.0
    """Frames a second."""
    viewmats: torch.Tensor | None = None
    """[T, 4, 4] world to camera for every frame, or None: the portrait's camera throughout."""
    source: str = ""
    """Where the motion came from."""

    def __post_init__(self) -> None:
        count = self.expr.shape[0] if self.expr.ndim else 0
        _check_shape("Motion.expr", self.expr, (count, N_EXPR))
        _check_shape("Motion.pose", self.pose, (count, N_POSE))
        _check_shape("Motion.train", self.train, (count,))
        if self.train.dtype != torch.bool:
            raise PerseError(f"Motion.train must be bool, not {self.train.dtype}")
        if self.viewmats is not None:
            _check_shape("Motion.viewmats", self.viewmats, (count, 4, 4))
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise PerseError(f"Motion.fps must be a positive number, not {self.fps}")
        for name, tensor in (("expr", self.expr), ("pose", self.pose), ("viewmats", self.viewmats)):
            if tensor is not None and not bool(torch.isfinite(tensor).all()):
                raise PerseError(f"Motion.{name} holds numbers that are not finite")

    def __len__(self) -> int:
        return int(self.expr.shape[0])

    def select(self, indices: Sequence[int] | torch.Tensor) -> "Motion":
        """The rows `indices`, in that order (numbers, or a bool mask [T])."""
        rows = torch.as_tensor(indices)
        rows = rows.nonzero().flatten() if rows.dtype == torch.bool else rows.to(torch.int64).reshape(-1)
        viewmats = None if self.viewmats is None else self.viewmats[rows]
        return Motion(self.expr[rows], self.pose[rows], self.train[rows], self.fps, viewmats, self.source)

    def camera(self, camera: Camera) -> Camera:
        """`camera` with this motion's viewmats, batched over T, where it has any; else `camera` itself."""
        if self.viewmats is None:
            return camera
        return Camera(self.viewmats, camera.K, camera.width, camera.height)

    def save(self, path: str | Path) -> Path:
        """Write one npz (no pickles), atomically."""
        arrays: dict[str, np.ndarray] = {
            "version": np.array(MOTION_FORMAT),
            "expr": self.expr.detach().cpu().numpy().astype(np.float32),
            "pose": self.pose.detach().cpu().numpy().astype(np.float32),
            "train": self.train.cpu().numpy(),
            "fps": np.array(self.fps, np.float64),
            "source": np.frombuffer(self.source.encode(), np.uint8),
        }
        if self.viewmats is not None:
            arrays["viewmats"] = self.viewmats.detach().cpu().numpy().astype(np.float32)
        _files.write_npz(Path(path), arrays)
        return Path(path)

    @staticmethod
    def load(path: str | Path) -> "Motion":
        """Read what `save` wrote. PerseError names the file and what is wrong with it."""
        path = Path(path)
        arrays = _files.read_npz(path, "the motion")
        missing = [
            name for name in ("version", "expr", "pose", "train", "fps", "source") if name not in arrays
        ]
        if missing:
            raise PerseError(f"{path}: not a perse motion, it lacks {', '.join(missing)}")
        try:
            if int(arrays["version"]) != MOTION_FORMAT:
                raise PerseError(f"motion version {int(arrays['version'])}; this perse reads {MOTION_FORMAT}")
            if arrays["expr"].shape[0] > MAX_FRAMES:
                raise PerseError(f"{arrays['expr'].shape[0]} frames, more than the {MAX_FRAMES} allowed")
            viewmats = arrays.get("viewmats")
            return Motion(
                expr=torch.from_numpy(arrays["expr"].astype(np.float32)),
                pose=torch.from_numpy(arrays["pose"].astype(np.float32)),
                train=torch.from_numpy(arrays["train"].astype(bool)),
                fps=float(arrays["fps"]),
                viewmats=None if viewmats is None else torch.from_numpy(viewmats.astype(np.float32)),
                source=arrays["source"].astype(np.uint8).tobytes().decode(errors="replace"),
            )
        except PerseError as error:
            raise PerseError(f"{path}: {error}") from error
        except (TypeError, ValueError, IndexError) as error:
            raise PerseError(f"{path}: not a perse motion ({error})") from error


@dataclass(frozen=True)
class Frame:
    """One picture of one subject, composited on white. Numpy arrays are taken too and become tensors."""

    rgb: torch.Tensor
    """[H, W, 3] uint8."""
    alpha: torch.Tensor
    """[H, W] uint8."""
    labels: torch.Tensor
    """[H, W] uint8, codes of LABELS."""

    def __post_init__(self) -> None:
        for name in ("rgb", "alpha", "labels"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name)))


@dataclass
class SubjectPoints:
    """A maker's own Gaussians, on the portrait-shaped head at expr = 0 and pose = 0."""

    means: torch.Tensor
    """[N, 3] metres."""
    quats: torch.Tensor
    """[N, 4] wxyz."""
    scales: torch.Tensor
    """[N, 3] standard deviations in metres."""
    opacities: torch.Tensor
    """[N] in [0, 1]."""
    colors: torch.Tensor
    """[N, 3] in [0, 1]."""
    labels: torch.Tensor
    """[N] uint8 codes of LABELS."""
    face: torch.Tensor
    """[N] int64 triangle of the head that carries the point; -1: none."""
    bary: torch.Tensor
    """[N, 3] barycentric coordinates in that triangle."""
    weights: torch.Tensor
    """[N, 5] skinning weights of root, neck, jaw, left eye, right eye."""
    strands: torch.Tensor = None  # type: ignore[assignment]
    """[N, 4] where on which strand a point lies: three numbers in metres (its beginning, or the like), the same in all
    subjects of a dataset, and the share of its length. What is solid, or cloth, has no strands but places, told by the
    three numbers alone: near numbers, near places. NaN: nothing is told; left out: all NaN."""

    def __post_init__(self) -> None:
        count = self.means.shape[0]
        if self.strands is None:
            self.strands = torch.full((count, 4), torch.nan)
        for name, columns in _POINT_COLUMNS.items():
            _check_shape(f"SubjectPoints.{name}", getattr(self, name), (count, *columns))

    def __len__(self) -> int:
        return int(self.means.shape[0])

    def __getitem__(self, index: torch.Tensor | slice) -> "SubjectPoints":
        return SubjectPoints(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


_POINT_COLUMNS: dict[str, tuple[int, ...]] = {
    "means": (3,),
    "quats": (4,),
    "scales": (3,),
    "opacities": (),
    "colors": (3,),
    "labels": (),
    "face": (),
    "bary": (3,),
    "weights": (5,),
    "strands": (4,),
}


@dataclass
class Edited:
    """What an Editor hands to an Animator."""

    image: torch.Tensor
    """[512, 512, 3] the edited portrait."""
    mask: torch.Tensor
    """[512, 512] bool: the edited region M_edit (Eq. 8)."""
    attributes: tuple[Attribute, ...]
    """() for the reference."""
    seed: int
    handle: object = field(default=None, repr=False)
    """The maker's own, e.g. the edited puppet; only the maker that wrote it reads it."""


def to_uint8(image: torch.Tensor) -> torch.Tensor:
    """[0, 1] -> 0..255, rounded to nearest."""
    return (image.detach().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def from_uint8(image: torch.Tensor) -> torch.Tensor:
    """0..255 -> [0, 1] float32."""
    return image.to(torch.float32) / 255


def camera_to_json(camera: Camera) -> dict[str, Any]:
    """One camera (no batch) as plain numbers."""
    _check_shape("camera.viewmat", camera.viewmat, (4, 4))
    return {
        "viewmat": camera.viewmat.tolist(),
        "K": camera.K.tolist(),
        "width": int(camera.width),
        "height": int(camera.height),
    }


def camera_from_json(value: Any) -> Camera:
    """Inverse of `camera_to_json`; PerseError if it is no camera."""
    if not isinstance(value, dict):
        raise PerseError("the camera is missing")
    viewmat, K = _numbers(value, "viewmat", (4, 4)), _numbers(value, "K", (3, 3))
    sides = [value.get("width"), value.get("height")]
    if not all(isinstance(side, int) and 0 < side <= _files.MAX_SIDE for side in sides):
        raise PerseError(f"the camera's width and height must be 1 to {_files.MAX_SIDE}, not {sides}")
    return Camera(viewmat, K, value["width"], value["height"])


def _numbers(value: dict[str, Any], name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The finite float32 tensor `name` of a JSON object, of exactly `shape`."""
    try:
        tensor = torch.tensor(value.get(name), dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PerseError(f"{name!r} is not an array of numbers") from error
    _check_shape(repr(name), tensor, shape)
    if not bool(torch.isfinite(tensor).all()):
        raise PerseError(f"{name!r} holds numbers that are not finite")
    return tensor


def _check_shape(what: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise PerseError(f"{what} must have shape {list(shape)}, not {list(tensor.shape)}")


_SEGMENT_LABELS = ("background", "hair", "skin", "skin", "clothes", "hat")


def _paint_segmentation(segmentation: torch.Tensor) -> np.ndarray:
    """The likeliest class of every pixel in its label's colour ("other" as hat). [S, S, 3] uint8"""
    codes = np.array([LABEL_CODE[name] for name in _SEGMENT_LABELS], np.uint8)
    return color_labels(codes[segmentation.detach().cpu().numpy().argmax(-1)])
