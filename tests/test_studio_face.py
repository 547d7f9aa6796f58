"""Edits of the face itself: noses and mouths that do what their words say and leave the rest of the face alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perse.dataset.vocabulary import Vocabulary
from perse.studio import parts
from perse.studio.groups import Rooted, SurfaceDiscs
from perse.studio.parts import mouth, nose
from perse.studio.parts._shape import reshape, shape_share
from perse.studio.parts._sitter import Sitter
from perse.studio.puppet import Puppet, label_code
from plain_puppet import edited, plain_puppet

VOCABULARY = Vocabulary()
EYES_CHIN_CORNERS = [33, 263, 152, 61, 291]
EYES_CHIN = [33, 263, 152]


@pytest.fixture(scope="module")
def plain() -> Puppet:
    return plain_puppet()


@pytest.mark.parametrize(
    ("words", "landmark", "axis", "direction"),
    [
        ("wide", 358, 0, 1),
        ("narrow", 358, 0, -1),
        ("flared", 294, 0, 1),
        ("pinched", 294, 0, -1),
        ("long", 2, 1, -1),
        ("short", 2, 1, 1),
        ("upturned", 4, 1, 1),
        ("drooping", 4, 1, -1),
        ("hooked", 197, 2, 1),
        ("humped", 197, 2, 1),
        ("ski-slope", 197, 2, -1),
        ("bulbous", 4, 2, 1),
        ("pointed", 4, 2, 1),
    ],
)
def test_noses_do_what_they_say(plain: Puppet, words: str, landmark: int, axis: int, direction: int) -> None:
    """A failure means that a word moves the nose the wrong way or too little to see, or moves more than it."""
    puppet = edited(plain, f"nose: {words}")
    moved = puppet.rest_landmarks() - plain.rest_landmarks()
    assert float(moved[landmark, axis]) * direction > 0.0014
    assert float((puppet.rest_vertices() - plain.rest_vertices()).norm(dim=1).max()) < 0.014
    assert float(moved[EYES_CHIN_CORNERS].abs().max()) < 0.0015


def test_a_straight_nose_is_straight(plain: Puppet) -> None:
    """A failure means that "straight" does not look at the person's own profile."""

    def bend(puppet: Puppet) -> float:
        profile = puppet.rest_landmarks()[[168, 6, 197, 195, 5, 4]].double().numpy()
        share = (profile[:, 1] - profile[0, 1]) / (profile[-1, 1] - profile[0, 1])
        line = profile[0, 2] + share * (profile[-1, 2] - profile[0, 2])
        return float(np.abs(profile[:, 2] - line).max())

    humped = edited(plain, "nose: humped")
    assert bend(edited(plain, "nose: straight")) < 0.5 * bend(plain)
    straightened = humped.copy()
    parts.build(straightened, "nose", nose.NoseParams(straight=1.0), 0)
    assert bend(straightened) < 0.5 * bend(humped)


@pytest.mark.parametrize(
    ("words", "upper", "lower", "width", "corner"),
    [
        ("full", 1, 1, 0, 0),
        ("thin", -1, -1, 0, 0),
        ("wide", 0, 0, 1, 0),
        ("narrow", 0, 0, -1, 0),
        ("pouty", 1, 1, -1, 0),
        ("heart-shaped", 1, 1, -1, 0),
        ("downturned", 0, 0, 0, -1),
        ("upturned", 0, 0, 0, 1),
    ],
)
def test_lips_do_what_they_say(
    plain: Puppet, words: str, upper: int, lower: int, width: int, corner: int
) -> None:
    """A failure means that lips do not change as their words say, or that the rest of the face moves."""
    moved = edited(plain, f"mouth: {words}").rest_landmarks() - plain.rest_landmarks()
    changes = (
        (float(moved[[37, 267], 1].mean()), upper),
        (-float(moved[17, 1]), lower),
        (float(moved[291, 0] - moved[61, 0]) / 2, width),
        (float(moved[[61, 291], 1].mean()), corner),
    )
    for change, direction in changes:
        assert change * direction > 0.0008 if direction else abs(change) < 0.001, changes
    assert float(moved[EYES_CHIN].abs().max()) < 0.0015


