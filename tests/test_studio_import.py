"""Edits from elsewhere: pictures lined up, only what changed taken over, parts of other people carried."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from perse.capture import capture
from perse.dataset import Portrait
from perse.dataset.vocabulary import Vocabulary
from perse.errors import PerseError
from perse.studio import Puppet, Skinned, StudioEditor
from perse.studio.carry import _Way, carry
from perse.studio.groups import SurfaceDiscs
from perse.studio.importing import aligned, check_mask, edit_mask
from perse.studio.puppet import label_code
from perse.studio.transplant import join
from plain_puppet import edited as plain_edited
from plain_puppet import plain_puppet

SIDE = 256
VOCABULARY = Vocabulary()


@pytest.fixture(scope="module")
def editor() -> StudioEditor:
    return StudioEditor()


@pytest.fixture(scope="module")
def portrait(editor: StudioEditor) -> Portrait:
    """The bundled person as the studio draws her, on white: edits of this picture can be drawn too."""
    from skimage import data

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        photo = capture(data.astronaut(), size=SIDE)
    image, alpha, _ = editor.puppet(photo).render(photo.expr, photo.pose, photo.camera)
    return replace(photo, image=image, alpha=alpha)


def psnr(a: Tensor, b: Tensor, where: Tensor) -> float:
    return float(-10 * torch.log10(((a - b) ** 2)[where].mean()))


@pytest.mark.parametrize(
    ("category", "words", "gain"), [("eyebrows", "thick black", 10.0), ("beard", "full brown", 6.0)]
)
def test_an_imported_edit_looks_like_the_edit(
    editor: StudioEditor, portrait: Portrait, category: str, words: str, gain: float
) -> None:
    """A failure means that imported parts are lost, misplaced, or spoil the rest of the person."""
    direct = editor.edit(portrait, [VOCABULARY.parse(words, category)], 0)
    reference = editor.edit(portrait, [], 0).image
    imported = editor.import_edit(portrait, direct.image, category=category)
    assert imported.attributes[0].category == category
    before, after = (psnr(image, direct.image, direct.mask) for image in (reference, imported.image))
    assert after > before + gain
    union = (direct.mask | imported.mask).numpy()
    outside = torch.from_numpy(~ndimage.binary_dilation(union, iterations=6))
    assert psnr(imported.image, reference, outside) > 40
    assert bool((imported.handle.groups["skin"].labels == label_code(category)).any())  # type: ignore[attr-defined]


def test_pictures_are_lined_up(portrait: Portrait) -> None:
    """A failure means that an edit made on the whole photo, or at another size, lands beside its place."""
    image = portrait.image.numpy()
    large = np.repeat(np.repeat(image, 2, 0), 2, 1)
    turned = ndimage.rotate(
        np.pad(large, ((60, 90), (40, 20), (0, 0)), mode="edge"), 7, order=1, mode="nearest"
    )
    for picture, limit in ((large, 0.01), (turned, 0.02)):
        moved, points, reach = aligned(portrait, picture.astype(np.float32))
        inner = reach.clone()
        inner[:20] = inner[-20:] = False
        inner[:, :20] = inner[:, -20:] = False
        assert float((moved - portrait.image).abs()[inner].mean()) < limit
        assert float((points - portrait.landmarks)[:, :2].norm(dim=1).mean()) < 0.012 * SIDE


def test_what_is_no_edit_is_refused(portrait: Portrait) -> None:
    """A failure means that a wrong file silently becomes a person's new face."""
    image = portrait.image.numpy()
    with pytest.raises(PerseError, match="no face"):
        aligned(portrait, np.full((SIDE, SIDE, 3), 0.5, np.float32))
    slim = ndimage.zoom(image, (1, 0.62, 1), order=1)  # another face: narrower
    with pytest.raises(PerseError, match="does not fit"):
        aligned(portrait, slim.astype(np.float32))
    everywhere = torch.ones(SIDE, SIDE, dtype=torch.bool)
    with pytest.raises(PerseError, match="nothing to import"):
        edit_mask(portrait, portrait.image, everywhere, "beard")
    with pytest.raises(PerseError, match="edit of the same photo"):
        edit_mask(portrait, 1 - portrait.image, everywhere, None)
    with pytest.raises(PerseError, match="edit of the same photo"):
        edit_mask(portrait, portrait.image.roll(25, 1), everywhere, "eyebrows")
    for mask, says in ((np.ones((3, 3)), "must be"), (np.zeros((SIDE, SIDE)), "empty")):
        with pytest.raises(PerseError, match=says):
            check_mask(mask, portrait)
    with pytest.raises(PerseError, match="category"):
        StudioEditor().import_edit(portrait, image, category="moustache")


