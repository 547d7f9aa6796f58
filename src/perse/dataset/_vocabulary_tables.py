"""What the studio can draw, as data: one small table of adjectives a category.

A word appears once in its category, so words can be given in any order. Only words that
:mod:`perse.studio.parts` draws may stand here: a prompt that lists a word nobody draws would be a lie.
"""

from perse.dataset._vocabulary_face import FACE
from perse.dataset._vocabulary_hair import HAIR
from perse.dataset._vocabulary_table import Table
from perse.dataset._vocabulary_worn import WORN

TABLES: dict[str, Table] = {
    **FACE,
    **WORN,
    "hair": HAIR,
}

SYNONYMS: dict[str, str] = {
    "blonde": "blond",
    "fair": "blond",
    "golden": "gold",
    "copper": "ginger",
    "silver": "grey",
    "medium": "shoulder-length",
    "bob": "chin-length",
    "fringe": "fringed",
    "bangs": "fringed",
    "kinky": "coily",
    "shaved": "bald",
    "brunette": "brown",
    "gray": "grey",
    "mustache": "moustache",
    "patchy": "sparse",
    "shaggy": "bushy",
    "cap": "baseball cap",
    "polo-neck": "turtleneck",
    "turtle neck": "turtleneck",
    "turtle-neck": "turtleneck",
    "crew neck": "crew-neck",
    "crewneck": "crew-neck",
    "checked": "plaid",
    "knit": "knitted",
    "over ear": "over-ear",
    "on ear": "on-ear",
    "in ear": "in-ear",
    "hoops": "hoop",
    "studs": "stud",
    "drops": "drop",
    "cuffs": "cuff",
    "tassels": "tassel",
    "feathers": "feather",
    "tee": "t-shirt",
    "bandana": "headscarf",
    "bobble": "bobble hat",
    "earbuds": "wireless",
    "headset": "gaming",
    "dotted": "polka-dot",
    "polka dot": "polka-dot",
    "round": "bulbous",
    "aquiline": "hooked",
    "scooped": "ski-slope",
    "ski slope": "ski-slope",
    "droopy": "drooping",
    "monobrow": "unibrow",
    "combed": "feathered",
    "cupid's-bow": "bow-shaped",
    "cupid's bow": "bow-shaped",
    "plump": "full",
    "nude": "pale",
    "shiny": "glossy",
    "hanging": "drooping",
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
