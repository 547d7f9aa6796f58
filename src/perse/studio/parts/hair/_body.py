"""What hair slides over: head, neck and shoulders, with ears as smooth bumps."""

from __future__ import annotations

import numpy as np

from perse.studio.parts._sitter import Array, Body, Sitter, unit

EAR_RADII = np.array([0.013, 0.033, 0.020])


def hair_body(sitter: Sitter, dressed: bool) -> Body:
    """The surface that strands may not enter.

    An ear is replaced by half an ellipsoid: its folds would send every strand another way.
    """
    body = sitter.dressed_body if dressed else sitter.body
    points, normals = body.points, body.normals
    for side in (1.0, -1.0):
        centre = _ear_foot(sitter, side)
        inside = (points[:, 0] - centre[0]) * side > -0.001
        inside &= (np.abs(points[:, 1] - centre[1]) < 0.040) & (np.abs(points[:, 2] - centre[2]) < 0.030)
        bump, out = _half_ellipsoid(side)
        points = np.concatenate([points[~inside], centre + bump])
        normals = np.concatenate([normals[~inside], out])
    return Body(points, normals)


def _ear_foot(sitter: Sitter, side: float) -> Array:
    """[3] the middle of where an ear grows out of the head."""
    t = sitter.template[sitter.skin_vertices]
    ear = (t[:, 0] * side > 0.0695) & (t[:, 1] > sitter.eye[1] - 0.062) & (t[:, 1] < sitter.eye[1] + 0.03)
    ear &= (t[:, 2] > -0.03) & (t[:, 2] < 0.045)
    points = sitter.rest[sitter.skin_vertices][ear]
    middle = (points.min(0) + points.max(0)) / 2
    middle[0] = side * np.abs(points[:, 0]).min()
    return middle


def _half_ellipsoid(side: float, rows: int = 9, columns: int = 24) -> tuple[Array, Array]:
    """Points and outward normals [N, 3] of the outer half of an ear-sized ellipsoid."""
    polar = np.linspace(0.02, np.pi / 2, rows)[:, None]
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    sphere = np.stack(
        [side * np.cos(polar) + 0 * around, np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around)],
        -1,
    ).reshape(-1, 3)
    return sphere * EAR_RADII, unit(sphere / EAR_RADII)
