"""Parts on a plain puppet: no photo, one colour; every part must build, repeat, and do what its words say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from perse.dataset import LABELS, Attribute
from perse.dataset.labels import CATEGORIES, CATEGORY_LABEL
from perse.dataset.vocabulary import Vocabulary, demo_attributes
from perse.studio import parts
from perse.studio.groups import SurfaceDiscs
from perse.studio.puppet import Puppet, label_code
from plain_puppet import DETAIL, edited, plain_puppet

DEMO = demo_attributes()
VOCABULARY = Vocabulary()


@pytest.fixture(scope="module")
def plain() -> Puppet:
    return plain_puppet()


def rest_means(puppet: Puppet, label: str) -> torch.Tensor:
    """Means [N, 3] at rest of everything with a label, the head's own surface left out."""
    points = puppet.rest_points([name for name in puppet.groups if name != "skin"])
    return points.means[points.labels == LABELS.index(label)]


@pytest.mark.parametrize("attribute", DEMO, ids=lambda a: a.prompt)
def test_demo_edits_build_and_repeat(plain: Puppet, attribute: Attribute) -> None:
    """A failure means the demo stops at this edit, or that two builds of it differ."""
    first, second = plain.copy(), plain.copy()
    parts.apply(first, attribute, 3, detail=DETAIL)
    parts.apply(second, attribute, 3, detail=DETAIL)
    a, b = first.rest_points(), second.rest_points()
    for name in ("means", "quats", "scales", "opacities", "colors", "weights"):
        values = getattr(a, name)
        assert torch.isfinite(values).all(), name
        assert torch.equal(values, getattr(b, name)), name
    assert a.means.dtype == torch.float32
    assert (a.scales > 0).all()
    assert ((a.colors >= 0) & (a.colors <= 1)).all()
    assert ((a.opacities >= 0) & (a.opacities <= 1)).all()
    assert torch.allclose(a.quats.norm(dim=1), torch.ones(len(a)), atol=1e-3)
    assert torch.allclose(a.weights.sum(1), torch.ones(len(a)), atol=1e-4)
    assert a.means.abs().max() < 0.7
    changed = len(a) != len(plain) or not torch.equal(a.means, plain.rest_points().means)
    assert changed or not torch.equal(a.colors, plain.rest_points().colors), "the edit changed nothing"


@pytest.mark.parametrize("category", [c for c in CATEGORIES if c not in ("mouth", "nose")])
def test_parts_carry_their_label(plain: Puppet, category: str) -> None:
    """A failure means that the frames' part labels, and so masks and layers, miss this part."""
    attribute = next(a for a in DEMO if a.category == category)
    puppet = plain.copy()
    parts.apply(puppet, attribute, 0, detail=DETAIL)
    code = LABELS.index(CATEGORY_LABEL[category])
    new = [g for name, g in puppet.groups.items() if name not in plain.groups]
    assert new
    assert any(bool((group.labels == code).any()) for group in new)


def test_the_given_puppet_is_all_that_changes(plain: Puppet) -> None:
    """A failure means that one subject's edit leaks into the next one's through shared tensors."""
    before = {name: group.colors.clone() for name, group in plain.groups.items()}
    edited(plain, "hair: long curly red", "beard: full brown", "clothes: grey hoodie", "nose: wide")
    assert set(plain.groups) == set(before)
    for name, colors in before.items():
        assert torch.equal(plain.groups[name].colors, colors)
    assert not plain.offsets.any()


def test_hair_replaces_the_photos(plain: Puppet) -> None:
    """A failure means that two heads of hair are drawn at once, or that bald heads keep hair."""
    puppet = edited(plain, "hair: short straight black")
    assert "hair" not in puppet.groups
    assert len(rest_means(puppet, "hair")) > 100
    bald = edited(plain, "hair: bald")
    assert len(rest_means(bald, "hair")) == 0
    assert not bool((bald.groups["skin"].labels == label_code("hair")).any())


def test_hair_grows_from_the_scalp_and_leaves_the_face_free(plain: Puppet) -> None:
    """A failure means hair over the eyes, or out of the cheeks."""
    for style in ("long straight blond", "long curly red", "medium wavy brown"):
        means = rest_means(edited(plain, f"hair: {style}"), "hair")
        marks = plain.rest_landmarks()
        brow, chin = float(marks[9, 1]), float(marks[152, 1])
        x, y, z = means.unbind(1)
        over_face = (x.abs() < 0.045) & (z > 0.075) & (y < brow) & (y > chin)
        assert float(over_face.float().mean()) < 0.002, style


def test_longer_words_make_longer_hair(plain: Puppet) -> None:
    """A failure means that "long" is not longer than "short"."""
    lowest = [
        float(rest_means(edited(plain, f"hair: {length} straight brown"), "hair")[:, 1].quantile(0.02))
        for length in ("short", "medium", "long")
    ]
    assert lowest[0] > lowest[1] > lowest[2]


