"""Content hashes: what a subject, a portrait and a motion are known by."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from perse.dataset.records import Motion, Portrait, camera_to_json, to_uint8
from perse.head import Head


def file_digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def subject_digest(value: dict[str, Any]) -> str:
    """sha256 over what subject.json says, its files' hashes included and its own content hash left out."""
    rest = {name: entry for name, entry in value.items() if name != "content"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def portrait_digest(portrait: Portrait) -> str:
    """sha256 over a portrait as it is saved; a portrait and its reloaded copy have the same."""
    arrays = [
        to_uint8(portrait.image).numpy(),
        to_uint8(portrait.alpha).numpy(),
        portrait.segmentation.detach().cpu().numpy().astype(np.float16),
        *(
            t.detach().cpu().numpy()
            for t in (portrait.landmarks, portrait.betas, portrait.expr, portrait.pose)
        ),
    ]
    return _digest(arrays, {"name": portrait.name, "camera": camera_to_json(portrait.camera)})


def motion_digest(motion: Motion) -> str:
    """sha256 over a motion."""
    tensors = [motion.expr, motion.pose, motion.train]
    if motion.viewmats is not None:
        tensors.append(motion.viewmats)
    arrays = [tensor.detach().cpu().numpy() for tensor in tensors]
    return _digest(arrays, {"fps": motion.fps, "source": motion.source})


def head_stamp(head: Head) -> dict[str, str]:
    """Name of a head and sha256 over its triangles and its template (rounded to 0.1 mm).

    Points name triangles by number and motions name expressions by number: they mean something on one head only.
    """
    template = np.round(head.v_template.detach().cpu().numpy().astype(np.float64) * 1e4).astype(np.int32)
    faces = head.faces.detach().cpu().numpy().astype(np.int64)
    return {"name": head.name, "sha256": _digest([template, faces], {})}


def _digest(arrays: list[np.ndarray], rest: dict[str, Any]) -> str:
    total = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for array in arrays:
        total.update(str((array.dtype.str, array.shape)).encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
