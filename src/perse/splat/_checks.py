"""Refusing what no backend could draw, with a message that names the argument."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import numpy as np
import torch

from perse.errors import PerseError
from perse.splat.camera import Camera

BACKENDS = ("auto", "native", "torch", "gsplat")
MAX_SIDE = 16384  # pixels
MAX_GAUSSIANS = 2**27
MIN_DETERMINANT = 1e-12  # of viewmat's upper left 3 x 3; that of a rotation is 1


def point_dims(name: str) -> int:
    """How many dimensions of an input are not batch."""
    return 1 if name in ("opacities", "background", "labels") else 2


def batch_of(leads: Mapping[str, torch.Size]) -> torch.Size:
    """What the leading dimensions of all inputs broadcast to."""
    try:
        return torch.Size(np.broadcast_shapes(*leads.values()))  # torch's first imports sympy: a second
    except ValueError:
        shapes = ", ".join(f"{name} {list(lead)}" for name, lead in leads.items() if lead)
        raise ValueError(f"the leading dimensions do not broadcast: {shapes}") from None


def choose_backend(backend: str, device: torch.device) -> str:
    """The backend that "auto" stands for; ValueError for an unknown name, or one that cannot draw there."""
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
    if backend == "auto":
        return "gsplat" if device.type == "cuda" else "native"
    if backend == "native" and device.type != "cpu":
        raise ValueError(f"backend 'native' draws CPU tensors, and these are on {device}")
    if backend == "gsplat" and device.type != "cuda":
        raise ValueError(
            "backend 'gsplat' needs CUDA tensors; move the Gaussians and the camera with .to('cuda')"
        )
    return backend


def check_tensors(given: Mapping[str, torch.Tensor]) -> None:
    """Kind, device and shape of every input, by name."""
    for name, tensor in given.items():
        _check_kind(name, tensor, like=given["means"])
    _check_shapes(given)


def check_background(background: torch.Tensor) -> None:
    """A background that is not finite would be the whole picture."""
    if not torch.isfinite(background).all():
        raise ValueError("background holds values that are not finite numbers")


def check_camera(camera: Camera) -> None:
    """Refuse cameras that would draw nothing, or something else than they say."""
    if camera.width > MAX_SIDE or camera.height > MAX_SIDE:
        raise ValueError(f"image {camera.width} x {camera.height}: at most {MAX_SIDE} pixels a side")
    _check_viewmats(camera.viewmat)
    _check_intrinsics(camera.K)


def _check_kind(name: str, tensor: object, like: object) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(tensor).__name__}")
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, not {tensor.layout}")
    if name == "labels":
        if tensor.is_floating_point() or tensor.is_complex():
            raise TypeError(f"labels must be integers, not {tensor.dtype}")
    elif not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, not {tensor.dtype}")
    if isinstance(like, torch.Tensor) and tensor.device != like.device:
        raise ValueError(f"{name} is on {tensor.device} but means are on {like.device}")


def _check_shapes(given: Mapping[str, torch.Tensor]) -> None:
    if given["means"].dim() < 2:
        raise ValueError(f"means must end in [N, 3], not {list(given['means'].shape)}")
    count = given["means"].shape[-2]
    if count > MAX_GAUSSIANS:
        raise ValueError(f"{count} Gaussians: at most {MAX_GAUSSIANS} in one image")
    ends = {
        "means": (count, 3),
        "quats": (count, 4),
        "scales": (count, 3),
        "opacities": (count,),
        "colors": (count, 3),
        "labels": (count,),
    }
    for name, tensor in given.items():
        end = ends.get(name)
        if end is not None and tensor.shape[-len(end) :] != end:
            raise ValueError(f"{name} must end in {list(end)}, not {list(tensor.shape)}")
    extra, background = given.get("extra"), given.get("background")
    if extra is not None and (extra.dim() < 2 or extra.shape[-2] != count):
        raise ValueError(f"extra must end in [{count}, C], not {list(extra.shape)}")
    sizes = sorted({3, 3 + (0 if extra is None else extra.shape[-1])})
    if background is not None and (background.dim() < 1 or background.shape[-1] not in sizes):
        expected = " or ".join(f"[{size}]" for size in sizes)
        raise ValueError(f"background must end in {expected}, not {list(background.shape)}")


def _check_viewmats(viewmat: torch.Tensor) -> None:
    """Any invertible affine map will do, a mirror or a change of units too."""
    rows = viewmat.detach().reshape(-1, 16)
    if not torch.isfinite(rows).all():
        raise ValueError("viewmat holds values that are not finite numbers")
    for m in rows.double().tolist():
        if m[12:] != [0.0, 0.0, 0.0, 1.0]:
            raise ValueError(
                f"viewmat must have the last row 0 0 0 1, not {' '.join(f'{x:g}' for x in m[12:])}"
            )
        determinant = (
            m[0] * (m[5] * m[10] - m[6] * m[9])
            - m[1] * (m[4] * m[10] - m[6] * m[8])
            + m[2] * (m[4] * m[9] - m[5] * m[8])
        )
        if not abs(determinant) > MIN_DETERMINANT:
            raise ValueError("viewmat cannot be inverted: it squeezes the world flat")


def _check_intrinsics(K: torch.Tensor) -> None:
    for fx, skew, cx, zero, fy, cy, *last in K.detach().reshape(-1, 9).tolist():
        if not (0 < fx < math.inf and 0 < fy < math.inf and math.isfinite(cx) and math.isfinite(cy)):
            raise ValueError(
                f"K needs positive focal lengths and a finite centre, not {fx}, {fy} and {cx}, {cy}"
            )
        if skew:
            raise ValueError(f"K has skew {skew}, which no backend draws")
        if [zero, *last] != [0.0, 0.0, 0.0, 1.0]:
            raise ValueError("K must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")


def check_memory(images: int, camera: Camera, channels: int, count: int, device: torch.device) -> None:
    """Raise PerseError if the results alone would not fit into the machine, before it begins to swap."""
    need = 4 * images * (camera.width * camera.height * (channels + 1) + count * channels)
    have = _memory(device)
    if have is not None and need > have:
        raise PerseError(
            f"drawing {images} image(s) of {camera.width} x {camera.height} pixels with {channels} channels would "
            f"take {need / 2**30:.1f} GiB, and this machine has {have / 2**30:.1f} GiB; draw smaller images, "
            "or fewer at once"
        )


def _memory(device: torch.device) -> int | None:
    """Bytes that the device has; None if the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
