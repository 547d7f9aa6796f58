"""Headphones: an arch with cups over hair and ears, buds in the ears, a band around the nape, a microphone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.interpolate import CubicSpline

from perse.studio.parts import _colours
from perse.studio.parts._garment import weights_near
from perse.studio.parts._headphone_seat import HeadphoneParams, Seat
from perse.studio.parts._shade import shade_hair, shade_skin
from perse.studio.parts._sitter import NECK, Array, Sitter, smoothstep, unit
from perse.studio.parts._surface import (
    LEATHER,
    METAL,
    PLASTIC,
    RUBBER,
    Material,
    Sheet,
    density_of,
    ellipsoid_sheet,
    joint_weights,
    lit,
    named,
    tube,
    tube_sheet,
)
from perse.studio.parts._worn import ear_centre, tuck_hair
from perse.studio.puppet import Puppet

__all__ = ["HeadphoneParams", "apply", "build", "params_from"]

GROUP = "headphones"
FOAM = Material(nap=0.25)
STEEL = np.array(_colours.METAL["silver"])

_NO_CUPS = {"cup": 0.0, "depth": 0.0, "pad": 0.0, "band": 0.0}
KINDS: dict[str, HeadphoneParams] = {
    "over-ear": HeadphoneParams(),
    "on-ear": HeadphoneParams(cup=0.029, depth=0.011, pad=0.008, band=0.0075, arm=0.0016),
    "gaming": HeadphoneParams(cup=0.046, depth=0.020, pad=0.012, band=0.015, ring=1.0, microphone=1.0),
    "in-ear": HeadphoneParams(**_NO_CUPS, bud=0.0072, cable=0.0013),
    "wireless": HeadphoneParams(**_NO_CUPS, bud=0.0078, stem=0.027),
    "neckband": HeadphoneParams(**_NO_CUPS, bud=0.0072, cable=0.0011, collar=0.0058),
}
_GLOW = {"red": (1.0, 0.16, 0.10), "green": (0.25, 1.0, 0.35), "blue": (0.15, 0.55, 1.0)}


def params_from(adjectives: Sequence[str]) -> HeadphoneParams:
    """The headphones of the words, e.g. ("black", "over-ear")."""
    params = KINDS[next((word for word in adjectives if word in KINDS), "over-ear")]
    scale = 1.18 if "large" in adjectives else 0.84 if "slim" in adjectives else 1.0
    params = params.but(
        cup=params.cup * scale, depth=params.depth * scale, pad=params.pad * scale, band=params.band * scale
    )
    colour = next((word for word in adjectives if word in _colours.CLOTH), "black")
    params = params.painted(_colours.CLOTH[colour]).but(metal=float("metallic" in adjectives))
    tone = params.colour * 0.42 if params.colour.mean() > 0.25 else params.colour * 0.75
    if colour in ("white", "cream"):
        tone = np.array([0.62, 0.61, 0.60])
    glow = _GLOW.get(colour, _GLOW["green"])
    return params.but(
        pad_red=float(tone[0]), pad_green=float(tone[1]), pad_blue=float(tone[2]),
        ring_red=glow[0], ring_green=glow[1], ring_blue=glow[2],
    )  # fmt: skip


def apply(puppet: Puppet, adjectives: Sequence[str], seed: int, detail: float = 1.0) -> None:
    """Put on the headphones that the words describe."""
    build(puppet, params_from(adjectives), seed, detail)


def build(puppet: Puppet, params: HeadphoneParams, seed: int, detail: float = 1.0) -> None:
    """Put on headphones; ``detail`` scales the number of discs along each side of the grids."""
    sitter = Sitter(puppet)
    sheets: list[Sheet] = []
    if params.bud > 0.001:
        tuck_hair(sitter, min(params.bud / 0.006, 1.0))
        for side in (1, -1):
            sheets += named(f"bud {side}", _bud(sitter, params, side, detail))
    if params.collar > 0.0005:
        sheets += named("collar", _collar(sitter, params, detail))
    if params.cup > 0.004:
        seat = Seat(sitter, params)
        sheets += named("arch", _arch(seat, params, detail))
        for side in (1, -1):
            sheets += named(f"cup {side}", _cup(seat, params, side, detail))
        if params.microphone > 0.02:
            sheets += named("microphone", _microphone(sitter, seat, params, detail))
        seat.press_hair(puppet, params)
    group = lit(sitter, sheets, "headphones", lambda points: _weights(sitter, points))
    puppet.add(GROUP, group)
    density = density_of(group)
    shade_skin(sitter, density, strength=0.15, darkest=0.6)
    shade_hair(sitter, density, strength=0.12, darkest=0.55)


def _weights(sitter: Sitter, points: Array) -> Array:
    """[N, 5] all with the head; what hangs below the chin goes over to the body beneath it."""
    chin = float(sitter.landmarks[152, 1])
    head = smoothstep(points[:, 1], chin - 0.035, chin + 0.005)[:, None]
    low = np.flatnonzero(head[:, 0] < 1)
    weights = joint_weights(len(points), NECK)
    if len(low):
        weights[low] = head[low] * weights[low] + (1 - head[low]) * weights_near(sitter, points[low])
    return weights


def _shell(params: HeadphoneParams) -> Material:
    """Plastic, or painted metal."""
    share = params.metal
    return Material(
        gloss=PLASTIC.gloss,
        sharpness=PLASTIC.sharpness,
        metal=0.75 * share,
        sheen=0.3 * share,
        coat=PLASTIC.coat,
    )


def _arch(seat: Seat, params: HeadphoneParams, detail: float) -> list[Sheet]:
    """The band over the head, cushioned below, and the steel arms it slides on."""
    end = 0.16
    angles = np.linspace(end, np.pi - end, max(40, round(240 * detail)))
    out = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)
    path = np.array([0.0, seat.y, seat.z]) + out * np.interp(angles, seat.angles, seat.radius)[:, None]
    around = np.linspace(0, 2 * np.pi, max(16, round(44 * detail)), endpoint=False)
    middle = smoothstep(np.sin(angles), 0.25, 0.75)
    cushion = np.cos(around) < -0.25  # the side to the head
    thick = 0.0030 + 0.0016 * middle[:, None] * (1 + 0.6 * cushion)
    tip = np.sqrt(np.clip(np.minimum(angles - end, np.pi - end - angles) / 0.03, 0.02, 1))[:, None]
    section_out = thick * tip * _power(np.cos(around), 0.7)
    section_side = params.band * (0.62 + 0.38 * middle[:, None]) * tip * _power(np.sin(around), 0.7)
    points = (
        path[:, None]
        + (section_out + 0.0036)[..., None] * out[:, None]
        + section_side[..., None] * np.array([0.0, 0.0, 1.0])
    )
    soft = (cushion & (np.sin(angles) > 0.42)[:, None])[..., None]
    albedo = np.where(soft, params.pad_colour, params.colour)
    seams = np.exp(-((((angles[:, None] / 0.11) % 1 - 0.5) / 0.08) ** 2))
    quilt = np.where(soft[..., 0], 1 - 0.30 * seams, 1.0)
    inside = path[:, None] + 0.0036 * out[:, None]
    sheets = [
        Sheet(points, albedo, inside, _shell(params), closed=(False, True), shade=quilt, spread=0.75),
    ]
    for side in (1, -1):
        sheets += _arm(seat, params, side, detail)
    return sheets


def _arm(seat: Seat, params: HeadphoneParams, side: int, detail: float) -> list[Sheet]:
    """A steel rod from the band's end, and the fork that holds the cup."""
    turn = np.linspace(0.24, 0.24 - 0.14, max(8, round(24 * detail)))
    radius = np.interp(turn, seat.angles, seat.radius) + 0.0036
    rod = np.stack(
        [side * np.cos(turn) * radius, seat.y + np.sin(turn) * radius, np.full(len(turn), seat.z)], 1
    )
    hold = np.array([side * (seat.cup_x + params.depth * 0.95), seat.y, seat.z])
    swing = np.linspace(-0.5 * np.pi, 0.5 * np.pi, max(16, round(70 * detail)))
    fork = hold + params.cup * np.stack(
        [0 * swing, 1.03 * np.cos(swing) * 0.98 + 0.03, 0.92 * np.sin(swing)], 1
    )
    fork[:, 0] += side * 0.004 * np.cos(swing)
    top = fork[len(fork) // 2]
    stalk = rod[-1] + (top - rod[-1]) * np.linspace(0, 1, max(6, round(16 * detail)))[:, None]
    colour = params.metal * params.colour + (1 - params.metal) * STEEL
    sides = max(8, round(14 * detail))
    return [
        tube_sheet(np.concatenate([rod, stalk[1:]]), params.arm * 1.25, STEEL, material=METAL, sides=sides),
        tube_sheet(fork, params.arm * 1.5, colour, material=METAL, sides=sides),
    ]


def _cup(seat: Seat, params: HeadphoneParams, side: int, detail: float) -> list[Sheet]:
    """A cup with a cap inside a metal ring, and its pad."""
    centre = np.array([side * (seat.cup_x + params.depth * 0.75), seat.y, seat.z])
    rows, columns = max(16, round(64 * detail)), max(24, round(110 * detail))
    polar, around = np.meshgrid(
        np.linspace(0.02, np.pi - 0.02, rows),
        np.linspace(0, 2 * np.pi, columns, endpoint=False),
        indexing="ij",
    )
    across = np.sin(polar) ** 0.65
    shell = np.stack(
        [
            side * params.depth * _power(np.cos(polar), 0.8),
            params.cup * across * np.sin(around),
            0.86 * params.cup * across * np.cos(around),
        ],
        -1,
    )
    ring = np.hypot(shell[..., 1] / params.cup, shell[..., 2] / (0.86 * params.cup))
    outer = shell[..., 0] * side > 0
    plate = (smoothstep(0.66 - ring, 0.0, 0.03) * outer)[..., None]
    edge = (np.exp(-(((ring - 0.71) / 0.045) ** 4)) * outer)[..., None]
    cap = np.clip(params.colour * 1.15 + 0.02, 0, 1)
    bright = params.ring * 1.25 * params.ring_colour + (1 - params.ring) * (0.55 * params.colour + 0.30)
    albedo = (params.colour * (1 - plate) + cap * plate) * (1 - edge) + bright * edge
    groove = np.exp(-(((ring - 0.80) / 0.018) ** 2)) + np.exp(-(((ring - 0.63) / 0.016) ** 2))
    dish = 1 - 0.10 * np.cos(around) * plate[..., 0]
    shade = (1 - 0.45 * groove * outer) * dish
    shell[..., 0] -= side * 0.10 * params.depth * plate[..., 0]
    cup = Sheet(
        centre + shell, albedo, centre, _shell(params), closed=(False, True), shade=shade, spread=0.75
    )
    turn = np.linspace(0, 2 * np.pi, max(30, round(120 * detail)), endpoint=False)
    path = np.stack(
        [
            np.full(len(turn), side * seat.cup_x),
            seat.y + (params.cup - params.pad * 0.8) * np.sin(turn),
            seat.z + (0.86 * params.cup - params.pad * 0.8) * np.cos(turn),
        ],
        1,
    )
    sides = max(10, round(26 * detail))
    grid = tube(path, params.pad, sides, closed=True)
    wrinkle = np.sin(turn * 31) * np.sin(turn * 17 + 1)
    grid = path[:, None] + (grid - path[:, None]) * (1 + 0.03 * wrinkle)[:, None, None]
    creases = np.broadcast_to((1 + 0.10 * wrinkle)[:, None], grid.shape[:2])
    pad = Sheet(grid, params.pad_colour, path[:, None], LEATHER, closed=(True, True), shade=creases)
    return [cup, pad]


def _microphone(sitter: Sitter, seat: Seat, params: HeadphoneParams, detail: float) -> list[Sheet]:
    """A boom from the left cup to the corner of the mouth."""
    corner = sitter.landmarks[291]
    start = np.array(
        [seat.cup_x + params.depth * 0.9, seat.y - 0.55 * params.cup, seat.z + 0.55 * params.cup]
    )
    end = corner + np.array([0.022, -0.016, 0.012])
    end = start + params.microphone * (end - start)
    knots = np.stack([start, start * 0.45 + end * 0.55 + np.array([0.016, -0.012, 0.004]), end])
    path = CubicSpline([0, 0.5, 1], knots)(np.linspace(0, 1, max(20, round(90 * detail))))
    path = sitter.body.push_out(path, 0.006)
    many = max(10, round(26 * detail))
    foam = ellipsoid_sheet(
        path[-1], np.array([0.0065, 0.0065, 0.0085]), np.full(3, 0.09), many, 2 * many, material=FOAM
    )
    joint = ellipsoid_sheet(start, np.full(3, 0.006), params.colour, many, 2 * many, material=PLASTIC)
    boom = tube_sheet(path, 0.0019, np.full(3, 0.10), material=RUBBER, sides=max(8, round(12 * detail)))
    return [boom, foam, joint]


def _bud(sitter: Sitter, params: HeadphoneParams, side: int, detail: float) -> list[Sheet]:
    """A bud in an ear, and its stem or its cable around the nape."""
    ear = ear_centre(sitter, side)
    bud = np.array([side * (abs(ear[0]) - 0.006), ear[1] - 0.007, ear[2] + 0.010])
    rows, columns = max(10, round(28 * detail)), max(14, round(44 * detail))
    radii = params.bud * np.array([0.85, 1.0, 0.95])
    sheets = [ellipsoid_sheet(bud, radii, params.colour, rows, columns, material=_shell(params))]
    cap = bud + np.array([side * params.bud * 0.72, 0.0, 0.0])
    face = STEEL * 0.75 if params.stem < 0.005 else params.colour
    material = METAL if params.stem < 0.005 else PLASTIC
    sheets.append(
        ellipsoid_sheet(cap, radii * np.array([0.35, 0.6, 0.6]), face, rows, columns, material=material)
    )
    if params.stem > 0.001:
        top = bud + np.array([side * params.bud * 0.45, 0.002, 0.003])
        t = np.linspace(0, 1, max(12, round(60 * detail)))
        path = top + t[:, None] * params.stem * unit(np.array([-0.10 * side, -1.0, 0.22]))
        radius = 0.0030 * np.sqrt(np.clip(1 - np.abs(2 * t - 1) ** 14, 0.02, 1))
        tip = (t > 0.955)[:, None, None]
        albedo = np.where(tip, STEEL * 0.8, params.colour) * np.ones((1, max(10, round(20 * detail)), 1))
        sheets.append(tube_sheet(path, radius, albedo, material=PLASTIC, sides=albedo.shape[1]))
    if params.cable > 0.0002:
        path = _cable(sitter, bud, side, params.collar, max(40, round(200 * detail)))
        sheets.append(tube_sheet(path, params.cable, params.colour, material=RUBBER, sides=8))
    return sheets


def _cable(sitter: Sitter, bud: Array, side: int, collar: float, count: int) -> Array:
    """A cable [count, 3] from a bud, down behind the jaw and around the nape, or to a collar's end."""
    chin_y = float(sitter.landmarks[152, 1])
    joint = sitter.puppet.joints()[NECK].numpy().astype(float)
    behind = np.array([0.0, chin_y - 0.004, joint[2] - 0.075])
    front = _collar_path(sitter, 33)[32 if side > 0 else 0]
    share = min(collar / 0.004, 1.0)
    low = np.array([side * 0.058, chin_y - 0.006, joint[2] - 0.030])
    knots = np.stack(
        [
            bud + np.array([side * 0.001, -0.004, 0.002]),
            bud + np.array([side * 0.001, -0.026, 0.002]),
            np.array([side * (abs(bud[0]) - 0.012), chin_y + 0.020, joint[2] + 0.004]),
            low * (1 - share)
            + share * (0.5 * front + 0.5 * np.array([side * 0.062, chin_y + 0.02, joint[2] + 0.02])),
            behind * (1 - share) + front * share,
        ]
    )
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    path = CubicSpline(length, knots)(np.linspace(0, length[-1], count))
    hang = len(path) // 5
    for _ in range(4):
        path[hang:-2] = sitter.body.push_out(path[hang:-2], 0.004)
        path[1:-1] = ndimage.gaussian_filter1d(path, 2.5, axis=0, mode="nearest")[1:-1]
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    even = np.linspace(0, length[-1], count)
    return np.stack([np.interp(even, length, coordinate) for coordinate in path.T], 1)


def _collar_path(sitter: Sitter, count: int) -> Array:
    """From the right collarbone around the nape to the left one [count, 3], over a thin collar."""
    chin_y = float(sitter.landmarks[152, 1])
    joint = sitter.puppet.joints()[NECK].numpy().astype(float)
    knots = np.array(
        [
            [-0.050, chin_y - 0.056, joint[2] + 0.066],
            [-0.072, chin_y - 0.040, joint[2] + 0.030],
            [-0.066, chin_y - 0.018, joint[2] - 0.030],
            [0.0, chin_y - 0.006, joint[2] - 0.078],
        ]
    )
    knots = np.concatenate([knots, (knots * np.array([-1.0, 1, 1]))[-2::-1]])
    path = CubicSpline(np.linspace(0, 1, 7), knots)(np.linspace(0, 1, count))
    for _ in range(12):
        path = sitter.body.push_out(path, 0.0125)
        path[1:-1] = (path[:-2] + 2 * path[1:-1] + path[2:]) / 4
    return path


def _collar(sitter: Sitter, params: HeadphoneParams, detail: float) -> list[Sheet]:
    """The band that lies around the neck, thicker towards its ends."""
    path = _collar_path(sitter, 33)
    path = CubicSpline(np.linspace(0, 1, 33), path)(np.linspace(0, 1, max(40, round(200 * detail))))
    t = np.abs(np.linspace(-1, 1, len(path)))
    radius = (
        params.collar * (0.62 + 0.38 * smoothstep(t, 0.55, 0.7)) * np.sqrt(np.clip((1 - t) / 0.02, 0.05, 1))
    )
    sides = max(10, round(20 * detail))
    ends = smoothstep(t, 0.93, 0.94)[:, None, None]
    albedo = params.colour * (1 - ends) + STEEL * 0.7 * ends + np.zeros((1, sides, 1))
    return [tube_sheet(path, radius, albedo, material=_shell(params), sides=sides)]


def _power(x: Array, exponent: float) -> Array:
    """Signed power, for rounded boxes."""
    return np.sign(x) * np.abs(x) ** exponent
