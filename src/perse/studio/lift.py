"""Photo to puppet: the head's surface, eyes, mouth, hair and clothes of one portrait as posable Gaussians."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from perse.dataset import Portrait
from perse.head import Head, open_head, pose_transforms
from perse.studio._clothes import (
    beyond_outline,
    find_collar,
    lift_clothes,
    shows_skin,
    to_tensor,
    under_colors,
)
from perse.studio._eyes import closed_lids, color_eyes, lid_motion, rig_axes
from perse.studio._geometry import normalize, smoothstep, triangle_discs
from perse.studio._hair import hair_color, lift_hair
from perse.studio._image import Array, Photo, dilate, read_photo, sample
from perse.studio._image import smoothstep as np_smoothstep
from perse.studio._mouth import color_mouth, inner_faces, tooth_color
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
from perse.studio._teeth import place_teeth
from perse.studio._view import View
from perse.studio._warp import ear_offsets, landmark_offsets, neck_offsets
from perse.studio._worn import lift_worn
from perse.studio.groups import DISC_SPREAD, DISC_THICKNESS, Rooted, SurfaceDiscs
from perse.studio.puppet import EYE_LANDMARKS, FaceRig, Light, Puppet, label_code
from perse.studio.regions import Regions

OPACITY = 0.97
COAT = 0.0025
"""Metres between the skin and the cloth on it."""
SKIN_UNDER_COLLAR = 0.025
"""Metres of neck that go on under the collar, for when the head turns."""


@dataclass(frozen=True)
class _Scene:
    """What every step of the lift reads: the photo, its view, and the head as it is in the photo."""

    head: Head
    regions: Regions
    photo: Photo
    view: View
    vertices: Array  # [V, 3] in the photo's pose
    depth: Array  # [S, S] of its surface (nan: none)
    pose: PoseAtPhoto
    inner: Array  # [F] bool: skin inside the mouth


def lift(portrait: Portrait, head: Head | None = None) -> Puppet:
    """Make the puppet of a portrait (about six seconds of one core; the same portrait gives the same puppet).

    ``head`` must be the head the portrait was fitted with; the open head unless given.
    """
    head = open_head() if head is None else head
    regions = Regions.of(head)
    photo = read_photo(portrait)
    view = View.of(portrait.camera)
    offsets = _shape_offsets(head, regions, portrait, photo, view)
    inner = inner_faces(head, regions)
    offsets = offsets + place_teeth(head, portrait, offsets, inner, photo, view)
    rig = _face_rig(head, portrait, offsets)
    puppet = Puppet(head, portrait, Light(torch.zeros(9), torch.zeros(3)), rig, offsets=offsets)
    transforms, quats, _ = pose_transforms(puppet.joints(), portrait.pose)
    vertices = puppet.posed_vertices(portrait.expr, portrait.pose).double().numpy()
    _, depth = view.depth_map(vertices, head.faces.numpy())
    scene = _Scene(head, regions, photo, view, vertices, depth, PoseAtPhoto(transforms, quats), inner)
    trust = _add_surface(puppet, scene)
    light = puppet.light.sh.double().numpy()
    hair = lift_hair(photo, view, vertices, depth, head, regions, scene.pose, light)
    clothes = lift_clothes(photo, view, vertices, depth, head, regions, puppet.rest_vertices(), scene.pose)
    worn = lift_worn(photo, view, vertices, depth, head, regions, scene.pose)
    for name, group in (hair | clothes | worn).items():
        if len(group):
            puppet.add(name, group)
    for name in ("hair", "clothes", "eyewear", "worn_hat", "trinkets"):
        if name in puppet.groups:  # soft borders show the background through: leave their colours alone
            trust[name] = smoothstep(puppet.groups[name].opacities, 0.6, 0.95)
    if (
        "hair" in puppet.groups
    ):  # but where they show skin through, hair and skin together must make the photo's colour
        means = puppet.posed(portrait.expr, portrait.pose, ["hair"])[0].means.double().numpy()
        over_skin = sample(dilate(photo.skin, 5), view.project(means))
        trust["hair"] = torch.maximum(trust["hair"], to_tensor(np_smoothstep(over_skin, 0.1, 0.4)))
    for name in ("hair_edge", "hair_locks"):
        if name in puppet.groups:
            trust[name] = torch.full((len(puppet.groups[name]),), 0.7)
    refine(puppet, photo, trust)
    return puppet


def _shape_offsets(head: Head, regions: Regions, portrait: Portrait, photo: Photo, view: View) -> Tensor:
    """[V, 3] what the head's shape basis leaves between landmarks, neck and the photo."""
    offsets = torch.zeros_like(head.v_template)

    def posed() -> Array:
        vertices = head.vertices(portrait.betas, portrait.expr, portrait.pose, offsets)
        return vertices.double().numpy()

    for _ in range(2):
        offsets = offsets + to_tensor(landmark_offsets(head, posed(), photo, view))
    offsets = offsets + to_tensor(ear_offsets(head, regions, posed(), photo, view))
    return offsets + to_tensor(neck_offsets(head, regions, posed(), photo, view))


