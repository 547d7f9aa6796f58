"""Clothes: one or two layers of cloth over the bust take the place of the photo's; a collar says what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perse.studio.parts._collars import Tailor, band, binding, hood, leaves, placket, ruffle, scarf, turtle
from perse.studio.parts._garment import Cloth, bare_skin, drape, take_off, weights_near
from perse.studio.parts._garment_kinds import ClothesParams, params_from
from perse.studio.parts._jackets import lapels, tie
from perse.studio.parts._shade import shade_skin
from perse.studio.parts._sitter import Sitter
from perse.studio.parts._surface import Sheet, density_of, lit, named
from perse.studio.puppet import Puppet

__all__ = ["ClothesParams", "apply", "build", "params_from"]

GROUP = "garment"
COLLAR = "garment_collar"


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Put on the garment that the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: ClothesParams, seed: int, detail: float = 1.0) -> None:
    """Put on a garment instead of the photo's clothes; ``detail`` scales the number of discs."""
    sitter = Sitter(puppet)
    covered = take_off(sitter)
    puppet.remove(COLLAR)
    bare_skin(sitter, covered, params.edge)
    opened = params.opening > 0.001
    cloth = Cloth(
        fabric=params.ground,
        thickness=params.thickness,
        folds=params.folds,
        over=params.over if opened else None,
        over_fabric=params if opened else None,
    )
    puppet.add(GROUP, drape(sitter, params.edge, cloth, seed, detail))
    sheets = _collars(sitter, params, seed, detail)
    if sheets:
        collar = lit(sitter, sheets, "clothes", lambda points: weights_near(sitter, points))
        puppet.add(COLLAR, collar)
        shade_skin(sitter, density_of(collar), strength=0.12, darkest=0.7)


def _collars(sitter: Sitter, params: ClothesParams, seed: int, detail: float) -> list[Sheet]:
    """Everything at the neckline and on the chest that has a size."""
    opened = params.opening > 0.001
    below = Tailor(sitter, params.ground, params.edge, params.thickness, seed, detail)
    above = Tailor(sitter, params, params.over, params.thickness + 0.0035, seed, detail) if opened else below
    sheets: list[Sheet] = []
    if params.band > 0.001:
        sheets += named("band", band(below, params.band))
    if params.hem > 0.0003:
        sheets += named("binding", binding(below, params.hem))
    if params.turtle > 0.002:
        sheets += named("turtle", turtle(below, params.turtle))
    if params.leaves > 0.05:
        sheets += named("leaves", leaves(below, params.leaves))
    if params.placket > 0.005:
        sheets += named("placket", placket(below, params.placket))
    if params.tie > 0.03:
        sheets += named("tie", tie(below, params.tie_fabric, params.tie))
    if params.hood > 0.05:
        sheets += named("hood", hood(below, params.hood))
    if params.ruffle > 0.002:
        sheets += named("ruffle", ruffle(below, params.ruffle))
    if params.lapel > 0.002:
        lapel = lapels(above, params.lapel, params.notch, params.stand, 0.006 * params.leaves)
        sheets += named("lapels", lapel)
    if params.scarf > 0.002:
        sheets += named("scarf", scarf(replace(below, fabric=params), params.scarf))
    return sheets
