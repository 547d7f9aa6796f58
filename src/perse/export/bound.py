"""A look bound to the triangles of the head, in the layout of GaussianAvatars (Qian et al., CVPR 2024).

point_cloud.ply   Gaussians in the frames of their triangles, with the property binding_0
flame_param.npz   shape, expr, rotation, neck_pose, jaw_pose, eyes_pose, translation, static_offset for T frames
head.npz          the head these numbers belong to: without it only FLAME's own would be known

A Gaussian with local position x, rotation q and scale s on a triangle with centre T, frame R and size k lies at
``k R x + T``, is turned by ``R q`` and has the scale ``k s``. The frame's axes are the first side, the normal,
and what is square to both; its size is the mean of the first side and the height over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perse._files import read_npz, write_npz
from perse.avatar import Avatar, Look
from perse.dataset import Motion
from perse.errors import PerseError
from perse.export.splats import drawn
from perse.head import Head, closest_point, quaternion_multiply
from perse.splat import Gaussians, load_ply, load_ply_properties, save_ply

BINDING = "binding_0"
CLOUD, PARAMETERS, HEAD = "point_cloud.ply", "flame_param.npz", "head.npz"


@dataclass(frozen=True)
class BoundGaussians:
    """Gaussians in the frames of triangles."""

    local: Gaussians
    """Positions, rotations and scales in units of the triangle."""
    triangle: Tensor
    """[N] int64"""
    faces: Tensor
    """[F, 3] int64 of the mesh."""

    def on(self, vertices: Tensor) -> Gaussians:
        """The Gaussians on a posed mesh [V, 3]."""
        frame, center, size = triangle_frames(vertices, self.faces[self.triangle])
        local = self.local
        return Gaussians(
            means=size[:, None] * (frame @ local.means[..., None])[..., 0] + center,
            quats=quaternion_multiply(_quaternions(frame), local.quats),
            scales=size[:, None] * local.scales,
            opacities=local.opacities,
            colors=local.colors,
        )


def bind(gaussians: Gaussians, vertices: Tensor, faces: Tensor) -> BoundGaussians:
    """Tie Gaussians to the nearest triangles of a mesh [V, 3], [F, 3]."""
    triangle, _, _ = closest_point(gaussians.means, vertices, faces)
    frame, center, size = triangle_frames(vertices, faces[triangle])
    inverse = frame.transpose(1, 2)
    local = Gaussians(
        means=(inverse @ (gaussians.means - center)[..., None])[..., 0] / size[:, None],
        quats=quaternion_multiply(
            _conjugate(_quaternions(frame)), torch.nn.functional.normalize(gaussians.quats, dim=-1)
        ),
        scales=gaussians.scales / size[:, None],
        opacities=gaussians.opacities,
        colors=gaussians.colors,
    )
    return BoundGaussians(local, triangle, faces)


def triangle_frames(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Frames [N, 3, 3] (axes in columns), centres [N, 3] and sizes [N] of triangles [N, 3] of a mesh [V, 3]."""
    a, b, c = vertices[faces].unbind(1)
    first = torch.nn.functional.normalize(b - a, dim=-1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(first, c - a), dim=-1)
    across = -torch.nn.functional.normalize(torch.linalg.cross(normal, first), dim=-1)
    height = (across * (c - a)).sum(-1).abs()
    size = ((b - a).norm(dim=-1) + height) / 2
    return torch.stack([first, normal, across], -1), (a + b + c) / 3, size.clamp_min(1e-8)


def write_bound(avatar: Avatar, look: Look, folder: str | Path, motion: Motion) -> Path:
    """Write a look and a motion; the shape at rest is the avatar's own head."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    head = avatar.head
    rest = head.rest_vertices(avatar.betas)
    still = drawn(_first(avatar.gaussians(look, torch.zeros(1, 50), torch.zeros(1, 15)).detach().to("cpu")))
    bound = bind(still, rest, head.faces)
    write_npz(folder / PARAMETERS, flame_parameters(motion, avatar.betas, len(head)))
    write_npz(folder / HEAD, _head_arrays(head))
    save_ply(
        folder / CLOUD,
        bound.local,
        sh_degree=3,
        y_down=False,
        extra={BINDING: bound.triangle},
    )
    return folder


def read_bound(folder: str | Path) -> tuple[BoundGaussians, dict[str, np.ndarray]]:
    """Read what `write_bound` wrote: the Gaussians and the parameters by name.

    Raises:
        PerseError: a file is missing or broken, or Gaussians are bound to triangles that are not there.
    """
    folder = Path(folder)
    parameters = read_npz(folder / PARAMETERS, "the head's parameters")
    head = read_npz(folder / HEAD, "the head")
    faces = head.get("faces")
    if faces is None or faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
        raise PerseError(f"{folder / HEAD}: holds no triangles named faces")
    local = load_ply(folder / CLOUD, y_down=False)
    triangle = load_ply_properties(folder / CLOUD, BINDING)[:, 0]
    if not bool(((triangle >= 0) & (triangle < len(faces))).all()):
        raise PerseError(f"{folder / CLOUD}: a Gaussian is bound to a triangle that the head does not have")
    return BoundGaussians(local, triangle.long(), torch.from_numpy(faces.astype(np.int64))), parameters


def flame_parameters(motion: Motion, betas: Tensor, vertices: int) -> dict[str, np.ndarray]:
    """A motion under FLAME's names: arrays with T rows, but shape [100] and static_offset [1, V, 3]."""
    pose = motion.pose.detach().cpu().numpy().astype(np.float32)
    return {
        "shape": betas.detach().cpu().numpy().astype(np.float32),
        "expr": motion.expr.detach().cpu().numpy().astype(np.float32),
        "rotation": pose[:, :3],
        "neck_pose": pose[:, 3:6],
        "jaw_pose": pose[:, 6:9],
        "eyes_pose": pose[:, 9:15],
        "translation": np.zeros((len(pose), 3), np.float32),
        "static_offset": np.zeros((1, vertices, 3), np.float32),
    }


def _head_arrays(head: Head) -> dict[str, np.ndarray]:
    names = ("v_template", "shapedirs", "expdirs", "posedirs", "J_regressor", "lbs_weights", "faces")
    arrays = {name: getattr(head, name).cpu().numpy() for name in names}
    return {**arrays, "name": np.frombuffer(head.name.encode(), np.uint8)}


def _first(batch: Gaussians) -> Gaussians:
    """The only entry of a batch of one."""
    return Gaussians(
        batch.means.reshape(-1, 3),
        batch.quats.reshape(-1, 4),
        batch.scales.reshape(-1, 3),
        batch.opacities.reshape(-1),
        batch.colors.reshape(-1, 3),
    )


def _conjugate(quats: Tensor) -> Tensor:
    return quats * quats.new_tensor([1.0, -1.0, -1.0, -1.0])


def _quaternions(matrices: Tensor) -> Tensor:
    """Rotation matrices [N, 3, 3] -> unit quaternions [N, 4] wxyz."""
    from scipy.spatial.transform import Rotation

    xyzw = Rotation.from_matrix(matrices.double().numpy()).as_quat()
    return torch.from_numpy(xyzw[:, [3, 0, 1, 2]]).to(matrices.dtype)
