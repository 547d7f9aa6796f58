"""The file of the open head: small, exact to a hundredth of a millimetre, no pickle."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perse._files import write_npz

from .model import Head

OPEN_HEAD_FILE = Path(__file__).with_name("open_head.npz")

_SCALED = ("shapedirs", "expdirs", "posedirs")
"""Arrays kept as float16 in units of their own largest value per direction: small directions keep their digits."""


@functools.cache
def open_head() -> Head:
    """The default head, CC0: float32 tensors on the CPU. Cached, so do not write into it."""
    return read_open_head(OPEN_HEAD_FILE)


def read_open_head(path: Path) -> Head:
    """Read a file that ``tools/build_head.py`` wrote.

    The file holds directions and weights of the first vertices only; `parents` says between which two earlier vertices
    each further one lies, half way.
    """
    with np.load(path) as data:
        arrays: dict[str, Any] = {key: data[key] for key in data.files}
    for key in _SCALED:
        arrays[key] = arrays[key].astype(np.float32) * arrays.pop(f"{key}_scale")
    parents = arrays.pop("parents").astype(np.int64)
    weights = arrays["lbs_weights"].astype(np.float32)
    arrays["lbs_weights"] = weights / weights.sum(1, keepdims=True)
    for key in (*_SCALED, "lbs_weights", "regions"):
        arrays[key] = _append_midpoints(arrays[key].astype(np.float32), parents)
    arrays["posedirs"] = np.ascontiguousarray(arrays["posedirs"].transpose(2, 0, 1)).reshape(36, -1)
    arrays["J_regressor"] = np.pad(arrays["J_regressor"], ((0, 0), (0, len(parents))))
    tensors: dict[str, Any] = {}
    for key in Head.__dataclass_fields__:
        if key in ("unit_names", "region_names", "jaw_open", "name"):
            continue
        value = arrays[key]
        floating = np.issubdtype(value.dtype, np.floating)
        tensors[key] = torch.from_numpy(value.astype(np.float32 if floating else np.int64))
    names: dict[str, Any] = {
        key: tuple(str(name) for name in arrays[key]) for key in ("unit_names", "region_names")
    }
    return Head(**tensors, **names, jaw_open=float(arrays["jaw_open"]), name="the open head")


def _append_midpoints(values: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Append the mean of each pair of rows; a pair may name rows that earlier pairs appended."""
    while len(parents):
        late = parents.max(1) >= len(values)
        ready = int(late.argmax()) if late.any() else len(parents)
        values = np.concatenate([values, 0.5 * (values[parents[:ready, 0]] + values[parents[:ready, 1]])])
        parents = parents[ready:]
    return values


def save_open_head(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the file that :func:`read_open_head` reads (atomically).

    Args:
        path: where to.
        arrays: the fields of Head as numpy arrays, with posedirs as [V, 3, 36], and `parents` [M, 2]. Directions,
            weights and regressor hold the first V vertices, all others V + M.
    """
    stored: dict[str, np.ndarray] = {}
    for key, value in arrays.items():
        if key in _SCALED:
            scale = np.abs(value).max((0, 1))
            scale[scale == 0] = 1
            stored[key] = (value / scale).astype(np.float16)
            stored[f"{key}_scale"] = scale.astype(np.float32)
        elif key in ("faces", "faces_uv", "landmark_faces", "parents"):
            stored[key] = value.astype(np.uint16)
        elif key in ("vertex_part", "face_part"):
            stored[key] = value.astype(np.uint8)
        elif key in ("lbs_weights", "regions"):
            stored[key] = value.astype(np.float16)
        elif np.issubdtype(value.dtype, np.floating):
            stored[key] = value.astype(np.float32)
        else:
            stored[key] = value
    write_npz(path, stored)
