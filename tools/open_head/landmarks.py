"""Where the 478 landmarker points lie on the head: run the landmarker on renders of the head itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from perse.head import closest_point

from .mesh import LASHES, LEFT_EYE, RIGHT_EYE, SKIN

COUNT = 478
FIRST_IRIS = 468

# fmt: off
LIPS = np.array(sorted({
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409, 78, 95, 88, 178, 87, 14,
    317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415, 76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306,
    184, 74, 73, 72, 11, 302, 303, 304, 408, 62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12,
    268, 271, 272, 407,
}))
# fmt: on


def detect(images: list[np.ndarray], model: Path) -> list[np.ndarray | None]:
    """Landmarks [478, 2] in pixels of each uint8 picture, None where no face is found."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(base_options=BaseOptions(model_asset_path=str(model)))
    found: list[np.ndarray | None] = []
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        for image in images:
            height, width = image.shape[:2]
            result = landmarker.detect(
                mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))
            )
            if result.face_landmarks:
                found.append(np.array([[p.x * width, p.y * height] for p in result.face_landmarks[0]]))
            else:
                found.append(None)
    return found


class RayCasts:
    """Rest positions that the landmarks of several views hit, [views, 478, 3] with NaN where a hit is no use."""

    def __init__(self, v_template: np.ndarray, faces: np.ndarray, face_part: np.ndarray):
        self.v_template, self.faces, self.face_part = v_template, faces, face_part
        self.hits: list[np.ndarray] = []

    def add(self, pixels: np.ndarray, tri_id: np.ndarray, bary: np.ndarray, mouth_open: bool) -> None:
        """One view: landmark positions [478, 2] in pixels of the triangle map."""
        hit = np.full((COUNT, 3), np.nan)
        for i, (x, y) in enumerate(pixels):
            found = self._nearest_surface(int(x), int(y), tri_id)
            if found is None:
                continue
            triangle = tri_id[found]
            if i < FIRST_IRIS and self.face_part[triangle] != SKIN:
                continue  # a lip or lid point that fell on teeth, tongue or eyeball
            hit[i] = bary[found] @ self.v_template[self.faces[triangle]]
        if not mouth_open:
            hit[LIPS] = np.nan  # closed lips hide which lip a point is on
        self.hits.append(hit)

    def _nearest_surface(self, x: int, y: int, tri_id: np.ndarray, reach: int = 6) -> tuple[int, int] | None:
        """The nearest pixel that shows anything but background and lashes."""
        y0, x0 = max(0, y - reach), max(0, x - reach)
        window = tri_id[y0 : y + reach + 1, x0 : x + reach + 1]
        good = np.argwhere((window >= 0) & (self.face_part[np.maximum(window, 0)] != LASHES))
        if len(good) == 0:
            return None
        row, column = good[((good - [y - y0, x - x0]) ** 2).sum(1).argmin()]
        return y0 + int(row), x0 + int(column)

    def consensus(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean of the 60 % views nearest the median, and the median spread: [478, 3], [478] in metres."""
        hits = np.stack(self.hits)
        distance = np.linalg.norm(hits - np.nanmedian(hits, 0), axis=-1)
        keep = distance <= np.nanquantile(distance, 0.6, axis=0)
        return np.nanmean(np.where(keep[..., None], hits, np.nan), 0), np.nanmedian(distance, 0)


def mirror_pairs(positions: np.ndarray) -> np.ndarray:
    """Landmark i's mirror image: the mutual nearest under x -> -x, itself on the midline or where no pair agrees.

    positions [478, 3]; irises pair with irises only.
    """
    flipped = positions * [-1, 1, 1]
    distance = np.linalg.norm(positions[:, None] - flipped[None], axis=-1)
    iris = np.arange(COUNT) >= FIRST_IRIS
    distance[iris[:, None] != iris[None]] = np.inf
    from scipy.optimize import linear_sum_assignment

    square = distance + distance.T
    _, partner = linear_sum_assignment(np.minimum(square, 1e3) ** 2)
    agree = partner[partner] == np.arange(COUNT)
    return np.where(agree, partner, np.arange(COUNT))


def symmetrise(positions: np.ndarray) -> tuple[np.ndarray, float]:
    """Average every landmark with the mirror image of its partner; returns also the mean change in metres."""
    partner = mirror_pairs(positions)
    paired = (partner != np.arange(COUNT)) | (np.abs(positions[:, 0]) < 0.004)
    averaged = 0.5 * (positions + positions[partner] * [-1, 1, 1])
    out = np.where(paired[:, None], averaged, positions)
    return out, float(np.linalg.norm(out - positions, axis=1).mean())


def embed(
    positions: np.ndarray, v_template: np.ndarray, faces: np.ndarray, face_part: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Snap positions to the mesh: triangles [478], barycentric coordinates [478, 3], distances [478]."""
    vertices, triangles = torch.from_numpy(v_template), torch.from_numpy(faces)
    allowed_skin = torch.from_numpy(face_part == SKIN)
    allowed_eye = torch.from_numpy((face_part == LEFT_EYE) | (face_part == RIGHT_EYE))
    face, bary, distance = closest_point(torch.from_numpy(positions), vertices, triangles, allowed_skin)
    iris = closest_point(torch.from_numpy(positions[FIRST_IRIS:]), vertices, triangles, allowed_eye)
    face[FIRST_IRIS:], bary[FIRST_IRIS:], distance[FIRST_IRIS:] = iris
    return face.numpy(), bary.numpy(), distance.numpy()
