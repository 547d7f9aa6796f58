"""Cloth over the bust: discs a little outside the body, with folds, and the skin that a lower collar bares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from scipy.spatial import cKDTree

from perse.studio._geometry import subdivision, triangle_discs
from perse.studio.groups import Rooted, Skinned, SurfaceDiscs
from perse.studio.parts._fabric import GIRTH, FabricParams, material, swatch
from perse.studio.parts._neckline import Edge
from perse.studio.parts._shade import UP, Density, tint_skin
from perse.studio.parts._sitter import NECK, ROOT, Array, Sitter, smoothstep, tensor, unit
from perse.studio.parts._surface import colour_of
from perse.studio.puppet import PHOTO_CLOTHES, label_code

BARED = "skin_bared"


@dataclass(frozen=True)
class Cloth:
    """A layer of cloth on the body."""

    fabric: FabricParams
    thickness: float = 0.004
    """Metres outside the body."""
    folds: float = 0.0022
    """Height of the folds in metres."""
    over: Edge | None = None
    """Where a second layer of another fabric lies on the first: below this edge."""
    over_fabric: FabricParams | None = None
    over_thickness: float = 0.0035


def take_off(sitter: Sitter) -> Array:
    """Remove the clothes that are worn; returns where the photo's covered the body [M, 3]."""
    puppet = sitter.puppet
    covered = [
        puppet.surface_points(group.face, group.bary).numpy().astype(float)
        for name, group in puppet.groups.items()
        if name in PHOTO_CLOTHES and isinstance(group, SurfaceDiscs | Rooted)
    ]
    puppet.remove(*PHOTO_CLOTHES, "garment", BARED)
    return np.concatenate(covered) if covered else np.zeros((0, 3))


def bare_skin(sitter: Sitter, covered: Array, edge: Edge) -> None:
    """Show skin where the photo had cloth above the new edge, and clean the rim that cloth shaded.

    ``covered`` [M, 3]: where the photo's clothes covered the body.
    """
    puppet = sitter.puppet
    skin = puppet.groups.get("skin")
    if not len(covered) or not isinstance(skin, SurfaceDiscs):
        return
    neck = _Neck(sitter, skin, covered)
    neck.clean_rim()
    face, bary, cuts = _pieces(sitter, edge, 0.0020, above=True)
    points = sitter.roots_at(face, bary).points
    shown = puppet.surface_points(skin.face, skin.bary).numpy().astype(float)
    missing = cKDTree(shown).query(points, distance_upper_bound=0.01)[0] > 0.0013
    missing |= cKDTree(covered).query(points, distance_upper_bound=0.02)[0] < 0.6 * neck.RIM
    if not missing.any():
        return
    patch = SurfaceDiscs(
        face=torch.from_numpy(face[missing]),
        bary=tensor(bary[missing]),
        k=tensor(0.85 * cuts[missing]),  # a little larger than their pieces: no pin-holes
        opacities=torch.full((int(missing.sum()),), 0.97),
        colors=torch.zeros(int(missing.sum()), 3),
        labels=torch.full((int(missing.sum()),), label_code("skin"), dtype=torch.uint8),
    )
    colours = neck.colours(patch)
    colours *= 1 + np.random.default_rng(3).normal(0, 0.012, (len(colours), 1))
    puppet.add(BARED, replace(patch, colors=tensor(np.clip(colours, 0, 1))))


