"""Hats, headphones, earrings and garments: clear of the body, within budget, and continuous between any two looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perse.dataset.vocabulary import Vocabulary
from perse.studio import parts
from perse.studio.parts import clothes, earrings, hat, headphones
from perse.studio.parts._fabric import GIRTH, FabricParams, swatch
from perse.studio.parts._garment_kinds import KINDS as GARMENTS
from perse.studio.parts._hat_kinds import KINDS as HATS
from perse.studio.parts._hat_seat import Seat
from perse.studio.parts._neckline import Edge, contours
from perse.studio.parts._sitter import Sitter
from perse.studio.parts._worn import at_angle, ear_lobe
from perse.studio.puppet import Puppet
from test_studio_parts import plain_puppet, rest_means

DETAIL = 0.06
BUDGET = 60_000
VOCABULARY = Vocabulary()
MODULES = {"hat": hat, "headphones": headphones, "earrings": earrings, "clothes": clothes}
PAIRS = [
    ("hat", "blue knitted beanie", "black fedora"),
    ("hat", "red baseball cap", "straw sun hat"),
    ("hat", "white turban", "gold crown"),
    ("headphones", "black over-ear", "red gaming"),
    ("headphones", "white wireless", "blue neckband"),
    ("earrings", "small gold hoop", "large silver hoop"),
    ("earrings", "pearl drop", "ruby chandelier"),
    ("clothes", "red striped crew-neck", "green v-neck"),
    ("clothes", "navy suit", "brown blazer"),
    ("clothes", "white turtleneck", "grey hoodie"),
]


@pytest.fixture(scope="module")
def plain() -> Puppet:
    """One puppet for all; every edit gets a copy."""
    return plain_puppet()


def built(plain: Puppet, category: str, params: parts.Params) -> torch.Tensor:
    """Means, colours [N, 6] at rest of what a look adds."""
    puppet = plain.copy()
    parts.build(puppet, category, params, 0, detail=DETAIL)
    names = [name for name in puppet.groups if name.startswith(("hat", "headphones", "earrings", "garment"))]
    points = puppet.rest_points(names)
    return torch.cat([points.means, points.colors], 1)


@pytest.mark.parametrize(("category", "first", "second"), PAIRS, ids=lambda x: str(x).replace(" ", "-"))
def test_morphs_are_continuous(plain: Puppet, category: str, first: str, second: str) -> None:
    """A failure means that a morph between two looks jumps, or that its points lose their partners."""
    a = parts.params_of(VOCABULARY.parse(first, category))
    b = parts.params_of(VOCABULARY.parse(second, category))
    at = built(plain, category, a.mix(b, 0.50))
    near = built(plain, category, a.mix(b, 0.505))
    assert at.shape == near.shape
    moved = (at - near)[:, :3].norm(dim=1)
    assert float(moved.quantile(0.99)) < 0.002
    assert float(moved.max()) < 0.012
    assert float((at - near)[:, 3:].abs().mean()) < 0.02


@pytest.mark.parametrize("kind", HATS)
def test_hats_stay_outside_the_head(plain: Puppet, kind: str) -> None:
    """A failure means a skull that shows through its hat."""
    puppet = plain.copy()
    hat.build(puppet, HATS[kind], 0, DETAIL)
    sitter = Sitter(puppet)
    seat = Seat(sitter, HATS[kind].front, HATS[kind].back)
    means = puppet.groups["hat"].means.numpy().astype(float)
    angle, radius, height = seat.cylinder(means)
    crown = (height > 0.012) & (height < 0.06)
    skull = seat.cylinder(seat.skull)
    above = skull[2] > -0.01
    widest = np.abs(skull[1][above]).max()
    assert crown.any()
    assert float((radius[crown] - 0.75 * at_angle(seat.head, angle[crown])).min()) > 0
    assert float(radius.max()) > 0.98 * widest
    if HATS[kind].reach == 1.0:
        top = means[:, 1].max()
        assert top > seat.skull[:, 1].max()


def test_open_hats_leave_the_hair_on_top(plain: Puppet) -> None:
    """A failure means that a headband or a crown shaves the head."""
    brow = float(plain.rest_landmarks()[9, 1])
    for words in ("red headband", "white visor"):
        puppet = plain.copy()
        parts.apply(puppet, VOCABULARY.parse(words, "hat"), 0, detail=DETAIL)
        assert bool((rest_means(puppet, "hair")[:, 1] > brow + 0.07).any())


@pytest.mark.parametrize("kind", ["stud", "drop", "chandelier", "tassel", "feather", "hoop"])
def test_earrings_hang_from_the_lobes(plain: Puppet, kind: str) -> None:
    """A failure means earrings that float beside the ear."""
    puppet = plain.copy()
    earrings.build(puppet, earrings.KINDS[kind], 0, DETAIL)
    means = puppet.groups["earrings"].means.numpy().astype(float)
    sitter = Sitter(puppet)
    for side in (1, -1):
        lobe = ear_lobe(sitter, side)
        mine = means[means[:, 0] * side > 0]
        assert np.linalg.norm(mine - lobe, axis=1).min() < 0.006
        assert np.abs(mine[:, 0]).min() > abs(lobe[0]) - 0.02


@pytest.mark.parametrize("kind", GARMENTS)
def test_garments_leave_face_and_neck_free(plain: Puppet, kind: str) -> None:
    """A failure means cloth over the mouth, or the photo's clothes under the new ones."""
    puppet = plain.copy()
    clothes.build(puppet, GARMENTS[kind], 0, DETAIL)
    assert "clothes" not in puppet.groups
    means = rest_means(puppet, "clothes")
    chin = float(plain.rest_landmarks()[152, 1])
    in_front = means[means[:, 2] > 0.05]
    assert float(in_front[:, 1].max()) < chin + 0.008
    weights = puppet.groups["garment"].weights
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)), atol=1e-4)


