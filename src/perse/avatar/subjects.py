"""What an avatar remembers of the subjects it learned from, and how prompts are matched to them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perse.dataset import ABSENTABLE, CATEGORIES, Attribute, Vocabulary
from perse.errors import PerseError

MAX_SUBJECTS = 100_000


@dataclass(frozen=True)
class LearnedSubject:
    """One subject of the dataset: its attributes and the entry of the latent space each one uses."""

    id: str
    """Id in the dataset."""
    attributes: tuple[Attribute, ...]
    """() for the reference; one as in the paper; several for a combined subject."""
    entries: tuple[int, ...]
    """Row of the latent space of every attribute."""

    def to_json(self) -> dict[str, Any]:
        """For subjects.json."""
        return {
            "id": self.id,
            "attributes": [a.to_json() for a in self.attributes],
            "entries": list(self.entries),
        }

    @staticmethod
    def from_json(value: Any, entry_count: int) -> LearnedSubject:
        """Inverse of `to_json`; PerseError if the shape is wrong or an entry does not exist."""
        if not isinstance(value, dict) or not isinstance(value.get("id"), str):
            raise PerseError("a subject without an id")
        attributes = value.get("attributes")
        entries = value.get("entries")
        if (
            not isinstance(attributes, list)
            or not isinstance(entries, list)
            or len(attributes) != len(entries)
        ):
            raise PerseError(f"subject {value['id']!r}: attributes and entries do not match")
        if not all(isinstance(e, int) and not isinstance(e, bool) and 0 <= e < entry_count for e in entries):
            raise PerseError(f"subject {value['id']!r}: an entry is out of range")
        return LearnedSubject(value["id"], tuple(Attribute.from_json(a) for a in attributes), tuple(entries))


@dataclass(frozen=True)
class Chosen:
    """What a set of prompts means to an avatar."""

    entries: dict[str, int]
    """Learned attributes to put on, by category."""
    absent: tuple[str, ...]
    """Categories to take off."""
    spoken: dict[str, str]
    """Prompts of the vocabulary that were never learned, by category."""
    adapters: dict[str, str]
    """Names of looks that were learned after the avatar, by category."""


class Wardrobe:
    """The learned attributes of an avatar by category, and the search in them."""

    def __init__(self, subjects: tuple[LearnedSubject, ...]) -> None:
        self.subjects = subjects
        self._entries: dict[tuple[str, str], int] = {}
        for subject in subjects:
            for attribute, entry in zip(subject.attributes, subject.entries):
                self._entries.setdefault((attribute.category, attribute.prompt), entry)
        self._vocabulary = Vocabulary()
        self._transferred: dict[str, str] = {}

    def add(self, name: str, category: str) -> None:
        """A look that was learned after the avatar. PerseError if something has that name."""
        if name in self._transferred or any(name == prompt for _, prompt in self._entries):
            raise PerseError(f'this avatar has a look called "{name}" already; choose another name')
        self._transferred[name] = category

    def remove(self, name: str) -> None:
        """Forget such a look. PerseError if there is none."""
        if name not in self._transferred:
            names = ", ".join(f'"{n}"' for n in self._transferred) or "none"
            raise PerseError(f'no look called "{name}" was transferred to this avatar; there are: {names}')
        del self._transferred[name]

    def prompts(self, category: str) -> tuple[str, ...]:
        """Learned prompts of a category, in the order of learning, then names of looks that were transferred.

        PerseError for an unknown category.
        """
        if category not in CATEGORIES:
            close = difflib.get_close_matches(category, CATEGORIES, 1)
            hint = f" Did you mean {close[0]}?" if close else f" The categories are {', '.join(CATEGORIES)}."
            raise PerseError(f"there is no attribute category {category!r}.{hint}")
        later = (name for name, c in self._transferred.items() if c == category)
        return (*(prompt for c, prompt in self._entries if c == category), *later)

    def entry_prompts(self, category: str) -> dict[int, str]:
        """The prompt of every learned entry of a category."""
        return {entry: prompt for (c, prompt), entry in self._entries.items() if c == category}

    def choose(self, attributes: Mapping[str, str | None]) -> Chosen:
        """What to put on, take off, or make from words alone.

        Raises:
            PerseError: unknown category, words nobody knows (with the nearest learned looks), or None for a part
                everyone has.
        """
        entries, absent, spoken, adapters = {}, [], {}, {}
        for category, text in attributes.items():
            learned = self.prompts(category)
            if text is None:
                if category not in ABSENTABLE:
                    raise PerseError(
                        f"{category}=None: only {', '.join(ABSENTABLE)} can be absent; leave {category} out "
                        "to keep the person's own"
                    )
                absent.append(category)
                continue
            prompt = self._prompt(category, text, learned)
            if (category, prompt) in self._entries:
                entries[category] = self._entries[category, prompt]
            elif prompt in learned:
                adapters[category] = prompt
            else:
                spoken[category] = prompt
        return Chosen(entries, tuple(absent), spoken, adapters)

    def known(self, category: str, text: str) -> str:
        """A sentence that names the learned looks nearest to a text."""
        learned = self.prompts(category)
        nearest = "; ".join(f'"{p}"' for p in _nearest(text, learned)) if learned else "nothing"
        return f"It learned, for {category}: {nearest}."

    def _prompt(self, category: str, text: str, learned: tuple[str, ...]) -> str:
        """The prompt, learned or of the vocabulary, that `text` names."""
        if text in learned:
            return text
        try:
            return self._vocabulary.parse(text, category).prompt
        except PerseError as error:
            raise PerseError(f"{category}={text!r}: {error} {self.known(category, text)}") from error


def _nearest(text: str, learned: tuple[str, ...], count: int = 4) -> list[str]:
    """Learned prompts that share most words with `text`, best first."""
    words = set(text.lower().replace("-", " ").split())

    def likeness(prompt: str) -> float:
        shared = len(words & set(prompt.lower().replace("-", " ").split()))
        return shared + difflib.SequenceMatcher(None, text, prompt).ratio()

    return sorted(learned, key=likeness, reverse=True)[:count]
