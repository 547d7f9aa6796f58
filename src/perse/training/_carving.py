"""Carving a part out of labelled frames: which places around the head can hold it, in every subject at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from perse.dataset import LABEL_CODE
from perse.head import PARTS, Binding, quaternion_to_matrix, skin, vertex_normals

if TYPE_CHECKING:
    from perse.training.starts import Context

HEAD_LABELS = tuple(LABEL_CODE[n] for n in ("skin", "eyes", "mouth_interior", "nose", "lips"))
RIGID = ("hair", "hat", "headphones")
"""Parts that turn with the skull and follow no expression."""


@dataclass(frozen=True)
class Reach:
    """Where a part is looked for."""

    spacing: float
    """Grid spacing in pixels of a frame."""
    distance: float
    """Metres from the head."""


REACHES = {
    "hair": Reach(4.0, 0.06),
    "beard": Reach(2.3, 0.03),
    "hat": Reach(3.3, 0.045),
    "headphones": Reach(3.0, 0.05),
    "eyebrows": Reach(1.3, 0.006),
    "clothes": Reach(2.7, 0.02),
    "earrings": Reach(1.6, 0.03),
}
INSIDE = 3e-4
"""Metres above the skin at which outside begins."""
MAX_BACKGROUND, MAX_SKIN_SHARE, MIN_HITS = 1, 0.15, 3
"""A voxel may fall on background in one frame, on visible skin in 15 % of those that face it, and must fall on its
label in three."""
FACING = 0.3
"""Cosine between a normal and the view from which the skin under a voxel counts as seen."""


@dataclass(frozen=True)
class Carved:
    """The voxels that at least one subject shows."""

    means: Tensor
    """[n, 3]"""
    normals: Tensor
    """[n, 3] of the skin below."""
    binding: Binding
    occupied: Tensor
    """[S, n] bool: who shows it."""
    colors: Tensor
    """[S, n, 3] mean colour where it is seen."""
    spacing: float
    """Metres between voxels."""


def carve(context: Context, category: str, subjects: list[int]) -> Carved | None:
    """Carve `category` for the numbered subjects of the dataset; None if nobody shows any."""
    grid = _grid(context, category, subjects)
    if grid is None:
        return None
    means, normals, inside, shape, spacing = grid
    outside = ~inside
    candidates = outside.nonzero().flatten()
    x, n = means[candidates], normals[candidates]
    binding = bind(context, x, category)
    occupied, colors = [], []
    for kept, color in _vote(context, x, n, binding, subjects, LABEL_CODE[category]):
        volume = torch.zeros(len(means), dtype=torch.bool)
        volume[candidates[kept]] = True
        occupied.append(_hull(volume, inside, shape)[candidates])
        colors.append(color)
    occ = torch.stack(occupied)
    union = occ.any(0)
    if int(union.sum()) == 0:
        return None
    part = Binding(binding.E[union], binding.P[union], binding.W[union])
    return Carved(x[union], n[union], part, occ[:, union], torch.stack(colors)[:, union], spacing)


def bind(context: Context, points: Tensor, category: str) -> Binding:
    """How voxels of a category move: with the skull, or with the nearest skin."""
    if category in RIGID:
        W = torch.zeros(len(points), 5)
        W[:, 1] = 1
        return Binding(torch.zeros(len(points), 3, 50), torch.zeros(len(points), 3, 36), W)
    tree, vertices = _skin_tree(context)
    distance, nearest = tree.query(points.numpy(), 3)
    weight = torch.from_numpy(1 / (distance + 1e-4)).float()
    weight = weight / weight.sum(1, keepdim=True)
    index = vertices[torch.from_numpy(nearest)]  # [n, 3]
    head = context.head
    posedirs = head.posedirs.unflatten(-1, (-1, 3)).permute(1, 2, 0)  # [V, 3, 36]

    def mean(values: Tensor) -> Tensor:
        return torch.einsum("nk,nk...->n...", weight, values[index])

    return Binding(mean(head.expdirs), mean(posedirs), mean(head.lbs_weights))


def project(
    context: Context, points: Tensor, normals: Tensor, binding: Binding, frame: int
) -> tuple[Tensor, ...]:
    """Pixel column, row, depth, facing (cosine towards the camera) and whether it is in the picture, each [n]."""
    motion = context.dataset.motion
    joints = context.head.joints(context.dataset.portrait.betas)
    posed, quats = skin(
        points, binding.E, binding.P, binding.W, joints, motion.expr[frame], motion.pose[frame]
    )
    camera = motion.camera(context.dataset.camera)
    viewmat, K = camera.viewmat if camera.viewmat.ndim == 2 else camera.viewmat[frame], camera.K
    seen = posed @ viewmat[:3, :3].T + viewmat[:3, 3]
    uv = seen @ K.T
    size = context.dataset.size
    column, row = (uv[:, :2] / uv[:, 2:]).floor().long().unbind(1)
    framed = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    column, row = column.clamp(0, size - 1), row.clamp(0, size - 1)
    turned = (quaternion_to_matrix(quats) @ normals[..., None])[..., 0] @ viewmat[:3, :3].T
    facing = -(turned * torch.nn.functional.normalize(seen, dim=1)).sum(1)
    return column, row, seen[:, 2], facing, framed


def frames_of(context: Context) -> list[int]:
    """The training frames that are looked at: 20 at most, spread evenly."""
    frames = context.dataset.train_indices.tolist()
    return frames[:: max(1, len(frames) // 20)][:20]


def _skin_tree(context: Context) -> tuple[cKDTree, Tensor]:
    vertices = (context.head.vertex_part == PARTS.index("skin")).nonzero().flatten()
    return cKDTree(context.rest_vertices[vertices].numpy()), vertices


def _grid(
    context: Context, category: str, subjects: list[int]
) -> tuple[Tensor, Tensor, Tensor, tuple[int, ...], float] | None:
    """A grid over the part's surroundings: points, normals of the nearest skin, inside flags, shape, spacing.

    Points too far from the head count as inside nothing and are dropped by marking them inside.
    """
    reach = REACHES[category]
    spacing = reach.spacing * context.pixel
    tree, vertices = _skin_tree(context)
    rest = context.rest_vertices
    normals = vertex_normals(rest, context.head.faces)[vertices]
    anchors = _anchors(context, category, subjects, vertices, normals)
    if int(anchors.sum()) == 0:
        return None
    places = rest[vertices][anchors]
    low, high = places.amin(0) - reach.distance, places.amax(0) + reach.distance
    axes = [torch.arange(float(a), float(b), spacing) for a, b in zip(low, high)]
    shape = tuple(len(a) for a in axes)
    means = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    distance, nearest = tree.query(means.numpy(), distance_upper_bound=reach.distance)
    near = torch.from_numpy(np.isfinite(distance))
    index = torch.from_numpy(np.where(np.isfinite(distance), nearest, 0))
    normal = normals[index]
    height = ((means - rest[vertices][index]) * normal).sum(1)
    return means, normal, ~(near & (height > INSIDE)), shape, spacing


def _anchors(
    context: Context, category: str, subjects: list[int], vertices: Tensor, normals: Tensor
) -> Tensor:
    """Skin vertices that fall on the part's label somewhere. [n] bool"""
    rest = context.rest_vertices[vertices]
    binding = bind(context, rest, "beard")
    hit = torch.zeros(len(vertices), dtype=torch.bool)
    for frame in frames_of(context):
        column, row, _, _, framed = project(context, rest, normals, binding, frame)
        for subject in subjects:
            hit |= framed & (
                context.dataset.frame(subject, frame).labels[row, column] == LABEL_CODE[category]
            )
    return hit


