"""Small vectorised geometry of the studio: quaternions, triangle frames, disc shapes, spherical harmonics.

Quaternions are wxyz. Everything is plain torch and works on float32 or float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-12


def normalize(vectors: Tensor) -> Tensor:
    """Unit vectors along the last axis; a zero vector stays zero."""
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(TINY)


def quat_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product of wxyz quaternions [..., 4]: first rotate by ``b``, then by ``a``."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        dim=-1,
    )


def quat_conjugate(quats: Tensor) -> Tensor:
    """The inverse rotation of unit quaternions [..., 4]."""
    return quats * quats.new_tensor([1.0, -1.0, -1.0, -1.0])


def matrix_to_quat(rotations: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] to unit wxyz quaternions [..., 4] (largest-component method)."""
    m = rotations
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = torch.stack(
        [1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22], dim=-1
    ).clamp_min(0)
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    candidates = torch.stack(
        [
            torch.stack([squares[..., 0], wx, wy, wz], dim=-1),
            torch.stack([wx, squares[..., 1], xy, xz], dim=-1),
            torch.stack([wy, xy, squares[..., 2], yz], dim=-1),
            torch.stack([wz, xz, yz, squares[..., 3]], dim=-1),
        ],
        dim=-2,
    )  # [..., 4 candidates, 4]
    best = squares.argmax(dim=-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    return normalize(candidates.gather(-2, best).squeeze(-2))


def quat_to_matrix(quats: Tensor) -> Tensor:
    """Unit wxyz quaternions [..., 4] to rotation matrices [..., 3, 3]."""
    w, x, y, z = quats.unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=-1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=-1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def rotate(matrices: Tensor, vectors: Tensor) -> Tensor:
    """``matrices [..., 3, 3] @ vectors [..., 3]``, row by row."""
    return (matrices * vectors[..., None, :]).sum(-1)


def triangle_frames(vertices: Tensor, faces: Tensor) -> Tensor:
    """A rotation [F, 3, 3] carried by each triangle: columns are first edge, in-plane normal, face normal."""
    a, b, c = vertices[faces].unbind(1)
    edge = b - a
    normal = normalize(torch.linalg.cross(edge, c - a))
    edge = normalize(edge)
    return torch.stack([edge, torch.linalg.cross(normal, edge), normal], dim=-1)


def principal_axes_2d(cov_xx: Tensor, cov_yy: Tensor, cov_xy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Closed-form eigen-decomposition of 2x2 covariances: (angle of the major axis, sigma major, minor)."""
    mean, half = (cov_xx + cov_yy) / 2, (cov_xx - cov_yy) / 2
    radius = torch.sqrt(half * half + cov_xy * cov_xy)
    angle = 0.5 * torch.atan2(cov_xy, half)
    major = (mean + radius).clamp_min(TINY).sqrt()
    minor = (mean - radius).clamp_min(TINY).sqrt()
    return angle, major, minor


def _turn_in_plane(frames: Tensor, angle: Tensor) -> Tensor:
    """Turn the first two columns of frames [N, 3, 3] by ``angle`` [N] in their own plane."""
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    u, v, n = frames.unbind(-1)
    return torch.stack([u * cos + v * sin, v * cos - u * sin, n], dim=-1)


def triangle_discs(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Each triangle as a flat Gaussian of its own covariance.

    Returns quats [F, 4] and the two in-plane standard deviations [F, 2] in metres. A uniform triangle has
    covariance ``sum_i (p_i - c)(p_i - c)^T / 12``, so the discs stretch exactly as the mesh does.
    """
    frames = triangle_frames(vertices, faces)
    angle, sigmas = in_plane_axes(vertices[faces], frames)
    return turned_in_plane(matrix_to_quat(frames), angle), sigmas


def in_plane_axes(corners: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """The triangles' covariances in their own planes: angle of the major axis [F], standard deviations [F, 2].

    corners [F, 3, 3] of the triangles and their :func:`triangle_frames` [F, 3, 3].
    """
    centred = corners - corners.mean(1, keepdim=True)
    x, y = torch.matmul(centred, frames[..., :2]).unbind(-1)  # [F, 3]
    angle, major, minor = principal_axes_2d((x * x).sum(1) / 12, (y * y).sum(1) / 12, (x * y).sum(1) / 12)
    return angle, torch.stack([major, minor], dim=-1)


def turned_in_plane(quats: Tensor, angle: Tensor) -> Tensor:
    """Rotations [N, 4], first turned by ``angle`` [N] around their third axis."""
    w, x, y, z = quats.unbind(-1)
    cos, sin = (angle / 2).cos(), (angle / 2).sin()
    return torch.stack([w * cos - z * sin, x * cos + y * sin, y * cos - x * sin, z * cos + w * sin], dim=-1)


def left_matrix(quat: Tensor) -> Tensor:
    """[4, 4] of one quaternion [4]: ``quats @ left_matrix(q).T`` is ``quat_multiply(q, quats)``."""
    w, x, y, z = quat.tolist()
    return quat.new_tensor([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])


def tangent_discs(
    du: Tensor, dv: Tensor, *, spread: float = 0.62, cap: float = 0.006, thickness: float = 2e-4
) -> tuple[Tensor, Tensor]:
    """Surface discs of grid cells spanned by tangents ``du``, ``dv`` [N, 3] (metres a cell).

    Returns quats [N, 4] and scales [N, 3]: sigma is ``spread`` cells, at most ``cap`` metres.
    """
    normal = normalize(torch.linalg.cross(du, dv))
    u = normalize(du)
    v = torch.linalg.cross(normal, u)
    ux, vx, vy = (du * u).sum(-1), (dv * u).sum(-1), (dv * v).sum(-1)
    uy = (du * v).sum(-1)
    square = spread * spread
    angle, major, minor = principal_axes_2d(
        (ux * ux + vx * vx) * square, (uy * uy + vy * vy) * square, (ux * uy + vx * vy) * square
    )
    frames = _turn_in_plane(torch.stack([u, v, normal], dim=-1), angle)
    flat = torch.full_like(major, thickness)
    return matrix_to_quat(frames), torch.stack([major.clamp_max(cap), minor.clamp_max(cap), flat], dim=-1)


def subdivision(k: int) -> Tensor:
    """Barycentric centres [k*k, 3] of the k^2 congruent pieces of a triangle."""
    centres = []
    for i in range(k):
        for j in range(k - i):
            centres.append(((i + 1 / 3) / k, (j + 1 / 3) / k))
            if i + j < k - 1:
                centres.append(((i + 2 / 3) / k, (j + 2 / 3) / k))
    uv = torch.tensor(centres, dtype=torch.float32)
    return torch.cat([1 - uv.sum(1, keepdim=True), uv], dim=1)


def smoothstep(x: Tensor, low: float, high: float) -> Tensor:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def spherical_harmonics(normals: Tensor) -> Tensor:
    """The nine second-order polynomials of unit normals [N, 3] -> [N, 9] (unnormalised, constant first)."""
    x, y, z = normals.unbind(-1)
    return torch.stack(
        [torch.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1], dim=-1
    )


def luminance(colors: Tensor) -> Tensor:
    """Rec. 601 luma [...] of colours [..., 3]."""
    return colors @ colors.new_tensor([0.299, 0.587, 0.114])
