"""The kinds of hats, and what their words change."""

from __future__ import annotations

from collections.abc import Sequence

from perse.studio.parts import _colours
from perse.studio.parts._hat_shape import HatParams

_BEANIE = HatParams(cuff=0.040, cuff_out=0.0032, slouch=0.0008)
_CAP = HatParams(
    front=0.034, back=0.006, slack=0.012, visor=0.072, panels=1, button=0.008, lean_front=0.003, felt=0.15
)
_FEDORA = HatParams(
    front=0.032, back=0.006, thickness=0.004, free=1, crown=0.094, square=4.5, taper=0.87, crease=0.026,
    pinch=0.36, band=0.020, brim=0.054, curl_front=-0.010, curl_sides=0.010,
)  # fmt: skip

KINDS: dict[str, HatParams] = {
    "beanie": _BEANIE,
    "bobble hat": _BEANIE.but(pompom=0.027, knit=1.0, cuff_out=0.005, thickness=0.0065),
    "baseball cap": _CAP,
    "trucker cap": _CAP.but(slack=0.022, emblem=0.024, mesh=1, lean_front=0.006, visor=0.066),
    "flat cap": HatParams(
        front=0.034, back=0.0, free=0.75, crown=0.082, square=2.6, bulge=0.13, lean_front=0.016, visor=0.034,
        felt=0.6, button=0.006, slouch=0.0006,
    ),
    "visor": HatParams(front=0.030, back=0.006, reach=0.24, visor=0.076, thickness=0.004, panels=0.4),
    "headband": HatParams(front=0.026, back=-0.002, reach=0.34, thickness=0.004, knit=0.8),
    "bucket hat": HatParams(
        front=0.030, back=-0.004, free=0.8, crown=0.094, square=5.0, taper=0.86, brim=0.050, droop=0.72, panels=0.6
    ),
    "fedora": _FEDORA,
    "cowboy hat": _FEDORA.but(
        crown=0.112, taper=0.84, crease=0.034, pinch=0.42, band=0.010, brim=0.082, curl_sides=0.044, curl_front=-0.016
    ),
    "bowler hat": _FEDORA.but(
        crown=0.108, square=2.5, taper=1.0, crease=0, pinch=0, band=0.018, brim=0.030, curl_front=0.002,
        curl_sides=0.014,
    ),
    "top hat": _FEDORA.but(
        crown=0.128, square=14, taper=1.04, crease=0, pinch=0, band=0.024, brim=0.040, curl_front=-0.004,
        curl_sides=0.016,
    ),
    "sun hat": HatParams(
        front=0.030, back=-0.004, free=0.8, crown=0.090, square=2.7, taper=0.95, band=0.018, brim=0.084, droop=0.24,
        wave=0.006, curl_front=-0.004,
    ),
    "beret": HatParams(
        front=0.034, back=0.004, free=0.8, crown=0.088, square=2.3, bulge=0.42, lean_left=0.030, lean_front=-0.006,
        slouch=0.0012, felt=0.8, thickness=0.004,
    ),
    "turban": HatParams(front=0.020, back=-0.030, free=0.4, crown=0.115, square=2.4, bulge=0.16, wraps=0.0065),
    "headscarf": HatParams(front=0.030, back=-0.062, thickness=0.0025, slack=0.003, slouch=0.0006, knot=0.085),
    "hard hat": HatParams(
        front=0.030, back=0.0, slack=0.022, thickness=0.012, ridge=0.0045, brim=0.014, visor=0.026, droop=0.35,
        plastic=1,
    ),
    "bicycle helmet": HatParams(
        front=0.034, back=-0.002, slack=0.020, thickness=0.018, vents=1, plastic=1, lean_front=0.004
    ),
    "crown": HatParams(
        front=0.042, back=0.026, free=1, crown=0.13, square=12, taper=1.12, reach=0.20, spikes=0.24, thickness=0.003,
        band=0.007, metal=1,
    ),
}  # fmt: skip

_MATERIALS: dict[str, dict[str, float]] = {
    "knitted": {"knit": 1.0, "thickness": 0.0065},
    "denim": {"denim": 1.0},
    "leather": {"leather": 1.0, "felt": 0.0},
    "straw": {"straw": 1.0, "felt": 0.0},
    "satin": {"satin": 1.0, "felt": 0.0},
}
_PATTERNS = {
    "striped": "stripes",
    "polka-dot": "dots",
    "plaid": "plaid",
    "floral": "floral",
    "logo": "emblem",
}


def params_from(adjectives: Sequence[str]) -> HatParams:
    """The hat of the words, e.g. ("blue", "knitted", "beanie")."""
    kind = next((word for word in adjectives if word in KINDS), "beanie")
    params = KINDS[kind]
    for word in adjectives:
        params = params.but(**_MATERIALS.get(word, {}))
        if word in _PATTERNS:
            params = params.but(**{_PATTERNS[word]: 0.020 if word == "logo" else 1.0})
    palette = _colours.METAL if kind == "crown" else _colours.CLOTH
    colour = palette[next((word for word in adjectives if word in palette), next(iter(palette)))]
    if "denim" in adjectives:
        colour = faded(colour)
    return _trimmed(kind, params.painted(colour), adjectives)


def faded(colour: _colours.RGB) -> _colours.RGB:
    """Dyed cotton after some washing."""
    grey = 0.34 * sum(colour) / 3 + 0.10
    red, green, blue = (0.45 * value + grey for value in colour)
    return red, green, blue


def _trimmed(kind: str, params: HatParams, adjectives: Sequence[str]) -> HatParams:
    """The second colour: a band darker or paler than the hat, a pattern that stands out, a red band on a crown."""
    dark = params.colour.mean() < 0.25
    if kind == "crown":
        return params.with_second(_colours.STONE["ruby"])
    if "straw" in adjectives:
        return params.with_second((0.16, 0.11, 0.09))
    if any(word in _PATTERNS for word in adjectives) or kind in ("trucker cap", "headscarf", "bobble hat"):
        return params.with_second(_colours.CLOTH["cream" if params.colour.mean() < 0.6 else "navy"])
    shade = 0.35 * params.colour + (0.10 if dark else 0.0)
    return params.with_second((float(shade[0]), float(shade[1]), float(shade[2])))
