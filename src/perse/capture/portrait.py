"""capture(): from one photo to a Portrait."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perse.capture.fit import fit_landmarks, lips_touch
from perse.capture.framing import MIN_INSIDE, check_face, choose_face, head_square, warn
from perse.capture.images import load_image
from perse.capture.matting import alpha_matte
from perse.capture.model import FOCAL, FitResult, LandmarkModel, intrinsics, view_matrix
from perse.dataset import Portrait
from perse.errors import PerseError
from perse.head import Head, open_head
from perse.perception import Face, Square, hidden_share, landmarks, segment
from perse.splat import Camera

MAX_HIDDEN = 0.06  # share of the inner face that may be covered without a warning
GOOD_FIT = 3.0  # percent of the interocular distance; a worse fit is warned about


def capture(
    photo: str | Path | np.ndarray | Tensor,
    *,
    face: int | None = None,
    size: int = 512,
    name: str | None = None,
    head: Head | None = None,
) -> Portrait:
    """Make a photo ready: crop, cut out, label, and fit head and camera (a few seconds on one core).

    Args:
        photo: a file, or a picture [H, W, 1 | 3 | 4] (see `load_image`).
        face: which face when there are several, counted from the left, 0 first. None: the largest, with a warning.
        size: side of the portrait in pixels.
        name: what to call it; None: the file's name.
        head: the parametric head to fit; None: the open head.

    Returns:
        A portrait whose root and neck are at rest: the head's turn and place are in its camera.

    Raises:
        PerseError: unreadable photo, no face, no such face, a face too small or turned away.

    Warns (CaptureWarning): several faces, a small face, a photo cut close to the head, a
    covered face, a bad fit.
    """
    if not 64 <= size <= 4096:
        raise PerseError(f"a portrait of {size} pixels is not possible; choose 64 to 4096")
    what = str(photo) if isinstance(photo, (str, Path)) else (name or "the picture")
    image = load_image(photo)
    found = choose_face(landmarks(image), face, what)
    check_face(found, what)
    crop, points = _crop(image, found, size, what)
    probs = segment(crop, points)
    alpha = alpha_matte(crop.numpy(), 1 - probs[..., 0].numpy())
    hidden = hidden_share(crop, points)
    if hidden > MAX_HIDDEN:
        warn(
            f"{what}: something (a hand?) covers {100 * hidden:.0f} % of the face and will become part of it"
        )
    fitted = fit_portrait_landmarks(points, size, head or open_head())
    if fitted.error > GOOD_FIT:
        warn(
            f"{what}: the head fits the face with {fitted.error:.1f} % of the interocular distance "
            f"({GOOD_FIT:.0f} % and less is good); the avatar may move oddly. Try a photo more from the front"
        )
    return Portrait(
        image=crop,
        alpha=torch.from_numpy(alpha),
        segmentation=probs,
        landmarks=points,
        camera=_camera(fitted, size),
        betas=fitted.betas.float(),
        expr=fitted.expr.float(),
        pose=fitted.pose.float(),
        name=name or _name_of(photo),
    )


def _name_of(photo: str | Path | np.ndarray | Tensor) -> str:
    return Path(photo).stem if isinstance(photo, (str, Path)) else "portrait"


def _crop(image: Tensor, face: Face, size: int, what: str) -> tuple[Tensor, Tensor]:
    """The head square at `size` pixels [size, size, 3], and its landmarks [478, 3], looked at again in the crop."""
    square = head_square(face.landmarks)
    inside = square.share_inside(image.shape[0], image.shape[1])
    if inside < MIN_INSIDE:
        warn(
            f"{what}: the photo is cut close to the head, {100 * (1 - inside):.0f} % of the portrait lies outside "
            "it and is filled with its border; a photo with more room around the head is better"
        )
    cut = square.cut(image.numpy(), size, cubic=True).clip(0, 1)
    crop = torch.from_numpy(square.without_streaks(cut, image.shape[0], image.shape[1]))
    points = _moved(face.landmarks, square, size)
    centre = points[:, :2].mean(0)
    for again in landmarks(crop):  # the crop may show a part of a neighbour too
        if torch.linalg.vector_norm(again.landmarks[:, :2].mean(0) - centre) < 0.1 * size:
            return crop, again.landmarks
    return crop, points


def _moved(points: Tensor, square: Square, size: int) -> Tensor:
    offset = torch.tensor([square.left, square.top, 0.0])
    return (points - offset) * (size / square.side)


@functools.lru_cache(maxsize=4)
def _landmark_model(head: Head) -> LandmarkModel:
    return LandmarkModel(head)


def fit_portrait_landmarks(points: Tensor, size: int, head: Head) -> FitResult:
    """Fit `head` to landmarks [478, 3] of a head square of `size` pixels, with its fixed focal length.

    Where lips touch, the jaw is held shut: the fit would take a long chin for an open jaw.
    """
    jaw = 0.0 if lips_touch(points) else None
    return fit_landmarks(_landmark_model(head), points, FOCAL * size, (size / 2, size / 2), jaw=jaw)


def _camera(fitted: FitResult, size: int) -> Camera:
    viewmat = view_matrix(fitted.rotation, fitted.translation).float()
    return Camera(viewmat, intrinsics(FOCAL * size, (size / 2, size / 2)), size, size)


def fit_error(portrait: Portrait, head: Head | None = None) -> float:
    """Mean distance between the portrait's landmarks and the fitted head's, in % of the interocular distance."""
    pixels = project_landmarks(portrait, head or open_head())
    target = portrait.landmarks[:, :2]
    distance = torch.linalg.vector_norm(target[33] - target[263])
    return float(torch.linalg.vector_norm(pixels - target, dim=-1).mean() / distance) * 100


def project_landmarks(portrait: Portrait, head: Head) -> Tensor:
    """Where the fitted head's 478 landmarks fall in the portrait: [478, 2] pixels."""
    vertices = head.vertices(portrait.betas, portrait.expr, portrait.pose)
    return project(head.landmarks(vertices), portrait.camera)[:, :2]


def project(points: Tensor, camera: Camera) -> Tensor:
    """World points [N, 3] -> pixel x, pixel y and depth in metres [N, 3]."""
    seen = points @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]
    pixels = seen @ camera.K.T
    return torch.cat([pixels[:, :2] / pixels[:, 2:], seen[:, 2:]], -1)
