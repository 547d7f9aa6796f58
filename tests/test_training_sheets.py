"""Places on hats and cloth: told by the studio, shared between looks, and where a look goes that lacks them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perse.dataset import LABEL_CODE, Attribute, SubjectPoints
from perse.studio import parts
from perse.studio.puppet import Puppet
from perse.training._correspond import correspond
from perse.training._layers import Shown, shapes_lent
from perse.training._sheets import BESIDE, Sheets
from synthetic import grey_points
from test_studio_parts import plain_puppet

STEP = 0.002


def cloth(edge: float, collar: float = 0.0) -> SubjectPoints:
    """A curtain in the plane z = 0 from y = -0.1 up to `edge`, and a collar of that height standing on it."""
    x, y = np.meshgrid(np.arange(-0.05, 0.05, STEP), np.arange(-0.1, edge, STEP))
    body = np.stack([x, y, 0 * x], -1).reshape(-1, 3)
    told = np.c_[body, np.zeros(len(body))]
    if collar:
        x, share = np.meshgrid(np.arange(-0.05, 0.05, STEP), np.linspace(0, 1, 20))
        up = np.stack([x, edge + share * collar, 0 * x + 0.003], -1).reshape(-1, 3)
        places = np.stack([0 * x + 77, x, share * 0.1, 0 * x], -1).reshape(-1, 4)
        body, told = np.concatenate([body, up]), np.concatenate([told, places])
    return grey_points("clothes", body, told)


def half_way(*looks: SubjectPoints) -> tuple[np.ndarray, torch.Tensor]:
    placed, told = correspond(list(looks), 1200, 0, hairy=False)
    assert told is not None
    for look in placed:
        waiting, seen = look.means[~look.there], look.means[look.there]
        assert not len(waiting) or np.linalg.norm(waiting[:, None] - seen[None], axis=2).min(1).max() == 0
    return (placed[0].means + placed[1].means) / 2, told


def test_a_neckline_moves() -> None:
    """Half way between a low neckline and a high one every thread must end half way up: a straight edge, no fringe."""
    means, _ = half_way(cloth(-0.03), cloth(0.03))
    assert means[:, 1].max() < BESIDE
    edge = [means[np.abs(means[:, 0] - x) < 0.006, 1].max() for x in np.linspace(-0.04, 0.04, 9)]
    assert np.ptp(edge) < 2 * BESIDE
    assert np.abs(means[:, 2]).max() < 1e-6


def test_a_collar_grows_out_of_the_neckline() -> None:
    """Half way to a turtleneck stands half a turtleneck, with nothing loose beside it."""
    means, told = half_way(cloth(0.0), cloth(0.0, collar=0.06))
    collar = told[:, 0].numpy() > 1
    assert collar.sum() > 100
    share = told[collar, 2].numpy() / 0.1
    assert np.abs(means[collar, 1] - 0.03 * share).max() < 0.004
    bare = cloth(0.0)
    assert np.abs(means[~collar] - told[~collar, :3].numpy()).max() < 1e-3
    assert np.linalg.norm(means[~collar][:, None] - bare.means.numpy()[None], axis=2).min(1).max() < STEP


def test_places_between_those_that_are_told() -> None:
    """A look is asked for places that another look's points have; those beyond its edge it has not."""
    look = Sheets(cloth(0.0))
    places = np.array([[0.0111, -0.0333, 0.0], [0.0, 0.02, 0.0], [77.0, 0.0, 0.05]])
    placed = look.place(places, np.zeros(3))
    assert placed.there.tolist() == [True, False, False]
    assert np.abs(placed.means[0] - places[0]).max() < STEP / 2


@pytest.fixture(scope="module")
def plain() -> Puppet:
    return plain_puppet()


def test_what_is_hidden_keeps_its_shape() -> None:
    """Half a hood is round like a whole one: its points must not lie down on the cloth that they wait in."""
    flat, upright = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0.7071, 0.7071, 0, 0])
    looks = []
    for quat, size, there in ((flat, -7.0, [True, False]), (upright, -5.0, [True, True])):
        looks.append(
            Shown(
                torch.zeros(2, 3),
                quat.repeat(2, 1),
                torch.full((2, 3), size),
                torch.zeros(2, 3),
                torch.zeros(2, 5),
                torch.tensor(there),
            )
        )
    first, second = shapes_lent(looks)
    assert torch.equal(first.quats, torch.stack([flat, upright]))
    assert first.log_scales[:, 0].tolist() == [-7.0, -5.0]
    assert torch.equal(second.quats, looks[1].quats)


PAIRS = {
    "hat": ("a blue knitted beanie", "a black fedora"),
    "clothes": ("a green turtleneck", "a grey hoodie"),
    "headphones": ("black over-ear headphones", "a black gaming headset"),
    "earrings": ("large gold hoop earrings", "small gold hoop earrings"),
}


@pytest.mark.parametrize("category", PAIRS)
def test_the_studio_tells_places(plain: Puppet, category: str) -> None:
    """Everything solid tells its places, each once, and like looks of a part have many in common."""
    told = []
    for words in PAIRS[category]:
        edited = plain.copy()
        parts.apply(edited, Attribute(category, f"a person wearing {words}"), 0, detail=0.5)
        points = edited.rest_points()
        own = points.strands[points.labels == LABEL_CODE[category]]
        assert own.isfinite().all(), f"{words}: a sheet without a name"
        assert len(torch.unique(own[:, :3], dim=0)) > 0.98 * len(own)
        told.append({tuple(row) for row in own[:, :3].tolist()})
    assert len(told[0] & told[1]) > 0.3 * min(len(told[0]), len(told[1]))
