"""Where things are on the template head: soft masks of nose, lips, brows, scalp and beard.

Every mask takes points [N, 3] of the *template* surface (``Head.v_template`` interpolated) and gives weights
[N] in 0..1, so it is the same for every person and pose. Lengths are metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from perse.head import Head
from perse.studio._geometry import smoothstep

# The usual 68-point subset of the 478 landmarks: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, lips 48-67.
IBUG68 = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
)
LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
LIPS_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
LEFT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
RIGHT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_IRIS = (473, 474, 475, 476, 477)
RIGHT_IRIS = (468, 469, 470, 471, 472)
LEFT_BROW = ((276, 283, 282, 295, 285), (300, 293, 334, 296, 336))  # lower and upper border, outer end first
RIGHT_BROW = ((46, 53, 52, 65, 55), (70, 63, 105, 66, 107))


@dataclass(frozen=True)
class Regions:
    """Soft masks on the template head, and the few heights they are built from."""

    landmarks: Tensor
    """[478, 3] landmarks of the template."""
    eye: Tensor
    """[3] mean of the two eyeball centres."""

    @staticmethod
    def of(head: Head) -> Regions:
        """The regions of one head."""
        left = head.v_template[head.vertex_part == 2].mean(0)
        right = head.v_template[head.vertex_part == 3].mean(0)
        return Regions(head.landmarks(head.v_template), (left + right) / 2)

    @property
    def points68(self) -> Tensor:
        """[68, 3] the iBUG-68 subset of the landmarks."""
        return self.landmarks[list(IBUG68)]

    @property
    def brow_height(self) -> float:
        """y of the brows."""
        return float(self.points68[17:27, 1].mean())

    @property
    def chin(self) -> Tensor:
        """[3] the tip of the chin."""
        return self.landmarks[152]

    def scalp(self, points: Tensor, soft: float = 0.012) -> Tensor:
        """1 where hair grows on a full head: above the hairline and behind the ears, not on the ears."""
        x, y, z = points.unbind(1)
        hairline = self.brow_height + 0.045
        eye_y = float(self.eye[1])
        nape = _interpolate(z, [-0.09, 0.02], [eye_y - 0.055, hairline - 0.012])
        line = torch.where(z > 0.02, hairline + 0.008 - 6.5 * x * x, nape)
        temple = _interpolate(z, [-0.01, 0.045, 0.06], [eye_y + 0.012, eye_y + 0.02, hairline])
        line = torch.where((z > -0.01) & (z < 0.06), torch.minimum(line, temple), line)
        return smoothstep(y - line, 0.0, soft) * (1 - self.ears(points))

    def ears(self, points: Tensor) -> Tensor:
        """1 on the ears."""
        x, y, z = points.unbind(1)
        outside = smoothstep(x.abs(), 0.074, 0.079) * smoothstep(float(self.eye[1]) + 0.012 - y, 0.0, 0.01)
        return outside * ((z < 0.06) & (z > -0.04))

    def ear_vertices(self, head: Head, side: int) -> Tensor:
        """[V] bool: the vertices of one ear (+1: the person's left), as the head says or by their place."""
        if "ears" in head.region_names:
            ear = head.region("ears") > 0.5
        else:
            ear = (self.ears(head.v_template) > 0.3) & (head.v_template[:, 1] > float(self.chin[1]))
        return ear & (head.v_template[:, 0] * side > 0)

    def lips(self, points: Tensor, soft: float = 0.0012) -> Tensor:
        """1 on the red of the lips."""
        near = points[:, 2] > float(self.landmarks[[61, 291], 2].min()) - 0.012
        outside = _signed_distance(points, self.landmarks[list(LIPS_OUTER)], soft)
        return smoothstep(-outside, -soft, soft) * near

    def lip_distance(self, points: Tensor, inner: bool = False) -> Tensor:
        """Metres [N] to the outer border of the red of the lips, or to the line where the lips meet."""
        return _polyline_distance(
            points, self.landmarks[list(LIPS_INNER if inner else LIPS_OUTER)], closed=True
        )

    def nose(self, points: Tensor, soft: float = 0.003) -> Tensor:
        """1 on the nose: bridge to base, wing to wing."""
        outline = [168, 417, 465, 357, 343, 437, 420, 429, 358, 327, 326, 2, 97, 98, 129, 209, 198, 217, 114]
        outline += [128, 245, 193]
        front = smoothstep(
            points[:, 2], float(self.landmarks[98, 2]) - 0.02, float(self.landmarks[98, 2]) - 0.012
        )
        return smoothstep(-_signed_distance(points, self.landmarks[outline], soft), -soft, soft) * front

    def brows(self, points: Tensor, soft: float = 0.0012, grow: float = 0.0) -> Tensor:
        """1 where the eyebrows are; ``grow`` metres wider."""
        near = smoothstep(points[:, 2], float(self.eye[2]) - 0.01, float(self.eye[2]))
        total = torch.zeros(len(points))
        for lower, upper in (LEFT_BROW, RIGHT_BROW):
            outline = self.landmarks[[*lower, *reversed(upper)]]
            inside = smoothstep(grow - _signed_distance(points, outline, soft + grow), -soft, soft)
            total = torch.maximum(total, inside)
        return total * near

    def beard(self, points: Tensor) -> Tensor:
        """1 where a full beard grows: jaw, chin and below it, lower cheeks, moustache; not the lips."""
        marks = self.points68
        x, y, z = points.unbind(1)
        ax = x.abs()
        base, chin_y = float(marks[33, 1]), float(self.chin[1])
        top = _interpolate(
            ax, [0.0, 0.03, 0.055, 0.075], [base - 0.004, base - 0.012, base - 0.012, base + 0.03]
        )
        to_lips = _polyline_distance(points, marks[48:60], closed=True)
        upper = 0.009 + 0.008 * smoothstep(ax, 0.015, 0.035)
        below_top = ((top - y + 0.002) / (upper + 0.002)).clamp(0, 1)
        mask = below_top * below_top * (3 - 2 * below_top)
        mask = mask * smoothstep(y - (chin_y - 0.022), 0.0, 0.012) * smoothstep(z, 0.012, 0.03)
        mask = mask * smoothstep(to_lips, 0.0018, 0.0045)
        inside = (ax < 0.028) & (y < float(marks[51, 1])) & (y > float(marks[57, 1]))
        return mask * ~inside


def _interpolate(x: Tensor, knots: list[float], values: list[float]) -> Tensor:
    return torch.from_numpy(np.interp(x.numpy(), knots, values)).to(x.dtype)


def _dense(outline: Tensor, closed: bool, steps: int = 12) -> Tensor:
    """The polyline sampled ``steps`` times a segment [M, 3]."""
    end = torch.roll(outline, -1, 0) if closed else outline[1:]
    start = outline if closed else outline[:-1]
    t = torch.arange(steps, dtype=outline.dtype)[None, :, None] / steps
    return (start[:, None] * (1 - t) + end[:, None] * t).reshape(-1, 3)


def _polyline_distance(points: Tensor, outline: Tensor, closed: bool) -> Tensor:
    """Distance [N] of points to a 3D polyline."""
    distance, _ = cKDTree(_dense(outline, closed).numpy()).query(points.numpy())
    return torch.from_numpy(distance).to(points.dtype)


def _signed_distance(points: Tensor, outline: Tensor, reach: float) -> Tensor:
    """Distance to a closed outline seen from the front (x, y); negative inside, infinite further away than `reach`."""
    reach = 1.01 * reach  # what rounding takes off
    flat, border = points[:, :2].numpy(), outline[:, :2].numpy()
    near = np.flatnonzero(((flat > border.min(0) - reach) & (flat < border.max(0) + reach)).all(1))
    tree = cKDTree(_dense(outline, True)[:, :2].numpy())
    distance = tree.query(flat[near], distance_upper_bound=reach)[0]
    signed = np.full(len(flat), np.inf)
    signed[near] = np.where(_inside_polygon(flat[near], border), -distance, distance)
    return torch.from_numpy(signed).to(points.dtype)


def _inside_polygon(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Even-odd rule for points [N, 2] in a polygon [M, 2]."""
    inside = np.zeros(len(points), bool)
    x, y = points.T
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0)):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside
