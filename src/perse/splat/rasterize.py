"""Drawing Gaussians: one function, the same numbers from every backend."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from perse.splat import _gsplat, _native_backend, _reference
from perse.splat.camera import Camera
from perse.splat.gaussians import Gaussians

BACKENDS = ("auto", "native", "torch", "gsplat")
MAX_SIDE = 16384  # pixels
MAX_GAUSSIANS = 2**27


def rasterize(
    gaussians: Gaussians,
    camera: Camera,
    background: torch.Tensor | None = None,
    extra: torch.Tensor | None = None,
    *,
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw Gaussians: `-> image [..., H, W, 3 + C], alpha [..., H, W]`.

    The leading dimensions of every Gaussian tensor, of the camera, of `extra` and of `background` broadcast against
    one another, so sets x cameras are one call. `extra` [..., N, C] adds channels that are blended as colours are
    (labels, depth, normals). `background` is [..., 3], [..., 3 + C] or None for black; the extra channels of a
    three-channel background are zero. Differentiable once in everything.

    `backend`: "native" (CPU, float32), "torch" (dense reference, any device and precision, slow), "gsplat" (CUDA),
    or "auto": gsplat for CUDA tensors, native otherwise. They agree but for pixels on one of the thresholds:
    Gaussians nearer than 1 cm are dropped, 0.3 square pixels of blur are added, alpha is clamped at 0.999, alpha
    below 1/255 is skipped, a pixel is finished before its transmittance falls to 1e-4. Gaussians that hold a
    non-finite number are dropped.

    Raises ValueError for shapes that do not fit, and TypeError for tensors that are not floating point.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
    if backend == "auto":
        backend = "gsplat" if gaussians.means.is_cuda else "native"
    _check(gaussians, camera, background, extra)
    channels = _join_channels(gaussians.colors, extra)  # [..., N, 3 + C]
    background = _full_background(background, channels)  # [..., 3 + C]
    named = {
        "means": (gaussians.means, 2),
        "quats": (gaussians.quats, 2),
        "scales": (gaussians.scales, 2),
        "opacities": (gaussians.opacities, 1),
        "channels": (channels, 2),
        "viewmat": (camera.viewmat, 2),
        "K": (camera.K, 2),
        "background": (background, 1),
    }
    batch = _batch_shape(named)
    size = (camera.width, camera.height)
    if backend == "gsplat":
        image, alpha = _render_together(_gsplat.render, named, batch, size)
    else:
        render = _native_backend.render if backend == "native" else _reference.render
        image, alpha = _render_each(render, named, batch, size)
    return image.unflatten(0, batch) if batch else image[0], alpha.unflatten(0, batch) if batch else alpha[0]


Tensors = dict[str, tuple[torch.Tensor, int]]  # name -> tensor, and how many of its dimensions are not batch
Render = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def _render_each(
    render: Render, named: Tensors, batch: torch.Size, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Call `render` once for each image of the batch -> [B, H, W, 3 + C], [B, H, W]."""
    columns = {name: _unbatch(tensor, dims, batch) for name, (tensor, dims) in named.items()}
    drawn = [
        render(**{name: column[b] for name, column in columns.items()}, width=size[0], height=size[1])
        for b in range(batch.numel())
    ]
    if len(drawn) == 1:  # no copy
        return drawn[0][0][None], drawn[0][1][None]
    if not drawn:
        channels = named["channels"][0]
        image = channels.new_zeros(0, size[1], size[0], channels.shape[-1])
        return image, image[..., 0]
    return torch.stack([image for image, _ in drawn]), torch.stack([alpha for _, alpha in drawn])


