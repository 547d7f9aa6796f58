"""What edits draw: one module a category, each with ``params_from(words)``, ``build`` and a params dataclass.

The entry is :func:`apply`. Parts change only the puppet they are given; copy it first.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from perse.dataset import Attribute
from perse.dataset.labels import CATEGORIES
from perse.errors import PerseError
from perse.studio.parts._params import Params
from perse.studio.puppet import PHOTO_WORN, Puppet

__all__ = ["ORDER", "Params", "absent", "apply", "apply_all", "build", "params_of"]

ORDER = ("nose", "mouth", "eyebrows", "beard", "clothes", "hair", "earrings", "headphones", "hat")
"""In which order several edits are made: what is worn comes after the hair it presses."""


def apply(puppet: Puppet, attribute: Attribute, seed: int, *, detail: float = 1.0) -> None:
    """Change a puppet as an attribute says.

    ``seed`` decides every random choice: the same seed gives the same Gaussians. ``detail`` scales the number
    of Gaussians (0.05 is enough to test with).

    Raises:
        PerseError: the category is unknown.
    """
    module = _module(attribute.category)
    _take_off(puppet, attribute.category)
    module.apply(puppet, attribute.adjectives, seed, detail)


def apply_all(puppet: Puppet, attributes: Iterable[Attribute], seed: int, *, detail: float = 1.0) -> None:
    """Make several edits in :data:`ORDER`, whatever order they are given in."""
    for attribute in sorted(attributes, key=lambda a: ORDER.index(a.category)):
        apply(puppet, attribute, seed, detail=detail)


def params_of(attribute: Attribute) -> Params:
    """The attribute as a point in its category's space of looks."""
    return _module(attribute.category).params_from(attribute.adjectives)


def absent(params: Params, category: str) -> Params | None:
    """The look without the part from which ``params`` grows, or None where the part cannot shrink to nothing."""
    make = getattr(_module(category), "absent", None)
    return None if make is None else make(params)


def build(puppet: Puppet, category: str, params: Any, seed: int, *, detail: float = 1.0) -> None:
    """Change a puppet as parameters say (a look between two attributes, for instance)."""
    module = _module(category)
    _take_off(puppet, category)
    module.build(puppet, params, seed, detail)


def _take_off(puppet: Puppet, category: str) -> None:
    """Remove what the photo shows worn where the edit goes: the hat for a hat or new hair, earrings for earrings."""
    puppet.remove(*PHOTO_WORN.get(category, ()))


def _module(category: str) -> ModuleType:
    if category not in CATEGORIES:
        raise PerseError(f'Unknown category "{category}". There are: {", ".join(CATEGORIES)}.')
    return importlib.import_module(f"perse.studio.parts.{category}")
