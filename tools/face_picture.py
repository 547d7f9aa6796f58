"""Draw noses, mouths, eyebrows and beards close up: ``python tools/face_picture.py photo.jpg docs/images/face.jpg``.

Each is drawn from the front and turned. The photo may also be a portrait folder of a build.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from perse.capture import capture
from perse.capture.portrait import project
from perse.dataset import Portrait, Vocabulary
from perse.studio import Puppet, StudioEditor
from perse.viewer import save_image
from perse.viewer.sheet import hstack, resize, vstack

CELL = 150
SIZE = 640
"""Pixels of a whole drawing."""
YAWS = (0, 32)
PAPER = torch.tensor([0.92, 0.92, 0.93])
LOOKS = {
    "nose": ("wide", "narrow pointed", "long hooked", "short upturned", "ski-slope", "bulbous"),
    "mouth": ("full", "thin", "wide", "heart-shaped", "downturned", "full glossy red"),
    "eyebrows": (
        *("thick black", "thin arched brown", "bushy grey", "thick feathered brown", "thick angled black"),
        "thick black unibrow",
    ),
    "beard": (
        *("black stubble", "full brown", "grey goatee", "brown circle beard", "red handlebar moustache"),
        "short full salt-and-pepper",
    ),
}
MIDDLE = {"nose": (168, 0.22), "mouth": (168, 0.28), "eyebrows": (168, 0.0), "beard": (17, 0.05)}
"""The landmark in the middle of a cell, and how far below it the middle is, of the cell."""


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    portrait = Portrait.load(args.photo) if args.photo.is_dir() else capture(args.photo)
    editor, words, rows = StudioEditor(), Vocabulary(), []
    for category, looks in LOOKS.items():
        puppets = [editor.edit(portrait, [words.parse(text, category)], seed=0).handle for text in looks]
        rows += [hstack([_draw(puppet, category, yaw) for puppet in puppets]) for yaw in YAWS]
    save_image(args.out, vstack(rows), quality=80)


def _draw(puppet: object, category: str, yaw: float) -> np.ndarray:
    """The part close up, the head turned by ``yaw`` degrees, uint8 [CELL, CELL, 3]."""
    assert isinstance(puppet, Puppet)
    portrait = puppet.portrait
    pose = portrait.pose.clone()
    pose[4] += np.radians(yaw)
    camera = portrait.camera.resized(SIZE, SIZE)
    image, _, _ = puppet.render(portrait.expr, pose, camera, background=PAPER)
    landmark, below = MIDDLE[category]
    side = round(0.36 * SIZE)
    points = puppet.head.landmarks(puppet.posed_vertices(portrait.expr, pose))[[landmark]]
    across, down = (project(points, camera)[0, :2] - side / 2).tolist()
    left, top = round(across), min(round(down + below * side), SIZE - side)
    return resize(image[top : top + side, left : left + side], CELL)


if __name__ == "__main__":
    main()
