"""How true is a puppet? Networks that never saw one look at its pictures: face, identity, hair and clothes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perse.dataset import LABEL_CODE, Edited, Motion
from perse.evaluation.identity import identity_distance, portrait_embedding
from perse.evaluation.metrics import psnr
from perse.head import pose_transforms
from perse.head.skinning import quaternion_to_matrix
from perse.perception import SEGMENT_CLASSES, Face, landmarks, segment
from perse.studio import Puppet
from perse.training.regions import dilate

ALPHA_INSIDE = 0.9
AROUND_EDIT = 8
"""Pixels of 512 by which M_edit grows before what lies outside is compared."""
SEGMENT_CLASS = {"hair": "hair", "clothes": "clothes"}
MIN_LABEL_SHARE = 0.005
"""A label on less of the picture says nothing about the network."""


def front_psnr(puppet: Puppet) -> float:
    """PSNR in dB of the puppet against its photo, in the photo's pose and inside the person."""
    portrait = puppet.portrait
    drawn, _, _ = puppet.render(portrait.expr, portrait.pose, portrait.camera)
    return float(psnr(drawn[None], portrait.image[None], (portrait.alpha > ALPHA_INSIDE)[None]))


def turned(puppet: Puppet, yaw: float) -> Tensor:
    """theta [15] of the photo's pose with the head turned by ``yaw`` degrees."""
    pose = puppet.portrait.pose.clone()
    pose[4] += np.radians(yaw)
    return pose


def identity_when_turned(puppet: Puppet, yaws: Iterable[float]) -> list[float]:
    """Identity distance to the photo, one a yaw (degrees), with the photo's expression; a lost face counts 1."""
    reference = portrait_embedding(puppet.portrait)
    distances = []
    for yaw in yaws:
        image, _, _ = puppet.render(puppet.portrait.expr, turned(puppet, yaw), puppet.portrait.camera)
        distance = identity_distance(image, reference)
        distances.append(1.0 if distance is None else distance)
    return distances


@dataclass(frozen=True)
class FaceAgreement:
    """What the landmarker says about a puppet in motion."""

    found: float
    """Share of frames with a face."""
    turn_error: float
    """Mean angle in degrees between its head turn and ours, both from the photo's pose."""
    jaw: float
    """Correlation of its jawOpen with our jaw angle."""
    blink: float
    """Correlation of its eyeBlink with our closure of the lids."""


def follow_face(puppet: Puppet, motion: Motion, frames: Iterable[int]) -> FaceAgreement:
    """Play some frames of a motion and let the landmarker look at them."""
    portrait = puppet.portrait
    rotation = torch.diag(torch.tensor([1.0, -1, -1])) @ portrait.camera.viewmat[:3, :3]
    start = _largest_face(puppet.render(portrait.expr, portrait.pose, portrait.camera)[0])
    start_turn = _head_turn(puppet, portrait.pose)
    found, errors, jaws, blinks = [], [], [], []
    for frame in frames:
        expr, pose = motion.expr[frame], motion.pose[frame]
        face = _largest_face(puppet.render(expr, pose, portrait.camera)[0])
        found.append(face is not None)
        if face is None or start is None:
            continue
        ours = rotation @ _head_turn(puppet, pose) @ start_turn.T @ rotation.T
        theirs = _rotation_of(face) @ _rotation_of(start).T
        cosine = (torch.trace(ours @ theirs.T) - 1) / 2
        errors.append(float(torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))))
        closed = float(puppet.closure(puppet.posed_vertices(expr, pose)).mean())
        scores = face.blendshapes
        jaws.append((float(pose[6]), scores["jawOpen"]))
        blinks.append((closed, (scores["eyeBlinkLeft"] + scores["eyeBlinkRight"]) / 2))
    error = float(np.mean(errors)) if errors else float("nan")
    return FaceAgreement(float(np.mean(found)), error, _correlation(jaws), _correlation(blinks))


def label_agreement(puppet: Puppet, label: str, yaws: Iterable[float]) -> float | None:
    """Mean IoU of the segmentation network's class with our label ("hair" or "clothes") over turned heads.

    None where there is (next to) nothing of that label, or no face to place the network's crop by.
    """
    scores = []
    for yaw in yaws:
        image, _, labels = puppet.render(puppet.portrait.expr, turned(puppet, yaw), puppet.portrait.camera)
        face, ours = _largest_face(image), labels == LABEL_CODE[label]
        if face is None or ours.float().mean() < MIN_LABEL_SHARE:
            continue
        code = SEGMENT_CLASSES.index(SEGMENT_CLASS[label])
        theirs = segment(image, face.landmarks).argmax(-1) == code
        scores.append(float((ours & theirs).sum() / (ours | theirs).sum()))
    return float(np.mean(scores)) if scores else None


def containment(edited: Edited, reference: Tensor) -> float:
    """PSNR in dB of an edited picture against the unedited one [H, W, 3], outside of M_edit grown by 8 px of 512."""
    grown = dilate(edited.mask[None], round(AROUND_EDIT * edited.mask.shape[-1] / 512))
    return float(psnr(edited.image[None], reference[None], ~grown))


def _largest_face(image: Tensor) -> Face | None:
    return max(landmarks(image), key=lambda face: face.size, default=None)


def _rotation_of(face: Face) -> Tensor:
    columns = face.matrix[:3, :3]
    return columns / columns.norm(dim=0, keepdim=True)


def _head_turn(puppet: Puppet, pose: Tensor) -> Tensor:
    """[3, 3] rotation of the skull."""
    _, quats, _ = pose_transforms(puppet.joints(), pose)
    return quaternion_to_matrix(quats[1])


def _correlation(pairs: list[tuple[float, float]]) -> float:
    if len(pairs) < 3:
        return float("nan")
    first, second = np.array(pairs).T
    if min(first.std(), second.std()) < 1e-6:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
