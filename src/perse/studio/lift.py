"""Photo to puppet: the head's surface, eyes, mouth, hair and clothes of one portrait as posable Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perse.dataset import Portrait
from perse.head import Head, open_head, pose_transforms
from perse.studio._clothes import find_collar, lift_clothes, to_tensor, under_colors
from perse.studio._eyes import closed_lids, color_eyes, lid_motion, rig_axes
from perse.studio._hair import hair_color, lift_hair
from perse.studio._image import Array, Photo, read_photo
from perse.studio._mouth import color_mouth, inner_faces, teeth_drop, tooth_color
from perse.studio._refine import refine
from perse.studio._relief import PoseAtPhoto
from perse.studio._skin import (
    LEFT_EYE,
    LOWER_TEETH,
    RIGHT_EYE,
    TONGUE,
    UPPER_TEETH,
    SkinColors,
    Surface,
    color_skin,
    cut_surface,
    lit,
    seen_in_photo,
    undercoat,
)
from perse.studio._view import View
from perse.studio.groups import SurfaceDiscs
from perse.studio.puppet import EYE_LANDMARKS, LIP_LANDMARKS, FaceRig, Light, Puppet, label_code
from perse.studio.regions import Regions

OPACITY = 0.97


@dataclass(frozen=True)
class _Scene:
    """What every step of the lift reads: the photo, its view, and the head as it is in the photo."""

    head: Head
    regions: Regions
    photo: Photo
    view: View
    vertices: Array  # [V, 3] in the photo's pose
    pose: PoseAtPhoto


def lift(portrait: Portrait, head: Head | None = None) -> Puppet:
    """Make the puppet of a portrait (about six seconds of one core; the same portrait gives the same puppet).

    ``head`` must be the head the portrait was fitted with; the open head unless given.
    """
    head = open_head() if head is None else head
    regions = Regions.of(head)
    photo = read_photo(portrait)
    view = View.of(portrait.camera)
    drop = teeth_drop(head, portrait.betas, portrait.expr, portrait.pose, photo, view)
    rig = _face_rig(head, portrait, drop)
    puppet = Puppet(head, portrait, Light(torch.zeros(9), torch.zeros(3)), rig)
    transforms, quats, _ = pose_transforms(puppet.joints(), portrait.pose)
    vertices = puppet.posed_vertices(portrait.expr, portrait.pose).double().numpy()
    scene = _Scene(head, regions, photo, view, vertices, PoseAtPhoto(transforms, quats))
    trust = _add_surface(puppet, scene)
    for name, group in lift_hair(photo, view, vertices, head, regions, scene.pose).items():
        puppet.add(name, group)
    clothes = lift_clothes(photo, view, vertices, head, regions, puppet.rest_vertices(), scene.pose)
    for name, group in clothes.items():
        puppet.add(name, group)
    trust |= {
        name: torch.ones(len(puppet.groups[name])) for name in ("hair", "clothes") if name in puppet.groups
    }
    refine(puppet, photo, trust)
    return puppet


def _face_rig(head: Head, portrait: Portrait, drop: Tensor) -> FaceRig:
    """Openings of lids and lips in the photo and at rest."""
    at_rest = head.landmarks(head.rest_vertices(portrait.betas))
    at_photo = head.landmarks(head.vertices(betas=portrait.betas, expr=portrait.expr, pose=portrait.pose))

    def gap(points: Tensor, pair: tuple[int, int]) -> Tensor:
        return (points[pair[0]] - points[pair[1]]).norm()

    rest_lips, photo_lips = gap(at_rest, LIP_LANDMARKS) * 0.95, gap(at_photo, LIP_LANDMARKS)
    lids = torch.stack(
        [torch.maximum(gap(at_photo, pair), 0.6 * gap(at_rest, pair)) for pair in EYE_LANDMARKS]
    )
    return FaceRig(lids, torch.stack([rest_lips, torch.maximum(photo_lips, rest_lips + 1e-3)]), drop)


def _add_surface(puppet: Puppet, scene: _Scene) -> dict[str, Tensor]:
    """Colour the head's surface and add it as "skin" and "clothes_under"; how far each disc may be refined."""
    head, regions, photo, view = scene.head, scene.regions, scene.photo, scene.view
    _, depth = view.depth_map(scene.vertices, head.faces.numpy())
    inner = inner_faces(head, regions)
    surface = cut_surface(head, regions, scene.vertices, depth, view, inner)
    lid = lid_motion(head, surface)
    skin = color_skin(surface, photo, regions, lid.max(1))
    puppet.light = Light(to_tensor(skin.light), to_tensor(skin.reference))
    rng = np.random.default_rng(0)
    bald = lit(skin, skin.albedo, surface, rng)
    tooth = tooth_color(photo, puppet.light.exposure)
    bald = color_mouth(bald, surface, photo, regions, tooth, puppet.light.exposure)
    bald = color_eyes(bald, surface, photo, scene.vertices, head, view, rig_axes(scene.pose.quats))
    clean = bald.copy()
    clean[skin.rows] = np.clip(skin.clean * skin.shade[skin.rows, None], 0, 1)
    closed = closed_lids(bald, skin, surface, lid, head)
    seen = seen_in_photo(surface, photo, skin)
    hair = hair_color(photo, skin.reference * 0.4)
    template = torch.from_numpy(surface.template).float()
    scalp = regions.scalp(template).numpy()
    colors, coat = bald, np.zeros(len(surface))
    if (photo.hair > 0.5).any():
        shown = bald + seen[:, None] * (skin.observed - bald)
        colors, coat = undercoat(shown, surface, scalp, seen, skin.confidence, skin.shade, hair, rng)
    puppet.palette = _palette(skin, surface, regions, hair, tooth, template)
    known = _known(surface, skin.confidence)
    discs = SurfaceDiscs(
        face=torch.from_numpy(surface.face),
        bary=to_tensor(surface.bary),
        k=to_tensor(surface.cuts),
        opacities=torch.full((len(surface),), OPACITY),
        colors=to_tensor(colors).clamp(0, 1),
        labels=_labels(surface, regions, template, coat),
        closed_colors=to_tensor(closed),
        lid=to_tensor(lid),
        extras={
            "bald": to_tensor(bald),
            "clean": to_tensor(clean),
            "scalp": to_tensor(scalp * surface.body),
            "known": to_tensor(known),
            "shade": to_tensor(skin.shade),
            "inner": to_tensor(surface.inner),
        },
    )
    free = to_tensor(np.clip(np.maximum(known, seen), 0, 1))
    return _split_at_collar(puppet, scene, surface, discs, free)


