"""Layers of the studio start: a part's points as every subject shows them, and how they give way to other parts."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from perse.avatar.start import (
    HIDDEN_LOGIT,
    OFFSET,
    OPACITY,
    SCALE,
    VALUES,
    VISIBLE_LOGIT,
    Known,
    LayerStart,
    Points,
    YieldStart,
)
from perse.dataset import LABEL_CODE, SubjectPoints
from perse.head import PARTS, vertex_normals
from perse.training._correspond import correspond
from perse.training._placed import Placed
from perse.training._surface import MIN_POINTS, logit_of
from perse.training._yields import Grid
from perse.training.subjects import SHARES
from perse.training.thinning import nearest_gap

if TYPE_CHECKING:
    from perse.training.starts import Context

HAIRY = ("hair", "beard", "eyebrows")
"""Labels whose long points are strands; a long disc elsewhere is a slim triangle of skin."""
MATCHED = 0.004
"""Metres within which hair under a hat is the hair that is there without it."""
MOVED = 0.030
"""Metres that pressed or tucked hair moves at most; what finds no place so near is hidden."""
HAIR_REACH = 0.015
"""Metres around the reference's hair within which its own giving way says what other hair does."""
COVER_ANGLE = 0.08
"""Radians (as seen from the skull's middle) from a hat's points within which it covers the hair."""
APART = {"hair": 0.35, "clothes": 0.4}
"""Categories whose points in the photo are a person's own, and their share of the layer."""
LONGER, WIDER = 2.0, 4.0
"""How much a piece of a strand may grow to stand for its neighbours."""
NO_LENGTH = 3e-4
"""Metres of standard deviation of a point of hair of no length."""
UNDER_SKIN = 0.002
"""Metres that hair of no length sinks below where it would begin."""


def joined(clouds: list[SubjectPoints]) -> SubjectPoints:
    """All points of several subjects."""
    names = SubjectPoints.__dataclass_fields__
    return SubjectPoints(**{n: torch.cat([getattr(c, n) for c in clouds]) for n in names})


def shape_of(scales: Tensor, labels: Tensor) -> Tensor:
    """Standard deviations [n, 3] over the gap: flat for discs, long for strands; axes as the maker's own."""
    order = scales.argsort(1, descending=True)
    sorted_scales = scales.gather(1, order)
    hairy = torch.isin(labels.long(), torch.tensor([LABEL_CODE[n] for n in HAIRY]))
    strand = hairy & (sorted_scales[:, 1] < 0.5 * sorted_scales[:, 0])
    hair = labels == LABEL_CODE["hair"]
    long = torch.where(
        hair[:, None], scales.new_tensor([0.8, 0.2, 0.2]), scales.new_tensor([0.5, 0.25, 0.25])
    )
    shape = torch.where(strand[:, None], long, scales.new_tensor([0.62, 0.62, 0.16]))
    return torch.zeros_like(scales).scatter(1, order, shape)


def is_hairy(cloud: SubjectPoints) -> bool:
    """Whether a part (a cloud of one label) is made of strands."""
    return len(cloud) > 0 and int(cloud.labels[0]) in [LABEL_CODE[n] for n in HAIRY]


# ---- a layer ----------------------------------------------------------------------------------------------


def layer_of(
    context: Context, category: str, subjects: list[int | None], clouds: list[SubjectPoints]
) -> LayerStart | None:
    """One category's points, and where and how each of its subjects has them; None if nobody shows the part.

    A subject without the part (a bald head) has all of them where the others' begin, tiny, hidden and under the skin.
    The person's own hair and clothes, which tell nothing of how they grew or were sewn, have points of their own: on
    the way to another look they fade where they are, while strands grow and garments appear.
    """
    shown = [i for i, cloud in enumerate(clouds) if len(cloud) >= MIN_POINTS]
    if not shown:
        return None
    budget = max(MIN_POINTS, int(context.points * SHARES[category]))
    own = [i for i in shown if subjects[i] is None and category in APART]
    others = [i for i in shown if i not in own]
    if not own or not others:
        return _layer(context, subjects, clouds, shown, budget)
    share = APART[category]
    layer = _layer(context, subjects, clouds, others, round(budget * (1 - share)))
    apart = _layer(context, subjects, clouds, own, round(budget * share), fades=True)
    if category not in HAIRY:
        for i in own:
            layer.known.values[i] = _faded(layer.known.values[others].mean(0))
    return _beside(layer, apart)