class _Neck:
    """The skin of the neck well above the photo's clothes, and how it goes on below."""

    RIM = 0.014
    """Metres next to the photo's clothes whose colours are not trusted."""

    def __init__(self, sitter: Sitter, skin: SurfaceDiscs, covered: Array) -> None:
        self.sitter, self.skin = sitter, skin
        puppet = sitter.puppet
        template = puppet.template_points(skin).numpy().astype(float)
        bare = (skin.labels == label_code("skin")).numpy()
        self.rows = np.flatnonzero(bare & (template[:, 1] < sitter.marks[152, 1] + 0.012))
        points, normals = self._places(skin.select(torch.from_numpy(self.rows)))
        self.to_clothes = cKDTree(covered).query(points)[0]
        sure = self.to_clothes > self.RIM
        if sure.sum() < 50:
            sure = self.to_clothes >= np.quantile(self.to_clothes, 0.7) if len(points) else sure
        albedo = skin.colors[self.rows].numpy().astype(float) / sitter.shade(normals, 0.4, 1.2)[:, None]
        tone = puppet.light.skin.numpy().astype(float)
        self.tone = np.clip(np.median(albedo[sure], 0), 0.80 * tone, 1.05 * tone) if sure.any() else tone
        self.albedo = np.clip(albedo[sure], 0.75 * self.tone, 1.2 * self.tone)
        self.tree = cKDTree(points[sure]) if sure.any() else None

    def _places(self, group: SurfaceDiscs) -> tuple[Array, Array]:
        puppet = self.sitter.puppet
        points = puppet.surface_points(group.face, group.bary).numpy().astype(float)
        return points, puppet.surface_normals(group.face, group.bary).numpy().astype(float)

    def colours(self, group: SurfaceDiscs) -> Array:
        """Lit colours [N, 3] for discs of the neck: the nearest trusted skin, tending to the mean tone."""
        points, normals = self._places(group)
        light = self.sitter.shade(normals, 0.5, 1.15)[:, None]
        if self.tree is None:
            return self.tone * light
        distance, near = self.tree.query(points, min(80, len(self.albedo)))
        distance, near = distance.reshape(len(points), -1), near.reshape(len(points), -1)
        weight = 1 / (distance + 0.004)
        nearby = (self.albedo[near] * (weight / weight.sum(1, keepdims=True))[..., None]).sum(1)
        far = smoothstep(distance[:, 0], 0.005, 0.04)[:, None]
        return (nearby * (1 - far) + self.tone * far) * light

    def clean_rim(self) -> None:
        """Take the cloth's shade and colour out of the skin next to it, and make what faded under it solid."""
        skin, rows = self.skin, self.rows
        colours = np.zeros((len(skin), 3))
        colours[rows] = self.colours(skin.select(torch.from_numpy(rows)))
        was = skin.colors[rows].numpy().mean(1) / np.maximum(colours[rows].mean(1), 0.02)
        rim = 1 - smoothstep(self.to_clothes, 0.5 * self.RIM, self.RIM)
        stained = smoothstep(-was, -0.88, -0.72) * smoothstep(-self.to_clothes, -0.045, -0.02)
        faded = (skin.opacities[rows] < 0.95).numpy()
        weight = np.zeros(len(skin))
        weight[rows] = np.maximum(np.maximum(rim, stained), faded)
        tint_skin(self.sitter, weight, colours)
        opacities = skin.opacities.clone()
        opacities[torch.from_numpy(rows)] = opacities[torch.from_numpy(rows)].clamp_min(0.97)
        tinted = self.sitter.puppet.groups["skin"]
        self.sitter.puppet.add("skin", replace(tinted, opacities=opacities))


