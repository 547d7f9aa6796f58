"""Pictures for judging a capture by eye."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perse.capture.portrait import project, project_landmarks
from perse.capture.tracking import NECK, Tracking
from perse.capture.video import read_video
from perse.dataset import Portrait, to_uint8
from perse.errors import PerseError
from perse.head import PARTS, Head, open_head, rasterize_mesh, vertex_normals
from perse.perception import as_rgb8
from perse.splat import Camera

_LIGHT = (0.3, 0.45, 0.84)  # towards the light, head frame
_PART_COLORS = {
    "skin": (0.86, 0.66, 0.55),
    "left_eye": (0.93, 0.93, 0.92),
    "right_eye": (0.93, 0.93, 0.92),
    "upper_teeth": (0.95, 0.93, 0.86),
    "lower_teeth": (0.95, 0.93, 0.86),
    "tongue": (0.78, 0.36, 0.36),
    "lashes": (0.15, 0.11, 0.09),
}
_CLASS_COLORS = (
    (0.15, 0.15, 0.15),
    (1.0, 0.1, 0.1),
    (1.0, 0.75, 0.0),
    (0.1, 0.85, 0.2),
    (0.1, 0.35, 1.0),
    (1.0, 0.1, 1.0),
)
_FOUND, _FITTED = (0.1, 1.0, 0.1), (1.0, 0.1, 0.1)
_IRIS_COLOR, _IRIS_DEGREES = (0.30, 0.20, 0.12), 27.0
_PUPIL_COLOR, _PUPIL_DEGREES = (0.03, 0.03, 0.03), 10.0
_SUPERSAMPLE = 2
_BORDER = 4  # pixels


def fit_overlay(portrait: Portrait, head: Head | None = None) -> Tensor:
    """Three pictures side by side [H, 3 W, 3]: landmarks found (green) and fitted (red); the head half over the
    photo; the head alone over it."""
    head = head or open_head()
    shaded, cover = shade_head(head, portrait.betas, portrait.expr, portrait.pose, portrait.camera)
    cover = cover[..., None]
    photo = portrait.image
    dots = photo.clone()
    _draw_points(dots, portrait.landmarks[:, :2], _FOUND)
    _draw_points(dots, project_landmarks(portrait, head), _FITTED)
    half = photo * (1 - 0.55 * cover) + 0.55 * shaded
    full = photo * (1 - cover) + shaded
    return torch.cat([dots, half, full], 1).clamp(0, 1)


def parts_overlay(portrait: Portrait) -> Tensor:
    """Three pictures side by side [H, 3 W, 3]: the photo, its segmentation over it, the person cut out on white."""
    colors = torch.tensor(_CLASS_COLORS)
    painted = 0.45 * portrait.image + 0.55 * colors[portrait.segmentation.argmax(-1)]
    alpha = portrait.alpha[..., None]
    return torch.cat([portrait.image, painted, portrait.image * alpha + 1 - alpha], 1).clamp(0, 1)


def tracking_overlay(video: str | Path | Iterable[np.ndarray], tracking: Tracking) -> Iterator[np.ndarray]:
    """The tracked head half over every frame of its video: uint8 [H, W, 3]; repaired frames carry a red border.

    Raises:
        PerseError: the video cannot be read, or is shorter than the tracking.
    """
    head = tracking.head
    frames = read_video(Path(video)) if isinstance(video, (str, Path)) else iter(video)
    camera = tracking.camera
    for t in range(len(tracking.motion)):
        frame = next(frames, None)
        if frame is None:
            raise PerseError(
                f"the video has {t} frames, the tracking {len(tracking.motion)}: not the same video"
            )
        photo = torch.from_numpy(as_rgb8(frame)).float() / 255
        view = Camera(camera.viewmat[t], camera.K, camera.width, camera.height)
        pose = tracking.motion.pose[t].clone()
        pose[NECK] = 0  # the camera of a tracking holds the head's turn
        shaded, cover = shade_head(head, tracking.betas, tracking.motion.expr[t], pose, view)
        picture = photo * (1 - 0.6 * cover[..., None]) + 0.6 * shaded
        if bool(tracking.repaired[t]):
            for side in (picture[:_BORDER], picture[-_BORDER:], picture[:, :_BORDER], picture[:, -_BORDER:]):
                side[:] = torch.tensor(_FITTED)
        yield to_uint8(picture).numpy()


def shade_head(
    head: Head, betas: Tensor, expr: Tensor, pose: Tensor, camera: Camera
) -> tuple[Tensor, Tensor]:
    """The posed mesh, lit, as a camera sees it: premultiplied colour [H, W, 3] and coverage [H, W]."""
    vertices = head.vertices(betas, expr, pose)
    height, width = camera.height * _SUPERSAMPLE, camera.width * _SUPERSAMPLE
    pixels = project(vertices, camera.resized(width, height))
    triangle, bary, _ = rasterize_mesh(pixels, head.faces, height, width)
    seen = triangle >= 0
    corners = head.faces[triangle[seen]]  # [M, 3]
    share = bary[seen][..., None].to(vertices.dtype)
    normals = (vertex_normals(vertices, head.faces)[corners] * share).sum(1)
    normals = torch.nn.functional.normalize(normals, dim=-1)
    light = 0.35 + 0.7 * (normals @ torch.tensor(_LIGHT)).clamp_min(0)
    colors = _face_colors(head)[triangle[seen]]
    _paint_irises(colors, betas, head, corners, share)
    picture = torch.zeros(height, width, 4)
    picture[seen] = torch.cat([colors * light[:, None], torch.ones(len(colors), 1)], -1).clamp(0, 1)
    blocks = picture.reshape(height // _SUPERSAMPLE, _SUPERSAMPLE, width // _SUPERSAMPLE, _SUPERSAMPLE, 4)
    mean = blocks.mean((1, 3))
    return mean[..., :3], mean[..., 3]


def _face_colors(head: Head) -> Tensor:
    table = torch.tensor([_PART_COLORS.get(part, (0.6, 0.6, 0.6)) for part in PARTS])
    return table[head.face_part]


def _paint_irises(colors: Tensor, betas: Tensor, head: Head, corners: Tensor, share: Tensor) -> None:
    """Colour iris and pupil by the angle from the eye's axis in the rest pose, so that gaze shows; in place."""
    rest = head.rest_vertices(betas)
    points = (rest[corners] * share).sum(1)  # [M, 3]
    part = head.vertex_part[corners[:, 0]]
    for name in ("left_eye", "right_eye"):
        code = PARTS.index(name)
        vertices = rest[head.vertex_part == code]
        if len(vertices) == 0:
            continue
        mine = part == code
        direction = torch.nn.functional.normalize(points[mine] - vertices.mean(0), dim=-1)
        angle = torch.rad2deg(torch.acos(direction[:, 2].clamp(-1, 1)))[:, None]
        iris, pupil = torch.tensor(_IRIS_COLOR), torch.tensor(_PUPIL_COLOR)
        painted = torch.where(angle < _IRIS_DEGREES, iris, colors[mine])
        colors[mine] = torch.where(angle < _PUPIL_DEGREES, pupil, painted)


def _draw_points(image: Tensor, points: Tensor, color: tuple[float, float, float]) -> None:
    """Dots of 3 x 3 pixels, in place."""
    columns, rows = np.floor(points.numpy()).astype(int).T
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            inside = (columns + dx >= 0) & (columns + dx < image.shape[1])
            inside &= (rows + dy >= 0) & (rows + dy < image.shape[0])
            image[rows[inside] + dy, columns[inside] + dx] = torch.tensor(color)
