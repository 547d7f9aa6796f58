"""A basis field as plain arrays: everything that a player without networks needs to blend looks (docs/avatar.md).

The values of a layer's points are ``own + coefficients @ directions``, and the coefficients of a category are linear in
its code. So a look is a handful of numbers a category, and a blend of looks is a blend of those numbers. What tuning on
blends adds between learned looks comes from the blended numbers too, by a small network (`LinearBetween`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from perse.avatar.adapters import PointAdapter
from perse.avatar.codes import Codes
from perse.avatar.fields import Between
from perse.avatar.fields._between import CLOSED
from perse.avatar.fields.basis import SEPARATOR, BasisField, PointLayer, sample_grid
from perse.avatar.start import WEIGHTS
from perse.dataset import ABSENTABLE
from perse.errors import PerseError
from perse.head import Binding

if TYPE_CHECKING:
    from perse.avatar.avatar import Avatar


@dataclass(frozen=True)
class LinearLook:
    """What one category wears. A blend of looks blends these numbers as `Codes.mix` does."""

    coefficients: Tensor
    """[K]"""
    code: Tensor
    """[d] of length one at every learned look, and shorter between two; [0] where nothing is added between looks."""
    presence: float
    transfers: Tensor
    """[T] how much of each look from another photo."""


@dataclass(frozen=True)
class LinearBetween:
    """What a layer adds between learned looks, and nothing at any of them (`fields._between.Between`)."""

    hidden: Tensor
    """[H, d] and..."""
    bias: Tensor
    """[H] the network's hidden layer, of a look's code;"""
    mix: Tensor
    """[K, H] and its last one."""
    directions: Tensor
    """[K + 1, n, 19] the last is what the part does where it is only partly there."""
    fade: float
    """The opacity's factor is the presence to the power of exp(fade)."""
    closed: float = CLOSED
    """A code whose squared length is this near to one counts as a learned one."""

    def features(self, code: Tensor) -> Tensor:
        """What `mix` reads of codes [..., d]: [..., H]."""
        gate = (1 - self.closed - code.square().sum(-1)).clamp(0, 1)
        return torch.tanh(code @ self.hidden.T + self.bias) * gate[..., None]

    def coefficients(self, look: LinearLook) -> Tensor:
        """[K + 1] of the directions."""
        missing = look.coefficients.new_tensor([1 - look.presence])
        return torch.cat([self.mix @ self.features(look.code), missing])


@dataclass(frozen=True)
class LinearLayer:
    """The points of one category, or of the base, which has no directions (K = 0)."""

    name: str
    """The category, or "base"."""
    points: Tensor
    """[n, 3] metres, to which the offset of a value is added."""
    own: Tensor
    """[n, 19] values before any code speaks: opacity logit, log scale, quaternion, colour logits, offset in metres,
    skinning weights."""
    directions: Tensor
    """[K, n, 19]"""
    binding: Binding
    """E [n, 3, 50], P [n, 3, 36], W [n, 5]; rows of W sum to 1."""
    pose_code: Tensor
    """[n, P] what MLP_pose reads; P may be 0."""
    between: LinearBetween | None = None
    """None where nothing is added between looks."""

    def values(self, look: LinearLook) -> Tensor:
        """[n, 19] in a look of its category, before other categories act on it."""
        values = self.own + torch.tensordot(look.coefficients, self.directions, 1)
        if self.between is not None:
            values = values + torch.tensordot(self.between.coefficients(look), self.between.directions, 1)
        return values


@dataclass(frozen=True)
class LinearAction:
    """What a category adds to values of base points: ``(shift + coefficients @ directions)``, times its presence if

    the part can be absent.
    """

    category: str
    index: Tensor
    """[n] int64 base points."""
    shift: Tensor
    """[n, 19]"""
    directions: Tensor
    """[K, n, 19]"""
    by_presence: bool
    """Whether the change is multiplied by the category's presence."""


@dataclass(frozen=True)
class LinearYield:
    """What another category asks of a layer, by place, times the other's presence."""

    layer: str
    other: str
    low: Tensor
    """[3] metres: where the grid begins..."""
    high: Tensor
    """[3] ...and where it ends."""
    shift: Tensor
    """[4, Z, Y, X] shift of the opacity logit, offset in metres, at the corners of a grid."""
    directions: Tensor
    """[K, 4, Z, Y, X]"""

    def at(self, means: Tensor, coefficients: Tensor) -> Tensor:
        """[n, 4] what is asked of points at means [n, 3]."""
        grid = self.shift + torch.tensordot(coefficients, self.directions, 1)
        return sample_grid(grid, means, self.low, self.high)


@dataclass(frozen=True)
class LinearTransfer:
    """A look learned from another photo: what it adds where it is worn, times its weight (`PointAdapter`)."""

    name: str
    category: str
    layer: Tensor
    """[n, 19] added to its category's layer, after other categories acted on it; n is 0 where there is none."""
    index: Tensor
    """[m] int64 base points and..."""
    base: Tensor
    """[m, 19] ...what is added to them."""
    press: dict[str, Tensor]
    """[n] added to the opacity logits of other layers."""
    seat: Tensor
    """[k] int64 the points of its category's layer whose giving way its own points share."""

    @property
    def own(self) -> str:
        """The layer of its own points, whose opacity is multiplied by the weight."""
        return f"{self.category}: {self.name}"


