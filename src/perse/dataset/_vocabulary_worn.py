"""What a person can wear, as data: the tables of hats, headphones, earrings and clothes."""

from perse.dataset._vocabulary_table import Axis, Table, clash

_CLOTH_COLOURS = ("black", "white", "grey", "red", "green", "blue", "navy", "yellow", "purple", "brown")

WORN: dict[str, Table] = {
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
        clashes=(clash("pearl, ruby, emerald", "hoop"),),
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
        clashes=(clash("knitted", "baseball cap, fedora"),),
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
        clashes=(clash("in-ear", "slim, large"),),
    ),
}
