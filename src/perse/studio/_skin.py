"""The head's surface: cut into discs, coloured by the photo where it is seen, completed where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree

from perse.head import PARTS, Head, vertex_normals
from perse.studio._geometry import subdivision
from perse.studio._image import Array, Photo, dilate, erode, sample, smoothstep
from perse.studio._light import SurfaceGraph, fit_light, harmonics
from perse.studio._view import View, at_pixels, visible
from perse.studio.regions import Regions

SKIN, LEFT_EYE, RIGHT_EYE, UPPER_TEETH, LOWER_TEETH, TONGUE, LASHES = range(1, len(PARTS))
MAX_CUTS = 14
PRIOR_WEIGHT = 1e-3
"""How fast the completed colour returns to the median skin, away from what was seen (about 3 cm)."""


@dataclass(frozen=True)
class Surface:
    """Every disc of the head's surface in the photo's pose."""

    face: Array  # [N]
    bary: Array  # [N, 3]
    cuts: Array  # [N]
    template: Array  # [N, 3] on the template head
    points: Array  # [N, 3] in the photo's pose
    normals: Array  # [N, 3]
    pixels: Array  # [N, 3] x, y, depth
    facing: Array  # [N] cosine between normal and the way to the camera
    visible: Array  # [N] bool
    behind_edge: Array  # [N] bool: right behind something nearer, whose colour bleeds into its pixel
    part: Array  # [N] codes of perse.head.PARTS
    inner: Array  # [N] bool: skin inside the mouth

    @cached_property
    def body(self) -> Array:
        """[N] bool: outer skin."""
        return (self.part == SKIN) & ~self.inner

    def __len__(self) -> int:
        return len(self.face)


def cut_surface(
    head: Head, regions: Regions, vertices: Array, depth: Array, view: View, inner_faces: Array
) -> Surface:
    """Cut the triangles into k^2 pieces each, about 1.6 pixels on the face, 3.6 behind it.

    vertices [V, 3] in the photo's pose, its depth map [H, W], inner_faces [F] bool.
    """
    faces, face_part = head.faces.numpy(), head.face_part.numpy()
    template = head.v_template.numpy().astype(np.float64)
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    pixel = view.metres_per_pixel(float(view.project(vertices)[:, 2].mean()))
    piece = pixel * _piece_size(template[faces].mean(1), face_part, inner_faces)
    cuts = np.clip(np.ceil(np.sqrt(area) / piece), 1, MAX_CUTS).astype(int)
    face, bary, count = _pieces(cuts, face_part != LASHES)
    corner = faces[face]
    points = (vertices[corner] * bary[..., None]).sum(1)
    normals = vertex_normals(torch.from_numpy(vertices), head.faces).numpy()
    normals = (normals[corner] * bary[..., None]).sum(1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    local = view.camera_space(points)
    facing = -((normals @ view.rotation.T) * local).sum(1) / np.linalg.norm(local, axis=1)
    pixels = view.project(points)
    return Surface(
        face=face,
        bary=bary,
        cuts=count,
        template=(template[corner] * bary[..., None]).sum(1),
        points=points,
        normals=normals,
        pixels=pixels,
        facing=facing,
        visible=visible(pixels, depth, view),
        behind_edge=~visible(pixels, depth, view, 0.002 + 4 * pixel * _slope(facing), reach=7),
        part=face_part[face],
        inner=inner_faces[face],
    )


def _slope(facing: Array) -> Array:
    """[N] how much deeper a surface gets for each unit across the picture, for its cosine to the camera."""
    cosine = np.clip(facing, 0.1, 1)
    return np.sqrt(1 - cosine**2) / cosine


def _piece_size(centre: Array, face_part: Array, inner_faces: Array) -> Array:
    """Size in pixels of the pieces of each triangle."""
    front = smoothstep(centre[:, 2], 0.0, 0.05) * smoothstep(centre[:, 1], -0.09, -0.06)
    torso = 1 - smoothstep(centre[:, 1], -0.15, -0.10)
    size = 3.6 - 2.0 * front + 2.0 * torso
    eyes = (face_part == LEFT_EYE) | (face_part == RIGHT_EYE)
    size[eyes] = np.where(centre[eyes, 2] > centre[eyes, 2].mean(), 1.2, 4.0)  # the back is never seen
    size[(face_part >= UPPER_TEETH) & (face_part <= TONGUE)] = 1.8
    size[inner_faces] = 3.0
    return size


def _pieces(cuts: Array, keep: Array) -> tuple[Array, Array, Array]:
    """All pieces of the kept triangles: face [N], bary [N, 3], cuts [N]."""
    face, bary, count = [], [], []
    for k in np.unique(cuts[keep]):
        chosen = np.flatnonzero(keep & (cuts == k))
        centres = subdivision(int(k)).double().numpy()
        face.append(np.repeat(chosen, len(centres)))
        bary.append(np.tile(centres, (len(chosen), 1)))
        count.append(np.full(len(chosen) * len(centres), k))
    return np.concatenate(face), np.concatenate(bary), np.concatenate(count)


@dataclass
class SkinColors:
    """What is known about the colour of every disc of a :class:`Surface`."""

    observed: Array  # [N, 3] the photo at the disc
    confidence: Array  # [N] how sure it is that the photo shows skin there
    light: Array  # [9]
    shade: Array  # [N]
    reference: Array  # [3] median colour of the confident skin
    albedo: Array  # [B, 3] completed albedo of the outer skin (rows of `rows`)
    clean: Array  # [B, 3] the same without brows, lashes and lid creases
    rows: Array  # [B] indices of the outer skin
    trust: Array  # [B] the confidence, falling off smoothly towards its borders


def color_skin(surface: Surface, photo: Photo, regions: Regions, lid: Array) -> SkinColors:
    """Photo colours, their confidence, the light, and the completed albedo. ``lid`` [N]: how much a lid moves."""
    observed = sample(photo.image, surface.pixels).astype(np.float64)
    confidence = _confidence(surface, photo, observed, regions)
    sure = confidence > 0.7
    if sure.sum() < 200:  # a face all in hair or shadow: take what there is
        sure = confidence >= np.quantile(confidence[surface.body], 0.9)
    light = fit_light(surface.normals[sure], observed[sure])
    shade = np.clip(harmonics(surface.normals) @ light, 0.4, 1.25)
    rows = np.flatnonzero(surface.body)
    albedo = (observed / shade[:, None])[rows]
    prior = np.median((observed / shade[:, None])[sure], 0)
    graph = SurfaceGraph(surface.template[rows])
    target, weight = _mirrored(surface.template[rows], albedo, confidence[rows], graph)
    filled = graph.fill(target, weight, prior, PRIOR_WEIGHT)
    clean_weight = _without_brows(surface.template[rows], target, weight, lid[rows], prior, regions)
    clean = graph.fill(target, clean_weight, prior, PRIOR_WEIGHT)
    return SkinColors(
        observed=observed,
        confidence=confidence,
        light=light,
        shade=shade,
        reference=np.median(observed[sure], 0),
        albedo=filled,
        clean=clean,
        rows=rows,
        trust=graph.inner(confidence[rows]),
    )


def _confidence(surface: Surface, photo: Photo, observed: Array, regions: Regions) -> Array:
    """0..1: visible, well inside the skin, away from hair and clothes, facing the camera, of skin's hue."""
    no_hair = 1 - np.clip(dilate(photo.hair, 13) * 1.5, 0, 1)
    no_clothes = 1 - np.clip(dilate(photo.clothes, 9) * 1.5, 0, 1)
    inside = np.minimum(erode(photo.skin, 5), np.minimum(no_hair, no_clothes))
    inside = np.minimum(inside, 1 - dilate(photo.worn, 7))  # and the shadow that glasses throw
    inside = sample(inside, surface.pixels) * sample(erode(photo.foreground > 0.9, 5), surface.pixels)
    weight = (surface.visible & surface.body) * smoothstep(inside, 0.55, 0.85)
    weight = weight * smoothstep(surface.facing, 0.15, 0.4) * (1 - _foreign(surface, photo))
    if not (weight > 0.7).any():
        return weight
    reference = np.median(observed[weight > 0.7], 0)
    hue = observed / (observed.sum(1, keepdims=True) + 0.05)
    strange = np.linalg.norm(hue - reference / (reference.sum() + 0.05), axis=1)
    weight = weight * (1 - _hair_shadow(surface, photo, observed, reference, regions))
    below_chin = surface.template[:, 1] < float(regions.chin[1]) + 0.012
    return weight * np.where(below_chin, 1 - smoothstep(strange, 0.045, 0.08), 1)


