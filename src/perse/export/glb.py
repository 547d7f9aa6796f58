"""The head mesh of an avatar with ARKit's blendshapes as morph targets, as a binary glTF 2.0 file."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from perse._files import write_atomic
from perse.avatar import Avatar, Look
from perse.head import arkit_names, arkit_to_motion, vertex_normals

FLOAT, UINT, UBYTE = 5126, 5125, 5121
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
STILL = 1e-6
"""Metres; a target whose largest movement is smaller is kept, but all of it is zero."""
NEAREST = 6
"""Gaussians that colour a vertex."""


def write_glb(avatar: Avatar, look: Look, path: str | Path) -> Path:
    """Write the mesh with the avatar's shape, coloured like a look, with a morph target for every ARKit name.

    Metres, y up, the face towards +z, as glTF wants. Targets are moves of vertices at 1; those of the jaw and of the
    eyes are straight, though joints turn them.
    """
    head = avatar.head
    betas = avatar.betas
    rest = head.rest_vertices(betas)
    source, uv, faces = _split_at_seams(head.faces, head.faces_uv, head.uv)
    names = arkit_names(head)
    targets = []
    for name in names:
        expr, pose = arkit_to_motion(head, {name: 1.0})
        targets.append((head.vertices(betas, expr, pose) - rest)[source])
    glb = _Glb()
    attributes = {
        "POSITION": glb.accessor(rest[source].numpy().astype("<f4"), "VEC3", bounds=True),
        "NORMAL": glb.accessor(vertex_normals(rest, head.faces)[source].numpy().astype("<f4"), "VEC3"),
        "TEXCOORD_0": glb.accessor(_flipped(uv).astype("<f4"), "VEC2"),
        "COLOR_0": glb.accessor(_colors(avatar, look, rest)[source.numpy()], "VEC4", normalized=True),
    }
    primitive = {
        "attributes": attributes,
        "indices": glb.accessor(faces.astype("<u4").reshape(-1), "SCALAR", target=ELEMENT_ARRAY_BUFFER),
        "material": 0,
        "targets": [
            {"POSITION": glb.accessor(_still(t).numpy().astype("<f4"), "VEC3", bounds=True)} for t in targets
        ],
    }
    document = {
        "asset": {"version": "2.0", "generator": "PERSE"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "head"}],
        "meshes": [
            {
                "name": "head",
                "primitives": [primitive],
                "weights": [0.0] * len(names),
                "extras": {"targetNames": list(names)},
            }
        ],
        "materials": [
            {
                "name": "skin",
                "doubleSided": True,
                "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7},
            }
        ],
    }
    content = glb.pack(document)
    write_atomic(Path(path), lambda file: file.write(content))
    return Path(path)


class _Glb:
    """Arrays one after the other in the binary chunk of a file."""

    def __init__(self) -> None:
        self._accessors: list[dict[str, Any]] = []
        self._views: list[dict[str, Any]] = []
        self._body = bytearray()

    def accessor(
        self,
        values: np.ndarray,
        kind: str,
        *,
        bounds: bool = False,
        normalized: bool = False,
        target: int = ARRAY_BUFFER,
    ) -> int:
        """Append an array; its number."""
        block = np.ascontiguousarray(values).tobytes()
        self._views.append(
            {"buffer": 0, "byteOffset": len(self._body), "byteLength": len(block), "target": target}
        )
        self._body += block + b"\0" * (-len(block) % 4)
        component = {"f": FLOAT, "u": UINT if values.dtype.itemsize == 4 else UBYTE}[values.dtype.kind]
        entry: dict[str, Any] = {
            "bufferView": len(self._views) - 1,
            "componentType": component,
            "count": len(values),
            "type": kind,
        }
        if normalized:
            entry["normalized"] = True
        if bounds:
            entry |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        self._accessors.append(entry)
        return len(self._accessors) - 1

    def pack(self, document: dict[str, Any]) -> bytes:
        """The whole file."""
        document = {
            **document,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._body)}],
        }
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        size = 12 + 8 + len(text) + 8 + len(self._body)
        head = struct.pack("<4sII", b"glTF", 2, size) + struct.pack("<I4s", len(text), b"JSON")
        return head + text + struct.pack("<I4s", len(self._body), b"BIN\0") + bytes(self._body)


def _split_at_seams(faces: Tensor, faces_uv: Tensor, uv: Tensor) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """One vertex for every pair of a corner and its texture place: source [N], uv [N, 2], faces [F, 3]."""
    pairs = torch.stack([faces.reshape(-1), faces_uv.reshape(-1)], 1).cpu().numpy()
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return torch.from_numpy(unique[:, 0]), uv.cpu().numpy()[unique[:, 1]], inverse.reshape(-1, 3)


def _flipped(uv: np.ndarray) -> np.ndarray:
    """glTF counts v from above."""
    return np.stack([uv[:, 0], 1 - uv[:, 1]], 1)


def _still(target: Tensor) -> Tensor:
    return torch.zeros_like(target) if float(target.abs().max()) < STILL else target


def _colors(avatar: Avatar, look: Look, vertices: Tensor) -> np.ndarray:
    """Linear RGBA [V, 4] uint8: what the head's own Gaussians near every vertex show."""
    canonical = avatar.canonical(look)
    base = canonical.layers.get("base", slice(0, len(canonical)))
    colors = canonical.colors[base].sigmoid().cpu().numpy()
    opacity = canonical.opacity[base].sigmoid().cpu().numpy()
    points = canonical.means[base].cpu().numpy()
    seen = opacity > 0.3
    if not seen.any():
        seen = np.ones_like(seen)
    count = min(NEAREST, int(seen.sum()))
    distance, near = cKDTree(points[seen]).query(vertices.numpy(), k=count)
    distance, near = distance.reshape(-1, count), near.reshape(-1, count)
    weight = opacity[seen][near] / (distance + 1e-3)
    weight /= weight.sum(1, keepdims=True)
    srgb = (weight[..., None] * colors[seen][near]).sum(1)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    rgba = np.concatenate([linear, np.ones((len(linear), 1))], 1)
    return (rgba * 255 + 0.5).clip(0, 255).astype(np.uint8)