def _render_together(
    render: Render, named: Tensors, batch: torch.Size, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Call `render` once with every tensor expanded to [B, ...]."""
    expanded = {
        name: tensor.expand(*batch, *tensor.shape[-dims:]).reshape(batch.numel(), *tensor.shape[-dims:])
        for name, (tensor, dims) in named.items()
    }
    return render(**expanded, width=size[0], height=size[1])


def _unbatch(tensor: torch.Tensor, dims: int, batch: torch.Size) -> list[torch.Tensor]:
    """One tensor for each batch entry, without copies; entries that broadcasting repeats share one view."""
    lead = tensor.shape[:-dims]
    if not lead:
        return [tensor] * batch.numel()
    views = tensor.reshape(lead.numel(), *tensor.shape[-dims:]).unbind(0)
    which = torch.arange(len(views)).reshape(lead).expand(batch).flatten().tolist()
    return [views[index] for index in which]


def _join_channels(colors: torch.Tensor, extra: torch.Tensor | None) -> torch.Tensor:
    if extra is None:
        return colors
    batch = torch.broadcast_shapes(colors.shape[:-2], extra.shape[:-2])
    return torch.cat([tensor.expand(*batch, *tensor.shape[-2:]) for tensor in (colors, extra)], dim=-1)


def _full_background(background: torch.Tensor | None, channels: torch.Tensor) -> torch.Tensor:
    """The background with one value for each channel [..., 3 + C]."""
    count = channels.shape[-1]
    if background is None:
        return channels.new_zeros(count)
    if background.shape[-1] not in (3, count):
        raise ValueError(f"background must end in [3] or [{count}], not {list(background.shape)}")
    return torch.nn.functional.pad(background, (0, count - background.shape[-1]))


def _batch_shape(named: Tensors) -> torch.Size:
    try:
        return torch.broadcast_shapes(*(tensor.shape[:-dims] for tensor, dims in named.values()))
    except RuntimeError:
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, (tensor, _) in named.items())
        raise ValueError(f"the leading dimensions do not broadcast: {shapes}") from None


def _check(
    gaussians: Gaussians, camera: Camera, background: torch.Tensor | None, extra: torch.Tensor | None
) -> None:
    """Refuse what no backend could draw, with a message that names the argument."""
    count = len(gaussians)
    expected = {
        "means": (gaussians.means, (count, 3)),
        "quats": (gaussians.quats, (count, 4)),
        "scales": (gaussians.scales, (count, 3)),
        "opacities": (gaussians.opacities, (count,)),
        "colors": (gaussians.colors, (count, 3)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor.shape[-len(shape) :] != shape:
            raise ValueError(f"{name} must end in {list(shape)}, not {list(tensor.shape)}")
    if extra is not None and (extra.dim() < 2 or extra.shape[-2] != count):
        raise ValueError(f"extra must end in [{count}, C], not {list(extra.shape)}")
    if camera.width > MAX_SIDE or camera.height > MAX_SIDE:
        raise ValueError(f"image {camera.width} x {camera.height}: at most {MAX_SIDE} pixels a side")
    if count > MAX_GAUSSIANS:
        raise ValueError(f"{count} Gaussians: at most {MAX_GAUSSIANS} in one image")

    tensors: dict[str, torch.Tensor | None] = {name: tensor for name, (tensor, _) in expected.items()}
    tensors |= {"viewmat": camera.viewmat, "K": camera.K, "background": background, "extra": extra}
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    for name, tensor in given.items():
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, not {tensor.dtype}")
        if tensor.device != gaussians.means.device:
            raise ValueError(f"{name} is on {tensor.device} but means are on {gaussians.means.device}")
    _check_camera(camera)


def _check_camera(camera: Camera) -> None:
    """Refuse cameras that would draw nothing, or something else than they say. On a GPU the look would cost more."""
    if camera.K.device.type != "cpu":
        return
    if not torch.isfinite(camera.viewmat).all():
        raise ValueError("viewmat holds values that are not finite numbers")
    for fx, skew, cx, _, fy, cy, *_ in camera.K.detach().reshape(-1, 9).tolist():
        if not (0 < fx < math.inf and 0 < fy < math.inf and math.isfinite(cx) and math.isfinite(cy)):
            raise ValueError(
                f"K needs positive focal lengths and a finite centre, not {fx}, {fy} and {cx}, {cy}"
            )
        if skew:
            raise ValueError(f"K has skew {skew}, which no backend draws")
