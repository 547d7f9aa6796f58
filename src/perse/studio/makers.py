"""The studio behind the protocols: an Editor that dresses the puppet and an Animator that moves it."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perse.dataset import Attribute, Edited, Frame, Motion, Portrait, SubjectPoints, check_category, to_uint8
from perse.errors import PerseError
from perse.splat import Camera
from perse.studio.lift import lift
from perse.studio.puppet import Puppet

MAX_POINTS = 60_000
SMALL_PART = 2_500
"""Parts of up to this many Gaussians keep them all when a subject's points are thinned (eyes, lips, earrings)."""
CHANGED = 0.04
"""A pixel belongs to M_edit when a channel changes by more than this, or its label does."""

PERSON = "the person as photographed"
"""What a morph's prompt calls an end without an attribute."""


class StudioEditor:
    """Edits a portrait in 3D: lifts it once to a puppet, then adds, removes or reshapes parts of a copy."""

    def __init__(self) -> None:
        self._key = ""
        self._puppet: Puppet | None = None
        self._front: tuple[Tensor, Tensor] | None = None

    def puppet(self, portrait: Portrait) -> Puppet:
        """A copy of the portrait's puppet; lifted at the first call for that portrait."""
        self._lift_once(portrait)
        assert self._puppet is not None
        return self._puppet.copy()

    def edit(self, portrait: Portrait, attributes: Sequence[Attribute], seed: int) -> Edited:
        """Apply ``attributes`` (none: the unedited reference) with the randomness of ``seed``.

        The mask is M_edit (Eq. 8): where picture or part labels differ from the reference's.

        Raises:
            PerseError: two attributes of one category, or one that the studio cannot draw.
        """
        categories = [attribute.category for attribute in attributes]
        twice = {category for category in categories if categories.count(category) > 1}
        if twice:
            raise PerseError(
                f"more than one attribute for {', '.join(sorted(twice))}; give one of each category."
            )
        puppet = self.puppet(portrait)
        if attributes:
            from perse.studio import parts

            parts.apply_all(puppet, attributes, seed)
        return self.edited(portrait, puppet, attributes, seed)

    def import_edit(
        self,
        portrait: Portrait,
        picture: str | Path | np.ndarray | Tensor,
        *,
        category: str | None = None,
        mask: np.ndarray | Tensor | None = None,
        prompt: str = "",
    ) -> Edited:
        """Lift what an edited picture of this portrait changed onto the person's puppet.

        Args:
            portrait: the person.
            picture: the edited photo, a file or an image [H, W, 3]: the portrait's crop at any size, or the photo.
            category: what was edited; it limits where changes are looked for and names the part. None: anything.
            mask: M_edit [S, S] in the portrait's frame; None: where the picture differs.
            prompt: what to call the edit ("a person with ..."); needs a category.

        Raises:
            PerseError: an unreadable picture, one that is no edit of this photo, or one without a difference.
        """
        from perse.studio import importing
        from perse.studio.transplant import transplant

        if category is not None:
            check_category(category)
        base = self.puppet(portrait)
        image, points, reach = importing.aligned(portrait, picture)
        if mask is None:
            region = importing.edit_mask(portrait, image, reach, category)
        else:
            region = importing.check_mask(mask, portrait)
            importing.check_rest(portrait, image, reach, region)
        shown = importing.edited_portrait(portrait, image, points, region, category)
        puppet = transplant(base, lift(shown, base.head), region, category)
        attributes = () if category is None else (Attribute(category, prompt or f"an imported {category}"),)
        return self.edited(portrait, puppet, attributes)

    def carry(self, portrait: Portrait, other: Portrait, category: str, *, prompt: str = "") -> Edited:
        """Give the person a part of another person's photo (:func:`perse.capture.capture` makes ``other``).

        Raises:
            PerseError: unknown category, or the other photo does not show that part.
        """
        from perse.studio.carry import carry

        check_category(category)
        base = self.puppet(portrait)
        puppet = carry(base, lift(other, base.head), category)
        attribute = Attribute(category, prompt or f"the {category} of {other.name}")
        return self.edited(portrait, puppet, (attribute,))

    def edited(
        self, portrait: Portrait, puppet: Puppet, attributes: Sequence[Attribute] = (), seed: int = 0
    ) -> Edited:
        """A changed puppet of the portrait as an edit: its front view, and where that differs from the reference."""
        self._lift_once(portrait)
        assert self._front is not None
        reference, reference_labels = self._front
        image, labels = _front(puppet)
        mask = ((image - reference).abs().amax(-1) > CHANGED) | (labels != reference_labels)
        return Edited(image=image, mask=mask, attributes=tuple(attributes), seed=seed, handle=puppet)

    def _lift_once(self, portrait: Portrait) -> None:
        key = _fingerprint(portrait)
        if key != self._key:
            self._puppet = lift(portrait)
            self._front = _front(self._puppet)
            self._key = key


