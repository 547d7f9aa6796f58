"""One person's tracked video as a folder in the layout of VHAP and GaussianAvatars, to write and to read.

transforms.json              cameras and files of every frame (OpenGL camera to world, pixel intrinsics)
images/00000_00.png          timestep_camera
fg_masks/00000_00.png        alpha
flame_param/00000.npz        expr, pose and shape of a timestep, under FLAME's names
canonical_flame_param.npz    the same at rest

Expressions and shapes belong to a head model. PERSE's own is not FLAME; `head` in transforms.json says which.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from perse._files import (
    MAX_SIDE,
    read_json,
    read_npz,
    read_png,
    require_file,
    write_json,
    write_npz,
    write_png,
)
from perse.dataset.records import MAX_FRAMES, N_BETAS, N_EXPR, Frame, Motion
from perse.errors import PerseError
from perse.splat import Camera

TRANSFORMS = "transforms.json"
SPLITS = ("transforms_train.json", "transforms_val.json", "transforms_test.json")
POSE_PARTS = {"rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6}
"""FLAME's names of the parts of theta, in order."""
_FLIP = torch.tensor([1.0, -1.0, -1.0, 1.0])  # OpenGL's camera looks along -z with y up


@dataclass(frozen=True)
class TrackedVideo:
    """A folder that was read: everything but the pictures, which are read one by one."""

    folder: Path
    motion: Motion
    """Expression, pose and camera of every frame."""
    camera: Camera
    """Size and intrinsics; the viewmat is that of the first frame."""
    betas: torch.Tensor
    """[100] head shape."""
    images: tuple[Path, ...]
    masks: tuple[Path | None, ...]
    head: str
    """The head model that the numbers belong to."""

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, number: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Frame `number`: [H, W, 3] and alpha [H, W] or None, uint8."""
        size = (self.camera.height, self.camera.width)
        image = read_png(self.images[number], "a frame", channels=3)
        mask = self.masks[number]
        alpha = None if mask is None else read_png(mask, "a mask", channels=1)
        for path, array in ((self.images[number], image), (mask, alpha)):
            if array is not None and array.shape[:2] != size:
                raise PerseError(f"{path}: has {array.shape[1::-1]} pixels, not {size[::-1]}")
        return torch.from_numpy(image), None if alpha is None else torch.from_numpy(alpha)


def write_tracked_video(
    folder: str | Path,
    frames: Iterable[Frame],
    motion: Motion,
    camera: Camera,
    betas: torch.Tensor,
    vertices: int,
    head: str = "the open head",
) -> Path:
    """Write a video of one person; `transforms.json` comes last and says that the folder is whole.

    Args:
        frames: as many pictures as `motion` has rows. vertices: of the head's mesh, for static_offset.

    Raises:
        PerseError: pictures and motion do not match in number or size.
    """
    folder = Path(folder)
    for name in ("images", "fg_masks", "flame_param"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    camera_of = motion.camera(camera)
    count = 0
    for number, frame in enumerate(frames):
        if number >= len(motion) or tuple(frame.rgb.shape[:2]) != (camera.height, camera.width):
            raise PerseError(f"{folder}: picture {number} does not belong to this motion and camera")
        write_png(folder / "images" / f"{number:05d}_00.png", frame.rgb.numpy())
        write_png(folder / "fg_masks" / f"{number:05d}_00.png", frame.alpha.numpy())
        row = parameters_of(motion.expr[number], motion.pose[number], betas, vertices)
        write_npz(folder / "flame_param" / f"{number:05d}.npz", row)
        count += 1
    if count != len(motion):
        raise PerseError(f"{folder}: {count} pictures for a motion of {len(motion)} frames")
    rest = parameters_of(torch.zeros(N_EXPR), torch.zeros(15), betas, vertices)
    write_npz(folder / "canonical_flame_param.npz", rest)
    entries = [_frame_json(number, _nth(camera_of, number)) for number in range(count)]
    shared = {**_intrinsics(camera), "head": head, "fps": motion.fps, "camera_indices": [0]}
    chosen = {
        SPLITS[0]: [e for e, taught in zip(entries, motion.train.tolist()) if taught],
        SPLITS[1]: [e for e, taught in zip(entries, motion.train.tolist()) if not taught],
        SPLITS[2]: [e for e, taught in zip(entries, motion.train.tolist()) if not taught],
        TRANSFORMS: entries,
    }
    for name, listed in chosen.items():
        steps = [entry["timestep_index"] for entry in listed]
        write_json(folder / name, {**shared, "timestep_indices": steps, "frames": listed})
    return folder


def parameters_of(
    expr: torch.Tensor, pose: torch.Tensor, betas: torch.Tensor, vertices: int
) -> dict[str, np.ndarray]:
    """One timestep under FLAME's names: expr [50], pose [15], betas [100]; rows [1, .] but shape [100]."""
    parts = pose.detach().cpu().split(list(POSE_PARTS.values()))
    return {
        "shape": betas.detach().cpu().numpy().astype(np.float32),
        "expr": expr.detach().cpu().numpy().astype(np.float32)[None],
        **{name: part.numpy().astype(np.float32)[None] for name, part in zip(POSE_PARTS, parts)},
        "translation": np.zeros((1, 3), np.float32),
        "static_offset": np.zeros((1, vertices, 3), np.float32),
    }


