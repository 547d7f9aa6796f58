"""The bare head: its own vertices, subdivided, in one plain colour; every category may change every point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from perse.avatar.start import VISIBLE_LOGIT, ActionStart, Known, Points, Start
from perse.dataset import CATEGORIES, LABEL_CODE
from perse.head import PARTS, Head
from perse.training.thinning import nearest_gap

if TYPE_CHECKING:
    from perse.training.starts import Context

PLAIN_COLOR = (0.82, 0.69, 0.58)
DISC, FLATNESS = 0.56, 0.16
"""Standard deviations over the gap to the neighbours: along the surface, and across."""


def start_from_head(context: Context) -> Start:
    """Points of the head alone (Eq. 17); actions of all categories reach everywhere and know nothing."""
    base = head_points(context, context.points)
    everywhere = torch.arange(len(base))
    actions = {c: ActionStart(everywhere.clone(), Known([], torch.zeros(0))) for c in CATEGORIES}
    return Start(base, {}, actions, {}, "head")


def head_points(context: Context, count: int) -> Points:
    """About `count` points spread over the portrait-shaped head by area, without the lashes."""
    head, rest = context.head, context.rest_vertices
    usable = head.face_part != PARTS.index("lashes")
    corners = rest[head.faces]  # [F, 3, 3]
    cross = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = cross.norm(dim=1) * usable
    generator = torch.Generator().manual_seed(context.seed)
    face, bary = sample_surface(area, count, generator)
    means = (corners[face] * bary[..., None]).sum(1)
    normals = torch.nn.functional.normalize(cross[face], dim=1)
    gap = torch.from_numpy(nearest_gap(means.numpy())).float()
    binding = head.interpolate(face, bary)
    return Points(
        means=means,
        quats=quaternion_of_normal(normals),
        log_scales=(gap[:, None] * gap.new_tensor([DISC, DISC, FLATNESS])).log(),
        opacity=torch.full((len(means),), VISIBLE_LOGIT),
        colors=torch.logit(torch.tensor(PLAIN_COLOR)).expand(len(means), 3).clone(),
        labels=labels_of_faces(head)[face],
        E=binding.E,
        P=binding.P,
        W=binding.W,
    )


def sample_surface(area: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Triangles [count] and barycentric coordinates [count, 3], stratified by area."""
    total = area.double().cumsum(0)
    places = (
        torch.arange(count, dtype=torch.float64) + torch.rand(count, generator=generator).double()
    ) / count
    face = torch.searchsorted(total, places * total[-1]).clamp_max(len(area) - 1)
    u, v = torch.rand(2, count, generator=generator).unbind(0)
    flip = u + v > 1
    u, v = torch.where(flip, 1 - u, u), torch.where(flip, 1 - v, v)
    return face, torch.stack([1 - u - v, u, v], 1)


def quaternion_of_normal(normals: Tensor) -> Tensor:
    """A rotation [N, 4] (wxyz) that takes z to each unit normal [N, 3]."""
    x, y, z = normals.unbind(1)
    # Half-way between z and the normal; straight down needs any axis across.
    down = z < -0.999999
    quats = torch.stack([1 + z, -y, x, torch.zeros_like(x)], 1)
    quats = torch.where(down[:, None], quats.new_tensor([0.0, 1.0, 0.0, 0.0]), quats)
    return torch.nn.functional.normalize(quats, dim=1)


def labels_of_faces(head: Head) -> Tensor:
    """Part label of every triangle of the head. [F] uint8"""
    names = {
        "left_eye": "eyes",
        "right_eye": "eyes",
        "upper_teeth": "mouth_interior",
        "lower_teeth": "mouth_interior",
        "tongue": "mouth_interior",
    }
    table = [LABEL_CODE[names.get(part, "skin")] for part in PARTS]
    return torch.tensor(table, dtype=torch.uint8)[head.face_part]
