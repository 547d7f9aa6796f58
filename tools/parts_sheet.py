"""Draw random subjects of every category on one sheet: ``python tools/parts_sheet.py photo.jpg docs/images/parts.jpg``.

Each is drawn at the photo's pose and turned, under its prompt. The photo may also be a portrait folder of a build.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from perse.capture import capture
from perse.dataset import Attribute, Portrait, Vocabulary
from perse.dataset.labels import CATEGORIES
from perse.studio import StudioEditor
from perse.viewer import save_image
from perse.viewer.sheet import Caption, hstack, resize, short, vstack

CELL = 94
TURNED = (28.0, 4.0)
"""Yaw and pitch of the second view, degrees."""
PAPER = torch.tensor([0.92, 0.92, 0.94])


class Sheet:
    """Draws edits of one portrait."""

    def __init__(self, portrait: Portrait, seed: int) -> None:
        self.portrait, self.seed = portrait, seed
        self.editor = StudioEditor()
        self.camera = portrait.camera.resized(3 * CELL, 3 * CELL)

    def pair(self, attribute: Attribute) -> np.ndarray:
        """Front and turned view over the words."""
        puppet = self.editor.edit(self.portrait, [attribute], self.seed).handle
        views = []
        for yaw, pitch in ((0.0, 0.0), TURNED):
            pose = self.portrait.pose.clone()
            pose[4] += np.radians(yaw)
            pose[3] += np.radians(pitch)
            image, _, _ = puppet.render(self.portrait.expr, pose, self.camera, background=PAPER)
            views.append(resize(image, CELL))
        return vstack([hstack(views), Caption(short(attribute.prompt), size=9).draw(2 * CELL)])

    def category(self, name: str, count: int, columns: int) -> np.ndarray:
        """``count`` random subjects of a category in rows."""
        pairs = [self.pair(attribute) for attribute in Vocabulary().spread(name, count, self.seed)]
        rows = [hstack(pairs[k : k + columns], 2) for k in range(0, len(pairs), columns)]
        return vstack(rows)


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path, help="a photo, or the portrait folder of a build")
    parser.add_argument("out", type=Path, help="the picture to write")
    parser.add_argument("--each", type=int, default=10, help="subjects a category")
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=CATEGORIES, choices=CATEGORIES)
    options = parser.parse_args()
    portrait = Portrait.load(options.photo) if options.photo.is_dir() else capture(options.photo)
    sheet = Sheet(portrait, options.seed)
    rows = [sheet.category(name, options.each, options.columns) for name in options.only]
    save_image(options.out, vstack(rows, 3), quality=68)


if __name__ == "__main__":
    main()
