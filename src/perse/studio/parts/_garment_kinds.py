"""The kinds of garments as numbers, and what their words change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from perse.studio.parts import _colours
from perse.studio.parts._fabric import FabricParams
from perse.studio.parts._hat_kinds import faded
from perse.studio.parts._neckline import Edge


@dataclass(frozen=True)
class ClothesParams(FabricParams):
    """A garment as numbers; lengths in metres. What is 0 is not there; it grows from nothing in a mix."""

    front: float = -0.122
    """Height of the neckline in front, on the template."""
    back: float = -0.080
    """Height of the neckline behind."""
    vee: float = 0.0
    """How far the neckline goes down in front."""
    vee_width: float = 0.060
    """Half the width of that."""
    scoop: float = 0.0
    """0: a V; 1: a U."""
    straps: float = 0.0
    """1: shoulders bare beside straps."""
    strap_inner: float = 0.066
    strap_outer: float = 0.105
    thickness: float = 0.004
    """Outside the body."""
    folds: float = 0.0034
    """Height of the folds."""
    band: float = 0.0
    """Height of a ribbed band at the neckline."""
    hem: float = 0.0
    """Radius of a rolled hem."""
    turtle: float = 0.0
    """Height of a rolled collar up the neck."""
    hood: float = 0.0
    """Size of a hood."""
    leaves: float = 0.0
    """Size of a shirt's collar."""
    placket: float = 0.0
    """Length of a strip with buttons."""
    ruffle: float = 0.0
    """Height of a gathered flounce."""
    scarf: float = 0.0
    """Radius of a scarf's roll."""
    tie: float = 0.0
    """Length of a tie."""
    opening: float = 0.0
    """How far a second layer, in the main fabric, is open in front; the first layer is then plain."""
    opening_width: float = 0.062
    """Half the width of that at the neck."""
    lapel: float = 0.0
    """Width of the second layer's lapels."""
    notch: float = 0.0
    """Depth of the notch between collar and lapel."""
    stand: float = 0.0
    """Height of the second layer's collar at the back."""
    inner_red: float = 0.90
    inner_green: float = 0.90
    inner_blue: float = 0.89
    tie_red: float = 0.45
    tie_green: float = 0.06
    tie_blue: float = 0.09

    @property
    def edge(self) -> Edge:
        """Where the lowest layer ends."""
        return Edge(
            self.front, self.back, self.vee, self.vee_width, self.scoop, self.straps, self.strap_inner,
            self.strap_outer,
        )  # fmt: skip

    @property
    def over(self) -> Edge:
        """Where the second layer ends."""
        return Edge(self.front + 0.012, self.back + 0.002, self.opening, self.opening_width)

    @property
    def inner(self) -> FabricParams:
        """What is worn below a jacket or a scarf."""
        return FabricParams(red=self.inner_red, green=self.inner_green, blue=self.inner_blue)

    @property
    def ground(self) -> FabricParams:
        """What the lowest layer is made of: plain below a jacket or a scarf, else the main fabric."""
        own = FabricParams(**{item.name: getattr(self, item.name) for item in fields(FabricParams)})
        return own.mix(self.inner, min(max(self.opening / 0.05, self.scarf / 0.019), 1.0))

    @property
    def tie_fabric(self) -> FabricParams:
        """What the tie is made of."""
        return FabricParams(
            satin=0.7, stripes=0.8, red=self.tie_red, green=self.tie_green, blue=self.tie_blue,
            second_red=0.5 * self.tie_red + 0.30, second_green=0.5 * self.tie_green + 0.30,
            second_blue=0.5 * self.tie_blue + 0.30,
        )  # fmt: skip


_SHIRT = ClothesParams(front=-0.112, back=-0.074, thickness=0.003, folds=0.0043, leaves=1, placket=0.11)
_OPEN = ClothesParams(
    front=-0.120,
    back=-0.078,
    thickness=0.003,
    folds=0.0035,
    band=0.010,
    opening=0.12,
    lapel=0.046,
    stand=0.016,
)

KINDS: dict[str, ClothesParams] = {
    "crew-neck": ClothesParams(band=0.017, knit=0.55),
    "t-shirt": ClothesParams(front=-0.124, back=-0.084, thickness=0.003, band=0.012, folds=0.0043),
    "v-neck": ClothesParams(front=-0.106, back=-0.078, vee=0.034, vee_width=0.055, band=0.013, knit=0.55),
    "turtleneck": ClothesParams(front=-0.112, back=-0.072, turtle=0.036, thickness=0.0045, knit=0.4),
    "hoodie": ClothesParams(front=-0.120, back=-0.074, hood=1, thickness=0.006, folds=0.0054, felt=0.3),
    "shirt": _SHIRT,
    "dress shirt": _SHIRT.but(tie=0.13, placket=0.0),
    "blazer": _OPEN.but(notch=1, felt=0.25),
    "suit": _OPEN.but(front=-0.112, back=-0.074, band=0, leaves=0.8, tie=0.13, notch=1, lapel=0.042, felt=0.15),
    "cardigan": _OPEN.but(lapel=0.014, stand=0.004, knit=0.8, opening=0.10, folds=0.003),
    "denim jacket": _OPEN.but(denim=1, lapel=0.050, stand=0.018, opening=0.11, folds=0.003),
    "leather jacket": _OPEN.but(leather=1, lapel=0.054, notch=0.8, stand=0.018, opening=0.11, folds=0.0061),
    "tank top": ClothesParams(
        front=-0.108, back=-0.096, vee=0.034, vee_width=0.062, scoop=1, straps=1, hem=0.0022, thickness=0.0025
    ),
    "dress": ClothesParams(
        front=-0.108, back=-0.104, vee=0.030, vee_width=0.068, scoop=0.6, straps=1, strap_inner=0.072,
        strap_outer=0.088, hem=0.0018, thickness=0.0025, folds=0.003, satin=0.25,
    ),
    "off-shoulder": ClothesParams(front=-0.126, back=-0.126, ruffle=0.034, thickness=0.003, folds=0.003),
    "scarf": ClothesParams(band=0.017, scarf=0.019, knit=0.7),
}  # fmt: skip

_PATTERNS = {"striped": "stripes", "plaid": "plaid", "polka-dot": "dots", "floral": "floral"}


def params_from(adjectives: Sequence[str]) -> ClothesParams:
    """The garment of the words, e.g. ("red", "striped", "crew-neck")."""
    kind = next((word for word in adjectives if word in KINDS), "crew-neck")
    params = KINDS[kind]
    for word in adjectives:
        if word in _PATTERNS:
            params = params.but(**{_PATTERNS[word]: 1.0})
    colour = _colours.CLOTH[next((word for word in adjectives if word in _colours.CLOTH), "grey")]
    params = params.painted(faded(colour) if kind == "denim jacket" else colour)
    if kind == "scarf":
        under = _colours.CLOTH["navy" if params.colour.mean() > 0.35 else "cream"]
        params = params.but(inner_red=under[0], inner_green=under[1], inner_blue=under[2])
    second = _colours.CLOTH["cream" if params.colour.mean() < 0.6 else "navy"]
    params = params.with_second(second)
    if kind in ("denim jacket", "leather jacket", "cardigan") and params.colour.mean() > 0.75:
        params = params.but(inner_red=0.15, inner_green=0.17, inner_blue=0.22)
    if kind in ("dress shirt", "suit") and "red" in adjectives:
        params = params.but(tie_red=0.06, tie_green=0.09, tie_blue=0.24)
    return params
