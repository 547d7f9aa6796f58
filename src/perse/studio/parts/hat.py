"""Hats: a crown and a brim of one family of shapes in a fabric, what is sewn on them, and the hair that yields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perse.studio.parts._fabric import GIRTH, material, noise, swatch
from perse.studio.parts._hat_kinds import params_from
from perse.studio.parts._hat_seat import Seat
from perse.studio.parts._hat_shape import Crown, HatParams, HatShape
from perse.studio.parts._shade import shade_hair, shade_skin
from perse.studio.parts._sitter import Array, Sitter, smoothstep, unit
from perse.studio.parts._surface import MATT, Material, Sheet, density_of, ellipsoid_sheet, lit, named, tube
from perse.studio.parts._worn import at_angle
from perse.studio.puppet import Puppet

__all__ = ["HatParams", "apply", "build", "params_from"]

GROUP = "hat"


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Put on the hat that the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: HatParams, seed: int, detail: float = 1.0) -> None:
    """Put on a hat; ``detail`` scales the number of discs along each side of its grids."""
    sitter = Sitter(puppet)
    seat = Seat(sitter, params.front, params.back)
    shape = HatShape(seat, params, max(16, round(112 * detail)), max(24, round(288 * detail)))
    sheets = [*named("crown", _crown(shape, seed)), *named("edge", _edge_strip(shape))]
    if max(params.brim, params.visor) > 0.001:
        sheets += named("brim", _brim(shape, seed))
    sheets += _trimmings(shape, sitter, seed, detail)
    seat.press_hair(puppet, _open_above(shape))
    group = lit(sitter, sheets, "hat")
    puppet.add(GROUP, group)
    density = density_of(group)
    shade_skin(sitter, density, strength=0.13, darkest=0.68)
    shade_hair(sitter, density, strength=0.15, darkest=0.55)


def _open_above(shape: HatShape) -> float:
    """Metres above the seat from which hair stays: the rim of an open hat, nowhere for a closed one."""
    rim = (shape.crown.points[-1] - shape.seat.centre) @ shape.seat.up
    return float(np.median(rim) + 0.25 * smoothstep(shape.params.reach, 0.45, 0.70))


def _crown(shape: HatShape, seed: int) -> Sheet:
    """The crown in its fabric, with seams, band, emblem and vents."""
    params, crown = shape.params, shape.crown
    cloth = swatch(params, crown.u, crown.v, seed)
    albedo, height, shade = cloth.albedo, cloth.height, cloth.shade
    fade = smoothstep(1 - crown.share, 0.02, 0.10)  # the weave closes up at the very top
    height, shade = height * fade, 1 - (1 - shade) * fade
    if params.cuff > 0:
        shade = shade * (1 - 0.45 * np.exp(-(((crown.v - params.cuff - 0.001) / 0.0022) ** 2)))
    if params.wraps > 0:
        shade = shade * (1 - 0.5 * (1 - shape.wrap(crown.angle, crown.v)) ** 2 * min(params.wraps / 0.006, 1))
    if params.panels > 0:
        seam, stitch = _seams(crown)
        height = height - 0.0008 * params.panels * seam
        shade = shade * (1 - params.panels * (0.32 * seam + 0.14 * stitch))
    if params.band > 0:
        on = smoothstep(params.band - crown.v, -0.0008, 0.0008)
        albedo = albedo * (1 - on[..., None]) + params.second * on[..., None]
        rim = np.exp(-(((crown.v - params.band) / 0.0016) ** 2))
        height, shade = height * (1 - on) + 0.0010 * on, (1 + (shade - 1) * (1 - on)) * (1 - 0.30 * rim)
    if params.mesh > 0:
        albedo, shade = _trucker(crown, params, albedo, shade)
    if params.emblem > 0:
        patch, star = _emblem(crown, params.emblem)
        albedo = albedo * (1 - patch[..., None]) + params.second * patch[..., None]
        albedo = albedo * (1 - star[..., None]) + params.colour * 0.9 * star[..., None]
        height, shade = height + 0.0009 * patch, 1 + (shade - 1) * (1 - patch)
    if params.vents > 0:
        slot = _slots(crown)
        albedo = albedo * (1 - 0.93 * params.vents * slot[..., None])
        shade = shade * (1 - 0.6 * params.vents * slot)
    shaded = 0.30 if params.brim > 0.001 else 0.25
    shade = shade * (1 - shaded * (1 - smoothstep(crown.v, 0.0, 0.010)))
    points = crown.points + crown.normals * height[..., None]
    middle = shape.seat.centre + 0.03 * shape.seat.up
    return Sheet(points, albedo, middle, material(params), closed=(False, True), shade=shade, spread=0.74)


def _seams(crown: Crown) -> tuple[Array, Array]:
    """Grooves between six panels and the stitches along them, 0 to 1."""
    away = np.abs((crown.angle / (2 * np.pi) * 6 + 0.5) % 1 - 0.5) / 6 * GIRTH
    away = away * np.cos(crown.share * np.pi / 2) + 1e-4
    dashes = 0.5 + 0.5 * np.sin(crown.v * 2 * np.pi / 0.005)
    return np.exp(-((away / 0.0013) ** 2)), np.exp(-(((away - 0.0042) / 0.0009) ** 2)) * dashes


def _emblem(crown: Crown, radius: float) -> tuple[Array, Array]:
    """A round patch at the front and the star on it, 0 to 1."""
    x = ((crown.u + GIRTH / 2) % GIRTH - GIRTH / 2) * np.cos(0.7 * crown.share)
    y = crown.v - 0.012 - 1.05 * radius
    around = np.arctan2(x, y)
    star = 0.34 + 0.34 * np.abs(((around / (2 * np.pi) * 5) % 1) - 0.5) * 2
    far = np.hypot(x, y) / radius
    return smoothstep(1 - far, -0.03, 0.03), smoothstep(star - far, -0.04, 0.04)


def _trucker(crown: Crown, params: HatParams, albedo: Array, shade: Array) -> tuple[Array, Array]:
    """A front of foam in the second colour, a net behind it."""
    front = smoothstep(np.cos(crown.angle), 0.46, 0.50)
    net = np.abs(np.sin(crown.u * np.pi / 0.004)) * np.abs(np.sin(crown.v * np.pi / 0.004))
    share = (params.mesh * front)[..., None]
    albedo = albedo * (1 - share) + params.second * share
    rim = np.exp(-(((np.cos(crown.angle) - 0.48) / 0.02) ** 2))
    return albedo, shade * (1 - params.mesh * (0.45 * (1 - front) * (1 - net) + 0.25 * rim))


def _slots(crown: Crown) -> Array:
    """Vents from front to back, 0 to 1."""
    offset = crown.points - crown.points.mean((0, 1))
    x = offset[..., 0]
    along = crown.share * np.sign(np.cos(crown.angle))
    rows = np.abs(((x / 0.030) + 0.5) % 1 - 0.5) * 0.030
    ends = np.abs(((along + 1) / 0.52) % 1 - 0.5)
    inside = (np.abs(x) < 0.062) & (crown.share > 0.22) & (crown.share < 0.86)
    return smoothstep(0.0062 - rows, -0.001, 0.001) * smoothstep(0.40 - ends, -0.03, 0.03) * inside


def _edge_strip(shape: HatShape) -> Sheet:
    """From the crown's edge in to the head, so that no light shines in between."""
    seat, params = shape.seat, shape.params
    angle, radius, height = seat.cylinder(shape.crown.points[0])
    inner = at_angle(seat.head, angle) - 0.001
    share = np.linspace(0, 1, 5)[:, None]
    points = seat.place(
        np.broadcast_to(angle, (5, len(angle))),
        radius * (1 - share) + np.minimum(inner, radius) * share,
        np.broadcast_to(height + 0.001, (5, len(angle))),
    )
    above = seat.centre + seat.up * 0.05
    return Sheet(points, params.colour * 0.35, above, MATT, closed=(False, True), both_sides=True)


