"""Judge the studio on a folder of portraits: figures for each, and a sheet of pictures to look at.

``python tools/judge_studio.py PHOTOS OUT`` writes OUT/NAME.jpg and OUT/figures.json and prints one line a photo.
A photo that cannot be used is named with the reason, and the others go on.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from perse.capture import capture
from perse.dataset import Edited, Portrait, Vocabulary, default_motion
from perse.errors import PerseError
from perse.evaluation.puppets import (
    containment,
    follow_face,
    front_psnr,
    identity_when_turned,
    label_agreement,
    turned,
)
from perse.studio import Puppet, StudioEditor
from perse.viewer import save_image
from perse.viewer.sheet import captioned, flow, resize

CELL, PER_ROW = 300, 6
FRAMES = 24
TURNS = (-20.0, 0.0, 20.0)
# What is put on: category, prompt. Hair is short here because the network cannot judge long hair.
HAT = ("hat", "blue knitted beanie")
LONG = ("hair", "long straight blond")
EDITS = (HAT, LONG, ("hair", "short straight black"), ("clothes", "green turtleneck"))
UNITS: dict[str, dict[str, float]] = {
    "eyes closed": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "smile": {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8},
}


class Sitting:
    """One portrait with its puppet and edits."""

    def __init__(self, portrait: Portrait) -> None:
        self.portrait = portrait
        self._editor, vocabulary = StudioEditor(), Vocabulary()
        began = time.perf_counter()
        self.puppet: Puppet = self._editor.puppet(portrait)
        self.lift_seconds = time.perf_counter() - began
        self.reference = self._editor.edit(portrait, [], seed=0)
        self.edits: dict[tuple[str, str], Edited] = {
            (category, words): self._editor.edit(portrait, [vocabulary.parse(words, category)], seed=0)
            for category, words in EDITS
        }

    def figures(self) -> dict[str, float | None]:
        """What the studio promises, measured."""
        frames = np.linspace(0, len(default_motion()) - 1, FRAMES).astype(int).tolist()
        following = follow_face(self.puppet, default_motion(), frames)
        short, clothes = (self.edits[edit].handle for edit in EDITS[2:])
        assert isinstance(short, Puppet)
        assert isinstance(clothes, Puppet)
        return {
            "lift_s": self.lift_seconds,
            "frame_ms": self._frame_ms(),
            "front_psnr": front_psnr(self.puppet),
            "identity_front": identity_when_turned(self.puppet, [0.0])[0],
            "identity_turned": max(identity_when_turned(self.puppet, (-20.0, 20.0))),
            **asdict(following),
            "hair_iou": label_agreement(self.puppet, "hair", TURNS),
            "short_hair_iou": label_agreement(short, "hair", TURNS),
            "clothes_iou": label_agreement(clothes, "clothes", TURNS),
            "outside_edit_psnr": min(
                containment(edited, self.reference.image) for edited in self.edits.values()
            ),
        }

    def _frame_ms(self) -> float:
        """A 512 px frame with image, alpha, labels, depth and normals."""
        times = []
        for yaw in (-10, -5, 0, 5, 10):
            began = time.perf_counter()
            self.puppet.render_maps(self.portrait.expr, turned(self.puppet, yaw), self.portrait.camera)
            times.append(time.perf_counter() - began)
        return 1000 * float(np.median(times))

    def sheet(self) -> np.ndarray:
        """Twelve pictures with captions."""
        portrait, head = self.portrait, self.puppet.head
        rest = torch.zeros(15)
        rest[9:] = portrait.pose[9:]
        jaw = rest.clone()
        jaw[4], jaw[6] = np.radians(10), np.radians(16)
        bald = self.puppet.copy()
        bald.shave()
        neutral = torch.zeros(50)
        shots = [("front", self.puppet, portrait.expr, portrait.pose)]
        shots += [
            (f"yaw {yaw:+d}", self.puppet, portrait.expr, turned(self.puppet, yaw))
            for yaw in (-25, 25, -40, 40)
        ]
        shots += [(name, self.puppet, head.expr_from_units(units), rest) for name, units in UNITS.items()]
        shots += [("mouth open", self.puppet, neutral, jaw), ("bald", bald, neutral, turned(self.puppet, 20))]
        for edit in (HAT, LONG):
            handle = self.edits[edit].handle
            assert isinstance(handle, Puppet)
            shots.append((edit[1], handle, portrait.expr, turned(handle, -20)))
        cells = [captioned(resize(portrait.image, CELL), portrait.name)]
        for name, puppet, expr, pose in shots:
            image, _, _ = puppet.render(expr, pose, portrait.camera)
            cells.append(captioned(resize(image, CELL), name))
        return flow(cells, PER_ROW * CELL, gap=0)


def main(photos: Path, out: Path) -> None:
    """Judge every picture in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, float | None]] = {}
    for path in sorted(p for p in photos.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")):
        try:
            sitting = Sitting(capture(path))
        except PerseError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        results[path.stem] = figures = sitting.figures()
        if len(results) == 1:
            print(" ".join(["photo".ljust(12), *(name.rjust(max(7, len(name))) for name in figures)]))
        cells = (
            ("-" if value is None else f"{value:.2f}").rjust(max(7, len(name)))
            for name, value in figures.items()
        )
        print(" ".join([path.stem[:12].ljust(12), *cells]), flush=True)
        save_image(out / f"{path.stem}.jpg", sitting.sheet(), quality=88)
        (out / "figures.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
