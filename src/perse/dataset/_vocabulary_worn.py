"""What a person can wear, as data: the tables of hats, headphones, earrings and clothes."""

from perse.dataset._vocabulary_table import Axis, Table, clash, limits

_NONE = ""

_CLOTHES_AXES = (
    Axis(
        "colour",
        (
            "black",
            "white",
            "grey",
            "red",
            "green",
            "blue",
            "navy",
            "yellow",
            "purple",
            "brown",
            "pink",
            "cream",
        ),
    ),
    Axis("pattern", ("striped", "plaid", "polka-dot", "floral"), optional=True),
    Axis(
        "garment",
        (
            *(
                "crew-neck",
                "t-shirt",
                "v-neck",
                "turtleneck",
                "hoodie",
                "shirt",
                "dress shirt",
                "blazer",
                "suit",
            ),
            *("cardigan", "denim jacket", "leather jacket", "tank top", "dress", "off-shoulder", "scarf"),
        ),
    ),
)

_CLOTHES_LIMITS: dict[str, dict[str, str]] = {
    # what each garment is made in: colours, patterns
    "crew-neck": {
        "colour": "black, white, grey, red, green, blue, navy, yellow, pink, cream",
        "pattern": "striped",
    },
    "t-shirt": {"colour": "black, white, grey, red, blue, green, yellow", "pattern": "striped"},
    "v-neck": {"colour": "black, grey, red, green, navy, purple, cream", "pattern": _NONE},
    "turtleneck": {"colour": "black, white, grey, red, green, navy, brown, cream", "pattern": _NONE},
    "hoodie": {"colour": "black, grey, red, green, navy, yellow, purple, pink", "pattern": _NONE},
    "shirt": {"colour": "white, blue, pink, black, red, green", "pattern": "striped, plaid"},
    "dress shirt": {"colour": "white, blue, pink, grey", "pattern": _NONE},
    "blazer": {"colour": "black, grey, navy, brown, red", "pattern": "plaid"},
    "suit": {"colour": "black, grey, navy, brown", "pattern": _NONE},
    "cardigan": {"colour": "grey, red, green, navy, cream, brown", "pattern": _NONE},
    "denim jacket": {"colour": "blue, black, white", "pattern": _NONE},
    "leather jacket": {"colour": "black, brown, red", "pattern": _NONE},
    "tank top": {"colour": "black, white, grey, red, blue", "pattern": "striped"},
    "dress": {"colour": "black, red, blue, green, pink, white", "pattern": "floral, polka-dot"},
    "off-shoulder": {"colour": "white, black, red, yellow, blue", "pattern": "floral"},
    "scarf": {"colour": "red, grey, green, blue, yellow, cream", "pattern": "striped, plaid"},
}

_CLOTHES = Table(
    verb="wearing",
    noun="clothes",
    axes=_CLOTHES_AXES,
    nouns={
        **{garment: garment for garment in _CLOTHES_AXES[2].words},
        "crew-neck": "crew-neck sweater",
        "v-neck": "v-neck sweater",
        "dress shirt": "dress shirt with a tie",
        "suit": "suit and tie",
        "off-shoulder": "off-shoulder top",
    },
    clashes=tuple(
        pair for word, allowed in _CLOTHES_LIMITS.items() for pair in limits(_CLOTHES_AXES, word, **allowed)
    ),
)


_EARRINGS = Table(
    verb="wearing",
    noun="earrings",
    axes=(
        Axis("size", ("small", "large"), optional=True),
        Axis(
            "material",
            (
                *("gold", "silver", "rose-gold", "black"),
                *("pearl", "ruby", "emerald", "sapphire", "amethyst", "diamond", "turquoise"),
                *("white", "red", "blue", "green", "pink"),
            ),
        ),
        Axis("shape", ("hoop", "stud", "drop", "chandelier", "tassel", "feather", "cuff")),
    ),
    nouns={"cuff": "ear cuffs"},
    plural=frozenset({"earrings", "ear cuffs"}),
    clashes=(
        clash("pearl, ruby, emerald, sapphire, amethyst, diamond, turquoise", "hoop, tassel, feather, cuff"),
        clash("white, red, blue, green, pink", "hoop, stud, drop, chandelier, cuff"),
        clash("gold, silver, rose-gold", "tassel, feather"),
        clash("small, large", "chandelier, tassel, feather, cuff"),
        clash("small, large", "sapphire, amethyst, diamond, turquoise"),
    ),
)

