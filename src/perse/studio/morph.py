"""Between two looks: an exact walk through a part's parameters, and a cross-fade where a part has no beginning."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor

from perse.dataset import Attribute
from perse.errors import PerseError
from perse.studio import parts
from perse.studio.groups import Group
from perse.studio.puppet import Puppet

REPLACED = ("hair",)
"""Categories that grow and take the place of the photo's own."""
GONE = 0.6
"""Share of the way by which the photo's own is gone where the other grows: it would hide what grows inside it."""
LAYERS = 16
"""Gaussians of the photo's hair that cover a pixel, about."""


def morph(
    puppet: Puppet,
    first: Attribute | None,
    second: Attribute | None,
    weight: float,
    seed: int,
    *,
    detail: float = 1.0,
) -> Puppet:
    """A copy of the unedited puppet with the look a share ``weight`` of the way from ``first`` to ``second``.

    None is the person as lifted. Two attributes mix their parameters, so hair grows and colours run; from or to
    None, beards grow and noses swell likewise, hair grows while the photo's fades, and what is worn (or replaces
    another part of the photo) fades in.

    Raises:
        PerseError: no attribute, two of different categories, or a weight outside [0, 1].
    """
    _check(first, second, weight)
    looks = [None if attribute is None else parts.params_of(attribute) for attribute in (first, second)]
    category = next(a.category for a in (first, second) if a is not None)
    result = puppet.copy()
    ends = {0.0: looks[0], 1.0: looks[1]}
    if weight in ends:
        if ends[weight] is not None:
            parts.build(result, category, ends[weight], seed, detail=detail)
        return result
    a, b = looks
    if a is None or b is None:
        present = a if b is None else b
        assert present is not None
        nothing = parts.absent(present, category)
        share = weight if a is None else 1 - weight
        if nothing is None:
            parts.build(result, category, present, seed, detail=detail)
            return fade(puppet, result, share)
        parts.build(result, category, nothing.mix(present, share), seed, detail=detail)
        return fade(puppet, result, share, grown=True) if category in REPLACED else result
    parts.build(result, category, a.mix(b, weight), seed, detail=detail)
    return result


def _check(first: Attribute | None, second: Attribute | None, weight: float) -> None:
    if first is None and second is None:
        raise PerseError("a morph needs at least one attribute; both ends are the unedited person.")
    if first is not None and second is not None and first.category != second.category:
        raise PerseError(
            f'a morph stays in one category, but "{first.prompt}" is {first.category} '
            f'and "{second.prompt}" is {second.category}.'
        )
    if not 0 <= weight <= 1:
        raise PerseError(f"a morph's weight lies between 0 and 1, not {weight}.")


def fade(first: Puppet, second: Puppet, weight: float, grown: bool = False) -> Puppet:
    """A copy between two puppets of one person: shared groups blend their colours, others fade out or in.

    `grown`: what only the second has is as long as it should be by now, and solid.
    """
    result = second.copy()
    result.groups = {}
    result.deform(
        offsets=(first.offsets - second.offsets) * (1 - weight),
        betas=(first.betas - second.betas) * (1 - weight),
    )
    for name in dict.fromkeys([*first.groups, *second.groups]):
        a, b = first.groups.get(name), second.groups.get(name)
        if a is not None and b is not None and _alike(a, b):
            result.add(name, _blend(a, b, weight))
            continue
        if a is not None:
            before = _uncovered(a, weight) if grown else _thin(a, 1 - weight)
            result.add(name if b is None else f"{name} before", before)
        if b is not None:
            result.add(name, b if grown else _thin(b, weight))
    return result


def _alike(a: Group, b: Group) -> bool:
    """Whether two groups differ at most in colours, opacities and labels."""
    if a is b:
        return True
    if type(a) is not type(b) or len(a) != len(b):
        return False
    blended = ("colors", "closed_colors", "opacities", "labels", "lid", "extras")
    places = (item.name for item in fields(a) if item.name not in blended)
    return all(_same(getattr(a, name), getattr(b, name)) for name in places)


def _same(a: object, b: object) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b


def _blend(a: Group, b: Group, weight: float) -> Group:
    """Colours and opacities between two like groups; labels are those of the nearer one."""
    near = a if weight < 0.5 else b
    closed = None
    if a.closed_colors is not None and b.closed_colors is not None:
        closed = a.closed_colors.lerp(b.closed_colors, weight)
    return replace(
        near,
        colors=a.colors.lerp(b.colors, weight),
        opacities=a.opacities.lerp(b.opacities, weight),
        closed_colors=closed,
    )


def _thin(group: Group, share: float) -> Group:
    """The group ``share`` as solid; squared, for several Gaussians cover a pixel and their opacities add up."""
    return replace(group, opacities=group.opacities * share**2)


def _uncovered(group: Group, weight: float) -> Group:
    """The group on its way out, such that all its layers together cover a pixel evenly less until they are gone."""
    cover = max(0.0, 1 - weight / GONE)
    return replace(group, opacities=group.opacities * (1 - (1 - cover) ** (1 / LAYERS)))
