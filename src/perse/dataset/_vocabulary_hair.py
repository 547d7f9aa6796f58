"""The words for hair that the studio can draw."""

from perse.dataset._vocabulary_table import Axis, Table, clash

_NATURAL = (
    *("black", "dark brown", "brown", "light brown", "chestnut", "auburn", "red", "ginger"),
    *("strawberry blond", "dark blond", "blond", "platinum", "grey", "salt-and-pepper", "white"),
)
_DYED = ("pink", "burgundy", "purple", "blue", "turquoise", "green")
_PARTED = "middle-parted, left-parted, right-parted"
_FRINGES = "fringed, side-swept, curtain-fringed"
_TIED = "ponytail, high ponytail, bun, low bun, top knot, pigtails, braid, braids, half-up"
_CUTS = "afro, mohawk, undercut, fade"

HAIR = Table(
    verb="with",
    noun="hair",
    axes=(
        Axis(
            "length",
            (
                "bald",
                "buzz cut",
                "short",
                "ear-length",
                "chin-length",
                "shoulder-length",
                "long",
                "very long",
            ),
        ),
        Axis("curl", ("straight", "wavy", "curly", "coily")),
        Axis(
            "front",
            (*_PARTED.split(", "), "slicked-back", "spiky", *_FRINGES.split(", "), "receding", "balding"),
            optional=True,
        ),
        Axis("dye", ("ombre", "highlighted"), optional=True),
        Axis("colour", (*_NATURAL, *_DYED)),
        Axis("shape", (*_TIED.split(", "), *_CUTS.split(", ")), optional=True),
    ),
    nouns={
        "bald": "bald head",
        "buzz cut": "buzz cut",
        **{word: word for word in (*_TIED.split(", "), *_CUTS.split(", ")) if word != "half-up"},
    },
    plural=frozenset({"hair", "pigtails", "braids"}),
    alone=frozenset({"bald"}),
    settles={
        "buzz cut": frozenset({"curl", "dye"}),
        "afro": frozenset({"length", "curl", "front", "dye"}),
        "mohawk": frozenset({"length", "front", "dye"}),
        "bun": frozenset({"length", "dye"}),
        "low bun": frozenset({"length", "dye"}),
        "top knot": frozenset({"length", "dye"}),
    },
    clashes=(
        clash("buzz cut", f"{_PARTED}, slicked-back, spiky, {_FRINGES}, {_TIED}, {_CUTS}"),
        clash("short", f"{_TIED}, middle-parted, curtain-fringed, ombre"),
        clash("ear-length, chin-length", f"{_TIED}, fade"),
        clash("chin-length, shoulder-length, long, very long", "spiky, receding, balding, undercut, fade"),
        clash("ear-length", "spiky, balding"),
        clash("shoulder-length", "braid, braids"),
        clash(
            "coily",
            f"slicked-back, spiky, {_PARTED}, {_FRINGES}, {_TIED}, mohawk, undercut, ombre, highlighted",
        ),
        clash("coily", "chin-length, very long"),
        clash("curly", "spiky, slicked-back, braid, braids, mohawk, top knot, low bun"),
        clash("wavy", "spiky, mohawk"),
        clash(
            f"{_TIED}, {_CUTS}",
            "slicked-back, spiky, receding, balding, middle-parted, left-parted, right-parted",
        ),
        clash(_TIED, "side-swept"),
        clash("afro, mohawk, undercut, fade", _FRINGES),
        clash(f"{_PARTED}, {_FRINGES}, {_TIED}, {_CUTS}, slicked-back", "ombre, highlighted"),
        clash("spiky, receding, balding", "ombre, highlighted"),
        clash("ombre", "black, grey, salt-and-pepper, white"),
        clash("highlighted", f"grey, salt-and-pepper, white, platinum, {', '.join(_DYED)}"),
        clash(
            "strawberry blond, dark blond, light brown, chestnut, burgundy, salt-and-pepper",
            f"{_TIED}, {_FRINGES}",
        ),
    ),
)
