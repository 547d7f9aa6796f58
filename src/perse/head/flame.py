"""Loading FLAME (2020, 2023, Open) from a user's own files, with nothing of theirs executed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perse.errors import PerseError

from .model import PARTS, Head
from .safe_pickle import MAX_BYTES, read_arrays
from .skinning import PARENTS

N_SHAPE, N_EXPR = 100, 50
FLAME_SHAPE = 300
"""Where expression directions begin in the released shapedirs [V, 3, 400]."""

MASK_REGIONS = {"lips": ("lips",), "ears": ("left_ear", "right_ear")}
"""Our soft regions out of the vertex masks of the release."""


def load_flame(
    path: str | Path, landmarks: str | Path | None = None, masks: str | Path | None = None
) -> Head:
    """Load a FLAME model as a Head: first 100 shape and first 50 expression directions, neck joint at the origin.

    Args:
        path: the model, ``.pkl`` (as released; read without executing anything in it), ``.npz`` or ``.safetensors``
            with v_template [V, 3], shapedirs [V, 3, 400 or 150] (or >= 100, and expdirs [V, 3, >= 50]),
            posedirs [V, 3, 36], J_regressor [5, V], weights [V, 5], f [F, 3] and, if present, kintree_table [2, 5].
        landmarks: an ``.npz`` that says where the 478 landmarker points lie: landmark_faces [478] and
            landmark_bary [478, 3]; or the release's mediapipe_landmark_embedding.npz with its 105 points, from which
            the others are placed by warping the open head onto this one. Without it the head has no landmarks.
        masks: FLAME_masks.pkl of the release (vertex lists by name), for the regions lips and ears.

    Returns:
        Head of float32 tensors. Eyeballs are told by their skinning weights; there are no teeth, tongue or lashes, no
        texture coordinates and no named face units.

    Raises:
        PerseError: a file is missing, unreadable, refused, or not FLAME-shaped.
    """
    path = Path(path)
    arrays = _read(path)
    v_template = _get(arrays, path, ("v_template",), (None, 3))
    n = len(v_template)
    shapedirs, expdirs = _directions(arrays, path, n)
    posedirs = _get(arrays, path, ("posedirs",), (n, 3, 36))
    regressor = _get(arrays, path, ("J_regressor",), (5, n))
    weights = _get(arrays, path, ("weights", "lbs_weights"), (n, 5))
    faces = _get(arrays, path, ("f", "faces"), (None, 3)).astype(np.int64)
    _check(arrays, path, n, faces, regressor, weights)
    v_template = v_template - (regressor @ v_template)[1]
    vertex_part = np.full(n, PARTS.index("skin"))
    for joint, part in ((3, "left_eye"), (4, "right_eye")):
        vertex_part[weights[:, joint] > 0.99] = PARTS.index(part)
    face_part = np.where(
        (vertex_part[faces] == vertex_part[faces[:, :1]]).all(1), vertex_part[faces[:, 0]], 1
    )
    names, regions = _regions(Path(masks), n) if masks is not None else ((), None)
    head = Head(
        v_template=_float(v_template),
        shapedirs=_float(shapedirs),
        expdirs=_float(expdirs),
        posedirs=_float(posedirs.reshape(-1, 36).T),
        J_regressor=_float(regressor),
        lbs_weights=_float(weights / weights.sum(1, keepdims=True)),
        faces=torch.from_numpy(faces),
        uv=torch.zeros(0, 2),
        faces_uv=torch.zeros(0, 3, dtype=torch.int64),
        vertex_part=torch.from_numpy(vertex_part),
        face_part=torch.from_numpy(face_part),
        landmark_faces=torch.zeros(0, dtype=torch.int64),
        landmark_bary=torch.zeros(0, 3),
        region_names=names,
        regions=regions,
        name=f"the head of {path.name}",
    )
    if landmarks is None:
        return head
    from .landmarks import read_embedding

    return read_embedding(head, Path(landmarks))


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _read(path: Path) -> dict[str, Any]:
    """The arrays of a .pkl, .npz or .safetensors file."""
    if not path.is_file():
        raise PerseError(f"there is no head model at {path}.")
    if path.suffix == ".pkl":
        return read_arrays(path)
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if path.stat().st_size > MAX_BYTES:
            raise PerseError(f"{path} is larger than {MAX_BYTES >> 20} MiB; that is not a head model.")
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise PerseError(f"{path} is not a readable .safetensors file ({error}).") from None
    raise PerseError(
        f"{path} is not a head model this program reads: give a .pkl, .npz or .safetensors file."
    )


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an untrusted .npz: no pickles, unpacked size bounded.

    Raises:
        PerseError: missing, damaged, too large, or with Python objects inside.
    """
    if not path.is_file():
        raise PerseError(f"there is no file {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise PerseError(
                f"{path} unpacks to {size >> 20} MiB; more than {MAX_BYTES >> 20} MiB is refused."
            )
        with np.load(path, allow_pickle=False) as data:
            return {key: data[key] for key in data.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise PerseError(f"{path} is not a readable .npz of plain arrays ({error}).") from None


def _get(
    arrays: dict[str, Any], path: Path, names: tuple[str, ...], shape: tuple[int | None, ...]
) -> np.ndarray:
    """One array under one of its names, checked against a shape (None: any size)."""
    for name in names:
        if name not in arrays:
            continue
        value = np.asarray(arrays[name])
        fits = value.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, value.shape)
        )
        if not fits or value.dtype.kind not in "iuf":
            wanted = " x ".join("any" if want is None else str(want) for want in shape)
            raise PerseError(
                f"{path}: {name} has shape {value.shape}, not {wanted}; this is not a FLAME model."
            )
        return value.astype(np.float64)
    raise PerseError(
        f"{path} holds no {names[0]}; this is not a FLAME model. It holds: {', '.join(sorted(arrays))}."
    )


