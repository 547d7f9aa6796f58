"""Who makes the data: the protocols of DESIGN section 4, and the one registry that finds a maker by name."""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from perse.dataset.records import Attribute, Edited, Frame, Motion, Portrait, SubjectPoints
from perse.errors import PerseError
from perse.splat import Camera


@runtime_checkable
class Editor(Protocol):
    """Gives the person of a portrait new attributes (section 3.1, Eqs. 6-9)."""

    def edit(self, portrait: Portrait, attributes: Sequence[Attribute], seed: int) -> Edited:
        """One edited portrait. `attributes` () means the person as photographed: the reference."""
        ...


@runtime_checkable
class Animator(Protocol):
    """Moves an edited portrait (section 3.2, Eq. 10)."""

    def animate(self, edited: Edited, motion: Motion, camera: Camera) -> Iterator[Frame]:
        """One frame for every row of `motion`, in order, at the size of `camera`, composited on white."""
        ...

    def points(self, edited: Edited) -> SubjectPoints | None:
        """The maker's own Gaussians at rest, or None where it has none (a 2D animator)."""
        ...


@runtime_checkable
class Morpher(Protocol):
    """Draws the looks between two edits of one category: what supervises interpolation (Eq. 14)."""

    def morph(
        self, portrait: Portrait, first: Attribute | None, second: Attribute | None, weight: float, seed: int
    ) -> Edited:
        """The look a share `weight` in [0, 1] of the way from `first` to `second`; None is the person unedited.

        0 and 1 give what the maker's Editor gives for one attribute; the result animates like any edit.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """The image and text features that MLP_z reads (Eq. 1)."""

    def image(self, image: torch.Tensor) -> torch.Tensor:
        """Image [H, W, 3] in [0, 1] -> f_I [D_I]."""
        ...

    def text(self, prompt: str) -> torch.Tensor:
        """Prompt -> f_T [D_T]."""
        ...


_MAKERS: dict[str, dict[str, str]] = {
    "editor": {"studio": "perse.studio:StudioEditor"},
    "animator": {"studio": "perse.studio:StudioAnimator"},
    "morpher": {"studio": "perse.studio:StudioMorpher"},
    "encoder": {"efficientnet+minilm": "perse.perception:Encoder"},
}


def maker_names(kind: str) -> tuple[str, ...]:
    """The registered names of one kind: "editor", "animator", "morpher" or "encoder"."""
    if kind not in _MAKERS:
        raise PerseError(f"unknown kind of maker {kind!r}; the kinds are {', '.join(sorted(_MAKERS))}")
    return tuple(sorted(_MAKERS[kind]))


def register_maker(kind: str, name: str, target: str) -> None:
    """Make "package.module:Class" known as `name`; nothing is imported before it is chosen."""
    maker_names(kind)
    if target.count(":") != 1:
        raise PerseError(f"a maker is registered as 'package.module:Class', not {target!r}")
    _MAKERS[kind][name] = target


def load_maker(kind: str, name: str, **options: Any) -> Any:
    """The maker registered as `name`, imported now and constructed with `options`.

    Errors: PerseError for an unknown kind or name (listing the known ones) and for a maker whose package is
    missing.
    """
    known = maker_names(kind)
    if name not in known:
        raise PerseError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
    module_name, _, class_name = _MAKERS[kind][name].partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise PerseError(f"the {kind} {name!r} cannot be loaded from {module_name}: {error}") from error
    return factory(**options)