def _layer(
    context: Context,
    subjects: list[int | None],
    clouds: list[SubjectPoints],
    shown: list[int],
    budget: int,
    fades: bool = False,
) -> LayerStart:
    """The points of those that are `shown`; the other subjects have none of them."""
    hairy = is_hairy(clouds[shown[0]])
    placed, strands = correspond([clouds[i] for i in shown], budget, context.seed, hairy)
    some = [Shown.of(clouds[i], place) for i, place in zip(shown, placed)]
    some = some if hairy else shapes_lent(some)
    points, common = _common(context, [clouds[i] for i in shown], placed, some)
    values = torch.zeros(len(clouds), len(points), VALUES)
    for i, look in zip(shown, some):
        values[i] = look.values(common)
    nothing = _faded(values[shown].mean(0))
    if not fades:
        nothing[:, SCALE] = math.log(NO_LENGTH) - points.log_scales
        nothing[:, OFFSET] = _at_the_root(context, [clouds[i] for i in shown], placed) - points.means
    for i in set(range(len(clouds))) - set(shown):
        values[i] = nothing
    return LayerStart(points, Known(subjects, values), strands)


def shapes_lent(looks: list[Shown]) -> list[Shown]:
    """The same looks; what one hides has the shape there that the others show: a growing hood keeps its round."""
    there = torch.stack([look.there for look in looks])[..., None]
    first = looks[0].quats
    quats = torch.stack([_same_side(look.quats, first) for look in looks])
    log_scales = torch.stack([look.log_scales for look in looks])
    count = there.sum(0).clamp_min(1)
    mean_quats, mean_scales = ((values * there).sum(0) / count for values in (quats, log_scales))
    return [
        Shown(
            look.means,
            torch.where(shown, look.quats, mean_quats),
            torch.where(shown, look.log_scales, mean_scales),
            look.colors,
            look.weights,
            look.there,
        )
        for look, shown in zip(looks, there)
    ]


def _faded(values: Tensor) -> Tensor:
    """Values [n, 19], hidden."""
    hidden = values.clone()
    hidden[:, OPACITY] = HIDDEN_LOGIT
    return hidden


def _beside(first: LayerStart, second: LayerStart) -> LayerStart:
    """One layer of the points of two; those of the second lie on no strand."""
    points = Points(
        **{f.name: torch.cat([getattr(x.points, f.name) for x in (first, second)]) for f in fields(Points)}
    )
    values = torch.cat([first.known.values, second.known.values], 1)
    strands = first.strands
    if strands is not None:
        strands = torch.cat([strands, strands.new_full((len(second.points), 4), torch.nan)])
    return LayerStart(points, Known(first.known.subjects, values), strands)


class Shown:
    """What one subject shows of the common points."""

    def __init__(
        self, means: Tensor, quats: Tensor, log_scales: Tensor, colors: Tensor, weights: Tensor, there: Tensor
    ) -> None:
        self.means, self.quats, self.log_scales = means, quats, log_scales
        self.colors, self.weights, self.there = colors, weights, there

    @staticmethod
    def of(cloud: SubjectPoints, place: Placed) -> Shown:
        source = torch.from_numpy(place.source)
        means, there = torch.from_numpy(place.means).float(), torch.from_numpy(place.there)
        gap = np.full(len(means), 1e-3)
        gap[place.there] = nearest_gap(place.means[place.there])
        gap = np.minimum(gap, 2.5 * np.median(gap[place.there]))
        own = cloud[source]
        scales = _slim(shape_of(own.scales, own.labels) * torch.from_numpy(gap).float()[:, None], own)
        return Shown(
            means,
            torch.nn.functional.normalize(own.quats, dim=1),
            scales.log(),
            logit_of(_mean_colors(cloud, means, 4)),
            own.weights,
            there,
        )

    def values(self, common: Shown) -> Tensor:
        """[n, 19]: opacity and colour as they are, all else as differences from what is common."""
        opacity = torch.where(self.there, VISIBLE_LOGIT, HIDDEN_LOGIT)[:, None]
        quats = _same_side(self.quats, common.quats) - common.quats
        return torch.cat(
            [
                opacity,
                self.log_scales - common.log_scales,
                quats,
                self.colors,
                self.means - common.means,
                self.weights - common.weights,
            ],
            1,
        )


