"""The words for beard, eyebrows, mouth and nose (see :mod:`perse.dataset._vocabulary_tables`)."""

from perse.dataset._vocabulary_table import Axis, Table, clash

_BEARDS = {
    "stubble": "stubble",
    "goatee": "goatee",
    "van dyke": "van dyke beard",
    "circle beard": "circle beard",
    "soul patch": "soul patch",
    "chin curtain": "chin curtain",
    "mutton chops": "mutton chops",
    "sideburns": "sideburns",
    "moustache": "moustache",
    "pencil moustache": "pencil moustache",
    "handlebar moustache": "handlebar moustache",
    "walrus moustache": "walrus moustache",
}
_MOUSTACHES = "moustache, pencil moustache, handlebar moustache, walrus moustache"

FACE: dict[str, Table] = {
    "beard": Table(
        verb="with",
        noun="beard",
        axes=(
            Axis("length", ("short", "long"), optional=True),
            Axis("grooming", ("trimmed", "bushy", "sparse"), optional=True),
            Axis("style", ("full", *_BEARDS)),
            Axis("colour", ("black", "brown", "blond", "red", "grey", "white", "salt-and-pepper")),
        ),
        nouns=_BEARDS,
        plural=frozenset({"stubble", "mutton chops", "sideburns"}),
        clashes=(
            clash("short, long", "stubble, soul patch, sideburns, " + _MOUSTACHES),
            clash("trimmed, bushy", "stubble, soul patch, sideburns, " + _MOUSTACHES),
            clash("sparse", "soul patch, sideburns, van dyke, " + _MOUSTACHES),
            clash("long", "trimmed, sparse"),
            clash("short", "bushy, trimmed, sparse"),
        ),
    ),
    "eyebrows": Table(
        verb="with",
        noun="eyebrows",
        axes=(
            Axis("thickness", ("thick", "thin", "bushy")),
            Axis("grooming", ("feathered", "trimmed", "sparse"), optional=True),
            Axis("shape", ("arched", "straight", "angled", "rounded"), optional=True),
            Axis("spacing", ("close-set", "wide-set", "unibrow"), optional=True),
            Axis("colour", ("black", "brown", "blond", "red", "grey", "white")),
        ),
        nouns={"unibrow": "unibrow"},
        plural=frozenset({"eyebrows"}),
        clashes=(
            clash("bushy", "trimmed, sparse"),
            clash("thin", "feathered, unibrow"),
            clash("feathered, trimmed, sparse", "close-set, wide-set, unibrow"),
            clash("arched, straight, angled, rounded", "close-set, wide-set"),
            clash("angled, rounded", "unibrow"),
        ),
    ),
    "mouth": Table(
        verb="with",
        noun="lips",
        axes=(
            Axis("width", ("wide", "narrow"), optional=True),
            Axis("fullness", ("full", "thin"), optional=True),
            Axis(
                "shape",
                ("bow-shaped", "heart-shaped", "pouty", "downturned", "upturned"),
                optional=True,
            ),
            Axis("finish", ("glossy", "matte", "lined"), optional=True),
            Axis("colour", ("red", "pink", "pale", "brown", "plum", "coral"), optional=True),
        ),
        plural=frozenset({"lips"}),
        clashes=(
            clash("heart-shaped, pouty", "wide, narrow, full, thin"),
            clash("wide, narrow", "bow-shaped, downturned, upturned"),
            clash("glossy, matte, lined", "wide, narrow, bow-shaped, downturned, upturned"),
            clash("lined", "thin, pale"),
        ),
    ),
    "nose": Table(
        verb="with",
        noun="nose",
        axes=(
            Axis("length", ("long", "short"), optional=True),
            Axis("width", ("wide", "narrow"), optional=True),
            Axis("nostrils", ("flared", "pinched"), optional=True),
            Axis("bridge", ("straight", "humped", "hooked", "ski-slope"), optional=True),
            Axis("tip", ("bulbous", "pointed", "upturned", "drooping"), optional=True),
        ),
        clashes=(
            clash("hooked", "short, upturned, drooping, bulbous"),
            clash("humped", "upturned, drooping"),
            clash("ski-slope", "upturned, drooping, long"),
            clash("straight", "upturned"),
            clash("flared", "narrow, pointed"),
            clash("pinched", "wide, bulbous"),
        ),
    ),
}
