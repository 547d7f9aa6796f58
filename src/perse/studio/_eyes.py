"""Eyeballs from two landmark rings and a radial profile; lids that close."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree

from perse.head import Head
from perse.studio._image import Array, Photo, erode, smoothstep
from perse.studio._skin import LASHES, LEFT_EYE, RIGHT_EYE, SkinColors, Surface
from perse.studio._view import View, at_pixels
from perse.studio.regions import LEFT_IRIS, RIGHT_IRIS

SCLERA = np.array([0.78, 0.75, 0.72])
IRIS = np.array([0.20, 0.13, 0.09])
PROFILE_STEP = 2.5  # degrees


def color_eyes(
    colors: Array, surface: Surface, photo: Photo, vertices: Array, head: Head, view: View, axes: Array
) -> Array:
    """Paint both eyeballs: the photo between the lids, a model of iris and white elsewhere.

    vertices [V, 3] in the photo's pose; axes [2, 3] the gaze of the rig there. colours [N, 3] -> [N, 3]
    """
    colors = colors.copy()
    opening = erode(photo.eyes, 3) * (photo.worn < 0.3)
    soft = at_pixels(ndimage.gaussian_filter(opening, 1.0), surface.pixels)
    for part, axis in ((LEFT_EYE, axes[0]), (RIGHT_EYE, axes[1])):
        rows = np.flatnonzero(surface.part == part)
        centre = vertices[(head.vertex_part == part).numpy()].mean(0)
        ring = _iris_ring(photo, view, centre)
        direction = surface.points[rows] - centre
        radius = float(np.median(np.linalg.norm(direction, axis=1)))
        direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        axis, iris_angle = _gaze(ring, centre, radius, axis, view)
        angle = np.degrees(np.arccos(np.clip(direction @ axis, -1, 1)))
        shown = surface.visible[rows] & (at_pixels(opening, surface.pixels)[rows] > 0)
        model = _model(angle, iris_angle, colors[rows], shown)
        keep = (soft[rows] * surface.visible[rows])[:, None]
        colors[rows] = model * (1 - keep) + colors[rows] * keep
    return colors


def _iris_ring(photo: Photo, view: View, centre: Array) -> Array:
    """[5, 2] the iris landmarks (centre first) that belong to the eyeball at ``centre``."""
    pixel = view.project(centre[None])[0, :2]
    rings = [photo.landmarks[list(ring)] for ring in (LEFT_IRIS, RIGHT_IRIS)]
    return min(rings, key=lambda ring: float(np.linalg.norm(ring[0] - pixel)))


def _gaze(ring: Array, centre: Array, radius: float, axis: Array, view: View) -> tuple[Array, float]:
    """The axis [3] that projects onto the iris landmark, and the angular radius of the iris in degrees."""
    depth = float(view.project(centre[None])[0, 2])
    metres = view.metres_per_pixel(depth)
    for _ in range(6):
        miss = (ring[0] - view.project((centre + axis * radius)[None])[0, :2]) * metres
        axis = axis + view.rotation.T @ np.array([miss[0], miss[1], 0]) / radius
        axis = axis / np.linalg.norm(axis)
    size = np.linalg.norm(ring[1:] - ring[0], axis=1).mean() * metres
    return axis, float(np.degrees(np.arcsin(min(0.9, size / radius))))


def _model(angle: Array, iris_angle: float, colors: Array, shown: Array) -> Array:
    """Colours [M, 3] of an eyeball by angle from its axis: pupil, iris profile, white."""
    white_rows = shown & (angle > iris_angle + 3)
    white = np.percentile(colors[white_rows], 55, axis=0) if white_rows.sum() > 20 else SCLERA
    knots = np.arange(0, iris_angle + 1, PROFILE_STEP)
    rings = [shown & (np.abs(angle - knot) < PROFILE_STEP) for knot in knots]
    known = [index for index, ring in enumerate(rings) if ring.sum() > 8]
    if known:
        profile = np.array([np.median(colors[rings[index]], 0) for index in known])
        iris = np.stack([np.interp(angle, knots[known], profile[:, c]) for c in range(3)], 1)
    else:
        iris = np.tile(IRIS, (len(angle), 1))
    iris = iris * np.where(angle < iris_angle * 0.36, 0.55, 1)[:, None]
    outside = smoothstep(angle, iris_angle - 2, iris_angle + 2)[:, None]
    shadow = (1 - 0.35 * smoothstep(angle, 45, 75))[:, None]  # the white darkens into the socket
    return (iris * (1 - outside) + white * outside) * shadow


def lid_motion(head: Head, surface: Surface) -> Array:
    """[N, 2] 0..1: how much a disc is part of the left and right lid (moves when the eye blinks)."""
    moves = []
    for unit in ("eyeBlinkLeft", "eyeBlinkRight"):
        shift = (head.expdirs @ head.expr_from_units({unit: 1.0})).norm(dim=1).numpy()  # [V] metres
        at_discs = (shift[head.faces.numpy()[surface.face]] * surface.bary).sum(1)
        moves.append(smoothstep(at_discs, 0.0012, 0.0035) * surface.body)
    return np.stack(moves, 1)


def closed_lids(colors: Array, skin: SkinColors, surface: Surface, lid: Array, head: Head) -> Array:
    """Colours [N, 3] with the eyes closed: clean lids with a lash line."""
    closed = colors.copy()
    closed[skin.rows] = skin.clean * skin.shade[skin.rows, None]
    lashes = head.v_template[head.vertex_part == LASHES].double().numpy()
    if len(lashes):
        distance, _ = cKDTree(lashes).query(surface.template)
        line = np.exp(-((distance / 0.0016) ** 2)) * (lid.max(1) > 0.2)
        closed *= (1 - 0.55 * line)[:, None]
    return np.clip(closed, 0, 1)


def rig_axes(joint_quats: torch.Tensor) -> Array:
    """[2, 3] where the posed eye joints look: joint_quats [5, 4] of perse.head.pose_transforms."""
    from perse.studio._geometry import quat_to_matrix

    return quat_to_matrix(joint_quats[3:5])[..., 2].double().numpy()
