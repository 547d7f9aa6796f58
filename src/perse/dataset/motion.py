"""The motion that ships with the package."""

from functools import cache
from importlib import resources
from pathlib import Path

from perse.dataset.records import Motion

DEFAULT_MOTION_FILE = "default_motion.npz"


@cache
def default_motion() -> Motion:
    """513 frames tracked from a real talking head: 400 to learn from, 113 held out (section 5.1)."""
    with resources.as_file(resources.files("perse.dataset") / DEFAULT_MOTION_FILE) as path:
        return Motion.load(Path(path))
