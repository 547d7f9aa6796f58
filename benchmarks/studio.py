"""How true the studio's edits are, and how fast it is: on the bundled portrait or another.

    python benchmarks/studio.py                           # all of it: a quarter of an hour on two cores
    python benchmarks/studio.py photo.jpg --only hair clothes

speed     seconds of a lift; a 512 px frame with image, alpha, labels, depth and normals [ms], median
identity  distance to the photo by a face network that never saw a puppet, of edits at yaws up to 20 degrees
hair      IoU of our hair labels with a segmentation network's, short and medium styles in five poses; long ones and
          those in colours that do not grow apart, since the network itself fails there (pink hair is a hat to it)
clothes   the same of every kind of garment
faces     random subjects through the default motion: where the landmarker finds a face, its head turn against ours,
          and how its jawOpen and eyeBlink follow ours
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from perse.capture import capture
from perse.dataset import CATEGORIES, Attribute, Portrait, Vocabulary, default_motion
from perse.evaluation.puppets import follow_face, identity_when_turned, label_agreement, turned
from perse.pipeline import the_photo
from perse.studio import Puppet, StudioEditor

Section = Literal["speed", "identity", "hair", "clothes", "faces"]
YAWS = (-20.0, -10.0, 0.0, 10.0, 20.0)
RECOGNISABLE = ("hair", "hat", "beard", "clothes", "earrings", "headphones")
"""Categories whose edits leave a face what it is."""
LONG = {"long", "very long"}
UNNATURAL = {"pink", "burgundy", "purple", "blue", "turquoise", "green"}
SHORT_AND_MEDIUM = {"short", "ear-length", "chin-length", "shoulder-length"}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    photo: Annotated[Path | None, tyro.conf.Positional] = None
    """A portrait photo; by default the bundled one."""
    only: tuple[Section, ...] = ("speed", "identity", "hair", "clothes", "faces")
    """Which parts."""
    styles: int = 10
    """Hair styles of either length."""
    edits: int = 4
    """Edits of each category whose identity is measured."""
    subjects: int = 30
    """Random subjects that are played."""
    every: int = 8
    """One frame of so many of the default motion is looked at."""
    seed: int = 1
    """Chooses prompts."""


class Studio:
    """A portrait and what is put on it."""

    def __init__(self, portrait: Portrait, options: Options) -> None:
        self.portrait, self.options = portrait, options
        self.editor, self.words = StudioEditor(), Vocabulary()

    def wearing(self, attribute: Attribute) -> Puppet:
        """The puppet with one edit."""
        handle = self.editor.edit(self.portrait, [attribute], self.options.seed).handle
        assert isinstance(handle, Puppet)
        return handle

    def hair_styles(self, lengths: set[str], natural: bool) -> list[Attribute]:
        """Random styles with one of these words, in colours that grow or in others."""
        every = self.words.spread("hair", 4000, self.options.seed)
        fit = [a for a in every if lengths & {*a.adjectives} and natural == (not UNNATURAL & {*a.adjectives})]
        return fit[: self.options.styles]

    def garments(self) -> list[Attribute]:
        """One random prompt of every kind of garment: the axis whose words end prompts."""
        kinds: dict[str, Attribute] = {}
        for attribute in self.words.spread("clothes", 4000, self.options.seed):
            kinds.setdefault(attribute.adjectives[-1], attribute)
        return list(kinds.values())

    # ---- what is measured ---------------------------------------------------------------------------------

    def speed(self) -> None:
        """Lift and frame, unedited and with much hair."""
        lifts = []
        for _ in range(2):
            began = time.perf_counter()
            StudioEditor().puppet(self.portrait)
            lifts.append(time.perf_counter() - began)
        print(f"lift {min(lifts):.1f} s")
        long = self.words.parse("very long curly red", "hair")
        for name, puppet in (
            ("as photographed", self.editor.puppet(self.portrait)),
            (long.prompt, self.wearing(long)),
        ):
            times = []
            for yaw in torch.linspace(-20, 20, 21).tolist():
                began = time.perf_counter()
                puppet.render_maps(self.portrait.expr, turned(puppet, yaw), self.portrait.camera)
                times.append(1000 * (time.perf_counter() - began))
            print(f"frame of 512 px with all maps {statistics.median(times):.0f} ms: {name}")

    def identity(self) -> None:
        """Median over edits and yaws."""
        everything = []
        for category in RECOGNISABLE:
            found: list[float] = []
            for attribute in self.words.spread(category, self.options.edits, self.options.seed):
                found += identity_when_turned(self.wearing(attribute), (-20.0, 0.0, 20.0))
            everything += found
            print(
                f"identity, {category}: median {statistics.median(found):.2f}, most {max(found):.2f}",
                flush=True,
            )
        print(f"identity, all {len(everything)}: median {statistics.median(everything):.2f}")

    def agreement(self, label: str, attributes: list[Attribute], what: str) -> None:
        """IoU of each, and the mean."""
        scores = []
        for attribute in attributes:
            score = label_agreement(self.wearing(attribute), label, YAWS)
            print(f"  {'-' if score is None else f'{score:.3f}'}  {attribute.prompt}", flush=True)
            scores += [] if score is None else [score]
        print(f"{what}: mean IoU {statistics.mean(scores):.3f}, least {min(scores):.3f}, {len(scores)} edits")

    def faces(self) -> None:
        """Random subjects through the motion."""
        motion, found = default_motion(), []
        frames = range(0, len(motion), self.options.every)
        for number in range(self.options.subjects):
            category = CATEGORIES[number % len(CATEGORIES)]
            attribute = self.words.sample(category, self.options.seed + number)
            result = follow_face(self.wearing(attribute), motion, frames)
            found.append(result)
            print(
                f"  found {result.found:.3f}  turn {result.turn_error:.1f}  jaw {result.jaw:.2f}  "
                f"blink {result.blink:.2f}  {attribute.prompt}",
                flush=True,
            )
        mean = {
            name: statistics.mean(getattr(r, name) for r in found)
            for name in ("found", "turn_error", "jaw", "blink")
        }
        print(
            f"faces: found in {100 * mean['found']:.2f} % of {len(found) * len(frames)} frames, head turn within "
            f"{mean['turn_error']:.1f} degrees, correlation of jaw {mean['jaw']:.2f}, of blinks {mean['blink']:.2f}"
        )


def main(options: Options) -> None:
    """Print every figure."""
    photo, _ = the_photo(options.photo, None if options.photo else "astronaut")
    studio = Studio(capture(photo), options)
    for section in options.only:
        print(f"== {section}", flush=True)
        if section == "hair":
            studio.agreement("hair", studio.hair_styles(SHORT_AND_MEDIUM, True), "hair, short and medium")
            studio.agreement(
                "hair", studio.hair_styles(SHORT_AND_MEDIUM, False), "hair, short and medium, dyed"
            )
            studio.agreement("hair", studio.hair_styles(LONG, True), "hair, long")
        elif section == "clothes":
            studio.agreement("clothes", studio.garments(), "clothes")
        else:
            getattr(studio, section)()


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
