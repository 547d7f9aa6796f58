"""Points and features of a subject as safetensors."""

import os
from collections.abc import Mapping, Set
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from perse import _files
from perse.dataset import _layout
from perse.dataset.records import SubjectPoints
from perse.errors import PerseError

_STORED = {
    "means": torch.float32,  # half floats would move a strand by 0.06 mm, a fifth of its width
    "quats": torch.float16,
    "scales": torch.float16,
    "opacities": torch.float16,
    "colors": torch.float16,
    "labels": torch.uint8,
    "face": torch.int32,
    "bary": torch.float16,
    "weights": torch.float16,
    "strands": torch.float32,  # 16 bits would take neighbouring roots for one
}
_LEFT_OUT = {"strands"}
"""Not in files of makers that know no strands."""
_LOADED = {"labels": torch.uint8, "face": torch.int64}
_MAX_FEATURES = 1 << 20


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write one safetensors file and push it to the disk. OSError if the disk is full."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_points(path: Path, points: SubjectPoints) -> None:
    """Write points: positions at 32 bits, what 16 bits hold without harm at 16."""
    tensors = {name: getattr(points, name).to(dtype) for name, dtype in _STORED.items()}
    if not bool(tensors["strands"].isfinite().any()):
        del tensors["strands"]
    write_tensors(path, tensors)


def read_points(path: Path) -> SubjectPoints:
    """Inverse of `write_points`, float32 again. PerseError if damaged."""
    tensors = _read(path, "the points", _layout.MAX_POINTS_BYTES, set(_STORED), _LEFT_OUT)
    loaded = {name: tensors[name].to(_LOADED.get(name, torch.float32)) for name in _STORED if name in tensors}
    try:
        return SubjectPoints(**loaded)
    except (PerseError, IndexError) as error:
        raise PerseError(f"{path}: {error}") from error


def write_features(path: Path, image: torch.Tensor, text: torch.Tensor) -> None:
    """Write f_I [D_I] and f_T [D_T]."""
    for name, value in (("image", image), ("text", text)):
        if value.ndim != 1 or not value.is_floating_point() or not bool(torch.isfinite(value).all()):
            raise PerseError(
                f"the {name} features must be one finite row, not {list(value.shape)} {value.dtype}"
            )
    write_tensors(path, {"image": image.float(), "text": text.float()})


def read_features(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """(f_I [D_I], f_T [D_T]) float32. PerseError if damaged."""
    tensors = _read(path, "the features", 16 * _MAX_FEATURES, {"image", "text"})
    image, text = tensors["image"], tensors["text"]
    if image.ndim != 1 or text.ndim != 1 or max(len(image), len(text)) > _MAX_FEATURES:
        raise PerseError(f"{path}: features must be rows, not {list(image.shape)} and {list(text.shape)}")
    return image.float(), text.float()


def _read(
    path: Path, what: str, max_bytes: int, names: set[str], optional: Set[str] = frozenset()
) -> dict[str, torch.Tensor]:
    _files.require_file(path, what, max_bytes)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise PerseError(f"{path}: {what} cannot be read ({error}); the file may be damaged") from error
    if set(tensors) | optional != names | optional:
        raise PerseError(
            f"{path}: {what} must hold {', '.join(sorted(names))}, not {', '.join(sorted(tensors))}"
        )
    return tensors