def _brim(shape: HatShape, seed: int) -> Sheet:
    """Brim and visor, both sides, in the crown's fabric; darker below, and next to the crown."""
    params = shape.params
    points, middle, out = shape.brim()
    width = np.maximum(params.brim, params.visor)
    u = np.broadcast_to(shape.angles * (GIRTH / (2 * np.pi)), out.shape)
    cloth = swatch(params, u, out * width + 0.003, seed)
    rows = len(out) // 2
    below = (np.arange(len(out)) > rows)[:, None]
    shade = cloth.shade * np.where(below, 0.55 + 0.15 * out, 0.68 + 0.32 * smoothstep(out, 0.0, 0.25))
    stitched = np.exp(-((((out * 7) % 1 - 0.5) / 0.13) ** 2))
    shade = shade * (1 - 0.13 * params.panels * stitched)
    relief = np.where(below, 0, cloth.height)
    points = points + unit(points - middle) * relief[..., None]
    reach = np.linalg.norm(points[rows] - points[0], axis=-1)
    keep = np.broadcast_to(reach > 0.0015, out.shape)
    return Sheet(
        points,
        cloth.albedo,
        middle,
        material(params),
        closed=(False, True),
        shade=shade,
        spread=0.76,
        keep=keep,
    )


def _trimmings(shape: HatShape, sitter: Sitter, seed: int, detail: float) -> list[Sheet]:
    """Button, pompom and knot."""
    params, seat = shape.params, shape.seat
    top = shape.crown.points[-1].mean(0)
    sheets = []
    many = max(10, round(30 * detail))
    if params.button > 0:
        radii = params.button * np.array([1.0, 0.5, 1.0])
        button = ellipsoid_sheet(top, radii, params.colour * 0.95, many, 2 * many, material=material(params))
        sheets += named("button", button)
    if params.pompom > 0:
        sheets += named("pompom", _pompom(top + seat.up * 0.72 * params.pompom, params, seed, detail))
    if params.knot > 0:
        sheets += named("knot", _knot(shape, sitter, seed, detail))
    return sheets