class StudioMorpher:
    """Draws exact looks between two edits: the same puppet, built from parameters in between."""

    def __init__(self, editor: StudioEditor | None = None) -> None:
        """``editor`` is one whose lifted puppets are to be shared."""
        self.editor = StudioEditor() if editor is None else editor

    def morph(
        self, portrait: Portrait, first: Attribute | None, second: Attribute | None, weight: float, seed: int
    ) -> Edited:
        """The look a share ``weight`` of the way from ``first`` to ``second``; None is the person unedited.

        At 0 and 1 this is the editor's own edit, in between the one attribute of the result says what it mixes.

        Raises:
            PerseError: no attribute, two of different categories, or a weight outside [0, 1].
        """
        from perse.studio.morph import morph

        puppet = morph(self.editor.puppet(portrait), first, second, weight, seed)
        return self.editor.edited(portrait, puppet, _mixed(first, second, weight), seed)


def _mixed(first: Attribute | None, second: Attribute | None, weight: float) -> tuple[Attribute, ...]:
    """What a morph shows, in words."""
    if weight in (0.0, 1.0) or first == second:
        end = second if weight == 1.0 else first
        return () if end is None else (end,)
    a, b = (PERSON if end is None else end.prompt for end in (first, second))
    category = next(end.category for end in (first, second) if end is not None)
    return (Attribute(category, f"{weight:.0%} of the way from {a} to {b}"),)


class StudioAnimator:
    """Poses the puppet of a :class:`StudioEditor` and draws it, frame by frame."""

    def animate(self, edited: Edited, motion: Motion, camera: Camera) -> Iterator[Frame]:
        """One frame a row of ``motion``, on white, at the camera's size."""
        puppet = _puppet_of(edited)
        cameras = motion.camera(camera)
        batched = cameras.viewmat.ndim == 3
        for t in range(len(motion)):
            view = (
                Camera(cameras.viewmat[t], cameras.K, cameras.width, cameras.height) if batched else cameras
            )
            image, alpha, labels = puppet.render(motion.expr[t], motion.pose[t], view)
            yield Frame(rgb=to_uint8(image), alpha=to_uint8(alpha), labels=labels)

    def points(self, edited: Edited) -> SubjectPoints:
        """The puppet's Gaussians at rest, thinned to about 60 000; small parts keep all of theirs."""
        puppet = _puppet_of(edited)
        return puppet.rest_points()[_thin(puppet)]


def _thin(puppet: Puppet) -> Tensor:
    """Sorted indices of the Gaussians to keep: of every part of every group the first few thousand, then a share.

    Which come first depends on the group's name alone, so that subjects keep the same discs of the skin they
    share, and learning can tell an edit from a different choice of points. Strands are kept whole, and those that
    one subject keeps come first in another, too.
    """
    cells, start = [], 0  # Gaussians of one group and label, in the group's order of preference
    for name, group in puppet.groups.items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        order = torch.randperm(len(group), generator=generator)
        if group.strands is not None:
            order = _lot(group.strands[:, :3]).argsort(stable=True)
        labels = group.labels[order]
        cells += [start + order[labels == code] for code in torch.unique(labels)]
        start += len(group)
    sure = sum(min(len(cell), SMALL_PART) for cell in cells)
    more = sum(max(len(cell) - SMALL_PART, 0) for cell in cells)
    share = min(1.0, max(0.0, (MAX_POINTS - sure) / max(more, 1)))
    kept = [
        cell[: min(len(cell), SMALL_PART) + int(max(len(cell) - SMALL_PART, 0) * share)] for cell in cells
    ]
    return torch.cat(kept).sort().values


def _lot(begins: Tensor) -> Tensor:
    """A number in [0, 1) for where a strand begins [N, 3]: the same in every look, unlike its neighbours'."""
    mixed = (begins.double() * 1e6).round() @ begins.new_tensor([12.9898, 78.233, 37.719]).double()
    return (mixed.sin() * 43758.5453) % 1.0


def _puppet_of(edited: Edited) -> Puppet:
    if not isinstance(edited.handle, Puppet):
        raise PerseError(
            "the studio animator moves what the studio editor made; choose --editor studio, or another animator."
        )
    return edited.handle


def _front(puppet: Puppet) -> tuple[Tensor, Tensor]:
    """The puppet as the photo sees it: image [S, S, 3] on white, labels [S, S]."""
    portrait = puppet.portrait
    image, _, labels = puppet.render(portrait.expr, portrait.pose, portrait.camera)
    return image, labels


def _fingerprint(portrait: Portrait) -> str:
    """Changes when anything of the portrait does."""
    digest = hashlib.sha256()
    camera = portrait.camera
    for tensor in (
        *(portrait.image, portrait.alpha, portrait.segmentation, portrait.landmarks),
        *(portrait.betas, portrait.expr, portrait.pose, camera.viewmat, camera.K),
    ):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