def _foreign(surface: Surface, photo: Photo) -> Array:
    """[N] 1 where a pixel shows something before the skin (a contour, teeth) or, at a slant, a bright speck."""
    teeth = sample(dilate(photo.mouth, 5), surface.pixels)
    luma = photo.image @ np.array([0.3, 0.59, 0.11], np.float32)
    speck = dilate(smoothstep(luma - ndimage.grey_opening(luma, 11), 0.06, 0.12), 3)
    teeth = np.maximum(teeth, surface.behind_edge)
    return np.maximum(teeth, sample(speck, surface.pixels) * (1 - smoothstep(surface.facing, 0.55, 0.75)))


def _hair_shadow(
    surface: Surface, photo: Photo, observed: Array, reference: Array, regions: Regions
) -> Array:
    """[N] 1 where skin close to the hair is dark: its shadow or stray hair, but not a brow."""
    luma = np.array([0.3, 0.59, 0.11])
    near = sample(dilate(photo.hair, 41), surface.pixels)
    dark = 1 - smoothstep(observed @ luma / (reference @ luma), 0.52, 0.7)
    brow = regions.brows(torch.from_numpy(surface.template).float(), grow=0.004).numpy()
    return near * dark * (1 - brow)


def _mirrored(points: Array, albedo: Array, weight: Array, graph: SurfaceGraph) -> tuple[Array, Array]:
    """Let the other half of the face stand in for what is unseen: target [B, 3], weight [B].

    The mirror image is first corrected by a smooth field, so that it meets the seen half without a seam.
    """
    weight = np.where(
        weight < 0.4, 0, weight
    )  # borders carry shadow and bleeding: better no witness than these
    _, twin = cKDTree(points).query(points * [-1, 1, 1])
    both = weight * weight[twin]
    correction = graph.fill(albedo - albedo[twin], both * 5, np.zeros(3), 1e-3)
    stand_in = weight[twin] * (1 - weight)
    total = weight * 50 + stand_in * 2
    target = albedo * (weight * 50)[:, None] + (albedo[twin] + correction) * (stand_in * 2)[:, None]
    return target / np.maximum(total, 1e-9)[:, None], total