@pytest.mark.parametrize("kind", ["blue knitted beanie", "red baseball cap", "black fedora"])
def test_no_hair_pokes_through_a_hat(plain: Puppet, kind: str) -> None:
    """A failure means hair above the brim, outside of the crown."""
    for extra in ([], ["hair: long curly red"]):
        puppet = edited(plain, f"hat: {kind}", *extra)
        hat, hair = rest_means(puppet, "hat"), rest_means(puppet, "hair")
        bare = rest_means(edited(plain, *extra) if extra else plain, "hair")
        brow = float(plain.rest_landmarks()[9, 1])
        assert bool((bare[:, 1] > brow + 0.06).any())
        assert not bool((hair[:, 1] > brow + 0.06).any())
        assert float(hat[:, 1].max()) > float(plain.rest_vertices()[:, 1].max())


def test_headphones_keep_clear_of_the_head(plain: Puppet) -> None:
    """A failure means cups inside the cheeks or a band through the skull."""
    puppet = edited(plain, "headphones: black over-ear")
    means = rest_means(puppet, "headphones")
    skull_top = float(plain.rest_vertices()[:, 1].max())
    middle = means[:, 0].abs() < 0.02
    assert float(means[middle, 1].min()) > skull_top - 0.004
    assert float(means[~middle, 0].abs().max()) > float(plain.rest_vertices()[:, 0][:500].abs().max()) - 0.2
    assert bool((means[:, 0] > 0.07).any())
    assert bool((means[:, 0] < -0.07).any())


def test_moustache_stays_above_the_lip(plain: Puppet) -> None:
    """A failure means hair over the teeth."""
    means = rest_means(edited(plain, "beard: full black"), "beard")
    marks = plain.rest_landmarks()
    seam, half = float((marks[13, 1] + marks[14, 1]) / 2), 0.7 * float(marks[291, 0].abs())
    middle = (means[:, 0].abs() < half) & (means[:, 2] > float(marks[61, 2]))
    gap = (means[:, 1] - seam).abs() < 0.003
    assert int((middle & gap).sum()) == 0
    assert bool((means[:, 1] > seam + 0.004).any())


def test_brows_are_cleaned_first(plain: Puppet) -> None:
    """A failure means that thin or blond brows sit on the photo's dark ones."""
    puppet = plain.copy()
    skin = puppet.groups["skin"]
    assert isinstance(skin, SurfaceDiscs)
    brow = puppet.regions.brows(puppet.template_points(skin)) > 0.5
    colors = skin.colors.clone()
    colors[brow] = 0.05
    puppet.add("skin", replace(skin, colors=colors))
    parts.apply(puppet, VOCABULARY.parse("thin blond", "eyebrows"), 0, detail=DETAIL)
    assert float(puppet.groups["skin"].colors[brow].min()) > 0.2


@pytest.mark.parametrize("category", CATEGORIES)
def test_looks_are_continuous(plain: Puppet, category: str) -> None:
    """A failure means that a slider jumps: a small step of the vector must make a small change."""
    attribute = next(a for a in DEMO if a.category == category)
    params = parts.params_of(attribute)
    assert type(params).from_vector(params.vector()) == params
    assert params.mix(params, 0.5) == params
    other = params_toward_colour(params)
    first, second = plain.copy(), plain.copy()
    parts.build(first, category, params, 0, detail=DETAIL)
    parts.build(second, category, params.mix(other, 0.02), 0, detail=DETAIL)
    a, b = first.rest_points(), second.rest_points()
    assert len(a) == len(b)
    assert float((a.means - b.means).norm(dim=1).quantile(0.99)) < 0.002
    assert float((a.colors - b.colors).abs().mean()) < 0.03


def params_toward_colour(params: parts.Params) -> parts.Params:
    """A neighbour in the space of looks: another colour, or ten percent more of everything else."""
    names = params.__dataclass_fields__
    if "red" in names:
        return params.but(red=0.5, green=0.5, blue=0.5)
    return params.from_vector([value * 1.1 for value in params.vector()])


def test_every_listed_prompt_has_its_own_look() -> None:
    """A failure means that two prompts of the vocabulary draw the same thing."""
    for category in CATEGORIES:
        every = VOCABULARY.all(category)
        looks = {parts.params_of(attribute).vector() for attribute in every}
        assert len(looks) == len(every), category


def test_a_part_turns_with_the_head(plain: Puppet) -> None:
    """A failure means that hats stay behind when the head turns."""
    puppet = edited(plain, "hat: black fedora")
    pose = torch.zeros(15)
    pose[4] = np.radians(30)
    still, _ = puppet.posed(torch.zeros(50), torch.zeros(15), ["hat"])
    turned, _ = puppet.posed(torch.zeros(50), pose, ["hat"])
    assert float((still.means - turned.means).norm(dim=1).max()) > 0.02
    image, alpha, labels = puppet.render(torch.zeros(50), pose, puppet.portrait.camera.resized(64, 64))
    assert image.shape == (64, 64, 3)
    assert bool((labels == label_code("hat")).any())
    assert float(alpha.max()) > 0.9