def drape(sitter: Sitter, edge: Edge, cloth: Cloth, seed: int, detail: float) -> Skinned:
    """Cloth over the bust below ``edge``."""
    face, bary, cuts = _pieces(sitter, edge, 0.00175 / np.sqrt(min(detail, 1.0)))
    roots = sitter.roots_at(face, bary)
    below = -edge.height(roots.template)
    outer = _outer(cloth, roots.template)
    hem = smoothstep(below, -0.004, 0.006)
    fold, fold_slope = _slopes(lambda points: _fold_height(points, seed), roots.points, roots.normals)
    amount = cloth.folds * smoothstep(below, 0.005, 0.05)
    albedo, shade = np.zeros((len(face), 3)), np.ones(len(face))
    relief, slope = np.zeros(len(face)), np.zeros((len(face), 3))
    colours = []
    layers = [(cloth.fabric, 1 - outer)]
    if cloth.over_fabric is not None:
        layers.append((cloth.over_fabric, outer))
    for fabric, share in layers:
        woven = swatch(fabric, *laid_out(roots.points), seed)
        height, tilt = _slopes(partial(_woven_height, fabric, seed), roots.points, roots.normals)
        relief, slope = relief + share * height, slope + share[:, None] * tilt
        albedo, shade = albedo + share[:, None] * woven.albedo, shade * (1 - share * (1 - woven.shade))
    normals = unit(roots.normals - amount[:, None] * fold_slope - 0.8 * slope)
    rise = cloth.thickness + amount * fold + relief + cloth.over_thickness * outer
    means = roots.points + roots.normals * (rise * (0.35 + 0.65 * hem))[:, None]
    light = under_the_head(sitter, means, normals) * shade * (1 - 0.10 * smoothstep(-fold, 0.1, 0.8))
    light = light * (1 - 0.45 * _beside(cloth, roots.template, outer))
    for fabric, share in layers:
        colours.append(share[:, None] * colour_of(sitter, normals, albedo, light, material(fabric)))
    quats, sigma = triangle_discs(tensor(sitter.rest), sitter.puppet.faces)
    in_plane = sigma[torch.from_numpy(face)].double().numpy() * (1.9 / cuts)[:, None]
    return Skinned(
        means=tensor(means),
        quats=quats[torch.from_numpy(face)],
        scales=tensor(np.c_[in_plane, np.full(len(face), 3e-4)]),
        opacities=torch.full((len(face),), 0.97),
        colors=tensor(np.clip(sum(colours), 0, 1)),
        labels=torch.full((len(face),), label_code("clothes"), dtype=torch.uint8),
        weights=tensor(body_weights(sitter, face, bary)),
        strands=tensor(np.c_[roots.template, np.zeros(len(face))]),
    )


def laid_out(points: Array) -> tuple[Array, Array]:
    """Rest points [..., 3] as cloth coordinates in metres: across, and down the chest and from back to front."""
    return points[..., 0] + GIRTH / 2, -0.78 * points[..., 1] + 0.62 * points[..., 2]


def _woven_height(fabric: FabricParams, seed: int, points: Array) -> Array:
    return swatch(fabric, *laid_out(points), seed).height


def _outer(cloth: Cloth, template: Array) -> Array:
    """[N] 1 where the second layer lies."""
    if cloth.over is None:
        return np.zeros(len(template))
    return smoothstep(-cloth.over.height(template), -0.0015, 0.0015)


def _beside(cloth: Cloth, template: Array, outer: Array) -> Array:
    """[N] the shade that the second layer's edge throws on the first."""
    if cloth.over is None:
        return np.zeros(len(template))
    return np.exp(-np.maximum(cloth.over.height(template), 0) / 0.008) * (1 - outer)


def _slopes(height: Callable[[Array], Array], points: Array, normals: Array) -> tuple[Array, Array]:
    """A height field [N] on the surface and its gradient [N, 3]."""
    first = unit(np.cross(normals, np.array([0.2, 0.3, 1.0])))
    second = np.cross(normals, first)
    step = 0.0012
    here = height(points)
    slope = np.zeros_like(points)
    for way in (first, second):
        slope += ((height(points + step * way) - here) / step)[:, None] * way
    return here, slope


