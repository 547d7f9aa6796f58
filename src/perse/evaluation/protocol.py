"""The evaluation of an avatar against its dataset, on the frames that training never saw."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from perse.avatar import Avatar
from perse.dataset import CATEGORIES, Dataset, Subject, from_uint8
from perse.errors import PerseError
from perse.evaluation.identity import identity_distance, portrait_embedding
from perse.evaluation.leakage import Leakage, foreground
from perse.evaluation.metrics import Perceptual, psnr, ssim
from perse.training.regions import part_region

FRAMES_AT_ONCE = 8
FACE_UNTOUCHED = ("clothes", "earrings", "hair", "hat", "headphones")
"""Categories whose edits leave the face alone, so that identity should stay."""
_MEANS = ("psnr", "psnr_foreground", "ssim", "lpips", "identity", "identity_motion", "identity_dataset")
_LEAKAGE = ("leakage", "leakage_dataset", "leakage_area")


@dataclass
class _Drawn:
    """One look over the held-out frames."""

    rgb: Tensor
    """[F, H, W, 3]"""
    alpha: Tensor
    """[F, H, W]"""


@dataclass
class _Scores:
    """Figures of one subject."""

    subject: Subject
    frames: dict[str, list[float]] = field(default_factory=dict)
    """Metric -> one number a frame."""
    leakage: Leakage = field(default_factory=Leakage)
    dataset_leakage: Leakage = field(default_factory=Leakage)
    """The same between the dataset's own frames: what is not to be blamed on the avatar."""
    faces_missing: int = 0

    @property
    def group(self) -> str:
        """The row it counts for in the table by category."""
        if self.subject.is_reference:
            return "reference"
        return self.subject.category or "combined"

    def extend(self, name: str, values: Iterable[float]) -> None:
        """Add figures of some frames."""
        self.frames.setdefault(name, []).extend(values)

    def row(self) -> dict[str, Any]:
        """What metrics.json says of this subject."""
        means = {name: _mean(values) for name, values in self.frames.items()}
        row: dict[str, Any] = {
            "category": self.group,
            "prompt": "; ".join(attribute.prompt for attribute in self.subject.attributes),
            **means,
            "faces_missing": self.faces_missing,
        }
        if self.subject.category is not None:
            row["leakage"] = self.leakage.mean
            row["leakage_area"] = self.leakage.share
            row["leakage_dataset"] = self.dataset_leakage.mean
        return row


