"""Names and limits of the dataset folder; the writer and the reader both keep to them."""

import re
from pathlib import Path
from typing import Any

from perse.errors import PerseError

FORMAT = "perse dataset"
VERSION = 1
SUBJECT_FORMAT = "perse subject"
SUBJECT_VERSION = 1

DATASET_JSON = "dataset.json"
PORTRAIT = "portrait"
MOTION = "motion.npz"
SUBJECTS = "subjects"

SUBJECT_JSON = "subject.json"
PORTRAIT_PNG = "portrait.png"
MASK_PNG = "mask.png"
FRAMES = "frames.mp4"
PREVIEW = "preview.mp4"
PARTS = "parts.zip"
POINTS = "points.safetensors"
FEATURES = "features.safetensors"

REQUIRED = (PORTRAIT_PNG, MASK_PNG, FRAMES, PREVIEW, PARTS)
OPTIONAL = (POINTS, FEATURES)

MIN_SIZE, MAX_SIZE = 16, 2048
MAX_SUBJECTS = 100_000
MAX_FRAME_FILE_BYTES = 64 << 30
MAX_POINTS_BYTES = 4 << 30

_SUBJECT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")


def check_subject_id(value: Any) -> str:
    """`value` if it can be a folder's name and nothing else: no separators, no leading dot, at most 120 long."""
    if not isinstance(value, str) or not _SUBJECT_ID.fullmatch(value):
        raise PerseError(
            f"{value!r} cannot be a subject's id: use letters, digits, '-', '_' and '.', beginning with a letter or"
            " a digit, at most 120 of them"
        )
    return value


def check_size(value: Any) -> int:
    """`value` if it is a frame size in pixels that can be stored: even, 16 to 2048."""
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or value % 2
        or not MIN_SIZE <= value <= MAX_SIZE
    ):
        raise PerseError(
            f"the frame size must be an even number from {MIN_SIZE} to {MAX_SIZE}, not {value!r}"
        )
    return value


def subject_folder(root: Path, subject_id: str) -> Path:
    """Where a subject lives; the id is checked first, so the path cannot leave `root`."""
    return root / SUBJECTS / check_subject_id(subject_id)
