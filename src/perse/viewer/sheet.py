"""Contact sheets: pictures with captions in rows on one canvas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from perse.viewer.media import to_uint8

INK = (32, 34, 40)
FAINT = (120, 124, 132)


def resize(image: torch.Tensor | np.ndarray, size: int) -> np.ndarray:
    """[H, W, 3] -> uint8 [size, size, 3], filtered for shrinking."""
    picture = Image.fromarray(to_uint8(image))
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def hstack(pictures: Sequence[np.ndarray], gap: int = 0) -> np.ndarray:
    """Pictures side by side on white; unequal heights are filled below."""
    height = max(p.shape[0] for p in pictures)
    width = sum(p.shape[1] for p in pictures) + gap * (len(pictures) - 1)
    canvas = np.full((height, width, 3), 255, np.uint8)
    x = 0
    for picture in pictures:
        canvas[: picture.shape[0], x : x + picture.shape[1]] = picture
        x += picture.shape[1] + gap
    return canvas


def vstack(pictures: Sequence[np.ndarray], gap: int = 0) -> np.ndarray:
    """Pictures below one another on white; unequal widths are filled on the right."""
    return hstack([p.transpose(1, 0, 2) for p in pictures], gap).transpose(1, 0, 2)


def short(prompt: str) -> str:
    """A prompt without what all prompts begin with."""
    return re.sub(r"^a person (with|wearing)( an?)? ", "", prompt)


@dataclass(frozen=True)
class Caption:
    """A line of text as a picture."""

    text: str
    size: int = 14
    color: tuple[int, int, int] = INK

    def draw(self, width: int) -> np.ndarray:
        """uint8 [h, width, 3]; text that is too long is cut with an ellipsis."""
        font = ImageFont.load_default(size=self.size)
        text = self.text
        while len(text) > 1 and font.getlength(text) > width - 4:
            text = text.removesuffix("…")[:-1].rstrip() + "…"
        canvas = Image.new("RGB", (width, int(self.size * 1.55)), "white")
        ImageDraw.Draw(canvas).text((2, self.size * 0.2), text, fill=self.color, font=font)
        return np.asarray(canvas)


def captioned(picture: np.ndarray, text: str, size: int = 14) -> np.ndarray:
    """A picture with its caption above."""
    return vstack([Caption(text, size).draw(picture.shape[1]), picture])


def heading(text: str, width: int, note: str = "") -> np.ndarray:
    """A section's title, with a fainter note below it."""
    rows = [np.full((14, width, 3), 255, np.uint8), Caption(text, 22).draw(width)]
    if note:
        rows.append(Caption(note, 14, FAINT).draw(width))
    return vstack(rows)


def flow(pictures: Sequence[np.ndarray], width: int, gap: int = 8) -> np.ndarray:
    """Pictures of one size in rows that fill ``width``."""
    per_row = max(1, (width + gap) // (pictures[0].shape[1] + gap))
    rows = [hstack(pictures[i : i + per_row], gap) for i in range(0, len(pictures), per_row)]
    return vstack(rows, gap)


def table(rows: Sequence[Sequence[str]], widths: Sequence[int], size: int = 15) -> np.ndarray:
    """Text in columns; the first row is the head."""
    lines = []
    for index, row in enumerate(rows):
        color = FAINT if index == 0 else INK
        lines.append(hstack([Caption(cell, size, color).draw(w) for cell, w in zip(row, widths)]))
    return vstack(lines)
