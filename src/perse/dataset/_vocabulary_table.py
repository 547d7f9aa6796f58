"""The shape of the vocabulary tables: axes of adjectives, nouns, and which words contradict each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Axis:
    """One choice, e.g. the length of the hair."""

    name: str
    """What is chosen, used in messages ("length")."""
    words: tuple[str, ...]
    """The adjectives to choose from."""
    optional: bool = False
    """Whether a prompt may leave the choice out."""


@dataclass(frozen=True)
class Table:
    """The vocabulary of one category."""

    verb: str
    """"with" or "wearing", as in "a person with ..."."""
    noun: str
    """What the adjectives describe, unless one of them is a noun of its own (`nouns`)."""
    axes: tuple[Axis, ...]
    """The choices, in the order in which their words are spoken."""
    nouns: dict[str, str] = field(default_factory=dict)
    """Words that name the thing themselves: {"goatee": "goatee"}."""
    plural: frozenset[str] = frozenset()
    """Nouns that take no article ("hair", "earrings")."""
    clashes: tuple[tuple[frozenset[str], frozenset[str]], ...] = ()
    """Pairs of word sets that contradict each other: no prompt takes a word from both."""
    alone: frozenset[str] = frozenset()
    """Words that say everything by themselves ("bald")."""
    settles: dict[str, frozenset[str]] = field(default_factory=dict)
    """Words with the names of choices that nobody makes beside them: an "afro" has no curl to choose."""

    @cached_property
    def axis_of(self) -> dict[str, str]:
        """The name of every word's axis."""
        return {word: axis.name for axis in self.axes for word in axis.words}

    @cached_property
    def apart(self) -> dict[str, frozenset[str]]:
        """For every word those that cannot stand beside it: contradictions, and choices that one of two settles."""
        pairs = {(a, b) for left, right in self.clashes for a in left for b in right}
        for word, axes in self.settles.items():
            pairs |= {(word, other) for other, axis in self.axis_of.items() if axis in axes and other != word}
        pairs |= {(b, a) for a, b in pairs}
        return {word: frozenset(b for a, b in pairs if a == word) for word in self.axis_of}


def clash(left: str, right: str) -> tuple[frozenset[str], frozenset[str]]:
    """A contradiction, from two comma-separated word lists."""
    return frozenset(left.split(", ")), frozenset(right.split(", "))


def limits(
    axes: tuple[Axis, ...], word: str, **allowed: str
) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """``word`` goes with no other words of an axis than the comma-separated ones given for its name."""
    found = []
    for axis in axes:
        if axis.name in allowed:
            others = frozenset(axis.words) - frozenset(allowed[axis.name].split(", "))
            found.append((frozenset({word}), others))
    return tuple(found)