def _slim(scales: Tensor, own: SubjectPoints) -> Tensor:
    """Scales [n, 3], pieces of strands at most `LONGER` times as long and `WIDER` times as wide as the maker has them:
    between locks there is air, and a curl is not a ball."""
    told = own.strands.isfinite().all(1, keepdim=True) & is_hairy(own)
    longest = own.scales.amax(1, keepdim=True)
    limit = torch.where(own.scales == longest, LONGER * longest, WIDER * own.scales)
    return torch.where(told, torch.minimum(scales, limit), scales)


def _common(
    context: Context, clouds: list[SubjectPoints], placed: list[Placed], some: list[Shown]
) -> tuple[Points, Shown]:
    """The mean look."""
    first = some[0]

    def mean(name: str) -> Tensor:
        return torch.stack([getattr(look, name) for look in some]).mean(0)

    quats = torch.stack([_same_side(look.quats, first.quats) for look in some]).mean(0)
    common = Shown(
        mean("means"),
        quats,
        mean("log_scales"),
        mean("colors"),
        mean("weights"),
        torch.ones_like(first.there),
    )
    bindings = [_binding(context, cloud, place) for cloud, place in zip(clouds, placed)]
    points = Points(
        means=common.means,
        quats=common.quats,
        log_scales=common.log_scales,
        opacity=torch.full((len(common.means),), VISIBLE_LOGIT),
        colors=common.colors,
        labels=clouds[0].labels[torch.from_numpy(placed[0].source)].clone(),
        E=torch.stack([E for E, _ in bindings]).mean(0),
        P=torch.stack([P for _, P in bindings]).mean(0),
        W=common.weights,
    )
    return points, common


def _binding(context: Context, cloud: SubjectPoints, place: Placed) -> tuple[Tensor, Tensor]:
    """E [n, 3, 50] and P [n, 3, 36] of the head under the points; zero for what rides on no triangle."""
    own = cloud[torch.from_numpy(place.source)]
    rides = (own.face >= 0)[:, None, None].float()
    binding = context.head.interpolate(own.face.clamp_min(0), own.bary)
    return binding.E * rides, binding.P * rides


def _same_side(quats: Tensor, other: Tensor) -> Tensor:
    """The same rotations with the sign that is nearer to `other`."""
    return quats * torch.where((quats * other).sum(1, keepdim=True) < 0, -1.0, 1.0)


def _at_the_root(context: Context, clouds: list[SubjectPoints], placed: list[Placed]) -> Tensor:
    """[n, 3] where points go that have no length: to their strand's beginning, or to the head's nearest skin."""
    means = torch.stack([torch.from_numpy(place.means).float() for place in placed])
    begins = means.mean(0)
    for cloud, place in zip(clouds, placed):
        own = cloud.strands[torch.from_numpy(place.source)][:, :3]
        told = own.isfinite().all(1) & torch.from_numpy(place.there)
        begins = torch.where(told[:, None], own, begins)
    skin = context.rest_vertices[context.head.vertex_part == PARTS.index("skin")]
    normals = vertex_normals(context.rest_vertices, context.head.faces)[
        context.head.vertex_part == PARTS.index("skin")
    ]
    _, near = cKDTree(skin.numpy()).query(begins.numpy())
    index = torch.from_numpy(np.asarray(near))
    return skin[index] - UNDER_SKIN * normals[index]


