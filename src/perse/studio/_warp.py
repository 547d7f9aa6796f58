"""The last millimetres of shape: free offsets that put landmarks and the neck's outline where the photo has them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from perse.head import Head, rasterize_mesh
from perse.studio._image import Array, Photo, smoothstep
from perse.studio._skin import LASHES, LEFT_EYE, RIGHT_EYE, SKIN
from perse.studio._view import View
from perse.studio.regions import Regions

LANDMARKS = 468  # without the irises
MAX_PIXELS = 5.0
"""No landmark moves further than this: more would be a wrong landmark."""
MAX_NECK_PIXELS = 9.0
MAX_EAR_PIXELS = 26.0
LID_CLEARANCE = 3e-4
"""Metres that lids stay in front of the eyeball."""


def landmark_offsets(head: Head, vertices: Array, photo: Photo, view: View) -> Array:
    """Displacements [V, 3] in the picture plane that bring the head's landmarks onto the photo's.

    vertices [V, 3] in the photo's pose. Smooth between landmarks, nothing 3 cm away from them; eyeballs and
    teeth stay, and lids are kept in front of the eyeballs.
    """
    on_head = head.landmarks(torch.from_numpy(vertices)).numpy()[:LANDMARKS]
    pixels = view.project(on_head)
    miss = photo.landmarks[:LANDMARKS] - pixels[:, :2]
    length = np.linalg.norm(miss, axis=1, keepdims=True)
    miss = miss * np.minimum(1, MAX_PIXELS / np.maximum(length, 1e-9))
    in_plane = np.concatenate([miss / view.focal * pixels[:, 2:], np.zeros((LANDMARKS, 1))], 1)
    shift = in_plane @ view.rotation  # world
    nodes = head.landmarks(head.v_template).double().numpy()[:LANDMARKS]
    spline = RBFInterpolator(nodes * 100, shift, kernel="thin_plate_spline", smoothing=0.02)
    template = head.v_template.double().numpy()
    distance, _ = cKDTree(nodes).query(template)
    part = head.vertex_part.numpy()
    rows = np.flatnonzero(((part == SKIN) | (part == LASHES)) & (distance < 0.03))
    offsets = np.zeros_like(vertices)
    fade = 1 - smoothstep(distance[rows], 0.008, 0.03)
    offsets[rows] = spline(template[rows] * 100) * fade[:, None]
    return _clear_eyes(head, vertices, offsets)


def _clear_eyes(head: Head, vertices: Array, offsets: Array) -> Array:
    """Push displaced skin out of the eyeballs."""
    part = head.vertex_part.numpy()
    offsets = offsets.copy()
    for eye in (LEFT_EYE, RIGHT_EYE):
        ball = vertices[part == eye]
        centre = ball.mean(0)
        radius = np.linalg.norm(ball - centre, axis=1).max() + LID_CLEARANCE
        rows = np.flatnonzero((part == SKIN) & (np.linalg.norm(vertices - centre, axis=1) < radius + 0.006))
        before = np.linalg.norm(vertices[rows] - centre, axis=1)
        away = vertices[rows] + offsets[rows] - centre
        after = np.linalg.norm(away, axis=1)
        short = np.maximum(np.minimum(before, radius) - after, 0)  # what was inside already may stay so
        offsets[rows] += away / after[:, None] * short[:, None]
    return offsets


def neck_offsets(head: Head, regions: Regions, vertices: Array, photo: Photo, view: View) -> Array:
    """Displacements [V, 3] along the picture's rows that fit the neck between its two outlines in the photo."""
    faces = head.faces.numpy()
    template = head.v_template.double().numpy()
    chin_y = float(regions.chin[1])
    skin_faces = (head.face_part == SKIN).numpy()
    on_neck = (template[faces][:, :, 1] < chin_y).all(1)
    neck_seen = _drawn(vertices, faces[on_neck & skin_faces], view)
    jaw_seen = _drawn(vertices, faces[~on_neck & skin_faces], view)
    person = (photo.skin > 0.5) & (photo.foreground > 0.5)
    chin_row = int(photo.landmarks[152, 1])
    offsets = np.zeros_like(vertices)
    sides = []
    for side in (0, -1):  # the leftmost and the rightmost pixel of a row
        edges = []
        for row in range(chin_row - 30, min(chin_row + 8, view.height)):
            neck, jaw, seen = (np.flatnonzero(mask[row]) for mask in (neck_seen, jaw_seen, person))
            if len(neck) and len(seen) and (not len(jaw) or abs(seen[side] - jaw[side]) >= 2):
                outside = not len(jaw) or (seen[side] < jaw[side]) == (side == 0)
                if outside:
                    edges.append((neck[side], seen[side] - neck[side]))
        if len(edges) < 6:
            return offsets
        first = edges[0][0]  # further down, the neck widens into shoulders
        sides.append(np.median([edge for edge in edges if abs(edge[0] - first) <= 4], 0))
    (low, shift_low), (high, shift_high) = sides
    if max(abs(shift_low), abs(shift_high)) > MAX_NECK_PIXELS:
        return offsets  # collars, hair or beards stand before the neck
    pixels = view.project(vertices)
    across = np.clip((pixels[:, 0] - low) / max(high - low, 1), -0.3, 1.3)
    shift = (shift_low * (1 - across) + shift_high * across) / view.focal[0] * pixels[:, 2]
    amount = smoothstep(chin_y + 0.012 - template[:, 1], 0, 0.02) * smoothstep(template[:, 1], -0.17, -0.12)
    amount = amount * (head.vertex_part == SKIN).numpy()
    offsets += (shift * amount)[:, None] * view.rotation[0]
    return offsets


def ear_offsets(head: Head, regions: Regions, vertices: Array, photo: Photo, view: View) -> Array:
    """Displacements [V, 3] along the picture's rows that let ears stand off the head as far as in the photo.

    An ear is left alone where hair or anything else hides its outline.
    """
    offsets = np.zeros_like(vertices)
    pixels = view.project(vertices)
    person = photo.foreground > 0.5
    for side in (1, -1):
        ear = regions.ear_vertices(head, side).numpy()
        if not ear.any():
            continue
        outward = np.sign(np.median(pixels[ear, 0]) - np.median(pixels[:, 0]))
        across = pixels[:, 0] * outward
        root, reach = np.quantile(across[ear], 0.03), across[ear].max()
        rows = np.quantile(pixels[ear, 1], [0.2, 0.8]).astype(int).clip(0, view.height)
        seen = [np.flatnonzero(person[row]) for row in range(*rows)]
        edges = np.array([(columns * outward).max() for columns in seen if len(columns)])
        if len(edges) < 6:
            continue
        miss = float(np.quantile(edges, 0.8)) - reach
        inside = int(np.clip((reach + miss - 3) * outward, 0, view.width - 1))
        if (
            photo.hair[rows[0] : rows[1], inside].mean() > 0.3
            or not -MAX_EAR_PIXELS / 2 < miss < MAX_EAR_PIXELS
        ):
            continue
        away = np.clip((across - root) / (reach - root), 0, 1) * ear
        offsets += (away * miss * outward / view.focal[0] * pixels[:, 2])[:, None] * view.rotation[0]
    return offsets


def _drawn(vertices: Array, faces: Array, view: View) -> Array:
    """[H, W] bool: pixels that some triangles cover."""
    return rasterize_mesh(view.project(vertices), faces, view.height, view.width)[0] >= 0
