"""Plain shaded renders of the head, for the landmark embedding and for looking at."""

from __future__ import annotations

import numpy as np

from perse.head import Head, rasterize_mesh

from .mesh import LASHES, LEFT_EYE, LOWER_TEETH, RIGHT_EYE, TONGUE, UPPER_TEETH

SKIN_COLOUR = (0.86, 0.66, 0.55)
LIP_COLOUR = (0.70, 0.32, 0.30)
MOUTH_COLOUR = (0.30, 0.10, 0.10)
PART_COLOUR = {
    LEFT_EYE: (0.93, 0.92, 0.90), RIGHT_EYE: (0.93, 0.92, 0.90), UPPER_TEETH: (0.95, 0.93, 0.86),
    LOWER_TEETH: (0.95, 0.93, 0.86), TONGUE: (0.62, 0.27, 0.27), LASHES: (0.15, 0.11, 0.09),
}  # fmt: skip
BACKGROUND = (0.93, 0.94, 0.96)
PUPIL_DEGREES, IRIS_DEGREES = 9, 24


def yaw_pitch(yaw: float, pitch: float) -> np.ndarray:
    """Rotation [3, 3] of the head by degrees: yaw to its left, then pitch down."""
    y, p = np.radians([yaw, pitch])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    return about_x @ about_y


def vertex_colours(head: Head) -> np.ndarray:
    """Plain colours [V, 3]: skin, lips, a dark mouth, eyes, teeth, tongue, lashes."""
    colours = np.tile(SKIN_COLOUR, (len(head), 1))
    for region, colour, strength in (("lips", LIP_COLOUR, 0.75), ("mouth", MOUTH_COLOUR, 1.0)):
        amount = strength * head.region(region).double().numpy()[:, None]
        colours = colours * (1 - amount) + amount * colour
    for part, part_colour in PART_COLOUR.items():
        colours[head.vertex_part.numpy() == part] = part_colour
    return colours


def shade(
    vertices: np.ndarray,
    rest: np.ndarray,
    faces: np.ndarray,
    face_part: np.ndarray,
    colours: np.ndarray,
    rotation: np.ndarray,
    size: int,
    supersample: int = 2,
    centre: tuple[float, float, float] = (0, 0, 0.03),
    focal: float = 2.75,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a posed mesh from one metre away.

    Args:
        vertices: posed [V, 3]; rest: the same head at rest, where irises are painted.
        faces, face_part, colours: of the mesh.
        rotation: of the head [3, 3], about `centre`.
        size: pixels of the square picture.
        supersample: samples per pixel side; focal: in picture sizes.

    Returns:
        uint8 picture [size, size, 3]; triangle index and barycentric coordinates at the finer raster.
    """
    fine = size * supersample
    turned = (vertices - np.array(centre)) @ rotation.T
    depth = 1 - turned[:, 2]
    pixels = np.stack(
        [fine * (0.5 + focal * turned[:, 0] / depth), fine * (0.5 - focal * turned[:, 1] / depth), depth], 1
    )
    tri_id, bary, _ = rasterize_mesh(pixels, faces, fine, fine)
    seen = tri_id >= 0
    triangle, weight = tri_id[seen], bary[seen]
    normal = _mix(_normals(vertices, faces) @ rotation.T, faces, triangle, weight)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    colour = _mix(colours, faces, triangle, weight)
    _paint_irises(colour, rest, faces, face_part, triangle, weight)
    key, fill = np.array([0.34, 0.44, 0.83]), np.array([-0.75, 0.11, 0.65])
    light = 0.30 + 0.62 * np.clip(normal @ key, 0, 1) + 0.18 * np.clip(normal @ fill, 0, 1)
    light *= np.where(normal[:, 2] < 0, 0.55, 1)
    image = np.ones((fine, fine, 3)) * BACKGROUND
    image[seen] = np.clip(colour * light[:, None], 0, 1)
    image = image.reshape(size, supersample, size, supersample, 3).mean((1, 3))
    return (image ** (1 / 1.15) * 255).astype(np.uint8), tri_id, bary


def _mix(values: np.ndarray, faces: np.ndarray, triangle: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return (values[faces[triangle]] * weight[..., None]).sum(1)


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, faces[:, k], normal)
    return total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12)


def _paint_irises(colour, rest, faces, face_part, triangle, weight) -> None:
    """Pupil and iris by the angle from the eyeball's rest axis, in place."""
    for eye in (LEFT_EYE, RIGHT_EYE):
        on_eye = face_part[triangle] == eye
        centre = rest[np.unique(faces[face_part == eye])].mean(0)
        direction = _mix(rest, faces, triangle[on_eye], weight[on_eye]) - centre
        cosine = direction[:, 2] / np.linalg.norm(direction, axis=1)
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))[:, None]
        white = colour[on_eye]
        colour[on_eye] = np.where(
            angle < PUPIL_DEGREES,
            (0.03, 0.03, 0.03),
            np.where(angle < IRIS_DEGREES, (0.30, 0.20, 0.12), white),
        )
