"""Gaussians in the .ply layout of 3D Gaussian Splatting, which viewers and engines read.

One binary record of floats for each Gaussian: x y z, [nx ny nz], f_dc_0..2 (colour = 0.5 + C0 f_dc), [f_rest_*],
opacity (logit), scale_0..2 (log), rot_0..3 (wxyz). Viewers of such files expect y down, PERSE has y up, so by default
files are turned by 180 degrees about x on the way out and on the way in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from perse._files import write_atomic
from perse.errors import PerseError
from perse.splat.gaussians import Gaussians

SH_C0 = 0.28209479177387814  # the constant spherical harmonic
MAX_HEADER_BYTES = 65536
MAX_GAUSSIANS = 20_000_000  # about 5 GB with all spherical harmonics
OPACITY_MARGIN = 1e-6  # opacities are kept this far from 0 and 1, where the logit is infinite
SMALLEST_SCALE = 1e-12  # metres

REQUIRED = (
    *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
NUMPY_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}


def save_ply(
    path: str | os.PathLike[str],
    gaussians: Gaussians,
    *,
    sh_degree: int = 0,
    y_down: bool = True,
    extra: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write unbatched Gaussians to `path`; the file appears whole or not at all.

    `sh_degree` 1 to 3 adds zero coefficients for readers that insist on them. `y_down` turns the set as viewers
    expect; pass False to keep PERSE's frame. Opacities are kept 1e-6 away from 0 and 1. `extra` adds properties by
    name, [N] each, kept as float32.
    """
    if gaussians.means.dim() != 2:
        raise ValueError(f"save_ply writes one set [N, ...], not a batch {list(gaussians.means.shape)}")
    if not 0 <= sh_degree <= 3:
        raise ValueError(f"sh_degree must be 0 to 3, not {sh_degree}")
    stored = gaussians.detach().to(device="cpu", dtype=torch.float32)
    means, quats = _turned(stored.means, stored.quats) if y_down else (stored.means, stored.quats)
    count = len(gaussians)
    rest = 3 * ((sh_degree + 1) ** 2 - 1)
    columns = {
        **dict(zip("xyz", means.unbind(-1), strict=True)),
        **{name: torch.zeros(count) for name in ("nx", "ny", "nz")},
        **_numbered("f_dc", (stored.colors - 0.5) / SH_C0),
        **_numbered("f_rest", torch.zeros(count, rest)),
        "opacity": torch.logit(stored.opacities, eps=OPACITY_MARGIN),
        **_numbered("scale", stored.scales.clamp(min=SMALLEST_SCALE).log()),
        **_numbered("rot", torch.nn.functional.normalize(quats, dim=-1)),
        **{name: values.detach().cpu().float() for name, values in (extra or {}).items()},
    }
    table = torch.stack(list(columns.values()), dim=-1).numpy().astype("<f4")  # [N, columns]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    header += [f"property float {name}" for name in columns]
    header += ["end_header", ""]
    _write_whole(Path(path), "\n".join(header).encode("ascii") + table.tobytes())


def load_ply(path: str | os.PathLike[str], *, y_down: bool = True) -> Gaussians:
    """Read a 3DGS .ply file -> Gaussians with N entries (float32, CPU).

    View-dependent colour (f_rest_*) and other extra properties are ignored. `y_down` says which way the file is,
    as in `save_ply`. Raises PerseError for anything that is not a whole, finite file of this layout.
    """
    path = Path(path)
    table = _read_table(path)

    def columns(*names: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([table[name].astype(np.float32) for name in names], axis=-1))

    means, quats = columns("x", "y", "z"), columns("rot_0", "rot_1", "rot_2", "rot_3")
    if y_down:
        means, quats = _turned(means, -quats)
    gaussians = Gaussians(
        means=means,
        quats=torch.nn.functional.normalize(quats, dim=-1),
        scales=columns("scale_0", "scale_1", "scale_2").exp(),
        opacities=torch.sigmoid(columns("opacity")[:, 0]),
        colors=(0.5 + SH_C0 * columns("f_dc_0", "f_dc_1", "f_dc_2")).clamp(min=0.0),
    )
    for name in ("means", "quats", "scales", "opacities", "colors"):
        if not torch.isfinite(getattr(gaussians, name)).all():
            raise PerseError(f"{path}: holds values of {name} that are not finite numbers")
    return gaussians