def _pompom(centre: Array, params: HatParams, seed: int, detail: float) -> Sheet:
    """A ball of yarn ends."""
    many = max(14, round(56 * detail))
    ball = ellipsoid_sheet(centre, np.full(3, params.pompom), params.second, many, 2 * many)
    rng = np.random.default_rng([seed, 44])
    tufts = rng.normal(0, 1, ball.points.shape[:2])
    points = centre + (ball.points - centre) * (1 + 0.085 * tufts)[..., None]
    shade = np.clip(0.86 + 0.16 * tufts, 0.45, 1.2)
    return Sheet(
        points, params.second, centre, Material(nap=0.5), closed=(False, True), shade=shade, spread=0.9
    )


def _knot(shape: HatShape, sitter: Sitter, seed: int, detail: float) -> list[Sheet]:
    """A knot at the nape with two tails that hang on the back."""
    params = shape.params
    back = shape.crown.points[0, shape.columns // 2]
    start = back + np.array([0.0, 0.004, -0.006])
    many = max(10, round(28 * detail))
    plain = material(params)
    sheets = [
        ellipsoid_sheet(start, np.array([0.015, 0.012, 0.010]), params.colour, many, 2 * many, material=plain)
    ]
    t = np.linspace(0, 1, max(12, round(50 * detail)))[:, None]
    for side in (1, -1):
        path = start + t * np.array([side * 0.030, -params.knot, -0.004])
        path = path + np.array([side * 0.012, 0, 0]) * np.sin(np.pi * t)
        path = sitter.body.push_out(path, 0.008)
        flat = tube(path, 1.0, max(12, round(24 * detail))) - path[:, None]
        flat = flat * np.array([1.0, 1.0, 0.16]) * (0.006 + 0.012 * t)[:, None]
        points = path[:, None] + flat
        cloth = swatch(params, points[..., 0], points[..., 1], seed)
        fold = 1 + 0.12 * noise(points[..., 0] * 3, points[..., 1], 0.02, 9)
        sheets.append(
            Sheet(points, cloth.albedo, path[:, None], plain, closed=(False, True), shade=cloth.shade * fold)
        )
    return sheets