def read_tracked_video(folder: str | Path, camera_index: int = 0) -> TrackedVideo:
    """Read such a folder, written by PERSE or by the neighbours' trackers; of several cameras, one.

    Expressions and shapes of other lengths are cut or filled with zeros. A translation of the head moves the camera
    instead. Pictures are not opened yet.

    Raises:
        PerseError: a file is missing, broken or too large, a path leaves the folder, or frames differ in size.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PerseError(f"there is no folder {folder}")
    info = read_json(folder / TRANSFORMS, "the list of frames")
    listed = info.get("frames")
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_FRAMES:
        raise PerseError(f"{folder / TRANSFORMS}: holds no list of frames")
    try:
        frames = [_checked(folder, {**info, **_table(entry)}) for entry in listed]
    except PerseError as error:
        raise PerseError(f"{folder / TRANSFORMS}: {error}") from error
    frames = [frame for frame in frames if frame["camera_index"] == camera_index]
    if not frames:
        raise PerseError(f"{folder / TRANSFORMS}: has no camera {camera_index}")
    frames.sort(key=lambda frame: frame["timestep_index"])
    if len({(frame["width"], frame["height"]) for frame in frames}) > 1:
        raise PerseError(f"{folder / TRANSFORMS}: its frames differ in size")
    rows = [_parameters(frame["parameters"]) for frame in frames]
    viewmats = torch.stack([frame["viewmat"] for frame in frames])
    for viewmat, row in zip(viewmats, rows):
        viewmat[:3, 3] += viewmat[:3, :3] @ row["translation"]
    first = frames[0]
    held_out = _held_out(folder)
    fps = info.get("fps", 25.0)
    if not isinstance(fps, int | float) or not math.isfinite(fps) or not 0 < fps <= 1000:
        raise PerseError(f"{folder / TRANSFORMS}: fps must be a number up to 1000")
    motion = Motion(
        expr=torch.stack([row["expr"] for row in rows]),
        pose=torch.stack([row["pose"] for row in rows]),
        train=torch.tensor([frame["timestep_index"] not in held_out for frame in frames]),
        fps=float(fps),
        viewmats=viewmats,
        source=folder.name,
    )
    return TrackedVideo(
        folder=folder,
        motion=motion,
        camera=Camera(viewmats[0], first["K"], first["width"], first["height"]),
        betas=rows[0]["betas"],
        images=tuple(frame["image"] for frame in frames),
        masks=tuple(frame["mask"] for frame in frames),
        head=str(info.get("head", "FLAME")),
    )


def _nth(camera: Camera, number: int) -> Camera:
    viewmat = camera.viewmat if camera.viewmat.dim() == 2 else camera.viewmat[number]
    return Camera(viewmat, camera.K, camera.width, camera.height)


def _intrinsics(camera: Camera) -> dict[str, Any]:
    K = camera.K.double()
    return {
        "fl_x": float(K[0, 0]),
        "fl_y": float(K[1, 1]),
        "cx": float(K[0, 2]),
        "cy": float(K[1, 2]),
        "w": camera.width,
        "h": camera.height,
        "camera_angle_x": 2 * math.atan(camera.width / 2 / float(K[0, 0])),
        "camera_angle_y": 2 * math.atan(camera.height / 2 / float(K[1, 1])),
    }


def _frame_json(number: int, camera: Camera) -> dict[str, Any]:
    to_world = torch.linalg.inv(camera.viewmat.double()) * _FLIP.double()
    return {
        **_intrinsics(camera),
        "timestep_index": number,
        "timestep_index_original": number,
        "timestep_id": f"{number:05d}",
        "camera_index": 0,
        "camera_id": "00",
        "transform_matrix": to_world.tolist(),
        "file_path": f"images/{number:05d}_00.png",
        "fg_mask_path": f"fg_masks/{number:05d}_00.png",
        "flame_param_path": f"flame_param/{number:05d}.npz",
    }


def _table(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise PerseError("a frame must be a JSON object")
    return entry


def _checked(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """One frame, judged; files are looked for but not opened."""
    numbers = [entry.get(name) for name in ("fl_x", "fl_y", "cx", "cy")]
    if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
        raise PerseError("fl_x, fl_y, cx, cy must be numbers")
    width, height = entry.get("w"), entry.get("h")
    if not all(isinstance(n, int) and 0 < n <= MAX_SIDE for n in (width, height)):
        raise PerseError(f"w and h must be 1 to {MAX_SIDE}")
    try:
        to_world = torch.tensor(entry.get("transform_matrix"), dtype=torch.float64)
        good = to_world.shape == (4, 4) and bool(torch.isfinite(to_world).all())
        viewmat = torch.linalg.inv(to_world * _FLIP.double()).float() if good else None
    except (TypeError, ValueError, RuntimeError):
        viewmat = None
    if viewmat is None:
        raise PerseError("transform_matrix must be an invertible matrix of 4 x 4 numbers")
    step, camera_index = entry.get("timestep_index"), entry.get("camera_index", 0)
    if not isinstance(step, int) or not isinstance(camera_index, int):
        raise PerseError("timestep_index and camera_index must be whole numbers")
    fx, fy, cx, cy = (float(n) for n in numbers if n is not None)
    mask = entry.get("fg_mask_path")
    return {
        "K": torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]),
        "width": width,
        "height": height,
        "viewmat": viewmat,
        "timestep_index": step,
        "camera_index": camera_index,
        "image": _inside(folder, entry.get("file_path")),
        "mask": None if mask is None else _inside(folder, mask),
        "parameters": _inside(folder, entry.get("flame_param_path")),
    }


def _inside(folder: Path, text: Any) -> Path:
    """A path below the folder, whatever the file says."""
    if not isinstance(text, str) or not 0 < len(text) <= 1000:
        raise PerseError("file_path, fg_mask_path and flame_param_path must be short texts")
    relative = PurePosixPath(text.replace("\\", "/"))
    path = folder / relative
    inside = not relative.is_absolute() and ".." not in relative.parts and ":" not in text
    if not inside or not path.resolve().is_relative_to(folder.resolve()):
        raise PerseError(f"{text!r} leads out of the folder")
    return require_file(path, "a file of a frame", 1 << 30)


def _parameters(path: Path) -> dict[str, torch.Tensor]:
    arrays = read_npz(path, "the parameters of a timestep")

    def row(name: str, count: int | None, needed: bool = True) -> torch.Tensor:
        if name not in arrays and not needed:
            return torch.zeros(count or 0)
        value = arrays.get(name)
        if value is None or value.dtype.kind != "f" or not np.isfinite(value).all():
            raise PerseError(f"{path}: {name} is missing or holds no finite numbers")
        flat = torch.from_numpy(value.astype(np.float32)).reshape(-1)
        if count is not None and len(flat) != count:
            raise PerseError(f"{path}: {name} must hold {count} numbers, not {len(flat)}")
        return flat

    return {
        "expr": _of_length(row("expr", None), N_EXPR),
        "betas": _of_length(row("shape", None), N_BETAS),
        "pose": torch.cat([row(name, count) for name, count in POSE_PARTS.items()]),
        "translation": row("translation", 3, needed=False),
    }


def _of_length(values: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(values[:length], (0, max(0, length - len(values))))


def _held_out(folder: Path) -> set[int]:
    """Timesteps of the validation and test lists, where there are any."""
    steps: set[int] = set()
    for name in SPLITS[1:]:
        if (folder / name).is_file():
            value = read_json(folder / name, "a list of frames").get("timestep_indices", [])
            steps |= {step for step in value if isinstance(step, int)} if isinstance(value, list) else set()
    return steps
