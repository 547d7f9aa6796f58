"""What an edited picture changed, moved onto the person's own puppet; everything else stays the person's."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from perse.dataset.labels import CATEGORY_LABEL
from perse.studio._view import View, at_pixels
from perse.studio.groups import Group, GroupT, SurfaceDiscs
from perse.studio.parts._shape import reshape
from perse.studio.puppet import PHOTO_CLOTHES, PHOTO_HAIR, Puppet, label_code

FEATHER = 2.0
"""Pixels over which the skin goes from the person's own colours to the edit's."""
WORN = ("hat", "headphones", "earrings")
ON_SKIN = ("beard", "eyebrows")
SHAPES = ("mouth", "nose")


def transplant(base: Puppet, edited: Puppet, mask: np.ndarray, category: str | None) -> Puppet:
    """A copy of ``base`` with what ``edited`` shows inside ``mask`` [S, S] (both lifted with the same head and camera).

    Skin takes the edit's colours; of everything else, the edit's Gaussians that the photo's camera sees inside the
    mask replace the person's. Hair and clothes are replaced whole when they are the category, for their back
    belongs to them.
    """
    result = base.copy()
    if category in SHAPES:
        _move_shape(result, edited, category)
    whole = {"hair": PHOTO_HAIR, "clothes": PHOTO_CLOTHES}.get(category or "", ())
    for name in dict.fromkeys([*base.groups, *edited.groups]):
        if name == "skin":
            continue
        own, new = base.groups.get(name), edited.groups.get(name)
        if name in whole:
            own = None
        else:
            own = None if own is None else own.select(~_inside(base, name, mask))
            new = None if new is None else new.select(_inside(edited, name, mask))
        result.remove(name)
        for group in (own, new):
            if group is not None and len(group):
                add_to(result, name, _named(group, name, category) if group is new else group)
    _recolour_skin(result, edited, mask, category)
    return result


def _move_shape(puppet: Puppet, edited: Puppet, category: str) -> None:
    """Give the nose or the mouth the shape that was fitted to the edited picture."""
    template = puppet.head.v_template
    if category == "nose":
        weight = puppet.regions.nose(template, soft=0.010)
    else:
        weight = torch.exp(-((puppet.regions.lip_distance(template) / 0.011) ** 2))
        weight = torch.maximum(weight, puppet.regions.lips(template))
    moved = (edited.rest_vertices() - puppet.rest_vertices()) * weight[:, None]
    reshape(puppet, moved.double().numpy())


def _pixels(puppet: Puppet, name: str) -> np.ndarray:
    """[N, 3] where the photo's camera sees a group's Gaussians: pixel x, y and depth."""
    portrait = puppet.portrait
    gaussians, _ = puppet.posed(portrait.expr, portrait.pose, [name])
    return View.of(portrait.camera).project(gaussians.means.double().numpy())


def _inside(puppet: Puppet, name: str, mask: np.ndarray) -> Tensor:
    """[N] bool: which Gaussians of a group the photo's camera sees inside the mask."""
    return torch.from_numpy(at_pixels(mask, _pixels(puppet, name)))


def _named(group: GroupT, name: str, category: str | None) -> GroupT:
    """Label what was imported: a hat in the picture is the category "hat", not part of the person."""
    if category not in WORN or name in (*PHOTO_HAIR, *PHOTO_CLOTHES):
        return group
    return replace(group, labels=torch.full_like(group.labels, label_code(category)))


def _recolour_skin(result: Puppet, edited: Puppet, mask: np.ndarray, category: str | None) -> None:
    skin, new = result.groups["skin"], edited.groups["skin"]
    assert isinstance(skin, SurfaceDiscs) and isinstance(new, SurfaceDiscs)  # noqa: PT018 both come from a lift
    if category == "clothes":
        skin = _with_torso_of(result, skin, new)
        result.add("skin", skin)
    near = same_place(result, skin, edited, new)
    soft = ndimage.gaussian_filter(mask.astype(float), FEATHER)
    pixels = _pixels(result, "skin")
    weight = torch.from_numpy(at_pixels(soft, pixels)).float()
    if category == "hair":  # the ground under either hair, seen or not
        hair = label_code("hair")
        weight = torch.where((skin.labels == hair) | (new.labels[near] == hair), torch.ones(()), weight)
    result.add("skin", blend_skin(skin, new, near, weight))
    if category in ON_SKIN:
        region = _region(result, category)
        changed = (new.colors[near] - skin.colors).abs().amax(1) > 0.05
        rows = (weight > 0.5) & changed & (region > 0.3)
        label(result, rows, category)


def _region(puppet: Puppet, category: str) -> Tensor:
    """[N] where a part on the skin may be, for the discs of the skin."""
    template = puppet.template_points(puppet.groups["skin"])  # type: ignore[arg-type]
    if category == "eyebrows":
        return puppet.regions.brows(template, soft=0.004, grow=0.008)
    return puppet.regions.beard(template)


def _with_torso_of(puppet: Puppet, skin: SurfaceDiscs, new: SurfaceDiscs) -> SurfaceDiscs:
    """The skin with neck and shoulders as bare as in another lift."""
    low = float(puppet.regions.chin[1]) - 0.004
    own = skin.select(puppet.template_points(skin)[:, 1] > low)
    return join(own, new.select(puppet.template_points(new)[:, 1] <= low))


def label(puppet: Puppet, rows: Tensor, category: str) -> None:
    """Give some discs of the skin a category's label."""
    skin = puppet.groups["skin"]
    code = torch.tensor(label_code(CATEGORY_LABEL[category]), dtype=torch.uint8)
    puppet.add("skin", replace(skin, labels=torch.where(rows, code, skin.labels)))


def blend_skin(skin: SurfaceDiscs, new: SurfaceDiscs, near: Tensor, weight: Tensor) -> SurfaceDiscs:
    """The skin with colours and labels of another skin's discs ``near`` [N], by ``weight`` [N]."""
    share = weight[:, None]
    closed = skin.closed_colors
    if closed is not None and new.closed_colors is not None:
        closed = closed.lerp(new.closed_colors[near], share)
    return replace(
        skin,
        colors=skin.colors.lerp(new.colors[near], share),
        closed_colors=closed,
        labels=torch.where(weight > 0.5, new.labels[near], skin.labels),
    )


def same_place(puppet: Puppet, skin: SurfaceDiscs, other: Puppet, new: SurfaceDiscs) -> Tensor:
    """[N] for every disc of a skin the disc of another skin nearest on the head."""
    places = other.template_points(new).numpy()
    return torch.from_numpy(cKDTree(places).query(puppet.template_points(skin).numpy())[1])


def add_to(puppet: Puppet, name: str, group: Group) -> None:
    """Add a group, joined to the one that has its name."""
    there = puppet.groups.get(name)
    if there is None:
        puppet.add(name, group)
    elif type(there) is type(group):
        puppet.add(name, join(there, group))
    else:
        puppet.add(f"{name} imported", group)


def join(first: GroupT, second: GroupT) -> GroupT:
    """One group of the rows of two; what only one of them has is left out."""
    values = {}
    for item in fields(first):
        a, b = getattr(first, item.name), getattr(second, item.name)
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            both = isinstance(a, Tensor) and isinstance(b, Tensor)
            values[item.name] = torch.cat([a, b]) if both else None
    shared = [name for name in first.extras if name in second.extras]
    values["extras"] = {name: torch.cat([first.extras[name], second.extras[name]]) for name in shared}  # type: ignore[assignment]
    return replace(first, **values)  # type: ignore[arg-type]
