"""What steers an image-to-video model: the head's depth and normals, and keypoints (the set G of section 3.3).

The paper renders FLAME and adds 2D body and face keypoints found by a detector. The studio knows its head, so all
three come from the head itself: exact, and without a detector's jitter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from perse.dataset.records import Motion, Portrait, to_uint8
from perse.head import Head, open_head, rasterize_mesh, vertex_normals
from perse.splat import Camera

# Which of the 478 landmarks stand for the 68 points of the iBUG layout; OpenPose adds both pupils.
_FACE_POINTS = (
    *(
        162,
        234,
        93,
        58,
        172,
        136,
        149,
        148,
        152,
        377,
        378,
        365,
        397,
        288,
        323,
        454,
        389,
    ),  # jaw, from the right
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
    *(468, 473),  # pupils
)
_NOSE_TIP, _EYES, _EARS = 1, (468, 473), (234, 454)  # right, left
_SHOULDER_BAND = 0.025  # metres: how far in from the widest place a shoulder's point lies
BODY_NAMES = (
    "nose",
    "neck",
    "right_shoulder",
    "left_shoulder",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)
"""The rows of :attr:`Guidance.body`."""
# OpenPose's limbs between those rows, in its colours.
_LIMBS = (
    (1, 2, (255, 0, 0)), (1, 3, (255, 85, 0)), (1, 0, (0, 0, 255)), (0, 4, (85, 0, 255)),
    (4, 6, (170, 0, 255)), (0, 5, (255, 0, 255)), (5, 7, (255, 0, 170)),
)  # fmt: skip
_JOINT_COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (85, 255, 0), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)
)  # fmt: skip
_EAR_HIDDEN = 0.5  # an ear is hidden when the other one points to the camera by more than this cosine
_STICK, _DOT, _FACE_DOT = 4 / 512, 4 / 512, 3 / 512  # half widths as shares of the picture's longer side
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Guidance:
    """The guidance of one frame."""

    depth: Tensor
    """[H, W] metres from the camera; infinite where the head is not."""
    normals: Tensor
    """[H, W, 3] unit, x right, y up, z to the camera; zero where the head is not."""
    face: Tensor
    """[70, 2] pixels: the 68 points of the iBUG layout, then the right and left pupil."""
    body: Tensor
    """[8, 2] pixels, see BODY_NAMES; NaN where hidden (the far ear of a turned head)."""

    @cached_property
    def cover(self) -> Tensor:
        """[H, W] bool: where the head is."""
        return self.depth.isfinite()

    def depth_image(self) -> np.ndarray:
        """uint8 [H, W, 3]: near is white, the farthest seen point dark grey, no head black."""
        shade = torch.zeros_like(self.depth)
        if bool(self.cover.any()):
            seen = self.depth[self.cover]
            near, far = seen.min(), seen.max()
            shade[self.cover] = 1 - 0.8 * (seen - near) / (far - near).clamp_min(1e-6)
        return to_uint8(shade)[..., None].expand(-1, -1, 3).numpy()

    def normal_image(self) -> np.ndarray:
        """uint8 [H, W, 3]: (n + 1) / 2, no head black."""
        return to_uint8((self.normals + 1) / 2 * self.cover[..., None]).numpy()

    def keypoint_image(self) -> np.ndarray:
        """uint8 [H, W, 3]: coloured limbs and white dots on black, as OpenPose draws them."""
        import cv2

        height, width = self.depth.shape
        longer = max(height, width)
        picture = np.zeros((height, width, 3), np.uint8)

        def disc(point: np.ndarray, share: float, color: tuple[int, int, int]) -> None:
            scale = 1 << _SUBPIXEL_BITS
            centre = [round(float(v - 0.5) * scale) for v in point]
            radius = max(round(share * longer * scale), scale // 2)
            cv2.circle(picture, centre, radius, color, -1, cv2.LINE_AA, _SUBPIXEL_BITS)

        body = self.body.numpy()
        shown = np.isfinite(body).all(-1)
        for first, second, color in _LIMBS:
            if shown[first] and shown[second]:
                _draw_limb(picture, body[first], body[second], _STICK * longer, color)
        picture = (picture * 0.6).astype(np.uint8)
        for row in np.flatnonzero(shown):
            disc(body[row], _DOT, _JOINT_COLORS[row])
        for point in self.face.numpy():
            disc(point, _FACE_DOT / 2, (255, 255, 255))
        return picture


def head_guidance(
    betas: Tensor, expr: Tensor, pose: Tensor, camera: Camera, *, head: Head | None = None
) -> Guidance:
    """Depth, normals and keypoints of the posed head (section 3.3).

    Args:
        betas: [100]. expr: [50]. pose: [15].
        camera: one camera; its size is that of the maps.
        head: the parametric head; None: the open head. It needs a landmark embedding.
    """
    head = head or open_head()
    vertices = head.vertices(betas, expr, pose)  # [V, 3]
    pixels = _project(vertices, camera)
    triangle, bary, depth = rasterize_mesh(pixels, head.faces, camera.height, camera.width)
    seen = triangle >= 0
    normals = torch.zeros(camera.height, camera.width, 3)
    corner_normals = vertex_normals(vertices, head.faces)[head.faces[triangle[seen]]]  # [M, 3, 3]
    smooth = torch.nn.functional.normalize((corner_normals * bary[seen][..., None]).sum(1), dim=-1)
    turned = smooth @ camera.viewmat[:3, :3].T * smooth.new_tensor([1.0, -1.0, -1.0])
    normals[seen] = turned * torch.where(turned[:, 2:] < 0, -1.0, 1.0)  # a surface seen from behind
    marks = head.landmarks(vertices)
    body = torch.stack(
        [marks[_NOSE_TIP], *_shoulders(head, vertices), *marks[list(_EYES)], *marks[list(_EARS)]]
    )
    body_pixels = _project(body, camera)[:, :2]
    body_pixels[-2:][_ears_hidden(marks, camera)] = torch.nan
    face = _project(marks[list(_FACE_POINTS)], camera)[:, :2]
    return Guidance(depth, normals, face, body_pixels)


def guidance_frames(
    portrait: Portrait, motion: Motion, camera: Camera | None = None, *, head: Head | None = None
) -> Iterator[Guidance]:
    """The guidance of every frame of ``motion``, with the portrait's shape.

    ``camera``: the size and view to draw; None: the portrait's own. A motion with cameras of its own uses those.
    """
    views = motion.camera(camera or portrait.camera)
    for t in range(len(motion)):
        viewmat = views.viewmat[t] if views.viewmat.ndim == 3 else views.viewmat
        view = Camera(viewmat, views.K, views.width, views.height)
        yield head_guidance(portrait.betas, motion.expr[t], motion.pose[t], view, head=head)


def _project(points: Tensor, camera: Camera) -> Tensor:
    """World points [N, 3] -> pixel x, pixel y, depth [N, 3]."""
    seen = points @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]
    pixels = seen @ camera.K.T
    return torch.cat([pixels[:, :2] / seen[:, 2:], seen[:, 2:]], -1)


def _shoulders(head: Head, vertices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Neck, right and left shoulder [3]: the tops of the widest places, and the middle between them."""
    across = head.v_template[:, 0]
    sides = []
    for sign in (-1, 1):
        widest = (across * sign > (across * sign).max() - _SHOULDER_BAND).nonzero().flatten()
        sides.append(vertices[widest[head.v_template[widest, 1].argmax()]])
    right, left = sides
    return (right + left) / 2, right, left


