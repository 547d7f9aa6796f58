"""A contact sheet of the head: views, expressions, gaze, shapes, landmarks."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw

from perse.head import Head

from .render import shade, yaw_pitch

Case = tuple[str, dict[str, float], dict[int, float], tuple[float, float]]

CASES: list[Case] = [
    ("front", {}, {}, (0, 3)),
    ("30 degrees", {}, {}, (30, 3)),
    ("profile", {}, {}, (85, 3)),
    ("back", {}, {}, (180, 0)),
    ("jaw 20", {}, {6: 20}, (0, 3)),
    ("jaw 12, from below", {}, {6: 12}, (20, -12)),
    ("blink", {"eyeBlinkLeft": 1, "eyeBlinkRight": 1}, {}, (0, 3)),
    ("gaze up 20", {}, {9: -20, 12: -20}, (0, 3)),
    ("gaze down 20", {}, {9: 20, 12: 20}, (0, 3)),
    ("gaze left 20", {}, {10: 20, 13: 20}, (0, 3)),
    ("smile", {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "cheekSquintLeft": 0.4}, {}, (0, 3)),
    ("smile, jaw 8", {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}, {6: 8}, (-20, 3)),
    ("brows up", {"browInnerUp": 1, "browOuterUpLeft": 1, "browOuterUpRight": 1}, {}, (0, 3)),
    (
        "frown",
        {"browDownLeft": 1, "browDownRight": 1, "mouthFrownLeft": 0.8, "mouthFrownRight": 0.8},
        {},
        (0, 3),
    ),
    ("pucker", {"mouthPucker": 1}, {}, (0, 3)),
    ("neck turn 30", {}, {4: 30}, (0, 3)),
]
"""Title, face units, pose entries in degrees, (yaw, pitch) of the view."""


def contact_sheet(head: Head, colours: np.ndarray, size: int = 256, seed: int = 5) -> Image.Image:
    """Every case on the mean head, then a row of random shapes, one with its landmarks."""
    bust = (0.0, -0.06, 2.2)  # height in metres of the middle of the tile, focal length
    tiles = [_tile(head, colours, size, *case, zoom=bust if k < 4 else None) for k, case in enumerate(CASES)]
    generator = torch.Generator().manual_seed(seed)
    for k in range(4):
        betas = torch.randn(100, generator=generator)
        tiles.append(_tile(head, colours, size, f"N(0, 1) shape {k}", {}, {}, ((-20, 20)[k % 2], 3), betas))
    tiles.append(_tile(head, colours, size, "landmarks", {}, {}, (0, 3), None, dots=True))
    tiles.append(_tile(head, colours, size, "landmarks, jaw 15", {}, {6: 15}, (25, 3), None, dots=True))
    tiles.append(_tile(head, colours, size, "eyes", {}, {}, (10, 3), None, zoom=(0, 0.035, 9.0)))
    tiles.append(
        _tile(head, colours, size, "mouth, jaw 15", {}, {6: 15}, (10, 3), None, zoom=(0, -0.05, 9.0))
    )
    columns = 6
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * size, rows * size), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % columns * size, i // columns * size))
    return sheet


def _tile(
    head, colours, size, title, units, pose_degrees, view, betas=None, dots=False, zoom=None
) -> Image.Image:
    pose = torch.zeros(15)
    for entry, degrees in pose_degrees.items():
        pose[entry] = np.radians(degrees)
    posed = head.vertices(betas, head.expr_from_units(units), pose)
    rest = head.rest_vertices(betas)
    centre, focal = ((0.0, 0.015, 0.03), 3.2) if zoom is None else ((zoom[0], zoom[1], 0.1), zoom[2])
    rotation = yaw_pitch(*view)
    arrays = [x.double().numpy() for x in (posed, rest)]
    image, _, _ = shade(
        *arrays, head.faces.numpy(), head.face_part.numpy(), colours, rotation, size, 3, centre, focal
    )
    tile = Image.fromarray(image)
    draw = ImageDraw.Draw(tile)
    if dots:
        turned = (head.landmarks(posed).double().numpy() - np.array(centre)) @ rotation.T
        depth = 1 - turned[:, 2]
        for x, y in zip(
            size * (0.5 + focal * turned[:, 0] / depth), size * (0.5 - focal * turned[:, 1] / depth)
        ):
            draw.point([(x, y)], fill=(0, 90, 0))
    draw.text((4, 2), title, fill=(60, 60, 60))
    return tile