def evaluate(
    avatar: Avatar,
    dataset: Dataset,
    *,
    device: torch.device | str | None = None,
    progress: bool = True,
    identity_frames: int = 3,
    indices: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Compare the avatar with every subject of the dataset on its held-out frames.

    Args:
        avatar: learned on this dataset.
        device: where the pictures are compared; the avatar's own device if None.
        progress: show a bar.
        identity_frames: in how many held-out frames of each subject, evenly spread, the face is compared with the
            portrait.
        indices: other frames than the held-out ones.

    Returns: a dict for JSON. `psnr`, `psnr_foreground`, `ssim`, `lpips`: means over all subjects and frames;
        `identity`: mean distance to the portrait, with the head turned as in held-out frames and the photo's own
        expression (the network takes another expression for half another person), `identity_reference` and
        `identity_face_untouched` over the reference and over edits that leave the face alone; `identity_motion`:
        the same in the held-out frames as they are, `identity_dataset` that of the dataset's own frames;
        `faces_missing`: how many drawings showed no face;
        `leakage`: per category and `mean`; `leakage_dataset`: the same between the dataset's own frames, from
        what lies below the threshold of a change and from video coding; `leakage_area`: which share of the person
        that was measured on;
        `subjects`, `categories`, `frames_heldout`; `per_subject` and `per_category` tables. None stands where
        nothing could be measured.

    Errors: PerseError if there is no held-out frame or if the avatar has not learned a subject.
    """
    frames = dataset.heldout_indices if indices is None else torch.as_tensor(indices, dtype=torch.int64)
    if len(frames) == 0:
        raise PerseError(f"{dataset.path}: its motion holds out no frame, there is nothing to evaluate on")
    protocol = _Protocol(avatar, dataset, frames, Perceptual(device or avatar.device), identity_frames)
    subjects = tqdm(dataset.subjects, desc="evaluate", unit="subject", disable=not progress, mininterval=1.0)
    return _summary([protocol.score(subject) for subject in subjects], len(frames))


class _Protocol:
    """What all subjects share: frames, networks, the portrait's face, and the reference's drawings."""

    def __init__(
        self, avatar: Avatar, dataset: Dataset, frames: Tensor, perceptual: Perceptual, identity_frames: int
    ) -> None:
        self._avatar = avatar
        self._dataset = dataset
        self._frames = frames
        self._perceptual = perceptual
        self._face = portrait_embedding(dataset.portrait)
        count = min(identity_frames, len(frames))
        self._face_rows = torch.linspace(0, len(frames) - 1, count).round().long().unique().tolist()
        reference = dataset.subjects[0]
        self._reference_drawn = self._draw(reference)
        self._reference_truth = dataset.load_frames(reference, frames)

    def score(self, subject: Subject) -> _Scores:
        """All figures of one subject."""
        scores = _Scores(subject)
        drawn = self._reference_drawn if subject.is_reference else self._draw(subject)
        truth = self._dataset.load_frames(subject, self._frames)
        for start in range(0, len(self._frames), FRAMES_AT_ONCE):
            part = slice(start, start + FRAMES_AT_ONCE)
            self._compare(scores, drawn.rgb[part], from_uint8(truth[0][part]), truth[1][part] > 127)
        self._identify(scores, self._draw_faces(subject), drawn.rgb, truth[0])
        if subject.category is not None:
            self._leak(scores, drawn, truth)
        return scores

    def _draw(self, subject: Subject) -> _Drawn:
        motion = self._dataset.motion.select(self._frames)
        camera = motion.camera(self._dataset.camera)
        look = self._avatar.look_of(subject.id)
        rendering = self._avatar.render_layers(look, motion.expr, motion.pose, camera, background=1.0)
        return _Drawn(rendering.rgb.cpu(), rendering.alpha.cpu())

    def _draw_faces(self, subject: Subject) -> Tensor:
        """The look with the photo's expression, its head turned as in some held-out frames. [R, H, W, 3]"""
        portrait = self._dataset.portrait
        motion = self._dataset.motion.select(self._frames[self._face_rows])
        camera = motion.camera(self._dataset.camera)
        pose = torch.cat([motion.pose[:, :6], portrait.pose[6:].expand(len(motion.pose), -1)], 1)
        expr = portrait.expr.expand(len(pose), -1)
        look = self._avatar.look_of(subject.id)
        return self._avatar.render_layers(look, expr, pose, camera, background=1.0).rgb.cpu()

    def _compare(self, scores: _Scores, drawn: Tensor, truth: Tensor, person: Tensor) -> None:
        drawn, truth, person = (t.to(self._perceptual.device) for t in (drawn, truth, person))
        scores.extend("psnr", psnr(drawn, truth).tolist())
        scores.extend("psnr_foreground", psnr(drawn, truth, person).tolist())
        scores.extend("ssim", ssim(drawn, truth).tolist())
        scores.extend("lpips", self._perceptual(drawn, truth).tolist())

    def _identify(self, scores: _Scores, faces: Tensor, drawn: Tensor, truth: Tensor) -> None:
        pictures = {
            "identity": faces,
            "identity_motion": drawn[self._face_rows],
            "identity_dataset": from_uint8(truth[self._face_rows]),
        }
        for name, images in pictures.items():
            distances = [identity_distance(image, self._face) for image in images]
            found = [distance for distance in distances if distance is not None]
            scores.extend(name, found)
            if name != "identity_dataset":
                scores.faces_missing += len(distances) - len(found)

    def _leak(self, scores: _Scores, drawn: _Drawn, truth: tuple[Tensor, Tensor, Tensor]) -> None:
        category = scores.subject.category
        assert category is not None
        rgb, alpha, labels = truth
        reference_rgb, reference_alpha, reference_labels = self._reference_truth
        region = part_region(category, (labels, reference_labels), (rgb, reference_rgb))
        person = foreground(drawn.alpha, self._reference_drawn.alpha)
        scores.leakage.add(drawn.rgb, self._reference_drawn.rgb, person, region)
        person = foreground(from_uint8(alpha), from_uint8(reference_alpha))
        scores.dataset_leakage.add(from_uint8(rgb), from_uint8(reference_rgb), person, region)


def _summary(scores: list[_Scores], frames: int) -> dict[str, Any]:
    """The dict that `evaluate` returns."""
    rows = {score.subject.id: score.row() for score in scores}
    groups = [name for name in ("reference", *CATEGORIES, "combined") if any(s.group == name for s in scores)]
    by_category = {name: _group_row([s for s in scores if s.group == name]) for name in groups}
    learned = [name for name in groups if name in CATEGORIES]
    untouched = [s for s in scores if s.group in FACE_UNTOUCHED]
    return {
        **{name: _pooled(scores, name) for name in _MEANS},
        "identity_reference": _pooled([s for s in scores if s.subject.is_reference], "identity"),
        "identity_face_untouched": _pooled(untouched, "identity"),
        "identity_motion_reference": _pooled(
            [s for s in scores if s.subject.is_reference], "identity_motion"
        ),
        "faces_missing": sum(score.faces_missing for score in scores),
        **{name: _by_category(by_category, learned, name) for name in _LEAKAGE},
        "subjects": len(scores),
        "categories": len(learned),
        "frames_heldout": frames,
        "per_category": by_category,
        "per_subject": rows,
    }


def _group_row(scores: list[_Scores]) -> dict[str, Any]:
    """Means over the subjects of one category."""
    row: dict[str, Any] = {"subjects": len(scores), **{name: _pooled(scores, name) for name in _MEANS}}
    leaks = [s.leakage for s in scores if s.subject.category is not None]
    row["leakage"] = _mean([leak.mean for leak in leaks if leak.mean is not None])
    row["leakage_dataset"] = _mean(
        [s.dataset_leakage.mean for s in scores if s.dataset_leakage.mean is not None]
    )
    row["leakage_area"] = _mean([leak.share for leak in leaks])
    return row


def _by_category(
    rows: dict[str, dict[str, Any]], categories: list[str], name: str
) -> dict[str, float | None]:
    """One figure of every category, and their mean."""
    values = {category: rows[category][name] for category in categories}
    return {**values, "mean": _mean([value for value in values.values() if value is not None])}


def _pooled(scores: list[_Scores], name: str) -> float | None:
    return _mean([value for score in scores for value in score.frames.get(name, [])])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