def _split_at_collar(
    puppet: Puppet, scene: _Scene, surface: Surface, discs: SurfaceDiscs, free: Tensor
) -> dict[str, Tensor]:
    """Skin above the collar stays skin; what is below it becomes the body under the clothes."""
    collar = find_collar(surface, scene.photo, scene.view, scene.regions)
    above = surface.template[:, 1] - collar.height(surface.template)
    torso = surface.body & (surface.template[:, 1] < float(scene.regions.chin[1]) - 0.004)
    bare = ~torso | (above > -0.006)
    puppet.add("skin", discs.select(torch.from_numpy(bare)))
    rows = np.flatnonzero(torso & (above < 0.001))
    if len(rows):
        colors, opacities = under_colors(surface, rows, scene.photo, scene.view)
        index = torch.from_numpy(rows)
        puppet.add(
            "clothes_under",
            SurfaceDiscs(
                face=discs.face[index],
                bary=discs.bary[index],
                k=discs.k[index],
                opacities=to_tensor(opacities),
                colors=to_tensor(colors).clamp(0, 1),
                labels=torch.full((len(rows),), label_code("clothes"), dtype=torch.uint8),
            ).select(to_tensor(opacities) > 0.05),
        )
    return {"skin": free[torch.from_numpy(bare)]}


def _known(surface: Surface, confidence: Array) -> Array:
    """[N] how much the photo says about a disc, eyes and upper teeth included."""
    others = np.isin(surface.part, (LEFT_EYE, RIGHT_EYE, UPPER_TEETH))
    return np.maximum(confidence, surface.visible & others)


def _labels(surface: Surface, regions: Regions, template: Tensor, coat: Array) -> Tensor:
    """[N] uint8 part labels of the head's surface."""
    labels = torch.full((len(surface),), label_code("skin"), dtype=torch.uint8)
    body = torch.from_numpy(surface.body)
    for name, mask in (
        ("nose", regions.nose(template)),
        ("lips", regions.lips(template)),
        ("eyebrows", regions.brows(template)),
        ("hair", to_tensor(coat)),
    ):
        labels[body & (mask > 0.5)] = label_code(name)
    part = torch.from_numpy(surface.part)
    inside = (
        torch.from_numpy(surface.inner) | (part == UPPER_TEETH) | (part == LOWER_TEETH) | (part == TONGUE)
    )
    labels[inside] = label_code("mouth_interior")
    labels[(part == LEFT_EYE) | (part == RIGHT_EYE)] = label_code("eyes")
    return labels


def _palette(
    skin: SkinColors, surface: Surface, regions: Regions, hair: Array, tooth: Array, template: Tensor
) -> dict[str, Tensor]:
    """Colours [3] of the person's parts as the photo shows them."""

    def median(mask: Tensor, low: float) -> Array:
        rows = (mask.numpy() > 0.6) & surface.visible & surface.body
        if rows.sum() < 50:
            return skin.reference
        colors = skin.observed[rows]
        luma = colors @ np.array([0.3, 0.59, 0.11])
        return np.median(colors[luma <= np.quantile(luma, low)], 0)

    return {
        "skin": to_tensor(skin.reference),
        "hair": to_tensor(hair),
        "brows": to_tensor(median(regions.brows(template), 0.35)),
        "lips": to_tensor(median(regions.lips(template), 1.0)),
        "teeth": to_tensor(tooth),
    }
