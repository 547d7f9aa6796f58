"""Who stands before the live viewer's camera: a learned avatar, or the puppet of a photo.

A stage knows nothing of windows and sliders: it can be dressed, posed and drawn, so it is tested without a browser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from perse.avatar import Avatar, BakedLook
from perse.dataset import ABSENTABLE, CATEGORIES, Attribute, Portrait, Vocabulary, check_category
from perse.errors import PerseError
from perse.splat import Camera, rasterize
from perse.viewer.target import avatar_folder

if TYPE_CHECKING:
    from perse.studio import Puppet

AS_IN_PHOTO, NONE = "as in the photo", "none"
"""What a category can be beside its prompts: left alone, or taken off."""
OFFERED = 24
"""Prompts of a category that a puppet offers to choose from; any other can be typed."""


@dataclass(frozen=True)
class Choice:
    """What a category shows."""

    look: str = AS_IN_PHOTO
    """A prompt, AS_IN_PHOTO or NONE."""
    other: str = AS_IN_PHOTO
    """What it is blended with."""
    weight: float = 0.0
    """How far towards `other`: 0 to 1."""


Outfit = Mapping[str, Choice]
"""Choices by category; a category that is not there is as in the photo."""


@dataclass(frozen=True)
class Acting:
    """What the face does."""

    expr: Tensor = field(default_factory=lambda: torch.zeros(50))
    """psi [50]."""
    pose: Tensor = field(default_factory=lambda: torch.zeros(15))
    """theta [15]."""


class Stage(Protocol):
    """What the live viewer shows."""

    name: str
    camera: Camera
    """Where the portrait was taken from."""
    portrait: Tensor | None
    """[H, W, 3] the photo, or None where it is not at hand."""
    rest: Acting
    """The face at rest."""
    build: Path | None
    """Folder of the build that it is part of, if it is: what belongs to it may be kept there."""

    def options(self, category: str) -> tuple[str, ...]:
        """What a category can show, AS_IN_PHOTO first."""
        ...

    def find(self, category: str, text: str) -> str:
        """The prompt that a typed text names; PerseError with the nearest ones if there is none."""
        ...

    def dress(self, outfit: Outfit) -> None:
        """Put on. PerseError for a look that it does not have."""
        ...

    def renew(self) -> None:
        """Take in looks that were taught since it was opened."""
        ...

    def draw(self, acting: Acting, camera: Camera, background: Tensor) -> Tensor:
        """[H, W, 3] in [0, 1]."""
        ...


class AvatarStage:
    """A learned avatar. Looks blend by their codes (Eq. 13)."""

    def __init__(
        self,
        avatar: Avatar,
        name: str = "avatar",
        portrait: Tensor | None = None,
        build: Path | None = None,
    ) -> None:
        self.name, self.build = name, build
        self.camera = avatar.camera
        self.portrait = portrait
        self.rest = Acting(*avatar.rest)
        self._avatar = avatar
        self._baked: BakedLook | None = None
        self.dress({})

    def options(self, category: str) -> tuple[str, ...]:
        """The prompts it has learned."""
        none = (NONE,) if category in ABSENTABLE else ()
        return (AS_IN_PHOTO, *none, *self._avatar.learned(category))

    def find(self, category: str, text: str) -> str:
        """The prompt that a text names: learned, or drawn from its words alone."""
        if text in (AS_IN_PHOTO, NONE):
            return text
        return str(self._avatar.look(**{category: text}).attributes[category])

    def dress(self, outfit: Outfit) -> None:
        """Blend category by category, then evaluate the look once."""
        avatar = self._avatar
        look = avatar.look(**_attributes({c: choice.look for c, choice in outfit.items()}))
        for category, choice in outfit.items():
            if choice.weight > 0:
                other = avatar.look(**_attributes({category: choice.other}))
                look = avatar.mix(look, other, choice.weight, category)
        self._baked = avatar.bake(look)

    def renew(self) -> None:
        """Read looks out of the build that came after the avatar (`perse transfer`)."""
        if self.build is not None:
            self._avatar.add_saved(self.build / "avatar")

    def draw(self, acting: Acting, camera: Camera, background: Tensor) -> Tensor:
        """One frame of the baked look."""
        assert self._baked is not None
        return self._baked.render(acting.expr[None], acting.pose[None], camera, background)[0].cpu()


class PuppetStage:
    """The studio's puppet of a photo: no training, every prompt of the vocabulary. Blends are drawn by the studio."""

    def __init__(self, portrait: Portrait, seed: int = 0) -> None:
        from perse.studio import lift

        self.name = portrait.name
        self.build: Path | None = None
        self.camera = portrait.camera
        self.portrait: Tensor | None = portrait.image
        self.rest = Acting(portrait.expr, portrait.pose)
        self._vocabulary = Vocabulary()
        self._seed = seed
        self._bare = lift(portrait)
        self._puppet: Puppet = self._bare

    def options(self, category: str) -> tuple[str, ...]:
        """Some prompts of the vocabulary; :meth:`find` knows them all."""
        prompts = self._vocabulary.spread(category, OFFERED, self._seed)
        return (AS_IN_PHOTO, *sorted(attribute.prompt for attribute in prompts))

    def find(self, category: str, text: str) -> str:
        """The prompt of the vocabulary that a text names."""
        if text == AS_IN_PHOTO:
            return text
        return self._vocabulary.parse(text, category).prompt

    def dress(self, outfit: Outfit) -> None:
        """Morph a copy of the bare puppet, category by category in the studio's order."""
        from perse.studio.morph import morph
        from perse.studio.parts import ORDER

        puppet = self._bare
        for category in ORDER:
            choice = outfit.get(category, Choice())
            first, second = (self._attribute(category, look) for look in (choice.look, choice.other))
            weight = 0.0 if choice.look == choice.other else choice.weight
            shown = second if weight == 1.0 else first
            if shown is not None or 0 < weight < 1:
                puppet = morph(puppet, first, second, weight, self._seed)
        self._puppet = puppet

    def renew(self) -> None:
        """A puppet is taught nothing."""

    def _attribute(self, category: str, look: str) -> Attribute | None:
        return None if look == AS_IN_PHOTO else self._vocabulary.parse(look, category)

    @torch.no_grad()
    def draw(self, acting: Acting, camera: Camera, background: Tensor) -> Tensor:
        """One frame of the puppet."""
        gaussians, _ = self._puppet.posed(acting.expr, acting.pose)
        return rasterize(gaussians, camera, background)[0].clamp(0, 1)


