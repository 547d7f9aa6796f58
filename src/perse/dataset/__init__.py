"""Records shared by all rooms, the attribute vocabulary, and the on-disk dataset (DESIGN section 4)."""

from typing import TYPE_CHECKING, Any

from perse.dataset.combined import combinations_of
from perse.dataset.labels import (
    ABSENTABLE,
    CATEGORIES,
    CATEGORY_LABEL,
    LABEL_CODE,
    LABEL_COLORS,
    LABELS,
    category_code,
    check_category,
    color_labels,
)
from perse.dataset.makers import Animator, Editor, Encoder, Morpher, load_maker, maker_names, register_maker
from perse.dataset.records import (
    Attribute,
    Edited,
    Frame,
    Motion,
    Portrait,
    SubjectPoints,
    camera_from_json,
    camera_to_json,
    from_uint8,
    to_uint8,
)

if TYPE_CHECKING:
    from perse.dataset.coverage import motion_coverage
    from perse.dataset.guidance import Guidance, guidance_frames, head_guidance
    from perse.dataset.image_morph import morph_images
    from perse.dataset.motion import default_motion
    from perse.dataset.reader import Dataset, Subject
    from perse.dataset.vhap import TrackedVideo, read_tracked_video, write_tracked_video
    from perse.dataset.vocabulary import Vocabulary, demo_attributes
    from perse.dataset.writer import DatasetWriter, SubjectWriter

__all__ = [
    "ABSENTABLE",
    "CATEGORIES",
    "CATEGORY_LABEL",
    "LABELS",
    "LABEL_CODE",
    "LABEL_COLORS",
    "Animator",
    "Attribute",
    "Dataset",
    "DatasetWriter",
    "Edited",
    "Editor",
    "Encoder",
    "Frame",
    "Guidance",
    "Morpher",
    "Motion",
    "Portrait",
    "Subject",
    "SubjectPoints",
    "SubjectWriter",
    "TrackedVideo",
    "Vocabulary",
    "camera_from_json",
    "camera_to_json",
    "category_code",
    "check_category",
    "color_labels",
    "combinations_of",
    "default_motion",
    "demo_attributes",
    "from_uint8",
    "guidance_frames",
    "head_guidance",
    "load_maker",
    "maker_names",
    "morph_images",
    "motion_coverage",
    "read_tracked_video",
    "register_maker",
    "to_uint8",
    "write_tracked_video",
]

_LAZY = {
    "Dataset": "reader",
    "DatasetWriter": "writer",
    "Guidance": "guidance",
    "Subject": "reader",
    "SubjectWriter": "writer",
    "TrackedVideo": "vhap",
    "Vocabulary": "vocabulary",
    "morph_images": "image_morph",
    "motion_coverage": "coverage",
    "default_motion": "motion",
    "demo_attributes": "vocabulary",
    "guidance_frames": "guidance",
    "head_guidance": "guidance",
    "read_tracked_video": "vhap",
    "write_tracked_video": "vhap",
}


def __getattr__(name: str) -> Any:
    """Names whose modules open video or word lists are imported when first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
