"""Attribute prompts: from adjectives to "a person with long curly red hair" and back (paper section 3.2).

A prompt is built from the axes of its category (:mod:`perse.dataset._vocabulary_tables`) without
contradictions, and says exactly what the studio draws.
"""

from __future__ import annotations

import difflib
import random
import re
from collections import Counter
from functools import cache

from perse.dataset._vocabulary_table import Axis, Table
from perse.dataset._vocabulary_tables import DEMO, FILLERS, SYNONYMS, TABLES
from perse.dataset.labels import CATEGORIES
from perse.dataset.records import Attribute
from perse.errors import PerseError

__all__ = ["Vocabulary", "demo_attributes"]


SPREAD_AMONG = 64
"""How many prompts :meth:`Vocabulary.spread` chooses the next one among."""


class Vocabulary:
    """The words of every category: parse what a user typed, sample, or list all prompts."""

    def parse(self, text: str, category: str) -> Attribute:
        """The attribute that `text` names.

        Accepts the adjectives in any order ("red long curly"), with or without the noun, and the full prompt.

        Raises:
            PerseError: unknown category or word (with the nearest ones), two words that contradict each
                other, or a choice left open that must be made.
        """
        table = _table(category)
        words = _words(text, category, table)
        chosen: dict[str, str] = {}
        for word in words:
            axis = table.axis_of[word]
            if chosen.get(axis, word) != word:
                raise PerseError(
                    f'"{text}" gives two answers for the {axis} of the {category}: '
                    f'"{chosen[axis]}" and "{word}". Keep one.'
                )
            chosen[axis] = word
        adjectives = tuple(chosen[a.name] for a in table.axes if a.name in chosen)
        _check(text, category, table, adjectives)
        return Attribute(category, _prompt(table, adjectives), adjectives)

    def sample(self, category: str, seed: int) -> Attribute:
        """One of :meth:`all`, the same for the same seed."""
        every = self.all(category)
        return every[random.Random(f"{category}/{seed}").randrange(len(every))]

    def spread(self, category: str, count: int, seed: int) -> list[Attribute]:
        """`count` different ones of :meth:`all`, or as many as there are; every word about equally often.

        In a random order, each the least used in its words among a few drawn at random.
        """
        waiting = list(self.all(category))
        random.Random(f"{category}/{seed}").shuffle(waiting)
        used: Counter[str] = Counter()
        chosen = []
        for _ in range(min(count, len(waiting))):
            few = waiting[:SPREAD_AMONG]
            best = min(range(len(few)), key=lambda k: max(used[word] for word in few[k].adjectives))
            attribute = waiting.pop(best)
            used.update(attribute.adjectives)
            chosen.append(attribute)
        return chosen

    def all(self, category: str) -> tuple[Attribute, ...]:
        """Every attribute of a category that the studio draws, in a fixed order, each once."""
        _table(category)
        return _all(category)


def demo_attributes() -> tuple[Attribute, ...]:
    """The edits of the demo build: one attribute each, at least three a category."""
    vocabulary = Vocabulary()
    return tuple(vocabulary.parse(text, category) for category, text in DEMO)


@cache
def _all(category: str) -> tuple[Attribute, ...]:
    table = TABLES[category]
    settled = frozenset().union(*table.settles.values())
    rows: list[tuple[str, ...]] = [()]
    for axis in table.axes:  # contradictions are dropped as soon as they appear: all rows would be too many
        words: list[tuple[str, ...]] = [(word,) for word in axis.words if word not in table.alone]
        if axis.optional or axis.name in settled:
            words.insert(0, ())
        rows = [row + word for row in rows for word in words if not _apart(table, row, word)]
    found = [(word,) for word in sorted(table.alone)] + [
        row for row in rows if row and not _missing(table, row)
    ]
    return tuple(Attribute(category, _prompt(table, words), words) for words in found)


def _table(category: str) -> Table:
    if category not in TABLES:
        near = difflib.get_close_matches(category, CATEGORIES, n=2, cutoff=0.4)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise PerseError(f'Unknown category "{category}".{hint} There are: {", ".join(CATEGORIES)}.')
    return TABLES[category]


def _apart(table: Table, row: tuple[str, ...], word: tuple[str, ...]) -> bool:
    """Whether a further word (or none) cannot stand in a row of words that can stand together."""
    return any(not table.apart[further].isdisjoint((*row, further)) for further in word)