def _silent(text: str, share: float) -> None:
    """Nobody waits."""


def open_stage(target: Path, say: Callable[[str, float], None] = _silent) -> Stage:
    """The stage of an avatar's folder, of a build's folder, or of a photo (lifted to a puppet in seconds).

    Args:
        say: told what is being done, and how much of it all is done already, 0 to 1.

    Raises:
        PerseError: it is none of these, or cannot be read.
    """
    folder = avatar_folder(target)
    if folder is None:
        from perse.capture import capture, load_image

        say("Looking at the face", 0.3)
        portrait = capture(load_image(target), name=target.stem)
        say("Making a puppet of the photo", 0.5)
        return PuppetStage(portrait)
    place = folder.resolve().parent
    sitter = place / "portrait"
    photo = Portrait.load(sitter).image if (sitter / "portrait.json").is_file() else None
    say("Reading the avatar", 0.5)
    built = folder.resolve().name == "avatar" and (place / "build.json").is_file()
    return AvatarStage(Avatar.load(folder), place.name, photo, place if built else None)


def _attributes(looks: Mapping[str, str]) -> dict[str, str | None]:
    """Keyword arguments of `Avatar.look`."""
    return {c: None if look == NONE else look for c, look in looks.items() if look != AS_IN_PHOTO}


def outfit_of(stage: Stage, looks: Mapping[str, str | None]) -> dict[str, Choice]:
    """An outfit from words by category (None takes the part off). PerseError for words that name nothing."""
    for category in looks:
        check_category(category)
    return {c: Choice(stage.find(c, NONE if text is None else text)) for c, text in looks.items()}


def check_outfit(value: object) -> dict[str, Choice]:
    """An outfit out of untrusted JSON; PerseError names what is wrong."""
    if not isinstance(value, dict):
        raise PerseError("an outfit must be a JSON object: category, then look, other, weight")
    outfit = {}
    for category, choice in value.items():
        if category not in CATEGORIES or not isinstance(choice, dict):
            raise PerseError(f"an outfit names categories ({', '.join(CATEGORIES)}), not {category!r}")
        look, other = (choice.get(name, AS_IN_PHOTO) for name in ("look", "other"))
        weight = choice.get("weight", 0.0)
        fine = isinstance(look, str) and isinstance(other, str) and isinstance(weight, int | float)
        if not fine or not 0 <= weight <= 1 or max(len(look), len(other)) > 500:
            raise PerseError(f"{category}: look and other must be short texts, weight a number from 0 to 1")
        outfit[category] = Choice(look, other, float(weight))
    return outfit
