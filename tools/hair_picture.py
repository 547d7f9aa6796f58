"""Draw hairstyles and blends of them on one sheet: ``python tools/hair_picture.py photo.jpg docs/images/hair.jpg``.

Each is drawn at the photo's pose and turned. The photo may also be a portrait folder of a build.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from perse.capture import capture
from perse.dataset import Portrait, Vocabulary
from perse.studio import StudioEditor, parts
from perse.studio.puppet import Puppet
from perse.viewer import save_image
from perse.viewer.sheet import hstack, resize, vstack

CELL = 118
COLUMNS = 12
YAWS = (0, -30)
PAPER = torch.tensor([0.92, 0.93, 0.95])
STYLES = (
    *("long curly red", "short straight black", "long straight blond", "brown buzz cut"),
    *("short straight salt-and-pepper", "short coily black", "chin-length straight dark brown"),
    *("long straight fringed black", "shoulder-length straight ginger", "chin-length wavy pink"),
    *("short straight side-swept brown", "strawberry blond afro", "long wavy highlighted brown"),
    *("long straight auburn braids", "straight blond top knot", "long straight brown half-up"),
    *(
        "very long wavy platinum",
        "straight pink mohawk",
        "long coily auburn",
        "shoulder-length straight grey",
    ),
    *("short curly brown", "long wavy ombre blue", "short straight receding grey"),
    "long straight slicked-back dark brown",
)
BLENDS = (("short straight black", "long curly red"), ("straight blond bun", "long wavy ombre purple"))


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    portrait = Portrait.load(args.photo) if args.photo.is_dir() else capture(args.photo)

    def params(text: str) -> parts.Params:
        return parts.params_of(Vocabulary().parse(text, "hair"))

    looks = [(text, params(text)) for text in STYLES]
    steps = COLUMNS // len(BLENDS)
    for start, end in BLENDS:
        looks += [("", params(start).mix(params(end), t)) for t in np.linspace(0, 1, steps)]
    editor, cells = StudioEditor(), []
    for text, look in looks:
        puppet = editor.puppet(portrait)
        began = time.process_time()
        parts.build(puppet, "hair", look, seed=0)
        if text:
            print(
                f"{text}: {len(puppet.groups['hair_strands'])} Gaussians, {time.process_time() - began:.2f} s"
            )
        cells.append(vstack([_draw(puppet, yaw) for yaw in YAWS]))
    rows = [hstack(cells[k : k + COLUMNS]) for k in range(0, len(cells), COLUMNS)]
    save_image(args.out, vstack(rows), quality=76)


def _draw(puppet: Puppet, yaw: float) -> np.ndarray:
    """The puppet with the photo's expression, turned by ``yaw`` degrees, uint8 [CELL, CELL, 3]."""
    portrait = puppet.portrait
    pose = portrait.pose.clone()
    pose[4] += np.radians(yaw)
    camera = portrait.camera.resized(2 * CELL, 2 * CELL)
    return resize(puppet.render(portrait.expr, pose, camera, background=PAPER)[0], CELL)


if __name__ == "__main__":
    main()