def _ears_hidden(marks: Tensor, camera: Camera) -> Tensor:
    """[2] bool: right and left ear are on the side turned away."""
    across = torch.nn.functional.normalize(marks[_EARS[1]] - marks[_EARS[0]], dim=0)  # to the person's left
    eye = -camera.viewmat[:3, :3].T @ camera.viewmat[:3, 3]
    to_camera = torch.nn.functional.normalize(eye - marks[list(_EARS)].mean(0), dim=0)
    side = across @ to_camera

    return torch.stack([side > _EAR_HIDDEN, -side > _EAR_HIDDEN])


def _draw_limb(
    picture: np.ndarray, start: np.ndarray, end: np.ndarray, half_width: float, color: tuple[int, int, int]
) -> None:
    """A filled ellipse from one keypoint to the other, in place."""
    import cv2

    middle, along = (start + end) / 2, end - start
    length, angle = float(np.hypot(*along)), float(np.degrees(np.arctan2(along[1], along[0])))
    centre = (round(float(middle[0])), round(float(middle[1])))
    axes = (round(length / 2), max(1, round(half_width)))
    outline = cv2.ellipse2Poly(centre, axes, round(angle), 0, 360, 1)
    cv2.fillConvexPoly(picture, np.asarray(outline), color, cv2.LINE_AA)
