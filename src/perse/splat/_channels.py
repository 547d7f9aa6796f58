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
    unit = torch.nn.functional.normalize(_finite(quats), dim=-1)
    w, x, y, z = unit.movedim(-1, 0).contiguous().unbind(0)  # component by component: no small vectors
    normal = _pick(scales.detach().abs(), _columns(w, x, y, z))
    with torch.no_grad():
        rotation, translation = viewmat[..., :3, :3], viewmat[..., :3, 3, None]
        position = -torch.linalg.solve(rotation, translation).squeeze(-1)  # of the camera, in the world
        across = (part * (means[..., k] - position[..., k, None]) for k, part in enumerate(normal))
        sign = torch.where(sum(across) > 0, -1.0, 1.0).to(unit.dtype)
    return torch.stack([part * sign for part in normal], dim=-1)


def _columns(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> list[list[torch.Tensor]]:
    """The columns of the rotation matrices of unit quaternions, component by component."""
    x2, y2, z2 = 2 * x, 2 * y, 2 * z
    xx, yy, zz, xy, xz, yz = x * x2, y * y2, z * z2, x * y2, x * z2, y * z2
    wx, wy, wz = w * x2, w * y2, w * z2
    return [
        [1 - yy - zz, xy + wz, xz - wy],
        [xy - wz, 1 - xx - zz, yz + wx],
        [xz + wy, yz - wx, 1 - xx - yy],
    ]


def _pick(scales: torch.Tensor, columns: list[list[torch.Tensor]]) -> list[torch.Tensor]:
    """Of three columns [3][3][..., N] the one along the shortest of scales [..., N, 3]; the first of equals."""
    a, b, c = scales.unbind(-1)
    first, second = (a <= b) & (a <= c), b <= c
    return [torch.where(first, p, torch.where(second, q, r)) for p, q, r in zip(*columns, strict=True)]


def _finite(tensor: torch.Tensor) -> torch.Tensor:
    """Zeros for what is not finite: those Gaussians are not drawn, but their zero gradients must not become NaN."""
    return torch.nan_to_num(tensor, nan=0.0, posinf=0.0, neginf=0.0)