def _pieces(sitter: Sitter, edge: Edge, size: float, above: bool = False) -> tuple[np.ndarray, Array, Array]:
    """Pieces of about ``size`` metres of the body's triangles: face [N], bary [N, 3], cuts [N].

    Those below the edge, or the neck's above it.
    """
    corners = sitter.faces[sitter.skin_faces]
    height = edge.height(sitter.template)[corners]
    torso = height.max(1) > -0.016 if above else height.min(1) < 0.004
    torso &= sitter.template[corners][:, :, 1].min(1) < sitter.marks[152, 1] + 0.01
    torso &= ~(
        (sitter.template[corners][:, :, 2].max(1) > 0.06) & (sitter.template[corners][:, :, 1].max(1) > -0.10)
    )
    chosen = sitter.skin_faces[torso]
    edges = sitter.rest[sitter.faces[chosen]]
    area = np.linalg.norm(np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]), axis=1) / 2
    behind = sitter.normals[sitter.faces[chosen]].mean(1)[:, 2] < -0.3
    lowest = sitter.template[sitter.faces[chosen]][:, :, 1].max(1)
    out_of_sight = 1 + 1.8 * smoothstep(-lowest, 0.155, 0.175)
    cuts = np.ceil(np.sqrt(area) / (size * np.where(behind, 2.6, out_of_sight)))
    cuts = np.clip(cuts, 1, 24).astype(int)
    face, bary, count = [], [], []
    for k in np.unique(cuts):
        some = chosen[cuts == k]
        centres = subdivision(int(k)).double().numpy()
        face.append(np.repeat(some, len(centres)))
        bary.append(np.tile(centres, (len(some), 1)))
        count.append(np.full(len(some) * len(centres), float(k)))
    face_, bary_, count_ = np.concatenate(face), np.concatenate(bary), np.concatenate(count)
    template = (sitter.template[sitter.faces[face_]] * bary_[..., None]).sum(1)
    height = edge.height(template)
    keep = (height > -0.012) & (template[:, 1] < sitter.marks[152, 1] + 0.004) if above else height < 0.001
    return face_[keep], bary_[keep], count_[keep]


def _fold_height(points: Array, seed: int) -> Array:
    """Folds [N] in -1..1: they run from the shoulders down to the chest."""
    rng = np.random.default_rng([seed, 32])
    total = np.zeros(len(points))
    x, y, z = np.abs(points[:, 0]) + 0.004, points[:, 1], points[:, 2]
    for _ in range(6):
        lean = rng.uniform(0.3, 1.3)
        wave = rng.uniform(45, 110)
        phase = rng.uniform(0, 2 * np.pi) + 1.5 * np.sin(y * rng.uniform(15, 35) + z * 9)
        ridge = 1 - np.abs(np.sin((x + lean * y + 0.3 * z) * wave * 0.5 + phase)) ** 0.8
        total += (ridge - 0.4) * np.exp(-(((x - rng.uniform(0.03, 0.19)) / 0.06) ** 2))
    return np.tanh(total)


def under_the_head(sitter: Sitter, points: Array, normals: Array) -> Array:
    """How much light [N] the head leaves for what is below it."""
    corners = sitter.faces[sitter.skin_faces]
    centre = sitter.rest[corners].mean(1)
    head = sitter.template[corners].mean(1)[:, 1] > sitter.marks[152, 1] - 0.012
    edges = sitter.rest[corners[head]]
    area = np.linalg.norm(np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]), axis=1)
    density = Density.of(centre[head], area, cell=0.012, blur=1.0)
    sky = unit(UP + 0.7 * np.array([0.0, 0.0, 1.0]) + 0.5 * normals)
    tau = 0.5 * density.depth(points, sky, steps=9) + 0.5 * density.depth(
        points, unit(sitter.light + 0.4 * UP), steps=9
    )
    return 0.58 + 0.42 * np.exp(-0.8 * tau)


def body_weights(sitter: Sitter, face: np.ndarray, bary: Array) -> Array:
    """[N, 5] skinning weights of cloth on the body: root and neck only."""
    values = sitter.puppet.head.lbs_weights.numpy().astype(float)[sitter.faces[face]]
    weights = (values * bary[..., None]).sum(1)
    merged = np.zeros_like(weights)
    merged[:, ROOT] = weights[:, ROOT]
    merged[:, NECK] = 1 - weights[:, ROOT]
    return merged


def weights_near(sitter: Sitter, points: Array) -> Array:
    """[N, 5] weights of the nearest skin: for collars."""
    values = sitter.puppet.head.lbs_weights.numpy().astype(float)[sitter.skin_vertices]
    distance, near = cKDTree(sitter.rest[sitter.skin_vertices]).query(points, 8)
    share = 1 / (distance + 0.006)
    weights = (values[near] * (share / share.sum(1, keepdims=True))[..., None]).sum(1)
    merged = np.zeros_like(weights)
    merged[:, ROOT] = weights[:, ROOT]
    merged[:, NECK] = 1 - weights[:, ROOT]
    return merged
