"""Is it still the same person? Distance between face embeddings of a picture and of the portrait."""

import torch
from torch import Tensor
from torch.nn import functional as F

from perse.dataset import Portrait
from perse.perception import identity_embedding, landmarks

MIN_SIDE = 256
"""Smaller pictures are enlarged to this before faces are sought: the landmarker needs some pixels."""


def identity_distance(image: Tensor, reference: Tensor) -> float | None:
    """Euclidean distance between the face in image [H, W, 3] and the embedding `reference` [128].

    The same person gives about 0.28 to 0.47 over different photos, others 0.52 to 1.02. The largest face counts;
    None where none is found.
    """
    picture = _enlarged(image.detach().cpu().float())
    faces = landmarks(picture)
    if not faces:
        return None
    largest = max(faces, key=lambda face: face.size)
    with torch.no_grad():
        found = identity_embedding(picture, largest.landmarks)
    return float(torch.linalg.vector_norm(found - reference))


def portrait_embedding(portrait: Portrait) -> Tensor:
    """The embedding [128] of the person in the portrait, at the landmarks that capture found."""
    with torch.no_grad():
        return identity_embedding(portrait.image, portrait.landmarks)


def _enlarged(image: Tensor) -> Tensor:
    height, width = image.shape[:2]
    scale = MIN_SIDE / min(height, width)
    if scale <= 1:
        return image
    size = (round(height * scale), round(width * scale))
    planes = F.interpolate(image.movedim(-1, 0)[None], size=size, mode="bicubic", align_corners=False)
    return planes[0].movedim(0, -1).clamp(0, 1)