def _mean_colors(cloud: SubjectPoints, places: Tensor, neighbours: int) -> Tensor:
    """Opacity-weighted mean colour of the nearest points. [n, 3]"""
    k = min(neighbours, len(cloud))
    _, nearest = cKDTree(cloud.means.numpy()).query(places.numpy(), k)
    index = torch.from_numpy(np.asarray(nearest).reshape(len(places), k))
    weight = cloud.opacities[index][..., None]
    return (cloud.colors[index] * weight).sum(1) / weight.sum(1)


# ---- giving way -------------------------------------------------------------------------------------------


def yield_of(
    context: Context,
    layer: LayerStart,
    own: SubjectPoints,
    subjects: list[int | None],
    hair: list[SubjectPoints],
    hats: list[SubjectPoints],
) -> YieldStart:
    """What happens to hair under each hat, by place.

    The reference's hair `own` does what the hat's subject `hair` shows: it stays, moves to a place near by, or is
    hidden. Where it has no hair, other hair is hidden if the hat covers the place.
    """
    reached = layer.points.means + layer.known.values[..., OFFSET]  # [S, n, 3]
    grid = Grid.around(reached.flatten(0, 1), [hat.means for hat in hats])
    values = [_given_way(context, grid, own, under, hat) for under, hat in zip(hair, hats)]
    return YieldStart(Known(subjects, torch.stack(values)), grid.low, grid.high)


def _given_way(
    context: Context, grid: Grid, own: SubjectPoints, under: SubjectPoints, hat: SubjectPoints
) -> Tensor:
    """[4, Z, Y, X]"""
    places = grid.corners()
    covered = _covered(context, places, hat)
    if len(under) >= MIN_POINTS:
        distance, _ = cKDTree(under.means.numpy()).query(places.numpy())
        covered &= torch.from_numpy(distance > MATCHED)
    value = torch.zeros(len(places), 4)
    value[covered, 0] = HIDDEN_LOGIT - VISIBLE_LOGIT
    if len(own) < MIN_POINTS:
        return grid.shaped(value)
    change = torch.zeros(len(own), 4)
    if len(under) < MIN_POINTS:
        change[:, 0] = HIDDEN_LOGIT - VISIBLE_LOGIT
    else:
        kept, _ = cKDTree(under.means.numpy()).query(own.means.numpy())
        new, _ = cKDTree(own.means.numpy()).query(under.means.numpy())
        gone, goals = kept > MATCHED, under.means[torch.from_numpy(new > MATCHED)]
        change[torch.from_numpy(gone), 0] = HIDDEN_LOGIT - VISIBLE_LOGIT
        if gone.any() and len(goals):
            at = torch.from_numpy(gone).nonzero().flatten()
            far, nearest = cKDTree(goals.numpy()).query(own.means[at].numpy())
            moves = torch.from_numpy(far < MOVED)
            change[at[moves], 0] = 0.0
            change[at[moves], 1:] = goals[torch.from_numpy(nearest)][moves] - own.means[at[moves]]
    told, weight = grid.spread(own.means, change)
    distance, _ = cKDTree(own.means.numpy()).query(places.numpy())
    near = torch.from_numpy(distance < HAIR_REACH)
    # Between the reference's hair and where nothing is known, the nearest hair says it.
    _, nearest = cKDTree(own.means.numpy()).query(places.numpy(), min(8, len(own)))
    around = change[torch.from_numpy(np.asarray(nearest).reshape(len(places), -1))].mean(1)
    told = torch.where(weight[:, None] > 0.5, told, around)
    return grid.shaped(torch.where(near[:, None], told, value))


def _covered(context: Context, points: Tensor, cover: SubjectPoints) -> Tensor:
    """Points [n] bool that a hat covers: it lies in their direction, seen from the middle of the skull."""
    if len(cover) < MIN_POINTS:
        return torch.zeros(len(points), dtype=torch.bool)
    rest = context.rest_vertices
    middle = rest[(context.head.vertex_part == PARTS.index("skin")) & (rest[:, 1] > 0)].mean(0)
    normalize = torch.nn.functional.normalize
    tree = cKDTree(normalize(cover.means - middle, dim=1).numpy())
    distance, _ = tree.query(normalize(points - middle, dim=1).numpy())
    return torch.from_numpy(distance < COVER_ANGLE)
