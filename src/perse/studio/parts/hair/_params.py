"""A hairstyle as numbers."""

from __future__ import annotations

from dataclasses import dataclass

from perse.studio.parts._colours import RGB
from perse.studio.parts._params import Params


@dataclass(frozen=True)
class HairParams(Params):
    """A hairstyle as numbers: any point of this space can be drawn, so any two styles can be blended.

    Lengths are metres on a head of natural size; shares and switches go from 0 to 1.
    """

    # ---- the cut
    length: float = 0.06
    """The longest strands; 0 is bald."""
    ends: float = -0.4
    """Height to which strands are cut, above (+) or below (-) the chin."""
    sides: float = 1.0
    """Length at the sides and the nape relative to the top."""
    side_height: float = 0.06
    """Height above the eyes at which the sides become the top."""
    side_soft: float = 0.06
    """Over how much height they do: a hand's width for a fade, nothing for an undercut."""
    edge: float = 1.0
    """Length at the hairline relative to the inside."""
    recede: float = 0.0
    """How far the hairline has gone back at the temples."""
    crown: float = 0.0
    """How bald the top is."""
    crest: float = 0.0
    """1: hair only on a strip along the middle, standing up in it."""
    # ---- how it is combed
    part: float = 1.0
    """How long the parting is: 0 is none (hair leaves a whorl), 1 goes from forehead to crown."""
    part_x: float = 0.0
    """Where the parting is: to the person's left (+) or right (-)."""
    back: float = 0.0
    """Combed back (+) or forward (-)."""
    lift: float = 0.3
    """Whether strands leave the scalp upright (1) or lie on it (0)."""
    volume: float = 0.010
    """How far the outer layer stands off the head."""
    gravity: float = 0.5
    """How fast strands bend down; 0 stands."""
    cling: float = 0.03
    """How closely strands follow the head."""
    turn: float = 0.0
    """Ends turned in (+) or out (-)."""
    fringe: float = 0.0
    """Share of the front hair that falls over the forehead."""
    fringe_length: float = 0.06
    fringe_sweep: float = 0.0
    """Swept to the person's left (+) or right (-)."""
    fringe_open: float = 0.0
    """Falls apart in the middle like a curtain."""
    # ---- tied hair
    tied: float = 0.0
    """1: all hair is drawn to a tie."""
    half: float = 0.0
    """1: of tied hair only the upper half is drawn to it."""
    tie: float = 0.35
    """Where the tie is: 0 the nape, 1 the top of the head."""
    pair: float = 0.0
    """1: two ties, one a side."""
    tail: float = 0.25
    """Length of the hair behind the tie."""
    bun: float = 0.0
    """The tail is wound up around the tie."""
    braid: float = 0.0
    """The tail is plaited of three."""
    # ---- texture
    curl: float = 0.0
    """Radius of the curls."""
    pitch: float = 0.04
    """Length of a turn."""
    flatness: float = 1.0
    """1: ringlets; 0: waves in one plane."""
    clump_big: float = 0.15
    """How tightly strands gather into locks 13 mm wide at the root, at the tip..."""
    clump: float = 0.4
    """...8 mm wide..."""
    clump_fine: float = 0.5
    """...and 4.5 mm wide."""
    unruly: float = 0.05
    """How much neighbouring locks go different ways."""
    spread: float = 0.05
    """How much hanging locks fan out."""
    frizz: float = 0.0006
    """Random bending at the tip."""
    flyaway: float = 0.02
    """Share of strands that leave their lock."""
    width: float = 0.00042
    """Sigma across an outer strand."""
    fill: float = 1.4
    """How much wider the innermost strands are than the outermost: they close the hair."""
    # ---- colour
    red: float = 0.27
    green: float = 0.165
    blue: float = 0.10
    tip_red: float = 0.27
    tip_green: float = 0.165
    tip_blue: float = 0.10
    ombre: float = 0.0
    """How far the tips take the second colour."""
    streaks: float = 0.0
    """Share of locks that take the second colour."""
    tone: float = 0.10
    """How much strands differ in brightness."""
    gloss: float = 1.0
    """Strength of highlights."""

    def painted(self, colour: RGB, tips: RGB | None = None) -> HairParams:
        """A copy in another colour, with a second one for tips and streaks."""
        second = colour if tips is None else tips
        return self.but(
            red=colour[0], green=colour[1], blue=colour[2], tip_red=second[0], tip_green=second[1], tip_blue=second[2]
        )  # fmt: skip
