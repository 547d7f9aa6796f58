"""Parts of other people's photos, carried over in head-surface coordinates.

A point keeps its place relative to the skin nearest to it, so hair that sat on one head sits on another; sizes
follow the heads' sizes, and brightness the two photos' light.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from perse.errors import PerseError
from perse.studio._geometry import smoothstep
from perse.studio.groups import Group, Rooted, Skinned, SurfaceDiscs
from perse.studio.importing import same_head
from perse.studio.parts._shape import reshape
from perse.studio.parts._sitter import Sitter
from perse.studio.parts._worn import at_angle, reshape_hair, ring_profile
from perse.studio.parts.eyebrows import clean_photo_brows
from perse.studio.puppet import PHOTO_CLOTHES, PHOTO_HAIR, Puppet, label_code
from perse.studio.transplant import blend_skin, join, label, same_place

WORN_GROUPS = {
    "hat": ("worn_hat", "worn_hat_back"),
    "earrings": ("trinkets",),
    "headphones": ("worn_hat", "trinkets"),
}
"""What the lift calls things that are worn, by the category they may be."""
NEIGHBOURS = 24
"""Skin vertices that carry a point together."""
MIN_GAUSSIANS = 100
"""Fewer are crumbs of a segmentation, not a part."""


def carry(puppet: Puppet, donor: Puppet, category: str) -> Puppet:
    """A copy of a puppet with a part of another person's puppet.

    Raises:
        PerseError: the other photo does not show that part, or was fitted with another head.
    """
    same_head(puppet, donor)
    result = puppet.copy()
    if category == "hair":
        _hair(result, donor)
    elif category == "clothes":
        _clothes(result, donor)
    elif category in ("nose", "mouth"):
        _shape(result, donor, category)
    elif category in ("beard", "eyebrows"):
        _on_skin(result, donor, category)
    else:
        _worn(result, donor, category)
    return result


class _Way:
    """From one rest head to another."""

    def __init__(self, donor: Puppet, puppet: Puppet) -> None:
        skin = (puppet.head.vertex_part == 1).numpy()
        self.source = donor.rest_vertices().double().numpy()[skin]
        self.shift = puppet.rest_vertices().double().numpy()[skin] - self.source
        head = self.source[:, 1] > float(np.median(self.source[:, 1])) - 0.02
        target = self.source + self.shift
        self.scale = float(target[head].std(0).mean() / self.source[head].std(0).mean())
        self._tree = cKDTree(self.source)
        self.donor, self.puppet = donor, puppet

    def points(self, means: Tensor) -> Tensor:
        """Where points [N, 3] of the one head's surroundings lie on the other."""
        x = means.double().numpy()
        distance, near = self._tree.query(x, NEIGHBOURS)
        weight = 1 / (distance + 0.004) ** 2
        weight /= weight.sum(1, keepdims=True)
        away = x - (self.source[near] * weight[..., None]).sum(1)
        moved = x + (self.shift[near] * weight[..., None]).sum(1) + (self.scale - 1) * away
        return torch.from_numpy(moved).float()

    def colours(self, colours: Tensor, means: Tensor) -> Tensor:
        """Colours [N, 3] in the other photo's light.

        Half of the difference between the two skins, in brightness and hue, is taken for the light's: the rest
        is what the two people look like.
        """
        outwards = means - self.donor.rest_vertices().mean(0)
        outwards = outwards / outwards.norm(dim=1, keepdim=True).clamp_min(1e-9)
        light = self.puppet.light.shade(outwards) / self.donor.light.shade(outwards)
        tone = (self.puppet.light.skin / self.donor.light.skin.clamp_min(0.02)).sqrt()
        factor = (light[:, None] * tone).clamp(0.6, 1.6)
        return (colours * factor).clamp(0, 1)

    def group(self, group: Group) -> Group:
        """A group of the donor on the other head."""
        if isinstance(group, Rooted):
            at = self.donor.surface_points(group.face, group.bary)
            return replace(
                group,
                offsets=group.offsets * self.scale,
                scales=group.scales * self.scale,
                colors=self.colours(group.colors, at),
            )
        assert isinstance(group, Skinned)
        return replace(
            group,
            means=self.points(group.means),
            scales=group.scales * self.scale,
            colors=self.colours(group.colors, group.means),
        )