def test_a_cupids_bow_has_two_peaks(plain: Puppet) -> None:
    """A failure means that "bow-shaped" lips are just fuller ones."""
    marks = edited(plain, "mouth: bow-shaped").rest_landmarks()
    before = plain.rest_landmarks()
    notch = float(marks[[37, 267], 1].mean() - marks[0, 1])
    assert notch > float(before[[37, 267], 1].mean() - before[0, 1]) + 0.002


@pytest.mark.parametrize("attribute", VOCABULARY.spread("mouth", 25, 3), ids=lambda a: a.prompt)
def test_edited_lips_still_close(plain: Puppet, attribute: object) -> None:
    """A failure means lips that gape or sink into each other at rest, or teeth that move with the skin."""
    puppet = plain.copy()
    parts.apply(puppet, attribute, 0)  # type: ignore[arg-type]
    pairs = [(13, 14), (81, 178), (311, 402)]

    def gaps(p: Puppet) -> torch.Tensor:
        marks = p.rest_landmarks()
        return torch.stack([(marks[a] - marks[b])[1] for a, b in pairs])

    assert float((gaps(puppet) - gaps(plain)).abs().max()) < 0.0008
    inner = plain.head.vertex_part != 1
    torch.testing.assert_close(puppet.rest_vertices()[inner], plain.rest_vertices()[inner], atol=2e-6, rtol=0)


def test_make_up_stays_on_the_lips(plain: Puppet) -> None:
    """A failure means painted teeth or a painted chin."""
    for words in ("glossy red", "lined brown", "matte plum"):
        puppet = edited(plain, f"mouth: {words}")
        skin, before = puppet.groups["skin"], plain.groups["skin"]
        assert isinstance(skin, SurfaceDiscs)
        changed = (skin.colors - before.colors).abs().amax(1) > 0.02
        template = plain.template_points(skin)
        near = plain.regions.lips(template, soft=0.004) > 0
        assert bool(changed.any())
        assert not bool((changed & ~near).any())
        assert not bool((changed & (before.labels == label_code("mouth_interior"))).any())


def test_gloss_brightens_and_matte_darkens_highlights(plain: Puppet) -> None:
    """A failure means that the finish of a lipstick is a word only."""
    skin = plain.groups["skin"]
    assert isinstance(skin, SurfaceDiscs)
    lips = plain.regions.lips(plain.template_points(skin)) > 0.9
    lips &= skin.labels != label_code("mouth_interior")
    rng = torch.Generator().manual_seed(0)
    speckled = skin.colors * (1 + 0.4 * torch.rand(len(skin), 1, generator=rng) ** 6)
    base = plain.copy()
    base.add("skin", replace(skin, colors=speckled))

    def brightest(words: str) -> float:
        return float(edited(base, f"mouth: {words}").groups["skin"].colors[lips].mean(1).quantile(0.98))

    assert brightest("glossy red") > brightest("red") + 0.02
    assert brightest("matte red") < brightest("red") - 0.005


@given(st.lists(st.floats(-1, 1), min_size=7, max_size=7))
@settings(max_examples=8)
def test_reshaping_moves_exactly_what_was_wanted(values: list[float]) -> None:
    """A failure means that the split into shape directions and free offsets leaks into the rest of the face."""
    puppet = plain_puppet()
    wanted = nose.displacement(Sitter(puppet), nose.NoseParams.from_vector(values))
    skin = (puppet.head.vertex_part == 1).numpy()
    before = puppet.rest_vertices()
    reshape(puppet, wanted)
    moved = (puppet.rest_vertices() - before).double().numpy()
    np.testing.assert_allclose(moved, np.where(skin[:, None], wanted, 0), atol=2e-6)


def test_shape_directions_carry_most_of_an_edit(plain: Puppet) -> None:
    """A failure means that the ridge regression finds nothing, or coefficients no person has."""
    for params in (nose.NoseParams(width=1), nose.NoseParams(length=1), nose.NoseParams(turn=1)):
        wanted = nose.displacement(Sitter(plain), params)
        betas = shape_share(plain, wanted)
        left = wanted - torch.einsum("vdk,k->vd", plain.head.shapedirs, betas).numpy()
        assert (left**2).sum() < 0.35 * (wanted**2).sum()
        assert float(betas.abs().max()) < 4
    narrow = mouth.displacement(Sitter(plain), mouth.MouthParams(width=-1))
    assert np.abs(narrow).max() > 0.004


