"""Morphs: ends that are the edits themselves, and a way between them without jumps."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from perse.dataset import LABELS, Attribute, Edited, Morpher, load_maker
from perse.dataset.labels import CATEGORIES, CATEGORY_LABEL
from perse.dataset.vocabulary import Vocabulary
from perse.errors import PerseError
from perse.studio import StudioAnimator, StudioEditor, StudioMorpher, parts
from perse.studio.makers import _mixed
from perse.studio.morph import morph
from perse.studio.puppet import Puppet
from plain_puppet import DETAIL, plain_puppet

VOCABULARY = Vocabulary()
ENDS = {
    category: (VOCABULARY.parse(first, category), VOCABULARY.parse(second, category))
    for category, first, second in (
        ("beard", "black stubble", "long full red"),
        ("clothes", "grey hoodie", "red hoodie"),
        ("earrings", "small gold hoop", "large silver hoop"),
        ("eyebrows", "thin blond", "bushy arched black"),
        ("hair", "short straight black", "long straight blond"),
        ("hat", "blue knitted beanie", "red baseball cap"),
        ("headphones", "slim black over-ear", "large red over-ear"),
        ("mouth", "thin pale", "full glossy red"),
        ("nose", "short wide", "long hooked"),
    )
}


@pytest.fixture(scope="module")
def plain() -> Puppet:
    return plain_puppet()


def drawn(puppet: Puppet) -> tuple[Tensor, Tensor]:
    """Image [96, 96, 3] and labels [96, 96] from the front."""
    portrait = puppet.portrait
    image, _, labels = puppet.render(portrait.expr, portrait.pose, portrait.camera.resized(96, 96))
    return image, labels


def between(plain: Puppet, first: Attribute | None, second: Attribute | None, weight: float) -> Puppet:
    return morph(plain, first, second, weight, 0, detail=DETAIL)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_ends_are_the_edits(plain: Puppet, category: str) -> None:
    """A failure means that a morph teaches looks which no subject has."""
    first, second = ENDS[category]
    for weight, attribute in ((0.0, first), (1.0, second)):
        puppet = plain.copy()
        parts.apply(puppet, attribute, 0, detail=DETAIL)
        a, b = between(plain, first, second, weight).rest_points(), puppet.rest_points()
        for name in ("means", "colors", "opacities", "scales", "quats"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
    for pair, weight in (((None, second), 0.0), ((first, None), 1.0)):
        assert torch.equal(between(plain, *pair, weight).rest_points().means, plain.rest_points().means)


@pytest.mark.parametrize("category", [c for c in CATEGORIES if c != "hat"])
def test_the_way_has_no_jumps(plain: Puppet, category: str) -> None:
    """A failure means that a slider pops: a step of 4 % may change the picture by a share of the whole way."""
    for first, second in (ENDS[category], (None, ENDS[category][1])):
        start, end = (drawn(between(plain, first, second, w))[0] for w in (0.0, 1.0))
        whole = float((start - end).abs().mean())
        for weight in (0.02, 0.50):
            a, b = (drawn(between(plain, first, second, w))[0] for w in (weight, weight + 0.04))
            assert float((a - b).abs().mean()) < 0.30 * whole + 2e-4, (first, weight)


@pytest.mark.parametrize("category", ["beard", "hair"])
def test_longer_is_more_of_the_picture(plain: Puppet, category: str) -> None:
    """A failure means that a part dissolves and comes back instead of growing."""
    code = LABELS.index(CATEGORY_LABEL[category])
    first = None if category == "beard" else ENDS[category][0]
    areas = [
        int((drawn(between(plain, first, ENDS[category][1], weight))[1] == code).sum())
        for weight in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert areas[-1] > areas[0] + 50
    assert all(b >= 0.93 * a for a, b in itertools.pairwise(areas)), areas
    assert areas[0] < areas[2] < areas[-1] * 1.02


def test_half_of_a_nose_is_half_the_way(plain: Puppet) -> None:
    """A failure means that parameters are mixed some other way than linearly."""
    wide, own = between(plain, None, ENDS["nose"][1], 1.0), plain.rest_vertices()
    half = between(plain, None, ENDS["nose"][1], 0.5).rest_vertices() - own
    whole = wide.rest_vertices() - own
    assert float(whole.norm(dim=1).max()) > 0.004
    assert float((half - whole / 2).norm(dim=1).max()) < 0.15 * float(whole.norm(dim=1).max())


def test_hair_grows_while_the_photo_s_own_fades(plain: Puppet) -> None:
    """A failure means that hair of full length appears as a ghost, or that the photo's hides what grows inside it."""
    whole, half, nearly = (between(plain, None, ENDS["hair"][1], weight) for weight in (1.0, 0.5, 0.9))
    full, grown = whole.groups["hair_strands"], half.groups["hair_strands"]
    top = float(full.means[:, 1].max())
    longest = top - float(full.means[:, 1].min())
    assert 0.3 * longest < top - float(grown.means[:, 1].min()) < 0.75 * longest
    assert float(grown.opacities.median()) > 0.8 * float(full.opacities.median())
    own = [float(puppet.groups["hair"].opacities.mean()) for puppet in (plain, half, nearly)]
    assert own[0] > 5 * own[1] > 50 * own[2]