def _hair(puppet: Puppet, donor: Puppet) -> None:
    names = [name for name in PHOTO_HAIR if name in donor.groups and len(donor.groups[name])]
    if sum(len(donor.groups[name]) for name in names) < MIN_GAUSSIANS:
        raise PerseError(f"{donor.portrait.name}: the photo shows no hair to carry over.")
    way = _Way(donor, puppet)
    puppet.shave()
    for name in names:
        puppet.add(name, way.group(donor.groups[name]))
    skin, new = _skins(puppet, donor)
    near = same_place(puppet, skin, donor, new)
    ground = (new.labels[near] == label_code("hair")).float()  # the other's scalp has the colour of hair
    relit = replace(new, colors=way.colours(new.colors, donor.surface_points(new.face, new.bary)))
    puppet.add("skin", blend_skin(skin, replace(relit, closed_colors=None), near, ground))


def _clothes(puppet: Puppet, donor: Puppet) -> None:
    names = [name for name in PHOTO_CLOTHES if name in donor.groups and len(donor.groups[name])]
    if sum(len(donor.groups[name]) for name in names) < MIN_GAUSSIANS:
        raise PerseError(f"{donor.portrait.name}: the photo shows no clothes to carry over.")
    way = _Way(donor, puppet)
    puppet.remove(*PHOTO_CLOTHES)
    for name in names:
        puppet.add(name, way.group(donor.groups[name]))
    skin, new = _skins(puppet, donor)
    low = (
        float(puppet.regions.chin[1]) - 0.004
    )  # neck and shoulders are as bare as the other's, in the own skin
    tone = puppet.light.skin / donor.light.skin.clamp_min(0.02)
    torso = new.select(donor.template_points(new)[:, 1] <= low)
    torso = replace(
        torso,
        colors=(torso.colors * tone).clamp(0, 1),
        closed_colors=None if torso.closed_colors is None else (torso.closed_colors * tone).clamp(0, 1),
        extras={
            name: (value * tone).clamp(0, 1) if value.ndim == 2 and value.shape[1] == 3 else value
            for name, value in torso.extras.items()
        },
    )
    puppet.add("skin", join(skin.select(puppet.template_points(skin)[:, 1] > low), torso))


def _shape(puppet: Puppet, donor: Puppet, category: str) -> None:
    template = puppet.head.v_template
    if category == "nose":
        weight, wider = (puppet.regions.nose(template, soft=soft) for soft in (0.009, 0.026))
    else:
        distance = puppet.regions.lip_distance(template)
        weight, wider = (torch.exp(-((distance / reach) ** 2)) for reach in (0.010, 0.026))
        weight = torch.maximum(weight, puppet.regions.lips(template))
    share = weight.double().numpy()
    around = (wider.double().numpy() * (1 - share) ** 2)[
        :, None
    ]  # where the two faces are laid over each other
    own, other = puppet.rest_vertices().double().numpy(), donor.rest_vertices().double().numpy()
    middle_own, middle_other = ((v * around).sum(0) / around.sum() for v in (own, other))
    moved = _Way(donor, puppet).scale * (other - middle_other) + middle_own - own
    reshape(puppet, moved * share[:, None])
    if category == "mouth":
        skin, _ = _skins(puppet, donor)
        template = puppet.template_points(skin)
        on = puppet.regions.lips(template) * (skin.labels != label_code("mouth_interior"))
        puppet.add("skin", _as_on(puppet, donor, on))


def _on_skin(puppet: Puppet, donor: Puppet, category: str) -> None:
    """A beard or eyebrows as the other's skin shows them: what there is unlike plain skin, in the own light."""
    if category == "eyebrows":
        clean_photo_brows(puppet)
    skin, new = _skins(puppet, donor)
    template = puppet.template_points(skin)
    if category == "eyebrows":
        region = puppet.regions.brows(template, soft=0.004, grow=0.004)
    else:
        region = puppet.regions.beard(template)
    unlike = _unlike_skin(donor, new)
    near = same_place(puppet, skin, donor, new)
    weight = region * unlike[near]
    if float((weight > 0.5).sum()) < 0.06 * float((region > 0.5).sum()):
        raise PerseError(f"{donor.portrait.name}: the photo shows no {category} to carry over.")
    at = donor.surface_points(new.face, new.bary)
    relit = replace(new, colors=_Way(donor, puppet).colours(new.colors, at), closed_colors=None)
    labels = skin.labels
    puppet.add("skin", replace(blend_skin(skin, relit, near, weight), labels=labels))
    label(puppet, weight > 0.5, category)


