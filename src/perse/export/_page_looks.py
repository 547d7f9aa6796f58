"""The looks that a page offers, category by category, and the blends of them that it can show."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from perse.avatar import Avatar, LinearField, LinearLook, Look
from perse.dataset import ABSENTABLE

PHOTO, NONE = "as in the photo", "none"
WEIGHTS = (0.25, 0.5, 0.75)
MOST_PAIRS = 100
"""Pairs of a category's looks that stand for all of them."""


@dataclass(frozen=True)
class Choice:
    """One look of one category."""

    label: str
    worn: LinearLook
    look: Look
    """The reference wearing it."""
    kind: Literal["photo", "none", "look"] = "look"


def choices_of(avatar: Avatar, field: LinearField, category: str, worn: Look) -> list[Choice]:
    """As in the photo, none where the photo has one and could be without, then everything learned.

    A look that is worn and comes from words alone is a choice too.
    """

    def choice(label: str, look: Look, kind: Literal["photo", "none", "look"]) -> Choice:
        return Choice(label, field.look(look.codes.to("cpu"), category), look, kind)

    photo = choice(PHOTO, avatar.reference, "photo")
    found = [photo]
    if category in ABSENTABLE:
        if photo.worn.presence == 0:
            found = [replace(photo, label=NONE, kind="none")]
        else:
            found.append(choice(NONE, avatar.look(**{category: None}), "none"))
    for prompt, label in labels_of(avatar, category).items():
        found.append(choice(label, avatar.look(**{category: prompt}), "look"))
    if category in worn.from_words:
        prompt = str(worn.attributes[category])
        found.append(choice(short_label(prompt, category), avatar.look(**{category: prompt}), "look"))
    return found


def number_worn(choices: Sequence[Choice], field: LinearField, worn: Look, category: str) -> int:
    """Which choice a look wears."""
    slot = field.slots.index(category)
    transferred = {name for name, how in worn.codes.worn.items() if how.slot == slot}

    def same(choice: Choice) -> bool:
        codes = choice.look.codes
        pairs = ((codes.z, worn.codes.z), (codes.presence, worn.codes.presence))
        return all(a[slot].equal(b[slot]) for a, b in pairs) and set(codes.worn) == transferred

    return next(number for number, choice in enumerate(choices) if same(choice))


def reached(choices: Sequence[Choice], field: LinearField, category: str) -> list[LinearLook]:
    """What the page can show of a category: its looks, and blends of their pairs."""
    slot = field.slots.index(category)
    pairs = list(itertools.combinations([choice.look.codes.to("cpu") for choice in choices], 2))
    some = pairs[:: -(-len(pairs) // MOST_PAIRS)] if pairs else []
    blends = [field.look(a.mix(b, weight, slot), category) for a, b in some for weight in WEIGHTS]
    return [*(choice.worn for choice in choices), *blends]


def labels_of(avatar: Avatar, category: str) -> dict[str, str]:
    """What looks of a category are called, by prompt: shortly where that is clear, those from other photos by name."""
    short = {
        prompt: prompt if prompt in avatar.transferred else short_label(prompt, category)
        for prompt in avatar.learned(category)
    }
    taken = [PHOTO, NONE, *short.values()]
    return {prompt: label if taken.count(label) == 1 else prompt for prompt, label in short.items()}


def short_label(prompt: str, category: str) -> str:
    """ "a person with long curly red hair" as "long curly red"."""
    text = prompt.strip()
    for start in ("a person ", "with ", "wearing ", "a pair of ", "an ", "a "):
        text = text.removeprefix(start)
    return text.removesuffix(f" {category}").strip() or prompt
