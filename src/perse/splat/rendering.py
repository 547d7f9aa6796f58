"""Drawing Gaussians, with all that one may want to know of the picture."""

from __future__ import annotations

from typing import Any

import torch

from perse.splat._channels import camera_depths
from perse.splat._details import Details
from perse.splat._draw import Job, draw
from perse.splat.camera import Camera
from perse.splat.gaussians import Gaussians
from perse.splat.options import DEFAULTS, RenderOptions

MIN_ALPHA = 1e-10  # gsplat divides accumulated depth by at least this
SHORTEST_NORMAL = 1e-6  # blended normals shorter than this cancel one another, and have no direction


class Rendering:
    """What :func:`render` drew. Reading a field that was not asked for raises AttributeError."""

    image: torch.Tensor
    """Colours over the background [..., H, W, 3]."""
    alpha: torch.Tensor
    """How much of each pixel the Gaussians cover [..., H, W], 0 to 1."""
    extra: torch.Tensor
    """The caller's own channels, blended [..., H, W, C]."""
    depth: torch.Tensor
    """Expected depth [..., H, W]: blended z in the camera's frame over alpha, metres; 0 where nothing is drawn."""
    median_depth: torch.Tensor
    """z of the Gaussian at which transmittance falls to one half [..., H, W], metres; 0 where it never does."""
    median_id: torch.Tensor
    """Which Gaussian that is [..., H, W] int32; -1 for none."""
    normals: torch.Tensor
    """Unit normals in the world's frame [..., H, W, 3]: each Gaussian's shortest axis turned to the camera; 0: none."""
    labels: torch.Tensor
    """The label that most of the pixel shows [..., H, W] uint8; 0 where most of it is background."""
    means2d: torch.Tensor
    """Centres in pixels [..., N, 2], 0 where radii is. After a backward pass its `.grad` holds the loss's gradient with
    respect to them: what density control thresholds. It adds up over passes, and over nothing else: it says how the
    loss changes as the Gaussian slides across the image with its shape, depth and colour kept."""
    radii: torch.Tensor
    """Pixels from the centre to where alpha falls below 1/255, along x or y, whichever is more, rounded up
    [..., N] int32; 0 if the Gaussian is not drawn or wholly outside of the image."""
    seen: torch.Tensor
    """Whether any pixel was blended with the Gaussian [..., N] bool: false for what others hide completely."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        self.__dict__.update(tensors)

    @property
    def visible(self) -> torch.Tensor:
        """Whether the Gaussian reaches into the image [..., N] bool, be it behind others."""
        return self.radii > 0

    def __getattr__(self, name: str) -> Any:
        argument = {"median_depth": "median", "median_id": "median"}.get(name, name)
        if name in Rendering.__annotations__:
            raise AttributeError(f"this Rendering has no {name}; ask for it: render(..., {argument}=...)")
        raise AttributeError(f"Rendering has no field {name!r}")

    def __repr__(self) -> str:
        return f"Rendering({', '.join(f'{name} {list(tensor.shape)}' for name, tensor in self.__dict__.items())})"


def render(
    gaussians: Gaussians,
    camera: Camera,
    background: torch.Tensor | None = None,
    extra: torch.Tensor | None = None,
    *,
    depth: bool = False,
    median: bool = False,
    normals: bool = False,
    labels: torch.Tensor | None = None,
    seen: bool = False,
    options: RenderOptions = DEFAULTS,
    backend: str = "auto",
) -> Rendering:
    """Draw Gaussians as :func:`rasterize` does, and tell more of them.

    Image, alpha, means2d and radii are always there; `depth`, `normals` and `seen` ask for the fields of those names,
    `median` for median_depth and median_id. `labels` [..., N], integers from 0 to 255, asks for a label map. `extra`
    [..., N, C] channels are blended over zeros, or over the rest of a `background` [..., 3 + C].

    Depth, median_depth, normals and extra are differentiable once, as image and alpha are: in the Gaussians and in the
    camera. ids, labels, radii and seen are not. Depth and normals cost what as many extra channels cost; median and
    labels cost another look at the picture without colours each.

    Raises what :func:`rasterize` raises.
    """
    job = Job.of(gaussians, camera, background, extra, labels, depth=depth, normals=normals, backend=backend)
    details = Details.empty(
        job.batch,
        job.size,
        job.tensors["means"],
        job.labels,
        gradient=job.needs_gradient,
        median=median,
        seen=seen,
    )
    image, alpha = draw(job, options, details)
    drawn = job.layers.split(image)
    means2d = details.means2d if details.probe is None else details.probe  # the same values
    result = {"image": drawn["colors"], "alpha": alpha, "means2d": means2d, "radii": details.radii}
    if extra is not None:
        result["extra"] = drawn["extra"]
    if depth:
        result["depth"] = drawn["depth"].squeeze(-1) / alpha.clamp(min=MIN_ALPHA)
    if normals:
        result["normals"] = torch.nn.functional.normalize(drawn["normals"], dim=-1, eps=SHORTEST_NORMAL)
    if details.labels is not None:
        result["labels"] = details.labels
    if details.median is not None:
        z = camera_depths(job.tensors["means"], job.tensors["viewmat"])
        result |= {"median_id": details.median, "median_depth": _pick(z, details.median)}
    if details.seen is not None:
        result["seen"] = details.seen
    return Rendering(**result)


def _pick(values: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """values [..., N] at ids [..., H, W], 0 where an id is -1."""
    if not values.shape[-1]:
        return values.new_zeros(ids.shape)
    index = ids.flatten(-2).clamp(min=0).to(torch.int64)
    picked = values.expand(*ids.shape[:-2], -1).gather(-1, index).unflatten(-1, ids.shape[-2:])
    return torch.where(ids >= 0, picked, 0.0)
