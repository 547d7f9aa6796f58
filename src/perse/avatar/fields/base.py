"""The interface of both fields, and the sizes that a field can be built from without its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from perse.avatar.codes import Codes
from perse.avatar.fields._points import Moved
from perse.avatar.posing import Canonical
from perse.avatar.start import Start
from perse.head import Binding

if TYPE_CHECKING:
    from perse.avatar.latent import LatentSpace


@dataclass(frozen=True)
class FieldConfig:
    """Which field, and how large."""

    kind: Literal["basis", "mlp"] = "basis"
    """`basis`: layers of points with learned directions; `mlp`: the paper's coordinate networks."""
    rank: int = 8
    """basis: directions K a category."""
    offset_step: float = 0.03
    """basis: metres that a direction of unit length moves a point."""
    between: int = 0
    """basis: directions a category has besides, that speak only between learned looks; tuning on blends adds them."""
    width: int = 256
    """mlp: width of the hidden layers."""
    depth: int = 8
    """mlp: hidden layers of MLP_d; MLP_c has half as many."""
    skip: int | None = 4
    """mlp: hidden layer of MLP_d where the input enters again."""
    frequencies: int = 6
    """mlp: octaves of the positional encoding."""
    pose_code: int = 4
    """Learned numbers a point that MLP_pose reads besides its displacement: a lid is told from a cheek. 0: none."""
    point_values: bool = True
    """mlp: give every point learned values that the network's output is added to (2-3 dB at equal time on a CPU)."""


@dataclass(frozen=True)
class Layout:
    """Sizes of everything that depends on the data: enough to build an empty field and load weights into it."""

    base: int
    """Points of the base."""
    layers: dict[str, int] = field(default_factory=dict)
    """Points of every category's layer."""
    actions: dict[str, int] = field(default_factory=dict)
    """Base points in reach of every category."""
    yields: tuple[tuple[str, str], ...] = ()
    """(layer, category) pairs where the layer gives way to the category."""

    @staticmethod
    def of(start: Start) -> Layout:
        """The sizes of a start."""
        return Layout(
            base=len(start.base),
            layers={name: len(layer.points) for name, layer in start.layers.items()},
            actions={name: len(action.index) for name, action in start.actions.items()},
            yields=tuple(start.yields),
        )

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        return asdict(self)


class Field(Protocol):
    """Codes in, canonical points out (Eqs. 18-20, 23); an `nn.Module`."""

    config: FieldConfig
    layout: Layout
    uses_presence: bool
    """Whether a part fades by its presence (layers) rather than by its code alone."""

    def initialize(self, start: Start, latent: LatentSpace, generator: torch.Generator) -> None:
        """Fill the weights from a start; everything random is drawn from `generator`."""

    def evaluate(self, codes: Codes, learn_flame: bool = True) -> Canonical:
        """The canonical points of one subject. `learn_flame` False: E, P, W carry no gradient."""

    def effect(self, category: str) -> Tensor:
        """[R, d]: how far apart a category's codes a, b put its points is about ``|effect @ (a - b)|``."""

    def flame_targets(self, canonical: Canonical) -> list[Binding]:
        """The head's own E, P, W that Eq. 31 pulls towards, run by run. Only known while training."""

    def roles(self) -> dict[str, str]:
        """What every parameter is (position, opacity, color, direction, net...), for its step size."""

    ancestors: dict[str, Tensor]
    """[n] int64 for each set of points ("base", then the layers): the point of the start each descends from. Empty
    where nothing was initialised."""

    def rearrange(self, name: str, source: Tensor, fresh: Tensor) -> list[Moved]:
        """Point i of a set becomes a copy of its point `source[i]` [n'], with all that it learned (A.1.2).

        Everything that is kept for each point follows: values, directions, E, P, W, what Eq. 31 pulls them to, labels,
        and the lists of points that categories act on. `fresh` [n'] marks the newborn for whoever holds the result.

        Returns:
            The parameters that were replaced.
        """

    def adjust(self, name: str, points: Tensor, offset: Tensor, log_scale: Tensor) -> None:
        """Move some points [k] of a set by `offset` [k, 3] metres and change their sizes by `log_scale` [k, 3]."""

    # What both are because they are modules.
    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]: ...


def make_field(config: FieldConfig, layout: Layout, slots: Sequence[str], latent_dim: int) -> nn.Module:
    """An uninitialised field. `slots`: names of the rows of a code."""
    from perse.avatar.fields.basis import BasisField
    from perse.avatar.fields.mlp import MlpField

    kinds: dict[str, Callable[..., nn.Module]] = {"basis": BasisField, "mlp": MlpField}
    return kinds[config.kind](config, layout, tuple(slots), latent_dim)


def empty(*shape: int) -> nn.Parameter:
    """A parameter to be filled later."""
    return nn.Parameter(torch.zeros(*shape))


def detach_unless(learn: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors, without gradient where nothing is to be learned."""
    return tensors if learn else tuple(t.detach() for t in tensors)
