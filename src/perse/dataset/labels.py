"""Names that every room shares: the nine attribute categories and the part labels of a frame."""

import numpy as np

from perse.errors import PerseError

CATEGORIES = ("beard", "clothes", "earrings", "eyebrows", "hair", "hat", "headphones", "mouth", "nose")
"""The nine attribute categories of the paper (Table 4), in alphabetical order."""

ABSENTABLE = ("beard", "earrings", "hat", "headphones")
"""Categories a person may be without; their absence is the shared code z_zero (section 4.1)."""

LABELS = (
    "background",
    "skin",
    "eyes",
    "mouth_interior",
    "hair",
    "beard",
    "hat",
    "headphones",
    "eyebrows",
    "clothes",
    "earrings",
    "nose",
    "lips",
)
"""Part labels of a frame; the uint8 code of a label is its index here."""

LABEL_CODE = {name: code for code, name in enumerate(LABELS)}

CATEGORY_LABEL = {category: "lips" if category == "mouth" else category for category in CATEGORIES}
"""The label that marks the pixels a category draws: mouth draws lips, every other category its own name."""

LABEL_COLORS = np.array(
    [
        (255, 255, 255),  # background
        (236, 188, 155),  # skin
        (66, 135, 245),  # eyes
        (120, 20, 40),  # mouth_interior
        (110, 70, 40),  # hair
        (190, 130, 60),  # beard
        (140, 60, 200),  # hat
        (40, 40, 60),  # headphones
        (30, 110, 90),  # eyebrows
        (60, 170, 90),  # clothes
        (245, 205, 50),  # earrings
        (250, 140, 90),  # nose
        (230, 70, 110),  # lips
    ],
    np.uint8,
)
"""One RGB colour a label, for pictures that a person looks at. [13, 3] uint8."""


def check_category(category: str) -> str:
    """Return `category` unchanged; raise PerseError naming the nine if it is none of them."""
    if category not in CATEGORIES:
        raise PerseError(
            f"unknown attribute category {category!r}; the categories are {', '.join(CATEGORIES)}"
        )
    return category


def category_code(category: str) -> int:
    """The label code of the pixels that `category` draws."""
    return LABEL_CODE[CATEGORY_LABEL[check_category(category)]]


def color_labels(labels: np.ndarray) -> np.ndarray:
    """Paint label codes: [..., H, W] uint8 -> [..., H, W, 3] uint8; a code outside the table is black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(LABEL_COLORS)] = LABEL_COLORS
    return table[np.asarray(labels, np.uint8)]
