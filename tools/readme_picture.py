"""Draw the pictures that README and docs show, from a finished build: ``python tools/readme_picture.py runs/demo``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from perse.avatar import Avatar, Look
from perse.dataset import Portrait, default_motion
from perse.viewer import save_image
from perse.viewer.sheet import hstack, resize, vstack

CELL = 248
SMILE = {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5}

# Looks, each with yaw (degrees), jaw (degrees) and expression units.
SHOWN: tuple[tuple[dict[str, str | None], float, float, dict[str, float]], ...] = (
    ({}, -20, 0, SMILE),
    ({"hair": "long curly red"}, 12, 0, SMILE),
    ({"hair": "short straight black", "beard": "full brown"}, -14, 3, {}),
    ({"hat": "blue knitted beanie", "beard": "grey goatee"}, 16, 0, {}),
    ({"hair": "long straight blond", "clothes": "green turtleneck"}, -18, 6, {"browInnerUp": 0.6}),
    ({"hat": "black fedora", "mouth": "full red"}, 14, 0, {}),
    ({"headphones": "black over-ear", "clothes": "grey hoodie"}, -12, 8, SMILE),
    ({"hair": "bald", "eyebrows": "thick black"}, 18, 0, {"browDownLeft": 0.5, "browDownRight": 0.5}),
    ({"hair": "long curly red", "hat": "red baseball cap"}, -16, 4, {}),
)
BLENDS: tuple[tuple[dict[str, str | None], dict[str, str | None]], ...] = (
    ({"hair": "short straight black"}, {"hair": "long straight blond"}),
    ({}, {"hair": "long curly red"}),
    ({}, {"beard": "full brown", "eyebrows": "thick black"}),
    (
        {"clothes": "red striped crew-neck", "hat": "blue knitted beanie"},
        {"clothes": "green turtleneck", "hat": "red baseball cap"},
    ),
)


class Painter:
    """Draws looks of one avatar."""

    def __init__(self, build: Path) -> None:
        self.avatar = Avatar.load(build / "avatar")
        self.portrait = Portrait.load(build / "portrait")
        self._closed = default_motion().expr[0]  # at rest, lips together

    def draw(
        self, look: Look, yaw: float = 0, jaw: float = 0, units: dict[str, float] | None = None
    ) -> np.ndarray:
        """One look, turned and with an expression, as uint8 [CELL, CELL, 3]."""
        units = units or {}
        smile = units.get("mouthSmileLeft", 0.0)
        shut = max(0.0, 1.0 - smile - jaw / 8)
        expr = self._closed * shut + self.avatar.head.expr_from_units(units)
        pose = torch.zeros(15)
        pose[4], pose[6] = np.radians(yaw), np.radians(jaw)
        camera = self.avatar.camera.resized(2 * CELL, 2 * CELL)
        return resize(self.avatar.render(look, expr[None], pose[None], camera)[0], CELL)

    def looks(self) -> np.ndarray:
        """The photo and nine looks, in two rows."""
        cells = [resize(self.portrait.image, CELL)]
        cells += [self.draw(self.avatar.look(**look), *pose) for look, *pose in SHOWN]
        return vstack([hstack(cells[:5], 4), hstack(cells[5:], 4)], 4)

    def blends(self) -> np.ndarray:
        """From one look to another in five steps, a row each."""
        rows = []
        for first, second in BLENDS:
            a, b = self.avatar.look(**first), self.avatar.look(**second)
            rows.append(hstack([self.draw(self.avatar.mix(a, b, step / 4)) for step in range(5)], 4))
        return vstack(rows, 4)


def main(build: Path, images: Path) -> None:
    """Write demo.jpg and blends.jpg."""
    painter = Painter(build)
    save_image(images / "demo.jpg", painter.looks(), quality=88)
    save_image(images / "blends.jpg", painter.blends(), quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parents[1] / "docs/images")