def _directions(arrays: dict[str, Any], path: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """shapedirs [V, 3, 100] and expdirs [V, 3, 50]."""
    both = _get(arrays, path, ("shapedirs",), (n, 3, None))
    if "expdirs" in arrays:
        expression = _get(arrays, path, ("expdirs",), (n, 3, None))
        if both.shape[2] >= N_SHAPE and expression.shape[2] >= N_EXPR:
            return both[..., :N_SHAPE], expression[..., :N_EXPR]
    elif both.shape[2] >= FLAME_SHAPE + N_EXPR:
        return both[..., :N_SHAPE], both[..., FLAME_SHAPE : FLAME_SHAPE + N_EXPR]
    elif both.shape[2] == N_SHAPE + N_EXPR:
        return both[..., :N_SHAPE], both[..., N_SHAPE:]
    raise PerseError(
        f"{path}: shapedirs has {both.shape[2]} directions; needed are 300 shape + 100 expression as released, "
        "or 100 + 50, or an expdirs array beside it."
    )


def _check(
    arrays: dict[str, Any], path: Path, n: int, faces: np.ndarray, regressor: np.ndarray, weights: np.ndarray
):
    """Refuse what would later fail in strange ways."""
    if faces.size == 0 or faces.min() < 0 or faces.max() >= n:
        raise PerseError(f"{path}: triangles name vertices outside 0..{n - 1}.")
    if np.abs(regressor.sum(1) - 1).max() > 1e-2 or np.abs(weights.sum(1) - 1).max() > 1e-2:
        raise PerseError(f"{path}: the rows of J_regressor and weights must sum to 1.")
    if "kintree_table" in arrays:
        parents = np.asarray(arrays["kintree_table"])[0].astype(np.int64)
        parents[0] = -1
        if tuple(parents.tolist()) != PARENTS:
            raise PerseError(f"{path}: joint parents are {parents.tolist()}, FLAME's are {list(PARENTS)}.")
    if not all(np.isfinite(np.asarray(arrays[key])).all() for key in ("v_template", "shapedirs", "posedirs")):
        raise PerseError(f"{path} holds numbers that are not finite.")


def _regions(path: Path, n: int) -> tuple[tuple[str, ...], Tensor]:
    """Soft regions [V, regions] out of the vertex lists of FLAME_masks.pkl."""
    if not path.is_file():
        raise PerseError(f"there is no masks file at {path}.")
    masks = read_arrays(path) if path.suffix == ".pkl" else read_npz(path)
    columns = []
    for name, sources in MASK_REGIONS.items():
        column = np.zeros(n, np.float32)
        for source in sources:
            if source not in masks:
                raise PerseError(f"{path} holds no mask {source!r}; it holds: {', '.join(sorted(masks))}.")
            index = np.asarray(masks[source]).astype(np.int64).ravel()
            if index.size and (index.min() < 0 or index.max() >= n):
                raise PerseError(f"{path}: mask {source!r} names vertices outside 0..{n - 1} ({name}).")
            column[index] = 1
        columns.append(column)
    return tuple(MASK_REGIONS), torch.from_numpy(np.stack(columns, 1))
