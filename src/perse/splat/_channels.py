"""What is blended besides colours: further channels, depth, normals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Layers:
    """What the channels of a drawing hold, in the order of the fields: three colours come first."""

    extra: int = 0
    """Number of channels that the caller gave."""
    depth: bool = False
    normals: bool = False

    def sizes(self) -> dict[str, int]:
        """The number of channels of each layer, in order."""
        return {"colors": 3, "extra": self.extra, "depth": int(self.depth), "normals": 3 * self.normals}

    @property
    def count(self) -> int:
        """The number of all channels."""
        return sum(self.sizes().values())

    def stack(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What to blend [..., N, C], from means, quats, scales, viewmat, colors, and extra if it was given."""
        parts = [tensors["colors"]]
        if "extra" in tensors:
            parts.append(tensors["extra"])
        if self.depth:
            parts.append(camera_depths(tensors["means"], tensors["viewmat"])[..., None])
        if self.normals:
            parts.append(facing_normals(*(tensors[name] for name in ("means", "quats", "scales", "viewmat"))))
        if len(parts) == 1:
            return parts[0]  # no copy
        batch = torch.broadcast_shapes(*(part.shape[:-2] for part in parts))
        return torch.cat([part.expand(*batch, *part.shape[-2:]) for part in parts], dim=-1)

    def split(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """The layers of what was blended, image [..., C], by name."""
        sizes = self.sizes()
        return dict(zip(sizes, image.split(list(sizes.values()), dim=-1), strict=True))


def camera_depths(means: torch.Tensor, viewmat: torch.Tensor) -> torch.Tensor:
    """z in the camera's frame, metres: means [..., N, 3], viewmat [..., 4, 4] -> [..., N]."""
    return (_finite(means) @ viewmat[..., 2, :3, None]).squeeze(-1) + viewmat[..., None, 2, 3]


def facing_normals(
    means: torch.Tensor, quats: torch.Tensor, scales: torch.Tensor, viewmat: torch.Tensor
) -> torch.Tensor:
    """The shortest axis of each Gaussian, turned to the camera: unit vectors in the world's frame [..., N, 3].

    Gradients reach the quaternions; which axis is the shortest, and which way it points, count as given.
    """
    shortest = scales.detach().abs().argmin(dim=-1)
    axes = torch.eye(3, dtype=quats.dtype, device=quats.device)[
        shortest
    ]  # [..., N, 3], of each Gaussian's own frame
    unit = torch.nn.functional.normalize(_finite(quats), dim=-1)
    w, v = unit[..., :1], unit[..., 1:]
    normals = axes + 2.0 * torch.linalg.cross(v, torch.linalg.cross(v, axes) + w * axes)  # rotated
    with torch.no_grad():
        rotation, translation = viewmat[..., :3, :3], viewmat[..., :3, 3, None]
        position = -torch.linalg.solve(rotation, translation).squeeze(-1)  # of the camera, in the world
        away = (normals * (means - position[..., None, :])).sum(dim=-1, keepdim=True) > 0
    return torch.where(away, -normals, normals)


def _finite(tensor: torch.Tensor) -> torch.Tensor:
    """Zeros for what is not finite: those Gaussians are not drawn, but their zero gradients must not become NaN."""
    return torch.nan_to_num(tensor, nan=0.0, posinf=0.0, neginf=0.0)