@dataclass(frozen=True)
class LinearField:
    """All of a basis field."""

    layers: tuple[LinearLayer, ...]
    """The base first, points that looks from other photos brought last."""
    actions: tuple[LinearAction, ...]
    yields: tuple[LinearYield, ...]
    transfers: tuple[LinearTransfer, ...]
    maps: dict[str, Tensor]
    """[K, d] coefficients out of a category's code, of every category that changes anything."""
    norms: dict[str, tuple[Tensor, Tensor]]
    """Gain and bias [d] that every learned code carries, of the categories that add something between looks."""
    slots: tuple[str, ...]
    """Names of the rows of a code."""

    def look(self, codes: Codes, category: str) -> LinearLook:
        """What one category wears in codes on the CPU."""
        slot = self.slots.index(category)
        z = codes.z[slot]
        k, code = z.new_zeros(0), z.new_zeros(0)
        if category in self.maps:
            k = self.maps[category] @ z
        if category in self.norms:
            gain, bias = self.norms[category]
            code = (z - bias) / gain * len(z) ** -0.5
        names = [transfer.name for transfer in self.transfers if transfer.category == category]
        weights = [float(codes.worn[name].weight) if name in codes.worn else 0.0 for name in names]
        return LinearLook(k, code, float(codes.presence[slot]), torch.tensor(weights))


@torch.no_grad()
def linear_field(avatar: Avatar) -> LinearField:
    """The arrays of an avatar, on the CPU.

    Raises:
        PerseError: its field is no basis field: the paper's networks have no such arrays.
    """
    field = avatar.model.field
    if not isinstance(field, BasisField):
        raise PerseError(
            "this avatar has the paper's mlp field, whose looks are networks and cannot be blended outside of PERSE; "
            "export looks one by one (--format ply), or train with the basis field"
        )
    adapters = [a for a in avatar.model.adapters.values() if isinstance(a, PointAdapter)]
    transfers = [_transfer(adapter) for adapter in adapters]
    steps, grid_steps = field.steps, field.yield_steps[:, None, None, None]
    return LinearField(
        layers=(
            _layer(field, "base", field.base),
            *(
                _layer(field, name, layer, layer.directions * steps, _between(field, name))
                for name, layer in field.layers.items()
            ),
            *(_own_layer(t.own, a.own) for t, a in zip(transfers, adapters) if a.shape.own),
        ),
        actions=tuple(
            LinearAction(
                name, a.index.cpu(), (a.shift * steps).cpu(), (a.directions * steps).cpu(), name in ABSENTABLE
            )
            for name, a in field.actions.items()
        ),
        yields=tuple(
            LinearYield(
                layer,
                other,
                module.low.cpu(),
                module.high.cpu(),
                (module.shift * grid_steps).cpu(),
                (module.directions * grid_steps).cpu(),
            )
            for pair, module in field.yields.items()
            for layer, other in [pair.split(SEPARATOR)]
        ),
        transfers=tuple(transfers),
        maps={name: linear.weight.cpu() for name, linear in field.coefficients.items()},
        norms={name: (module.gain.cpu(), module.bias.cpu()) for name, module in field.between.items()},
        slots=field.slots,
    )


def _layer(
    field: BasisField,
    name: str,
    layer: PointLayer,
    directions: Tensor | None = None,
    between: LinearBetween | None = None,
) -> LinearLayer:
    own = layer.own_values()
    return _as_linear(name, layer, own, field.binding(layer, own), directions, between)


def _as_linear(
    name: str,
    layer: PointLayer,
    own: Tensor,
    binding: Binding,
    directions: Tensor | None = None,
    between: LinearBetween | None = None,
) -> LinearLayer:
    code = layer.pose_code if layer.pose_code is not None else layer.points.new_zeros(len(own), 0)
    return LinearLayer(
        name=name,
        points=layer.points.cpu(),
        own=own.cpu(),
        directions=own.new_zeros(0, *own.shape).cpu() if directions is None else directions.cpu(),
        binding=Binding(*(part.cpu() for part in binding)),
        pose_code=code.cpu(),
        between=between,
    )


def _between(field: BasisField, name: str) -> LinearBetween | None:
    if name not in field.between:
        return None
    module: Between = field.between[name]
    directions = torch.cat([module.directions, module.absence[None]]) * field.steps
    return LinearBetween(
        hidden=(module.hidden.weight * field.latent_dim**0.5).cpu(),
        bias=module.hidden.bias.cpu(),
        mix=module.coefficients.weight.cpu(),
        directions=directions.cpu(),
        fade=float(module.fade),
    )


def _own_layer(name: str, own: PointLayer) -> LinearLayer:
    return _as_linear(name, own, own.own_values(), Binding(own.E, own.P, own.W))


def _transfer(adapter: PointAdapter) -> LinearTransfer:
    steps = adapter.steps.clone()
    steps[WEIGHTS] = 0  # an adapter leaves skinning weights as they are
    return LinearTransfer(
        name=adapter.shape.name,
        category=adapter.shape.category,
        layer=(adapter.layer_shift * steps).cpu(),
        index=adapter.base_index.cpu(),
        base=(adapter.base_shift * steps).cpu(),
        press={name: shift.cpu() for name, shift in adapter.press.items()},
        seat=adapter.seat.cpu(),
    )
