"""The inside of the mouth: where the teeth are, what is dark, what colour the teeth have."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from perse.head import Head, rasterize_mesh
from perse.studio._image import Array, Photo, erode, sample, smoothstep
from perse.studio._skin import LOWER_TEETH, SKIN, TONGUE, UPPER_TEETH, Surface, mouth_mask_at
from perse.studio.regions import LIPS_INNER, Regions

LUMA = np.array([0.3, 0.59, 0.11])
CAVITY = np.array([0.34, 0.125, 0.115])
TONGUE_COLOR = np.array([0.66, 0.33, 0.32])
GUM = np.array([0.60, 0.31, 0.30])
TOOTH_GOES_ON = 0.006
"""Metres over which teeth behind the lips keep the colours of those that the photo shows."""
TOOTH = np.array([0.80, 0.76, 0.70])


def inner_faces(head: Head, regions: Regions) -> Array:
    """[F] bool: skin that lines the mouth. Heads that do not say so are looked at from outside, at rest."""
    if "mouth" in head.region_names:
        inside = head.region("mouth").numpy() > 0.5
        return inside[head.faces.numpy()].all(1) & (head.face_part == SKIN).numpy()
    return _never_seen(head, regions)


def _never_seen(head: Head, regions: Regions) -> Array:
    """[F] bool: skin near the mouth that no view from outside sees in the neutral pose."""
    vertices = head.v_template.double().numpy()
    faces = head.faces.numpy()
    marks = regions.landmarks.numpy()
    centre = marks[[13, 14]].mean(0)
    width = np.abs(marks[61, 0] - marks[291, 0])
    middle = vertices[faces].mean(1)
    near = (np.abs(middle[:, 0]) < 0.7 * width) & (np.abs(middle[:, 1] - centre[1]) < 0.8 * width)
    near &= (head.face_part == SKIN).numpy() & (middle[:, 2] > centre[2] - 1.4 * width)
    around = np.abs(middle - centre).max(1) < 0.09
    seen = np.zeros(len(faces), bool)
    for yaw in (-60, -30, 0, 30, 60):
        for pitch in (-35, 0, 35):
            seen |= _seen_from(vertices - centre, faces, around, yaw, pitch)
    touched = np.zeros(len(vertices), bool)
    touched[faces[seen].ravel()] = True
    return near & ~touched[faces].any(1)


def _seen_from(vertices: Array, faces: Array, chosen: Array, yaw: float, pitch: float) -> Array:
    """Which of the ``chosen`` triangles a parallel view from (yaw, pitch) degrees sees. [F] bool"""
    y, p = np.radians([yaw, pitch])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    turned = vertices @ (nod @ turn).T
    size, scale = 320, 160 / 0.06
    pixels = np.stack([size / 2 + turned[:, 0] * scale, size / 2 - turned[:, 1] * scale, 1 - turned[:, 2]], 1)
    rows = np.flatnonzero(chosen)
    index, _, _ = rasterize_mesh(pixels, faces[rows], size, size, perspective=False)
    seen = np.zeros(len(faces), bool)
    ids, counts = np.unique(index[index >= 0], return_counts=True)
    seen[rows[ids[counts > 3]]] = True
    return seen


def tooth_color(photo: Photo, exposure: float) -> Array:
    """[3] the bright half of the photo's open mouth, or a plain tooth in the photo's exposure."""
    plain = TOOTH * np.clip(exposure, 0.75, 1.1)
    inside = photo.image[erode(photo.mouth, 3) > 0]
    if len(inside) <= 60:
        return plain
    luma = inside @ LUMA
    color = np.median(inside[luma > np.percentile(luma, 60)], 0)
    pale = color.max() - color.min() < 0.35 and color @ LUMA > 0.75 * plain @ LUMA
    return color if pale else plain


def color_mouth(
    colors: Array, surface: Surface, photo: Photo, regions: Regions, tooth: Array, exposure: float
) -> Array:
    """Paint cavity, teeth and tongue; what the photo shows of the teeth is kept. colours [N, 3] -> [N, 3]"""
    colors = colors.copy()
    lips_z = float(regions.landmarks[list(LIPS_INNER), 2].mean())
    depth = lips_z - surface.template[:, 2]  # metres behind the lips
    dark = np.clip(np.exp(-np.maximum(depth - 0.006, 0) / 0.018), 0.22, 1)[:, None]
    colors[surface.inner] = (CAVITY * exposure * (0.25 + 1.5 * dark))[surface.inner]
    shown = mouth_mask_at(surface, photo.mouth)
    for part, base in (
        (UPPER_TEETH, tooth),
        (LOWER_TEETH, tooth * 0.9),
        (TONGUE, TONGUE_COLOR * exposure),
    ):
        rows = surface.part == part
        if not rows.any():
            continue
        facing = np.clip(0.62 + 0.38 * np.abs(surface.normals[rows, 2]), 0.3, 1)[:, None]
        painted = np.tile(base, (rows.sum(), 1))
        reach = 0.035 if part == TONGUE else 0.020
        if part != TONGUE:
            painted = _teeth_and_gums(surface.template[rows], painted, upper=part == UPPER_TEETH)
        lit = 0.004 if part == TONGUE else float(depth[rows].min()) + 0.002  # light falls on the front teeth
        occlusion = np.clip(np.exp(-np.maximum(depth[rows] - lit, 0) / reach), 0.18, 1)[:, None]
        painted = painted * facing * occlusion ** np.array([1.0, 1.2, 1.3])  # shade in a mouth is warm
        keep = shown[rows] & (part == UPPER_TEETH)
        if keep.any():
            painted[keep] = sample(photo.image, surface.pixels[rows][keep])
            painted = _continued(painted, surface.template[rows], keep)
        colors[rows] = painted
    return colors


def _continued(colors: Array, points: Array, known: Array) -> Array:
    """Teeth go on behind the lips in the colours they show: [N, 3] blended where not ``known`` [N]."""
    distance, near = cKDTree(points[known]).query(points, k=12)
    weight = np.exp(-((distance[:, :1] / TOOTH_GOES_ON) ** 2))
    weight[known] = 0
    return colors * (1 - weight) + colors[known][near].mean(1) * weight


def _teeth_and_gums(points: Array, color: Array, upper: bool) -> Array:
    """Columns between teeth, and gums towards the jaw."""
    centre_z = points[:, 2].min() + 0.2 * np.ptp(points[:, 2])
    angle = np.degrees(np.arctan2(points[:, 0], points[:, 2] - centre_z))
    column = (angle + 5) / 10
    gap = np.exp(-((column - np.round(column)) ** 2) / 0.004)
    height = (points[:, 1] - points[:, 1].min()) / max(np.ptp(points[:, 1]), 1e-6)
    towards_gum = height if upper else 1 - height
    gum = smoothstep(towards_gum, 0.62, 0.78)[:, None]
    return color * (1 - 0.22 * gap)[:, None] * (1 - gum) + GUM * gum
