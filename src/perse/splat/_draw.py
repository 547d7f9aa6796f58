"""From batches to backends: what `rasterize` and `render` share."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from perse.splat import _gsplat, _native_backend, _reference
from perse.splat._channels import Layers
from perse.splat._checks import (
    batch_of,
    check_background,
    check_camera,
    check_memory,
    check_tensors,
    choose_backend,
    point_dims,
)
from perse.splat._details import Details
from perse.splat.camera import Camera
from perse.splat.gaussians import Gaussians
from perse.splat.options import RenderOptions

Tensors = dict[str, torch.Tensor]


@dataclass
class Job:
    """Everything that is drawn in one call."""

    tensors: Tensors
    """means, quats, scales, opacities, colors, viewmat, K, background, and extra if there is: each with leading batch
    dimensions of its own, all of one floating type."""
    batch: torch.Size
    """What the leading dimensions broadcast to."""
    size: tuple[int, int]
    """Width and height in pixels."""
    layers: Layers
    """What is blended."""
    backend: str
    """Who draws."""
    labels: torch.Tensor | None
    """[..., N] as the caller gave them."""

    @staticmethod
    def of(
        gaussians: Gaussians,
        camera: Camera,
        background: torch.Tensor | None,
        extra: torch.Tensor | None,
        labels: torch.Tensor | None = None,
        *,
        backend: str,
        depth: bool = False,
        normals: bool = False,
    ) -> Job:
        """Check the inputs and collect them, in the type in which the backend computes."""
        given: Tensors = {
            "means": gaussians.means,
            "quats": gaussians.quats,
            "scales": gaussians.scales,
            "opacities": gaussians.opacities,
            "colors": gaussians.colors,
            "viewmat": camera.viewmat,
            "K": camera.K,
        }
        optional = {"background": background, "extra": extra, "labels": labels}
        given |= {name: tensor for name, tensor in optional.items() if tensor is not None}
        check_tensors(given)
        backend = choose_backend(backend, given["means"].device)
        check_camera(camera)
        given.setdefault("background", given["colors"].new_zeros(3))
        check_background(given["background"])

        batch = batch_of(
            {name: tensor.shape[: tensor.dim() - point_dims(name)] for name, tensor in given.items()}
        )
        layers = Layers(0 if extra is None else extra.shape[-1], depth, normals)
        check_memory(batch.numel(), camera, layers.count, len(gaussians), given["means"].device)
        double = backend == "torch" and any(tensor.dtype == torch.float64 for tensor in given.values())
        dtype = torch.float64 if double else torch.float32
        tensors = {name: tensor.to(dtype) for name, tensor in given.items() if name != "labels"}
        return Job(tensors, batch, (camera.width, camera.height), layers, backend, labels)

    @property
    def needs_gradient(self) -> bool:
        """Whether anything here is differentiated."""
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self.tensors.values())


def draw(
    job: Job, options: RenderOptions, details: Details | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw every image of a job -> image [*batch, H, W, C], alpha [*batch, H, W]; fills in details.

    A background that has fewer than C values goes on with zeros.
    """
    draw_all = _draw_together if job.backend == "gsplat" else _draw_each
    image, alpha = draw_all(job, options, details)
    if not job.batch:
        return image[0], alpha[0]
    return image.unflatten(0, job.batch), alpha.unflatten(0, job.batch)


def _draw_each(
    job: Job, options: RenderOptions, details: Details | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """One image after another -> [B, H, W, C], [B, H, W]. Nothing is expanded to the batch."""
    render = _native_backend.render if job.backend == "native" else _reference.render
    images = job.batch.numel()
    columns = {name: _unbatch(tensor, point_dims(name), job.batch) for name, tensor in job.tensors.items()}
    rows = [None] * images if details is None else details.unbatched(job.batch)
    drawn = []
    for b in range(images):
        one = {name: column[b] for name, column in columns.items()}
        drawn.append(render(*_arguments(job, one), options=options, details=rows[b]))
    if len(drawn) == 1:  # no copy
        return drawn[0][0][None], drawn[0][1][None]
    if not drawn:
        image = job.tensors["means"].new_zeros(0, job.size[1], job.size[0], job.layers.count)
        return image, image[..., 0]
    return torch.stack([image for image, _ in drawn]), torch.stack([alpha for _, alpha in drawn])


def _draw_together(
    job: Job, options: RenderOptions, details: Details | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """All images in one call of gsplat -> [B, H, W, C], [B, H, W]. What all images share stays one, with B = 1."""
    images = job.batch.numel()
    per_image = ("viewmat", "K", "background")
    flat = {}
    for name, tensor in job.tensors.items():
        point = tensor.shape[tensor.dim() - point_dims(name) :]
        shared = name not in per_image and tensor.dim() == len(point)
        flat[name] = tensor[None] if shared else tensor.expand(*job.batch, *point).reshape(images, *point)
    flattened = None if details is None else details.flattened(job.batch)
    return _gsplat.render(*_arguments(job, flat), options=options, details=flattened)


def _arguments(job: Job, tensors: Tensors) -> tuple:
    """The positional arguments of a backend's `render`, for tensors of one image or of a flat batch."""
    background = tensors["background"]
    background = torch.nn.functional.pad(background, (0, job.layers.count - background.shape[-1]))
    geometry = (tensors[name] for name in ("means", "quats", "scales", "opacities"))
    return *geometry, job.layers.stack(tensors), tensors["viewmat"], tensors["K"], *job.size, background


def _unbatch(tensor: torch.Tensor, dims: int, batch: torch.Size) -> list[torch.Tensor]:
    """One tensor for each batch entry, without copies; entries that broadcasting repeats share one view."""
    lead = tensor.shape[: tensor.dim() - dims]
    if not lead:
        return [tensor] * batch.numel()
    views = tensor.reshape(lead.numel(), *tensor.shape[-dims:]).unbind(0)
    which = torch.arange(len(views)).reshape(lead).expand(batch).flatten().tolist()
    return [views[index] for index in which]