def test_light_follows_the_new_shape(plain: Puppet) -> None:
    """A failure means that a hump or a bulb is flat when seen from the front: only shading shows it there."""
    humped = edited(plain, "nose: humped").groups["skin"].colors
    assert float((humped - plain.groups["skin"].colors).abs().max()) > 0.02


# ---- eyebrows


def brow_means(plain: Puppet, words: str) -> torch.Tensor:
    """Means [N, 3] of the hairs at rest, more than usual."""
    puppet = plain.copy()
    parts.apply(puppet, VOCABULARY.parse(words, "eyebrows"), 0, detail=0.5)
    return puppet.rest_points(["eyebrows"]).means


def test_brows_do_what_they_say(plain: Puppet) -> None:
    """A failure means that shape and spacing are words only."""

    def height(words: str) -> float:
        y = brow_means(plain, words)[:, 1]
        return float(y.quantile(0.98) - y.quantile(0.02))

    def inner(words: str) -> float:
        return float(brow_means(plain, words)[:, 0].abs().quantile(0.02))

    assert height("thin straight brown") < height("thick straight brown") < height("bushy straight brown")
    assert height("thick arched brown") > height("thick straight brown") + 0.001
    assert height("thick angled brown") > height("thick straight brown") + 0.001
    assert inner("thick close-set brown") < inner("thick brown") - 0.001
    assert inner("thick wide-set brown") > inner("thick brown") + 0.001
    between = (brow_means(plain, "thick black unibrow")[:, 0].abs() < 0.004).sum()
    assert between > 10
    assert (brow_means(plain, "thick black")[:, 0].abs() < 0.004).sum() == 0


def test_combed_brows_point_up(plain: Puppet) -> None:
    """A failure means that hairs of a feathered brow lie like all others, or that hairs enter the skin."""
    for words, steep in (("thick brown", 0.9), ("thick feathered brown", 1.25)):
        puppet = plain.copy()
        parts.apply(puppet, VOCABULARY.parse(words, "eyebrows"), 0, detail=0.5)
        points = puppet.rest_points(["eyebrows"])
        hairs = points.means.reshape(-1, 3, 3)  # three Gaussians a hair
        step = hairs[:, 2] - hairs[:, 0]
        rise = torch.atan2(step[:, 1], step[:, 0].abs())
        inner = hairs[:, 0, 0].abs() < 0.025
        assert float(rise[inner].mean()) > steep * 0.75
        assert float((step[:, 0] * hairs[:, 0, 0]).sign().mean()) > 0.3  # outwards
        height = points.means[:, 2].max() - points.means[:, 2].min()
        assert float(height) < 0.06


def test_hairs_of_one_seed_are_the_same_hairs(plain: Puppet) -> None:
    """A failure means that a morph between two brows or beards dissolves one and fades in the other."""
    for category, first, second in (
        ("eyebrows", "thin brown", "bushy arched brown"),
        ("beard", "brown goatee", "long full brown"),
    ):
        a, b = (parts.params_of(VOCABULARY.parse(words, category)) for words in (first, second))
        counts, before = [], None
        for t in (0.40, 0.45):
            puppet = plain.copy()
            parts.build(puppet, category, a.mix(b, t), 0, detail=0.3)
            group = puppet.groups[category]
            counts.append(len(group))
            means = puppet.rest_points([category]).means
            if before is not None:
                assert abs(counts[1] - counts[0]) < 0.25 * counts[0]
                nearest = torch.cdist(before, means).amin(1)
                assert float(nearest.quantile(0.9)) < 0.0012
            before = means


# ---- beard


def beard(plain: Puppet, words: str, detail: float = 0.1) -> Puppet:
    """The plain puppet with a beard."""
    puppet = plain.copy()
    parts.apply(puppet, VOCABULARY.parse(words, "beard"), 0, detail=detail)
    return puppet


