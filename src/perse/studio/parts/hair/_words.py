"""From words to a hairstyle: a length, what its curl makes of it, and what combing and tying make of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perse.studio.parts import _colours
from perse.studio.parts._colours import RGB
from perse.studio.parts.hair._params import HairParams

Change = Callable[[HairParams], HairParams]

LENGTHS: dict[str, HairParams] = {
    "buzz cut": HairParams(
        length=0.0075, sides=0.8, edge=0.6, lift=0.50, volume=0.0, gravity=0.05, part=0.0, back=-0.4, clump_big=0.0,
        clump=0.0, clump_fine=0.1, cling=0.3, width=0.00030, fill=0.3, flyaway=0.0, tone=0.12, frizz=0.0003, gloss=0.5,
    ),
    "short": HairParams(
        length=0.054, sides=0.22, side_height=0.062, side_soft=0.085, edge=0.62, lift=0.50, volume=0.006,
        gravity=0.22, part=0.6, part_x=0.030, back=0.45, clump_big=0.25, clump=0.45, clump_fine=0.5, unruly=0.10,
        width=0.00036, cling=0.22, flyaway=0.008,
    ),
    "ear-length": HairParams(
        length=0.13, ends=0.060, lift=0.34, volume=0.012, gravity=0.42, part=0.8, part_x=0.016, turn=0.12,
    ),
    "chin-length": HairParams(
        length=0.25, ends=0.008, lift=0.30, volume=0.013, gravity=0.52, part=0.9, part_x=0.012, turn=0.20,
    ),
    "shoulder-length": HairParams(length=0.30, ends=-0.045, lift=0.28, volume=0.013, gravity=0.55, part_x=0.010),
    "long": HairParams(length=0.40, ends=-0.135, lift=0.27, volume=0.013, gravity=0.58, part_x=0.008),
    "very long": HairParams(length=0.56, ends=-0.27, lift=0.27, volume=0.013, gravity=0.60, part_x=0.006),
}  # fmt: skip


def _wavy(style: HairParams) -> HairParams:
    long = min(style.length / 0.2, 1.0)
    return style.but(
        curl=0.0035 + 0.0040 * long, pitch=0.045 + 0.030 * long, flatness=0.3, clump=0.72, clump_fine=0.55,
        volume=style.volume * 1.35, lift=style.lift * 1.15, turn=style.turn * 0.6, cling=style.cling * 0.8,
        spread=0.10,
    )  # fmt: skip


def _curly(style: HairParams) -> HairParams:
    long = min(style.length / 0.2, 1.0)
    return style.but(
        curl=0.0060 + 0.0045 * long, pitch=0.024 + 0.024 * long, flatness=1.0, clump_big=0.5 + 0.3 * long,
        clump=0.90, clump_fine=0.2, volume=style.volume * 1.45 + 0.002, lift=min(style.lift * (1.1 + 0.3 * long), 0.6),
        part=style.part * (1.0 if style.length > 0.2 else 0.4), turn=0.0,
        length=style.length * (1.12 if style.length < 0.1 else 1.0), sides=min(1.0, style.sides * 1.5),
        spread=0.05 + 0.08 * long, gravity=style.gravity * 0.85, flyaway=0.008, cling=style.cling * 0.6,
        width=0.00052, fill=2.0,
    )  # fmt: skip


def _coily(style: HairParams) -> HairParams:
    long = style.length >= 0.1
    return style.but(
        curl=0.0032, pitch=0.0115, flatness=1.0, clump_big=0.15, clump=0.55, clump_fine=0.85, unruly=0.14,
        volume=style.volume * 2.0 + 0.008, lift=0.9, turn=0.0, cling=style.cling * 0.2, flyaway=0.06,
        length=0.03 + 0.34 * style.length if long else style.length,
        gravity=style.gravity * (0.35 if style.length < 0.2 else 0.6),
        width=0.00058, fill=2.6, part=0.0, sides=min(1.0, style.sides * 1.6),
    )  # fmt: skip


CURLS: dict[str, Change] = {"straight": lambda style: style, "wavy": _wavy, "curly": _curly, "coily": _coily}


def _fringe(style: HairParams) -> HairParams:
    return style.but(fringe=1.0, fringe_length=0.075)


def _side_swept(style: HairParams) -> HairParams:
    return style.but(fringe=0.9, fringe_length=0.105, fringe_sweep=-0.9, part_x=0.030)


def _curtain(style: HairParams) -> HairParams:
    return style.but(fringe=0.85, fringe_length=0.125, fringe_open=1.0, part_x=0.0)


def _slicked(style: HairParams) -> HairParams:
    return style.but(
        part=0.0, back=2.4, lift=style.lift * 0.55, volume=style.volume * 0.75, gloss=1.5, unruly=0.03, edge=1.0,
        length=max(style.length, 0.085), sides=max(style.sides, 0.5), clump_fine=0.7, flyaway=0.008,
    )  # fmt: skip


def _spiky(style: HairParams) -> HairParams:
    return style.but(
        part=0.1, back=0.35, lift=0.85, gravity=0.03, clump_big=0.2, clump=0.92, clump_fine=0.3, unruly=0.22,
        edge=0.75, length=0.048, gloss=1.3, cling=0.06,
    )  # fmt: skip


FRONTS: dict[str, Change] = {
    "middle-parted": lambda style: style.but(part=1.0, part_x=0.0),
    "left-parted": lambda style: style.but(part=1.0, part_x=0.034),
    "right-parted": lambda style: style.but(part=1.0, part_x=-0.034),
    "slicked-back": _slicked,
    "spiky": _spiky,
    "fringed": _fringe,
    "side-swept": _side_swept,
    "curtain-fringed": _curtain,
    "receding": lambda style: style.but(recede=0.030, back=style.back + 0.4),
    "balding": lambda style: style.but(crown=1.0, recede=0.05, length=style.length * 0.75, sides=0.6),
}


def _tie(**more: float) -> Change:
    def change(style: HairParams) -> HairParams:
        tail = {0.30: 0.16, 0.40: 0.24, 0.56: 0.36}.get(style.length, 0.24)
        return style.but(**{"tied": 1.0, "tail": tail, "volume": min(style.volume, 0.012), **more})

    return change


def _afro(style: HairParams) -> HairParams:
    return style.but(
        length=0.056,
        cling=0.0,
        ends=-0.4,
        sides=0.95,
        edge=0.75,
        gravity=0.0,
        lift=1.0,
        part=0.0,
        volume=0.02,
        turn=0.0,
        clump=0.35,
        clump_big=0.1,
    )


def _mohawk(style: HairParams) -> HairParams:
    return style.but(
        length=0.052, cling=0.0, ends=-0.4, crest=1.0, part=0.0, lift=1.0, gravity=0.02, sides=0.8, side_height=0.03,
        clump=0.75, clump_big=0.4, volume=0.004, edge=0.8, unruly=0.08,
    )  # fmt: skip


def _undercut(style: HairParams) -> HairParams:
    return style.but(
        length=max(style.length, 0.085), ends=-0.4, sides=0.06, side_height=0.066, side_soft=0.006, part_x=0.030,
        part=0.8, back=0.5,
    )  # fmt: skip


def _fade(style: HairParams) -> HairParams:
    return style.but(sides=0.035, side_height=0.058, side_soft=0.090, edge=0.5, length=style.length * 0.85)


SHAPES: dict[str, Change] = {
    "ponytail": _tie(tie=0.35),
    "high ponytail": _tie(tie=0.75),
    "bun": _tie(tie=0.40, tail=0.30, bun=1.0),
    "low bun": _tie(tie=0.12, tail=0.30, bun=1.0),
    "top knot": _tie(tie=0.92, tail=0.26, bun=1.0),
    "pigtails": _tie(tie=0.25, pair=1.0, part_x=0.0),
    "braid": _tie(tie=0.20, braid=1.0),
    "braids": _tie(tie=0.10, pair=1.0, braid=1.0, part_x=0.0),
    "half-up": _tie(tie=0.48, half=1.0),
    "afro": _afro,
    "mohawk": _mohawk,
    "undercut": _undercut,
    "fade": _fade,
}


def _darker(colour: RGB, share: float) -> RGB:
    """A natural root colour for a lighter or dyed one."""
    brown = _colours.HAIR["dark brown"]
    return tuple(share * own + (1 - share) * dark for own, dark in zip(colour, brown))  # type: ignore[return-value]


def _lighter(colour: RGB) -> RGB:
    """The colour of bleached streaks."""
    light = _colours.HAIR["blond"]
    return tuple(0.35 * own + 0.65 * pale for own, pale in zip(colour, light))  # type: ignore[return-value]


def _painted(style: HairParams, colour: str, dye: str | None) -> HairParams:
    own = _colours.HAIR[colour]
    if dye == "ombre":
        return style.painted(_darker(own, 0.15), own).but(ombre=1.0)
    if dye == "highlighted":
        pale = max(own) > 0.6
        second = _colours.HAIR["platinum"] if pale else _lighter(own)
        return style.painted(_darker(own, 0.75) if pale else own, second).but(streaks=0.32)
    if colour == "salt-and-pepper":
        return style.painted(own, _colours.HAIR["white"]).but(streaks=0.45, tone=0.35)
    return style.painted(own).but(tone=0.15 if colour == "grey" else style.tone)


def params_from(adjectives: Sequence[str]) -> HairParams:
    """The hairstyle of the words, e.g. ("long", "curly", "red"); words left out take a middle choice."""
    if "bald" in adjectives:
        return HairParams(length=0.0)

    def said(choices: dict[str, Change] | dict[str, HairParams], otherwise: str) -> str:
        return next((word for word in adjectives if word in choices), otherwise)

    curl = "coily" if "afro" in adjectives else said(CURLS, "straight")
    style = CURLS[curl](LENGTHS[said(LENGTHS, "long")])
    for choices in (FRONTS, SHAPES):
        for word in adjectives:
            if word in choices:
                style = choices[word](style)
    colour = next((word for word in adjectives if word in _colours.HAIR), "brown")
    dye = next((word for word in adjectives if word in ("ombre", "highlighted")), None)
    return _painted(style, colour, dye)