def load_ply_properties(path: str | os.PathLike[str], *names: str) -> torch.Tensor:
    """Further properties of a 3DGS .ply file: [N, names] float32. PerseError if the file has no such property."""
    path = Path(path)
    table = _read_table(path)
    missing = [name for name in names if name not in (table.dtype.names or ())]
    if missing:
        raise PerseError(f"{path}: the properties {', '.join(missing)} are missing")
    return torch.from_numpy(np.stack([table[name].astype(np.float32) for name in names], axis=-1))


def _read_table(path: Path) -> np.ndarray:
    """All records; PerseError for anything that is not a whole file of this layout."""
    try:
        with path.open("rb") as file:
            record, count = _read_header(file, path)
            size = os.fstat(file.fileno()).st_size - file.tell()
            if size < count * record.itemsize:
                raise PerseError(
                    f"{path}: cut short: {count} Gaussians need {count * record.itemsize} bytes, {size} are there"
                )
            return np.frombuffer(file.read(count * record.itemsize), dtype=record)
    except OSError as error:
        raise PerseError(f"{path}: cannot be read ({error.strerror})") from error


def _turned(means: torch.Tensor, quats: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn a set by 180 degrees about x: means [N, 3], quats [N, 4] wxyz. Twice gives -quats, the same rotation."""
    w, x, y, z = quats.unbind(-1)
    return means * means.new_tensor([1.0, -1.0, -1.0]), torch.stack([-x, w, -z, y], dim=-1)


def _numbered(name: str, values: torch.Tensor) -> dict[str, torch.Tensor]:
    return {f"{name}_{index}": column for index, column in enumerate(values.unbind(-1))}


def _read_header(file: BinaryIO, path: Path) -> tuple[np.dtype, int]:
    """Read up to the first vertex -> the record's type and how many there are."""
    head = file.read(MAX_HEADER_BYTES)
    text, mark, _ = head.partition(b"end_header")
    newline = head.find(b"\n", len(text))
    if not head.startswith(b"ply") or not mark or newline < 0:
        raise PerseError(f"{path}: not a .ply file, or its header is longer than {MAX_HEADER_BYTES} bytes")
    file.seek(newline + 1)
    byte_order, elements = _parse_header(text.decode("ascii", errors="replace").splitlines(), path)
    if not elements or elements[0][0] != "vertex":
        raise PerseError(f"{path}: the first element is not 'vertex'; compressed .ply files cannot be read")
    _, count, properties = elements[0]
    if not 0 <= count <= MAX_GAUSSIANS:
        raise PerseError(f"{path}: {count} Gaussians; at most {MAX_GAUSSIANS} can be read")
    names = [name for name, _ in properties]
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise PerseError(f"{path}: not a file of Gaussians: the properties {', '.join(missing)} are missing")
    if len(set(names)) < len(names):
        raise PerseError(f"{path}: a vertex property is declared twice")
    return np.dtype([(name, byte_order + kind) for name, kind in properties]), count


Element = tuple[str, int, list[tuple[str, str]]]  # name, count, (property name, numpy type)


def _parse_header(lines: list[str], path: Path) -> tuple[str, list[Element]]:
    """Header lines -> byte order ('<' or '>') and the elements in order; only the first one's properties are read."""
    byte_order = ""
    elements: list[Element] = []
    for line in lines[1:]:
        match line.split():
            case ["format", name, *_]:
                if name not in BYTE_ORDERS:
                    raise PerseError(f"{path}: format {name} cannot be read; save the file as binary .ply")
                byte_order = BYTE_ORDERS[name]
            case ["element", name, number] if number.isdecimal() and len(number) < 12:
                elements.append((name, int(number), []))
            case ["property", kind, name] if kind in NUMPY_TYPES and elements:
                elements[-1][2].append((name, NUMPY_TYPES[kind]))
            case ["property", "list", *_] if len(elements) > 1:
                pass  # behind the vertices, so of no interest
            case ["comment" | "obj_info", *_] | []:
                pass
            case _:
                raise PerseError(f"{path}: header line {line[:80]!r} cannot be understood")
    if not byte_order:
        raise PerseError(f"{path}: the header names no format")
    return byte_order, elements


def _write_whole(path: Path, content: bytes) -> None:
    """Write aside, then rename."""
    try:
        write_atomic(path, lambda file: file.write(content))
    except OSError as error:
        raise PerseError(f"{path}: cannot be written ({error.strerror})") from error