@pytest.mark.parametrize(
    ("words", "upper", "chin", "sides"),
    [
        ("full brown", True, True, True),
        ("brown goatee", False, True, False),
        ("brown van dyke", True, True, False),
        ("brown circle beard", True, True, False),
        ("brown soul patch", False, False, False),
        ("brown chin curtain", False, True, True),
        ("brown mutton chops", False, False, True),
        ("brown sideburns", False, False, True),
        ("brown moustache", True, False, False),
        ("black pencil moustache", True, False, False),
        ("grey walrus moustache", True, False, False),
    ],
)
def test_beards_grow_where_their_names_say(
    plain: Puppet, words: str, upper: bool, chin: bool, sides: bool
) -> None:
    """A failure means that a name draws some other beard."""
    puppet = beard(plain, words)
    group = puppet.groups["beard"]
    assert isinstance(group, Rooted)
    roots = plain.template_points(group)
    marks = plain.regions.landmarks
    x, y, z = roots.abs()[:, 0], roots[:, 1], roots[:, 2]
    assert len(roots) > 20
    found = {
        "upper": (x < 0.02) & (y > marks[0, 1] - 0.001) & (z > 0.09),
        "chin": (x < 0.012) & (y < marks[152, 1] + 0.010),
        "sides": x > 0.052,
    }
    for name, wanted in (("upper", upper), ("chin", chin), ("sides", sides)):
        assert bool(found[name].any()) == wanted, name
    lips = plain.regions.lips(roots) > 0.5
    assert not bool(lips.any())


def test_beards_grow_from_bare_skin(plain: Puppet) -> None:
    """A failure means that a beard slider pops: near 0 there must be next to nothing, and more all the way."""
    params = parts.params_of(VOCABULARY.parse("full black", "beard"))
    none = parts.absent(params, "beard")
    bare = plain.copy()
    parts.build(bare, "beard", none, 0, detail=0.05)
    assert "beard" not in bare.groups
    assert torch.equal(bare.groups["skin"].colors, plain.groups["skin"].colors)
    amounts = []
    for t in (0.03, 0.25, 0.5, 0.75, 1.0):
        puppet = plain.copy()
        parts.build(puppet, "beard", none.mix(params, t), 0, detail=0.05)
        group = puppet.groups["beard"]
        amounts.append(float((group.opacities * group.scales[:, 0] * group.scales[:, 1]).sum()))
    assert amounts == sorted(amounts)
    assert amounts[0] < 0.02 * amounts[-1]


def test_a_moustache_stays_on_the_upper_lip(plain: Puppet) -> None:
    """A failure means hair across the open mouth: a moustache must not follow the jaw, a chin beard must."""
    pose = torch.zeros(15)
    pose[6] = float(np.radians(20))
    moves = {}
    for words in ("brown moustache", "grey walrus moustache", "brown goatee"):
        puppet = beard(plain, words)
        still, _ = puppet.posed(torch.zeros(50), torch.zeros(15), ["beard"])
        opened, _ = puppet.posed(torch.zeros(50), pose, ["beard"])
        middle = still.means[:, 0].abs() < 0.012  # the corners of the mouth do go down
        moves[words] = float((still.means - opened.means)[middle, 1].quantile(0.98))
    assert moves["brown moustache"] < 0.006
    assert moves["grey walrus moustache"] < 0.008
    assert moves["brown goatee"] > 0.015


def test_hair_near_the_lips_follows_the_skin_beside_it(plain: Puppet) -> None:
    """A failure means that hairs of a moustache swing off a smiling lip about their roots."""
    puppet = beard(plain, "brown moustache")
    smile = plain.head.expr_from_units({"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0})
    surface = puppet.posed_vertices(smile, torch.zeros(15))
    hairs, _ = puppet.posed(smile, torch.zeros(15), ["beard"])
    distance = torch.cdist(hairs.means, surface).amin(1)
    at_rest, _ = puppet.posed(torch.zeros(50), torch.zeros(15), ["beard"])
    before = torch.cdist(at_rest.means, puppet.rest_vertices()).amin(1)
    assert float(distance.quantile(0.95)) < float(before.quantile(0.95)) + 0.0015


def test_salt_and_pepper_is_both(plain: Puppet) -> None:
    """A failure means that greying beards are one grey."""
    luma = beard(plain, "salt-and-pepper full").groups["beard"].colors.mean(1)
    black = beard(plain, "black full").groups["beard"].colors.mean(1)
    assert float(luma.quantile(0.1)) < float(black.quantile(0.9)) + 0.05
    assert float(luma.quantile(0.9)) > float(black.quantile(0.9)) + 0.08