def _known_words(table: Table) -> dict[str, str]:
    """Every spelling understood in a category -> the table's own word."""
    own = {word: word for axis in table.axes for word in axis.words}
    return {**{s: word for s, word in SYNONYMS.items() if word in own}, **own}


def _words(text: str, category: str, table: Table) -> list[str]:
    """Split what the user typed into table words; filler words and the noun are dropped."""
    known = _known_words(table)
    nouns = {table.noun, category, *table.nouns.values()}
    ignored = FILLERS.union(*(noun.split() for noun in nouns))
    tokens = re.findall(r"[a-z0-9]+(?:[-'][a-z0-9]+)*", text.lower())
    words: list[str] = []
    i = 0
    while i < len(tokens):
        pair = " ".join(tokens[i : i + 2])
        if i + 1 < len(tokens) and pair in known:
            words.append(known[pair])
            i += 2
            continue
        token = tokens[i]
        if token in known:
            words.append(known[token])
        elif token not in ignored:
            raise PerseError(_unknown(token, text, category, table))
        i += 1
    if not words:
        raise PerseError(f'"{text}" names no {category}. {_choices(table)}')
    return list(dict.fromkeys(words))


def _unknown(token: str, text: str, category: str, table: Table) -> str:
    near = difflib.get_close_matches(token, list(_known_words(table)), n=3, cutoff=0.55)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return f'Unknown word "{token}" for {category} in "{text}".{hint} {_choices(table)}'


def _choices(table: Table) -> str:
    parts = [f"{a.name}{' (optional)' if a.optional else ''}: {', '.join(a.words)}" for a in table.axes]
    return "Choose from " + "; ".join(parts) + "."


def _check(text: str, category: str, table: Table, adjectives: tuple[str, ...]) -> None:
    alone = [word for word in adjectives if word in table.alone]
    if alone:
        if len(adjectives) > 1:
            raise PerseError(f'"{text}": "{alone[0]}" goes with no other word. Use just "{alone[0]}".')
        return
    clash = _clashing(table, adjectives)
    if clash:
        raise PerseError(f'"{text}": "{clash[0]}" and "{clash[1]}" contradict each other for {category}.')
    needless = _needless(table, adjectives)
    if needless:
        raise PerseError(f'"{text}": leave "{needless[1]}" out, "{needless[0]}" says it already.')
    for axis in _missing(table, adjectives):
        words = [w for w in axis.words if w not in table.alone]
        example = _prompt_words(table, [w for w in adjectives] + [words[0]])
        raise PerseError(
            f'"{text}" does not say the {axis.name} of the {category}. '
            f'Add one of {", ".join(words)} (for instance "{" ".join(example)}").'
        )


def _missing(table: Table, adjectives: tuple[str, ...]) -> list[Axis]:
    """The choices that these words leave open and that must be made."""
    settled = frozenset().union(*(table.settles.get(word, ()) for word in adjectives))
    chosen = {table.axis_of[word] for word in adjectives}
    return [
        axis
        for axis in table.axes
        if not axis.optional and axis.name not in settled and axis.name not in chosen
    ]


def _needless(table: Table, adjectives: tuple[str, ...]) -> tuple[str, str] | None:
    """A word and another whose choice it settles, if there are such."""
    for word in adjectives:
        for other in adjectives:
            if other != word and table.axis_of[other] in table.settles.get(word, ()):
                return word, other
    return None


def _clashing(table: Table, adjectives: tuple[str, ...]) -> tuple[str, str] | None:
    """The first two words that contradict each other, if any."""
    for left, right in table.clashes:
        a = [word for word in adjectives if word in left]
        b = [word for word in adjectives if word in right]
        if a and b:
            return a[0], b[0]
    return None


def _prompt_words(table: Table, adjectives: list[str]) -> list[str]:
    """The words in the order of the table's axes."""
    return [word for axis in table.axes for word in axis.words if word in adjectives]


def _prompt(table: Table, adjectives: tuple[str, ...]) -> str:
    """ "a person wearing a red baseball cap"."""
    own_noun = next((word for word in adjectives if word in table.nouns), None)
    noun = table.nouns[own_noun] if own_noun else table.noun
    phrase = " ".join([word for word in adjectives if word != own_noun] + [noun])
    if noun not in table.plural:
        phrase = ("an " if phrase[0] in "aeiou" else "a ") + phrase
    return f"a person {table.verb} {phrase}"