def _without_brows(
    points: Array, target: Array, weight: Array, lid: Array, prior: Array, regions: Regions
) -> Array:
    """The weights of :func:`_mirrored` with brows, lashes, lid creases and other dark marks near the eyes at 0."""
    luma = np.array([0.3, 0.59, 0.11])
    near_eyes = (np.abs(points[:, 1] - float(regions.eye[1])) < 0.05) & (points[:, 2] > 0.03)
    bright = smoothstep(target @ luma / (prior @ luma), 0.78, 0.9)
    brow = regions.brows(torch.from_numpy(points).float(), soft=0.002, grow=0.0025).numpy()
    weight = weight * (1 - np.minimum(1, lid * 3)) * np.where(near_eyes, bright, 1) * (1 - brow)
    return np.where(weight < 8, 0, weight)


def lit(colors: SkinColors, albedo: Array, surface: Surface, rng: np.random.Generator) -> Array:
    """Colours [N, 3]: the photo's where it is trusted, else albedo times light with a little grain."""
    result = colors.observed.copy()
    trust = colors.trust[:, None]
    grain = rng.normal(0, 0.012, (len(colors.rows), 1)) + _mottling(surface.template[colors.rows], rng)
    made = (albedo + grain) * colors.shade[colors.rows, None]
    result[colors.rows] = made + trust * (result[colors.rows] - made)
    return np.clip(result, 0, 1)


def _mottling(points: Array, rng: np.random.Generator) -> Array:
    """[N, 1] faint smooth variation of skin, a few millimetres wide, so that completed skin is not wax."""
    total = np.zeros(len(points))
    for wave in rng.normal(0, 900, (10, 3)):  # radians a metre: wavelengths of about 4 mm and more
        total += np.sin(points @ wave + rng.uniform(0, 2 * np.pi))
    return (0.002 * total)[:, None]


def seen_in_photo(surface: Surface, photo: Photo, colors: SkinColors, regions: Regions) -> Array:
    """[N] 0..1: the photo shows this skin, even where its colour is not trusted for the light.

    At a slant, colours far from the completed skin are something else (an earring, a hair, the wall).
    """
    expected = colors.observed.copy()
    expected[colors.rows] = colors.albedo * colors.shade[colors.rows, None]
    off = np.abs(colors.observed - expected).max(1)
    plausible = 1 - smoothstep(off, 0.12, 0.25) * (1 - smoothstep(surface.facing, 0.5, 0.75))
    plausible = plausible * (1 - _foreign(surface, photo))
    on_neck = surface.template[:, 1] < float(regions.chin[1]) - 0.01  # its border with clothes is ragged
    probability = np.where(
        on_neck, sample(erode(photo.skin, 7), surface.pixels), sample(photo.skin, surface.pixels)
    )
    hair = 1 - smoothstep(sample(photo.hair, surface.pixels), 0.1, 0.4)
    shown = smoothstep(probability, 0.35, 0.65) * hair * smoothstep(surface.facing, 0.15, 0.5)
    return surface.visible * surface.body * shown * plausible


def undercoat(
    colors: Array, surface: Surface, photo: Photo, scalp: Array, seen: Array, known: Array, shade: Array,
    hair: Array, rng: np.random.Generator,
) -> tuple[Array, Array]:  # fmt: skip
    """Tint the hidden scalp with the hair's colour [3]: (colours [N, 3], amount [N]).

    It shows between the photo's hair and behind it, where bare skin would glare. Skin of the face that the hair
    hides lies in its shadow.
    """
    hidden = (1 - np.maximum(seen, np.clip(known * 3, 0, 1))) * surface.body
    shadow = smoothstep(sample(ndimage.gaussian_filter(photo.hair, 4), surface.pixels), 0.1, 0.6)
    colors = colors * (1 - 0.4 * shadow * hidden * surface.visible)[:, None]
    amount = scalp * hidden
    grain = 1 + rng.normal(0, 0.10, (len(colors), 1))
    tint = hair * 0.8 * np.clip(shade, 0.55, 1.05)[:, None] * grain
    return colors + amount[:, None] * (tint - colors), amount


def mouth_mask_at(surface: Surface, mask: Array) -> Array:
    """[N] bool: visible and inside a mask that was eroded by a pixel."""
    return surface.visible & (at_pixels(erode(mask, 3), surface.pixels) > 0)