def _face_rig(head: Head, portrait: Portrait, offsets: Tensor) -> FaceRig:
    """How far the lids are open in the photo, but no less than 0.6 of what they are at rest."""
    at_rest = head.landmarks(head.rest_vertices(portrait.betas, offsets))
    at_photo = head.landmarks(head.vertices(portrait.betas, portrait.expr, portrait.pose, offsets))

    def gap(points: Tensor, pair: tuple[int, int]) -> Tensor:
        return (points[pair[0]] - points[pair[1]]).norm()

    return FaceRig(
        torch.stack([torch.maximum(gap(at_photo, pair), 0.6 * gap(at_rest, pair)) for pair in EYE_LANDMARKS])
    )


def _add_surface(puppet: Puppet, scene: _Scene) -> dict[str, Tensor]:
    """Colour the head's surface and add it as "skin" and "clothes_under"; how far each disc may be refined."""
    head, regions, photo, view = scene.head, scene.regions, scene.photo, scene.view
    surface = cut_surface(head, regions, scene.vertices, scene.depth, view, scene.inner)
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
    seen = seen_in_photo(surface, photo, skin, regions)
    hair = hair_color(photo, skin.reference * 0.4)
    template = torch.from_numpy(surface.template).float()
    scalp = regions.scalp(template).numpy()
    colors, coat = bald, np.zeros(len(surface))
    if (photo.hair > 0.5).any():
        shown = bald + seen[:, None] * (skin.observed - bald)
        colors, coat = undercoat(shown, surface, photo, scalp, seen, skin.confidence, skin.shade, hair, rng)
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
    bare = 1 - np_smoothstep(sample(photo.hair, surface.pixels), 0.1, 0.4)
    free = np.maximum(np.clip(np.maximum(known, seen), 0, 1) * bare, _beside_hair(surface, photo))
    return _split_at_collar(puppet, scene, surface, discs, to_tensor(free))


def _beside_hair(surface: Surface, photo: Photo) -> Array:
    """[N] how much the photo shows skin beside the hair or through its soft border.

    In its shade, at a slant or mixed: too little to trust the colour, but enough to be made right from the front.
    """
    hair, skin = sample(photo.hair, surface.pixels), sample(photo.skin, surface.pixels)
    near = np_smoothstep(sample(dilate(photo.hair, 31), surface.pixels), 0.1, 0.4)
    shown = near * np_smoothstep(skin, 0.15, 0.35) * (1 - np_smoothstep(hair, 0.45, 0.75))
    return 0.8 * shown * np_smoothstep(surface.facing, 0.1, 0.35) * surface.visible * surface.body


def _split_at_collar(
    puppet: Puppet, scene: _Scene, surface: Surface, discs: SurfaceDiscs, free: Tensor
) -> dict[str, Tensor]:
    """Skin above the collar stays skin; what is below it becomes the body under the clothes."""
    collar = find_collar(surface, scene.photo, scene.view, scene.regions)
    above = surface.template[:, 1] - collar.height(surface.template)
    torso = surface.body & (surface.template[:, 1] < float(scene.regions.chin[1]) - 0.004)
    bare = ~torso | (above > -SKIN_UNDER_COLLAR)
    bare &= ~(torso & beyond_outline(surface, scene.photo))
    puppet.add("skin", _shade_collar(discs, to_tensor(above)).select(torch.from_numpy(bare)))
    rows = np.flatnonzero(torso & (above < -0.002) & ~shows_skin(surface, scene.photo))
    if len(rows):
        puppet.add("clothes_under", _under_clothes(puppet, scene, surface, discs, rows))
    free = free * (to_tensor(above) > 0.002)
    return {"skin": free[torch.from_numpy(bare)]}


def _shade_collar(discs: SurfaceDiscs, above: Tensor) -> SurfaceDiscs:
    """Let the skin darken towards and under the collar, ``above`` [N] metres over it: the cloth's shadow."""
    shade = (0.35 + 0.65 * smoothstep(above, -0.006, 0.003))[:, None]
    extras = discs.extras | {name: discs.extras[name] * shade for name in ("bald", "clean")}
    assert discs.closed_colors is not None
    return replace(
        discs, colors=discs.colors * shade, closed_colors=discs.closed_colors * shade, extras=extras
    )


def _under_clothes(
    puppet: Puppet, scene: _Scene, surface: Surface, discs: SurfaceDiscs, rows: Array
) -> Rooted:
    """The body below the collar as a coat of cloth a little off the skin."""
    colors, opacities = under_colors(surface, rows, scene.photo)
    rows, colors = rows[opacities > 0.05], colors[opacities > 0.05]
    index = torch.from_numpy(rows)
    face, bary, k = discs.face[index], discs.bary[index], discs.k[index]
    quats, sigmas = triangle_discs(puppet.rest_vertices(), puppet.faces)
    in_plane = sigmas[face] * (DISC_SPREAD / k)[:, None]
    means = puppet.surface_points(face, bary) + COAT * normalize(puppet.surface_normals(face, bary))
    return puppet.root(
        face,
        bary,
        means,
        quats[face],
        torch.cat([in_plane, torch.full_like(in_plane[:, :1], DISC_THICKNESS)], dim=1),
        opacities=torch.full((len(rows),), OPACITY),
        colors=to_tensor(colors).clamp(0, 1),
        labels=torch.full((len(rows),), label_code("clothes"), dtype=torch.uint8),
    )


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