@dataclass
class _Votes:
    """What one subject's frames say about each of n candidates."""

    hits: Tensor
    background: Tensor
    on_skin: Tensor
    weight: Tensor
    color: Tensor

    @staticmethod
    def none(n: int) -> _Votes:
        return _Votes(torch.zeros(n), torch.zeros(n), torch.zeros(n), torch.zeros(n), torch.zeros(n, 3))


def _vote(
    context: Context, x: Tensor, normals: Tensor, binding: Binding, subjects: list[int], code: int
) -> list[tuple[Tensor, Tensor]]:
    """For every subject, which candidates its frames allow [n], and their mean colour [n, 3]."""
    votes = [_Votes.none(len(x)) for _ in subjects]
    faced = torch.zeros(len(x))
    head_labels = torch.tensor(HEAD_LABELS)
    for frame in frames_of(context):
        column, row, _, facing, framed = project(context, x, normals, binding, frame)
        seen = (framed & (facing > FACING)).float()
        faced += seen
        for subject, vote in zip(subjects, votes):
            picture = context.dataset.frame(subject, frame)
            label = picture.labels[row, column].long()
            inside = (framed & (label == code)).float()
            vote.hits += inside
            vote.background += (framed & (label == 0)).float()
            vote.on_skin += seen * torch.isin(label, head_labels).float()
            share = inside * (0.2 + seen)
            vote.weight += share
            vote.color += picture.rgb[row, column].float() / 255 * share[:, None]
    results = []
    for vote in votes:
        kept = (vote.background <= MAX_BACKGROUND) & (vote.hits >= MIN_HITS)
        kept &= vote.on_skin <= MAX_SKIN_SHARE * faced + 0.5
        results.append((kept, vote.color / vote.weight.clamp_min(1e-6)[:, None]))
    return results


def _hull(volume: Tensor, inside: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Voxels of the volume with a free neighbour; what lies within is never seen."""
    solid, full = volume.reshape(shape), (volume | inside).reshape(shape)
    surface = torch.zeros_like(solid)
    for axis in range(3):
        for step in (1, -1):
            surface |= solid & ~torch.roll(full, step, axis)
    return surface.reshape(-1)