def test_necklines_follow_their_words(plain: Puppet) -> None:
    """A failure means that an off-shoulder top covers the shoulders, or a V-neck is round."""

    def highest(kind: str, x: float) -> float:
        puppet = plain.copy()
        clothes.build(puppet, GARMENTS[kind], 0, DETAIL)
        means = rest_means(puppet, "clothes")
        here = ((means[:, 0].abs() - x).abs() < 0.012) & (means[:, 2] > -0.02)
        return float(means[here][:, 1].max())

    assert highest("off-shoulder", 0.09) < highest("crew-neck", 0.09) - 0.008
    assert highest("v-neck", 0.0) < highest("v-neck", 0.05) - 0.015
    sitter = Sitter(plain)
    loops = contours(sitter, GARMENTS["tank top"].edge)
    assert len(loops) >= 3, "a neck and two arms"
    assert len(contours(sitter, Edge(-0.122, -0.08))) == 1


@pytest.mark.parametrize(
    ("category", "words"),
    [("hat", "blue trucker cap"), ("headphones", "large black over-ear"), ("clothes", "navy suit")]
    + [("headphones", "red gaming"), ("earrings", "ruby chandelier"), ("clothes", "red plaid scarf")],
)
def test_parts_keep_their_budget(plain: Puppet, category: str, words: str) -> None:
    """A failure means that one part takes more Gaussians than a subject's share."""
    puppet = plain.copy()
    parts.apply(puppet, VOCABULARY.parse(words, category), 0)
    assert sum(len(g) for name, g in puppet.groups.items() if name not in plain.groups) <= BUDGET


STRENGTH = st.floats(0, 1)


@given(STRENGTH, STRENGTH, STRENGTH, STRENGTH, STRENGTH, STRENGTH)
def test_fabrics_close_around_a_head(
    knit: float, straw: float, leather: float, dots: float, plaid: float, floral: float
):
    """A failure means a seam in the pattern, or colours out of range, for some mixture of fabrics."""
    fabric = FabricParams(knit=knit, straw=straw, leather=leather, dots=dots, plaid=plaid, floral=floral)
    v = np.linspace(0, 0.1, 24)[:, None]
    start, end = (swatch(fabric, np.full_like(v, u), v) for u in (1e-4, GIRTH + 1e-4))
    for left, right in ((start.height, end.height), (start.shade, end.shade), (start.albedo, end.albedo)):
        assert np.abs(left - right).max() < 0.02
    assert start.albedo.min() >= 0
    assert start.shade.min() > 0.1
    assert np.abs(start.height).max() < 0.004
