"""Reading where the 478 landmarks lie on a head that is not ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from perse.errors import PerseError

from .flame import read_npz
from .model import Head
from .storage import open_head
from .surface import closest_point

COUNT = 478
FIRST_IRIS = 468


def read_embedding(head: Head, path: Path) -> Head:
    """The head with a landmark embedding out of an ``.npz``.

    Args:
        head: any head.
        path: either all 478 points (landmark_faces [478], landmark_bary [478, 3]), or some of them as the FLAME
            release has it (lmk_face_idx [K], lmk_b_coords [K, 3], landmark_indices [K] of 0..477); then the others come
            from the open head, warped so that the known points agree (:func:`transfer_embedding`).

    Raises:
        PerseError: the file is unreadable or does not fit the head.
    """
    arrays = read_npz(path)
    if "landmark_faces" in arrays:
        face, bary, index = arrays["landmark_faces"], arrays.get("landmark_bary"), np.arange(COUNT)
    elif {"lmk_face_idx", "lmk_b_coords", "landmark_indices"} <= set(arrays):
        face, bary, index = arrays["lmk_face_idx"], arrays["lmk_b_coords"], arrays["landmark_indices"]
    else:
        raise PerseError(
            f"{path} holds no landmark embedding: needed are landmark_faces and landmark_bary, or lmk_face_idx, "
            f"lmk_b_coords and landmark_indices. It holds: {', '.join(sorted(arrays))}."
        )
    face, index = face.astype(np.int64).ravel(), index.astype(np.int64).ravel()
    fits = bary is not None and len(face) == len(index) and bary.shape == (len(face), 3)
    if not fits or face.min() < 0 or face.max() >= len(head.faces) or index.min() < 0 or index.max() >= COUNT:
        raise PerseError(
            f"{path}: the landmark embedding does not fit {head.name} ({len(head.faces)} triangles)."
        )
    assert bary is not None
    face_t, bary_t = torch.from_numpy(face), torch.from_numpy(bary.astype(np.float32))
    if len(face) == COUNT:
        return replace(head, landmark_faces=face_t, landmark_bary=bary_t)
    if len(face) < 20:
        raise PerseError(
            f"{path}: {len(face)} landmarks are too few to place the other {COUNT - len(face)} by."
        )
    corners = head.v_template[head.faces[face_t]]
    return transfer_embedding(head, torch.from_numpy(index), (corners * bary_t[..., None]).sum(1))


def transfer_embedding(head: Head, known: torch.Tensor, positions: torch.Tensor) -> Head:
    """Place all 478 landmarks on a head where some are known.

    The open head's landmarks are warped by the thin-plate spline that takes its known landmarks to `positions`, then
    projected onto the surface: skin for the face, eyeballs for the irises.

    Args:
        head: the head without an embedding.
        known: which landmarks are known [K] int64.
        positions: where they are on `head` at rest, [K, 3] metres.
    """
    from scipy.interpolate import RBFInterpolator

    reference = open_head()
    source = reference.landmarks(reference.v_template).double().numpy()
    spline = RBFInterpolator(
        source[known.numpy()], positions.double().numpy(), kernel="thin_plate_spline", smoothing=0
    )
    warped = torch.from_numpy(spline(source))
    warped[known] = positions.double()
    vertices = head.v_template.double()
    face, bary, _ = closest_point(warped, vertices, head.faces, head.part_faces("skin"))
    eyes = head.part_faces(("left_eye", "right_eye"))
    if bool(eyes.any()):
        iris = closest_point(warped[FIRST_IRIS:], vertices, head.faces, eyes)
        face[FIRST_IRIS:], bary[FIRST_IRIS:] = iris[0], iris[1]
    return replace(head, landmark_faces=face, landmark_bary=bary.to(head.v_template.dtype))