def _unlike_skin(puppet: Puppet, skin: SurfaceDiscs) -> Tensor:
    """[N] 0..1 how surely hair covers the skin: its colour is far from the person's skin in that light.

    Skin in a shadow is darker and redder: it is left out. A neighbourhood of about 3 mm decides.
    """
    ratio = _of_skin(puppet, skin)
    far = (ratio.mean(1) - 1).abs() + 1.5 * (ratio - ratio.mean(1, keepdim=True)).abs().amax(1)
    shadow = smoothstep(_saturation(skin.colors) / _saturation(puppet.light.skin[None]), 1.10, 1.45)
    far = far * (1 - shadow * smoothstep(ratio.mean(1), 0.35, 0.50))  # hair may be as dark as it likes
    places = puppet.template_points(skin)
    rows = (skin.extras["known"] > 0.2) & (places[:, 1] < float(puppet.regions.landmarks[10, 1]))
    rows &= places[:, 1] > float(puppet.regions.chin[1]) - 0.03
    tree = cKDTree(places[rows].numpy())
    near = torch.from_numpy(tree.query(places[rows].numpy(), min(24, int(rows.sum())))[1])
    result = torch.zeros(len(skin))
    result[rows] = smoothstep(far[rows][near].mean(1), 0.20, 0.42)
    return result


def _saturation(colours: Tensor) -> Tensor:
    """[N] spread of the channels over the brightest."""
    return (colours.amax(1) - colours.amin(1)) / colours.amax(1).clamp_min(0.05)


def _of_skin(puppet: Puppet, skin: SurfaceDiscs) -> Tensor:
    """[N, 3] colours relative to the person's plain skin in the same light."""
    plain = puppet.light.skin * skin.extras["shade"][:, None]
    return skin.colors / plain.clamp_min(0.02)


def _as_on(puppet: Puppet, donor: Puppet, weight: Tensor) -> SurfaceDiscs:
    """The skin with what the donor's skin shows, by ``weight`` [N], in the own skin's tone and light."""
    skin, new = _skins(puppet, donor)
    near = same_place(puppet, skin, donor, new)
    plain = puppet.light.skin * skin.extras["shade"][:, None]
    colours = (_of_skin(donor, new)[near] * plain).clamp(0, 1)
    blend = weight[:, None]
    closed = None if skin.closed_colors is None else skin.closed_colors.lerp(colours, blend)
    return replace(skin, colors=skin.colors.lerp(colours, blend), closed_colors=closed)


def _worn(puppet: Puppet, donor: Puppet, category: str) -> None:
    names = [name for name in WORN_GROUPS[category] if name in donor.groups and len(donor.groups[name])]
    if sum(len(donor.groups[name]) for name in names) < MIN_GAUSSIANS:
        raise PerseError(f"{donor.portrait.name}: the photo shows no {category} to carry over.")
    way = _Way(donor, puppet)
    for name in names:
        group = way.group(donor.groups[name])
        labels = torch.full_like(group.labels, label_code(category))
        puppet.add(f"carried {name}", replace(group, labels=labels))
    if category == "hat":
        _press_hair(puppet, [f"carried {name}" for name in names])


def _press_hair(puppet: Puppet, names: list[str]) -> None:
    """Hair goes where a hat is: above its lower edge."""
    hat = np.concatenate([puppet.groups[name].means.double().numpy() for name in names])  # type: ignore[attr-defined]
    centre = Sitter(puppet).rest.mean(0) * [0, 0, 1]
    angles = np.arctan2(hat[:, 0], hat[:, 2] - centre[2])
    edge = ring_profile(angles, hat[:, 1], bins=72, quantile=0.03, missing=float(np.median(hat[:, 1])))

    def change(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        around = np.arctan2(means[:, 0], means[:, 2] - centre[2])
        return means, means[:, 1] < at_angle(edge, around) + 0.004

    reshape_hair(puppet, change)


def _skins(puppet: Puppet, donor: Puppet) -> tuple[SurfaceDiscs, SurfaceDiscs]:
    skin, new = puppet.groups["skin"], donor.groups["skin"]
    if not isinstance(skin, SurfaceDiscs) or not isinstance(new, SurfaceDiscs):
        raise TypeError('the group "skin" of a lifted puppet lies on the surface')
    return skin, new
