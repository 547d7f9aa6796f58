"""Points that belong together: strands by their beginnings, everything else by transport."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from perse.avatar.start import OFFSET, OPACITY, SCALE, Known
from perse.dataset import SubjectPoints
from perse.training._between_start import Way, _beyond, _crossed, _weights_of
from perse.training._correspond import Strands, correspond, pair_up
from perse.training._yields import Grid
from synthetic import grey_points, small_model


def hair(length: float, strands: int = 300, pieces: int = 12) -> SubjectPoints:
    """Straight strands that hang from a disc; every look has the same beginnings."""
    rng = np.random.default_rng(0)
    begins = np.concatenate([rng.uniform(-0.05, 0.05, (strands, 2)), np.full((strands, 1), 0.1)], 1)[
        :, [0, 2, 1]
    ]
    along = (np.arange(pieces) + 0.5) / pieces
    means = begins[:, None] - np.array([0, length, 0]) * along[None, :, None]
    told = np.concatenate([np.repeat(begins, pieces, 0), np.tile(along, strands)[:, None]], 1)
    return grey_points("hair", means.reshape(-1, 3), told)


def test_a_blend_of_strands_grows() -> None:
    """Half way between short and long hair every point must lie half way down the same strand."""
    short, long = hair(0.02), hair(0.30)
    placed, told = correspond([short, long], 900, 0)
    assert told is not None
    assert 500 < len(told) <= 900
    half = (placed[0].means + placed[1].means) / 2
    expected = told[:, :3].numpy() - np.array([0, 0.16, 0]) * told[:, 3:].numpy()
    assert np.abs(half - expected).max() < 1e-3
    for look, cloud in zip(placed, (short, long)):
        assert look.there.all()
        assert np.linalg.norm(cloud.means.numpy()[look.source] - look.means, axis=1).max() < 0.03


def test_a_strand_that_a_look_lacks_is_not_there() -> None:
    """A shaved side must not borrow strands from the other side."""
    full = hair(0.1)
    shaved = full[full.strands[:, 0] > 0.0]
    begins, along = full.strands[:, :3].numpy().astype(float), full.strands[:, 3].numpy().astype(float)
    placed = Strands(shaved).place(begins, along)
    assert placed.there[begins[:, 0] > 0].all()
    assert not placed.there[begins[:, 0] < -0.02].any()


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 900), st.integers(0, 1000))
def test_pairing_is_a_permutation_that_finds_a_moved_cloud(count: int, seed: int) -> None:
    """Every point gets a partner of its own; a cloud that was only shifted a little gets itself back."""
    rng = np.random.default_rng(seed)
    cloud = rng.normal(size=(count, 3))
    order = rng.permutation(count)
    found = pair_up(cloud + 1e-9, cloud[order])
    assert sorted(found) == list(range(count))
    assert np.abs(cloud[order][found] - cloud).max() < 1e-6


def test_clouds_without_strands_are_both_covered() -> None:
    """A round hat and a tall one: points lie everywhere on either, and go no further than one is from the other."""
    rng = np.random.default_rng(0)
    base = hair(0.1)
    base.strands[:] = torch.nan
    ball = (
        torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(len(base), 3))).float(), dim=1) * 0.1
    )
    a, b = (
        SubjectPoints(**{**vars(base), "means": ball * torch.tensor(size)})
        for size in ([1, 1, 1.0], [1, 1.5, 1])
    )
    placed, told = correspond([a, b], 1000, 0)
    assert told is None
    assert 700 < len(placed[0].means) <= 1000
    gap = np.median(cKDTree(np.unique(placed[0].means, axis=0)).query(placed[0].means, 2)[0][:, 1])
    for look, cloud in zip(placed, (a, b)):
        assert cKDTree(look.means).query(cloud.means.numpy())[0].max() < 3 * gap
        assert np.abs(cloud.means.numpy()[look.source] - look.means).max() < 1e-6
    assert np.linalg.norm(placed[0].means - placed[1].means, axis=1).max() < 0.05 + 2 * gap


def test_points_stay_where_two_garments_lie_on_the_same_shoulders() -> None:
    """A blend of a striped and a plain sweater must change colour in place: its points move by about their gap, except
    those that a collar needs, which only one of them has."""
    rng = np.random.default_rng(0)
    flat = rng.uniform(-0.2, 0.2, (12000, 2))
    shoulders = np.stack([flat[:, 0], -(flat[:, 0] ** 2), flat[:, 1]], 1)
    collar = np.stack(
        [0.06 * np.cos(a := rng.uniform(0, 6.28, 1500)), rng.uniform(0.0, 0.05, 1500), 0.06 * np.sin(a)], 1
    )
    sweaters = [shoulders[:6000], np.concatenate([shoulders[6000:], collar])]
    base = hair(0.1, strands=650)
    base.strands[:] = torch.nan
    looks = [
        SubjectPoints(**{**vars(base[: len(means)]), "means": torch.from_numpy(means).float()})
        for means in sweaters
    ]
    placed, _ = correspond(looks, 1500, 0)
    first, second = (look.means for look in placed)
    moved = np.linalg.norm(first - second, axis=1)
    gap = np.median(cKDTree(first).query(first, 2)[0][:, 1])
    assert np.median(moved) < gap
    assert moved.max() < 0.06 + 2 * gap
    assert ((np.hypot(second[:, 0], second[:, 2]) < 0.065) & (second[:, 1] > 0.01)).sum() > 50


def test_a_point_across_a_parting_is_hidden_on_the_way_not_flung() -> None:
    """Half way between two looks a point may find its strand on the other side of the head."""
    linear, shown = torch.zeros(3, 19), torch.zeros(3, 19)
    linear[:, OPACITY] = 2.0
    shown[:, OPACITY] = 3.0
    shown[0, OFFSET] = torch.tensor([0.03, 0.0, 0.0])
    shown[1, OFFSET] = torch.tensor([0.12, 0.0, 0.0])
    shown[1, SCALE] = 1.0
    drawn = linear + _beyond(shown, linear)
    assert torch.equal(drawn[[0, 2]], shown[[0, 2]])
    assert float(drawn[1, OPACITY]) < -2
    assert torch.equal(drawn[1, OFFSET], linear[1, OFFSET])
    assert torch.equal(drawn[1, SCALE], linear[1, SCALE])


def test_the_person_s_own_hair_fades_where_it_is() -> None:
    """Hair of a photo tells no strands: sent to the strands of another look, its points would cross the air."""
    layer = small_model("basis")[1].layers["hair"]
    own = layer.known.subjects.index(None)
    shows = layer.known.values[:, :, OPACITY.start] > 0
    alone = shows[own]
    others = [i for i in range(len(shows)) if i != own and shows[i].any()]
    assert others
    assert alone.any()
    for i in others:
        assert not (shows[i] & alone).any(), "a point that both show"
        assert torch.equal(layer.known.values[i, alone][:, OFFSET], layer.known.values[own, alone][:, OFFSET])
    assert 0.2 < float(alone.float().mean()) < 0.6


def test_what_has_no_points_in_common_is_never_gone_half_way() -> None:
    """Two garments that fade as logits do would both be all but gone between them."""
    ends = torch.zeros(2, 4, 19)
    ends[:, :, OPACITY] = torch.tensor([[2.5, 2.5, -6.0, 2.5], [2.5, -6.0, 2.5, -6.0]])[..., None]
    known = Known([None, 7], ends)

    def covered(weight: float) -> torch.Tensor:
        way = Way(lambda _: pytest.fail("no codes are needed"), (None, 7), weight, hair(0.1))
        crossed = _crossed(known, way, ends[0] * (1 - weight) + ends[1] * weight)
        assert crossed is not None
        return crossed[:, OPACITY][:, 0].sigmoid()

    half = covered(0.5)
    assert float(half.min()) > 0.6
    first = torch.stack([covered(w)[1] for w in (0.1, 0.5, 0.9)])
    assert (first.diff() < 0).all(), "what goes, goes"
    second = torch.stack([covered(w)[2] for w in (0.1, 0.5, 0.9)])
    assert (second.diff() > 0).all(), "what comes, comes"


def test_a_way_speaks_for_the_weights_that_no_other_shows() -> None:
    """A pair shown at two weights: each is asked for what is nearer to it, and for itself."""

    def way(ends: tuple[int | None, int | None], weight: float) -> Way:
        return Way(lambda _: pytest.fail("no codes are needed"), ends, weight, hair(0.1))

    ways = [way((0, 1), 2 / 6), way((0, 1), 5 / 6), way((0, 2), 0.4)]
    assert _weights_of(ways[0], ways) == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    assert _weights_of(ways[1], ways) == pytest.approx([4 / 6, 5 / 6])
    assert _weights_of(ways[2], ways) == pytest.approx([1 / 6, 2 / 6, 0.4, 3 / 6, 4 / 6, 5 / 6])


def test_values_on_a_grid_come_back_where_they_were_put() -> None:
    """What is spread on a yield's grid must be what a point there reads from it."""
    from perse.avatar.fields.basis import Yield

    points = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) * 0.2
    grid = Grid.around(points, [])
    values = torch.stack([points[:, 0], points[:, 1], points[:, 2], torch.ones(len(points))], 1)
    told, weight = grid.spread(points, values)
    told[weight == 0, 3] = 1.0
    module = Yield(rank=2)
    with torch.no_grad():
        module.shift.copy_(grid.shaped(told))
        module.low.copy_(grid.low)
        module.high.copy_(grid.high)
        inner = points[((points > 0.03) & (points < 0.17)).all(1)]
        read = module.at(inner, torch.zeros(2))
    assert float((read[:, :3] - inner).abs().mean()) < 0.006
    assert float((read[:, 3] - 1).abs().max()) < 1e-4