def test_what_is_worn_fades_in(plain: Puppet) -> None:
    """A failure means that a hat appears at once, or that the hair it presses vanishes under half a hat."""
    code = LABELS.index("hat")
    hat = ENDS["hat"][1]
    shares = []
    for weight in (0.1, 0.5, 0.9):
        puppet = between(plain, None, hat, weight)
        points = puppet.rest_points()
        shares.append(float(points.opacities[points.labels == code].mean()))
    assert shares == sorted(shares)
    assert shares[0] < 0.15 < 0.7 < shares[2]


def test_wrong_morphs_are_named(plain: Puppet) -> None:
    """A failure means that a caller's mistake becomes a picture of something else."""
    beard, nose = ENDS["beard"][0], ENDS["nose"][0]
    for first, second, weight, says in (
        (None, None, 0.5, "at least one"),
        (beard, nose, 0.5, "one category"),
        (beard, None, 1.2, "between 0 and 1"),
        (beard, None, float("nan"), "between 0 and 1"),
    ):
        with pytest.raises(PerseError, match=says):
            morph(plain, first, second, weight, 0)


class _Lifted(StudioEditor):
    """An editor whose lift is a plain puppet."""

    def _lift_once(self, portrait: object) -> None:
        if self._puppet is None:
            self._puppet = plain_puppet()
            self._puppet.portrait.camera = self._puppet.portrait.camera.resized(96, 96)
            self._front = drawn(self._puppet)


def test_the_studio_s_morpher_stands_behind_the_protocol() -> None:
    """A failure means that a build which asks for the morpher by name does not get one that animates."""
    assert isinstance(load_maker("morpher", "studio"), Morpher)
    morpher = StudioMorpher(_Lifted())
    portrait = morpher.editor.puppet(None).portrait  # type: ignore[arg-type]
    first, second = ENDS["mouth"]
    edited = morpher.morph(portrait, first, second, 0.6, 0)
    assert isinstance(edited, Edited)
    assert edited.attributes == _mixed(first, second, 0.6)
    assert edited.attributes[0].prompt == f"60% of the way from {first.prompt} to {second.prompt}"
    assert bool(edited.mask.any())
    assert len(StudioAnimator().points(edited)) > 1000
    plain_edit = morpher.editor.edit(portrait, [first], 0)
    at_start = morpher.morph(portrait, first, second, 0.0, 0)
    assert torch.equal(at_start.image, plain_edit.image)
    assert at_start.attributes == plain_edit.attributes