# ---- parts of other people, on plain puppets


def donor_puppet() -> Puppet:
    """Another head: wider, with white hair."""
    puppet = plain_puppet()
    puppet.portrait = replace(puppet.portrait, name="the donor")
    shift = torch.zeros_like(puppet.head.v_template)
    shift[:, 0] = 0.15 * puppet.head.v_template[:, 0]
    puppet.deform(offsets=shift)
    hair = puppet.groups["hair"]
    assert isinstance(hair, Skinned)
    on_scalp = hair.means * torch.tensor([1.15, 1.0, 1.0])
    puppet.add("hair", replace(hair, means=on_scalp, colors=torch.full_like(hair.colors, 0.9)))
    return puppet


def test_carried_hair_sits_on_the_other_head() -> None:
    """A failure means hair that floats off a smaller head, or two heads of hair."""
    plain, donor = plain_puppet(), donor_puppet()
    puppet = carry(plain, donor, "hair")
    hair, own = puppet.groups["hair"], plain.groups["hair"]
    assert isinstance(hair, Skinned) and isinstance(own, Skinned)  # noqa: PT018
    assert float(hair.colors.mean()) > 0.7
    assert float((hair.means - own.means).norm(dim=1).quantile(0.9)) < 0.006
    assert torch.equal(plain.groups["hair"].colors, own.colors)


def test_points_of_the_skin_stay_on_it() -> None:
    """A failure means that head-surface coordinates are not those of the surface."""
    plain, donor = plain_puppet(), donor_puppet()
    way = _Way(donor, plain)
    skin = donor.head.vertex_part == 1
    moved = way.points(donor.rest_vertices()[skin][::50])
    assert float((moved - plain.rest_vertices()[skin][::50]).norm(dim=1).max()) < 0.006
    assert 0.85 < way.scale < 1.0


def test_carried_noses_and_clothes() -> None:
    """A failure means that a donor's nose changes the eyes, or that clothes are worn twice."""
    plain = plain_puppet()
    donor = plain_edited(donor_puppet(), "nose: long hooked")
    nose = carry(plain, donor, "nose")
    moved = nose.rest_landmarks() - plain.rest_landmarks()
    assert float(moved[2, 1]) < -0.002
    assert float(moved[[33, 263, 152]].abs().max()) < 0.001
    dressed = carry(plain, donor, "clothes")
    assert len(dressed.groups["clothes"]) == len(donor.groups["clothes"])


def test_what_a_photo_does_not_show_cannot_be_carried() -> None:
    """A failure means that an empty part replaces the person's own."""
    plain, donor = plain_puppet(), donor_puppet()
    donor.shave()
    for category in ("hair", "beard", "eyebrows", "hat", "earrings"):
        with pytest.raises(PerseError, match=f"the donor: the photo shows no {category}"):
            carry(plain, donor, category)


def test_joined_groups_keep_their_rows() -> None:
    """A failure means that imported Gaussians take the places of the person's own."""
    skin = plain_puppet().groups["skin"]
    assert isinstance(skin, SurfaceDiscs)
    both = join(skin.select(torch.arange(10)), replace(skin, extras={"bald": skin.extras["bald"]}))
    assert len(both) == 10 + len(skin)
    assert set(both.extras) == {"bald"}
    assert torch.equal(both.face[10:], skin.face)