_HAT_AXES = (
    Axis(
        "colour",
        (
            *("black", "white", "grey", "red", "green", "blue", "navy", "yellow", "brown", "pink"),
            *("cream", "purple", "orange", "gold", "silver", "straw"),
        ),
    ),
    Axis("pattern", ("striped", "plaid", "polka-dot", "floral", "logo"), optional=True),
    Axis("material", ("knitted", "denim", "leather", "satin"), optional=True),
    Axis(
        "kind",
        (
            *("beanie", "bobble hat", "baseball cap", "trucker cap", "flat cap", "visor", "headband"),
            *("bucket hat", "fedora", "cowboy hat", "bowler hat", "top hat", "sun hat", "beret"),
            *("turban", "headscarf", "hard hat", "bicycle helmet", "crown"),
        ),
    ),
)
_HAT_LIMITS: dict[str, dict[str, str]] = {
    # what each kind is made in: colours, patterns, materials
    "beanie": {
        "colour": "black, white, grey, red, green, blue, navy, yellow, pink, purple",
        "pattern": "striped",
        "material": "knitted",
    },
    "bobble hat": {"colour": "red, blue, green, grey, pink", "pattern": "striped", "material": _NONE},
    "baseball cap": {
        "colour": "black, white, grey, red, green, blue, navy, yellow",
        "pattern": "logo",
        "material": "denim, leather",
    },
    "trucker cap": {"colour": "black, red, green, blue, orange", "pattern": _NONE, "material": _NONE},
    "flat cap": {"colour": "grey, brown, navy, black", "pattern": "plaid", "material": "leather"},
    "visor": {"colour": "white, black, green, pink, yellow", "pattern": _NONE, "material": _NONE},
    "headband": {"colour": "red, white, black, blue, pink", "pattern": "striped", "material": _NONE},
    "bucket hat": {
        "colour": "black, white, green, blue, pink, yellow, brown",
        "pattern": "plaid, polka-dot, floral",
        "material": "denim",
    },
    "fedora": {
        "colour": "black, grey, brown, navy, red, green, white, straw",
        "pattern": _NONE,
        "material": "leather",
    },
    "cowboy hat": {
        "colour": "brown, black, white, cream, straw",
        "pattern": _NONE,
        "material": "leather",
    },
    "bowler hat": {"colour": "black, grey, brown", "pattern": _NONE, "material": _NONE},
    "top hat": {"colour": "black, grey, white, red, purple", "pattern": _NONE, "material": "satin"},
    "sun hat": {"colour": "straw, white, brown, black, pink", "pattern": _NONE, "material": _NONE},
    "beret": {
        "colour": "black, red, navy, green, grey, cream, pink",
        "pattern": _NONE,
        "material": "leather",
    },
    "turban": {"colour": "white, red, orange, blue, purple, green", "pattern": _NONE, "material": "satin"},
    "headscarf": {
        "colour": "red, blue, white, black, yellow, purple",
        "pattern": "polka-dot, floral, plaid",
        "material": "satin",
    },
    "hard hat": {"colour": "yellow, white, orange, red, blue", "pattern": _NONE, "material": _NONE},
    "bicycle helmet": {"colour": "white, black, red, blue", "pattern": _NONE, "material": _NONE},
    "crown": {"colour": "gold, silver", "pattern": _NONE, "material": _NONE},
    "denim": {"colour": "blue, black, grey", "pattern": _NONE},
    "leather": {"colour": "black, brown, red", "pattern": _NONE},
    "straw": {"material": _NONE},
    "satin": {"pattern": _NONE},
}

_HAT = Table(
    verb="wearing",
    noun="hat",
    axes=_HAT_AXES,
    nouns={kind: kind for kind in _HAT_AXES[3].words},
    clashes=(
        *(pair for word, allowed in _HAT_LIMITS.items() for pair in limits(_HAT_AXES, word, **allowed)),
        clash("plaid, floral, polka-dot", "denim, satin"),
    ),
)

_HEADPHONE_AXES = (
    Axis("size", ("slim", "large"), optional=True),
    Axis("finish", ("metallic",), optional=True),
    Axis("colour", ("black", "white", "silver", "red", "blue", "green", "yellow", "pink")),
    Axis("kind", ("over-ear", "on-ear", "in-ear", "wireless", "neckband", "gaming")),
)

_HEADPHONES = Table(
    verb="wearing",
    noun="headphones",
    axes=_HEADPHONE_AXES,
    nouns={"wireless": "wireless earbuds", "gaming": "gaming headset"},
    plural=frozenset({"headphones", "wireless earbuds"}),
    clashes=(
        clash("in-ear, wireless, neckband, gaming", "slim, large, metallic"),
        clash("slim, large", "metallic"),
        clash("yellow, pink", "metallic"),
    ),
)

WORN: dict[str, Table] = {
    "clothes": _CLOTHES,
    "earrings": _EARRINGS,
    "hat": _HAT,
    "headphones": _HEADPHONES,
}
