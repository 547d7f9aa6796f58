"""What the studio can draw, as data: one small table of adjectives a category.

A word appears once in its category, so words can be given in any order. Only words that
:mod:`perse.studio.parts` draws may stand here: a prompt that lists a word nobody draws would be a lie.
"""

from __future__ import annotations

from dataclasses import dataclass, field


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


def _clash(left: str, right: str) -> tuple[frozenset[str], frozenset[str]]:
    """A contradiction, from two comma-separated word lists."""
    return frozenset(left.split(", ")), frozenset(right.split(", "))


_CLOTH_COLOURS = ("black", "white", "grey", "red", "green", "blue", "navy", "yellow", "purple", "brown")

TABLES: dict[str, Table] = {
    "beard": Table(
        verb="with",
        noun="beard",
        axes=(
            Axis("length", ("short", "long"), optional=True),
            Axis("style", ("full", "goatee", "moustache", "stubble", "chin curtain")),
            Axis("colour", ("black", "brown", "blond", "red", "grey", "white")),
        ),
        nouns={
            "goatee": "goatee",
            "moustache": "moustache",
            "stubble": "stubble",
            "chin curtain": "chin curtain",
        },
        plural=frozenset({"stubble"}),
        clashes=(_clash("short, long", "stubble, moustache"),),
    ),
    "clothes": Table(
        verb="wearing",
        noun="clothes",
        axes=(
            Axis("colour", _CLOTH_COLOURS),
            Axis("pattern", ("striped", "checked"), optional=True),
            Axis("garment", ("crew-neck", "turtleneck", "hoodie", "shirt")),
        ),
        nouns={
            "crew-neck": "crew-neck sweater",
            "turtleneck": "turtleneck",
            "hoodie": "hoodie",
            "shirt": "shirt",
        },
    ),
    "earrings": Table(
        verb="wearing",
        noun="earrings",
        axes=(
            Axis("size", ("small", "large"), optional=True),
            Axis("material", ("gold", "silver", "rose-gold", "black", "pearl", "ruby", "emerald")),
            Axis("shape", ("hoop", "stud", "drop")),
        ),
        plural=frozenset({"earrings"}),
        clashes=(_clash("pearl, ruby, emerald", "hoop"),),
    ),
    "eyebrows": Table(
        verb="with",
        noun="eyebrows",
        axes=(
            Axis("thickness", ("thick", "thin", "bushy")),
            Axis("shape", ("arched", "straight"), optional=True),
            Axis("colour", ("black", "brown", "blond", "red", "grey", "white")),
        ),
        plural=frozenset({"eyebrows"}),
    ),
    "hair": Table(
        verb="with",
        noun="hair",
        axes=(
            Axis("length", ("short", "medium", "long", "bald")),
            Axis("curl", ("straight", "wavy", "curly")),
            Axis(
                "colour", ("black", "brown", "chestnut", "blond", "platinum", "red", "grey", "pink", "blue")
            ),
        ),
        nouns={"bald": "bald head"},
        plural=frozenset({"hair"}),
        alone=frozenset({"bald"}),
    ),
    "hat": Table(
        verb="wearing",
        noun="hat",
        axes=(
            Axis(
                "colour",
                ("black", "white", "grey", "red", "green", "blue", "navy", "yellow", "brown", "pink"),
            ),
            Axis("texture", ("knitted",), optional=True),
            Axis("kind", ("beanie", "baseball cap", "fedora")),
        ),
        nouns={"beanie": "beanie", "baseball cap": "baseball cap", "fedora": "fedora"},
        clashes=(_clash("knitted", "baseball cap, fedora"),),
    ),
    "headphones": Table(
        verb="wearing",
        noun="headphones",
        axes=(
            Axis("size", ("slim", "large"), optional=True),
            Axis("colour", ("black", "white", "silver", "red", "blue", "green", "yellow", "pink")),
            Axis("kind", ("over-ear", "on-ear", "in-ear")),
        ),
        plural=frozenset({"headphones"}),
        clashes=(_clash("in-ear", "slim, large"),),
    ),
    "mouth": Table(
        verb="with",
        noun="lips",
        axes=(
            Axis("width", ("wide", "narrow"), optional=True),
            Axis("fullness", ("full", "thin"), optional=True),
            Axis("colour", ("red", "pink", "pale", "brown", "plum", "coral"), optional=True),
        ),
        plural=frozenset({"lips"}),
    ),
    "nose": Table(
        verb="with",
        noun="nose",
        axes=(
            Axis("length", ("long", "short"), optional=True),
            Axis("width", ("wide", "narrow"), optional=True),
            Axis("profile", ("upturned", "hooked", "straight"), optional=True),
            Axis("tip", ("bulbous", "pointed"), optional=True),
        ),
        clashes=(_clash("hooked", "short"),),
    ),
}

SYNONYMS: dict[str, str] = {
    "blonde": "blond",
    "fair": "blond",
    "golden": "gold",
    "ginger": "red",
    "auburn": "chestnut",
    "brunette": "brown",
    "gray": "grey",
    "mustache": "moustache",
    "cap": "baseball cap",
    "polo-neck": "turtleneck",
    "turtle neck": "turtleneck",
    "turtle-neck": "turtleneck",
    "crew neck": "crew-neck",
    "crewneck": "crew-neck",
    "plaid": "checked",
    "knit": "knitted",
    "over ear": "over-ear",
    "on ear": "on-ear",
    "in ear": "in-ear",
    "hoops": "hoop",
    "studs": "stud",
    "drops": "drop",
    "round": "bulbous",
    "aquiline": "hooked",
    "turned-up": "upturned",
    "big": "large",
    "rose gold": "rose-gold",
}

FILLERS = frozenset(
    (
        "a",
        "an",
        "the",
        "person",
        "woman",
        "man",
        "with",
        "wearing",
        "has",
        "wears",
        "who",
        "of",
        "and",
        "pair",
        "in",
    )
)

DEMO: tuple[tuple[str, str], ...] = (
    ("hair", "long curly red"),
    ("hair", "short straight black"),
    ("hair", "long straight blond"),
    ("hair", "bald"),
    ("beard", "full brown"),
    ("beard", "grey goatee"),
    ("beard", "black stubble"),
    ("eyebrows", "thick black"),
    ("eyebrows", "thin arched brown"),
    ("eyebrows", "bushy straight blond"),
    ("hat", "blue knitted beanie"),
    ("hat", "red baseball cap"),
    ("hat", "black fedora"),
    ("headphones", "black over-ear"),
    ("headphones", "white on-ear"),
    ("headphones", "red in-ear"),
    ("earrings", "large gold hoop"),
    ("earrings", "silver stud"),
    ("earrings", "pearl drop"),
    ("clothes", "red striped crew-neck"),
    ("clothes", "green turtleneck"),
    ("clothes", "grey hoodie"),
    ("clothes", "white shirt"),
    ("mouth", "full red"),
    ("mouth", "thin pale"),
    ("mouth", "wide plum"),
    ("nose", "wide"),
    ("nose", "narrow pointed"),
    ("nose", "long hooked"),
    ("nose", "short upturned"),
)
"""One edit a row: distinct-looking, at least three a category; the demo build draws them all."""
