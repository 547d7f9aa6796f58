"""Random Gaussians and cameras that the tests of perse.splat share."""

import torch

from perse.splat import Camera, Gaussians

NAMES = ("means", "quats", "scales", "opacities", "channels", "viewmat", "K")


def random_gaussians(count: int, seed: int, scale: float = 1.0) -> Gaussians:
    """A shell of the size of a head, of discs and needles with all opacities."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    radii = torch.tensor([0.11, 0.15, 0.12]) * (1 + 0.03 * torch.randn(count, 1, generator=generator))
    return Gaussians(
        means=directions * radii,
        quats=torch.randn(count, 4, generator=generator),
        scales=scale * (0.0005 + 0.004 * torch.rand(count, 3, generator=generator)),
        opacities=torch.rand(count, generator=generator),
        colors=torch.rand(count, 3, generator=generator),
    )


def camera(width: int, height: int, yaw: float = 0.5) -> Camera:
    """A camera one metre off that sees the shell whole, turned by `yaw` radians."""
    angle = torch.tensor(yaw)
    viewmat = torch.eye(4)
    viewmat[:3, :3] = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
    viewmat[:3, 3] = torch.tensor([0.01, -0.02, 1.0])
    focal = 2.5 * max(width, height)
    K = torch.tensor([[focal, 0, 0.48 * width], [0, 1.05 * focal, 0.53 * height], [0, 0, 1]])
    return Camera(viewmat, K, width, height)


def one_gaussian(**changes: torch.Tensor) -> Gaussians:
    """A round one of 10 cm, two metres in front of `straight_camera`."""
    values = {
        "means": torch.tensor([[0.0, 0.0, 2.0]]),
        "quats": torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        "scales": torch.full((1, 3), 0.1),
        "opacities": torch.tensor([0.8]),
        "colors": torch.tensor([[1.0, 0.5, 0.25]]),
    }
    return Gaussians(**{**values, **changes})


def straight_camera(size: int = 33, focal: float = 60.0) -> Camera:
    """At the origin, looking along z; the middle of the middle pixel is the principal point."""
    K = torch.tensor([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    return Camera(torch.eye(4), K, size, size)


def leaves(
    gaussians: Gaussians, channels: torch.Tensor, view: Camera, dtype: torch.dtype
) -> list[torch.Tensor]:
    """The seven inputs of a backend's `render`, in the order of NAMES, as leaves that take gradients."""
    tensors = (
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        channels,
        view.viewmat,
        view.K,
    )
    return [tensor.detach().to(dtype).clone().requires_grad_() for tensor in tensors]


def relative_error(value: torch.Tensor, truth: torch.Tensor) -> float:
    """Relative L2 distance."""
    return float((value.double() - truth.double()).norm() / truth.double().norm().clamp(min=1e-30))
