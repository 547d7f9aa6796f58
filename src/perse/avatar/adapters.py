"""Looks learned after the avatar: small adapters beside frozen weights (paper section 4.4, A.4, Eqs. 39-44).

An adapter belongs to one look of one category and is worn with a *weight*: 0 leaves the avatar as it is, bit for
bit, 1 is the look, and in between it blends like a code. So earlier looks cannot change, several adapters live side
by side, and one is removed by forgetting it. (The paper's LoRA is always on and held back by its 3D loss alone.)

- `PointAdapter`, for the `basis` field: one more direction of the category's layer and of the head's points under it,
  how other layers make room, and some points of its own for what the layer has nothing near.
- `LowRankAdapter`, for the `mlp` field: LoRA on every linear layer of MLP_d and MLP_c.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from perse.avatar.codes import Codes, Worn
from perse.avatar.fields import FieldConfig, Layout
from perse.avatar.fields.base import empty
from perse.avatar.fields.basis import PointLayer
from perse.avatar.posing import Canonical
from perse.avatar.start import COLOR, OFFSET, OPACITY, ROTATION, SCALE, VALUES, value_steps
from perse.dataset import CATEGORIES
from perse.errors import PerseError
from perse.head import Binding

if TYPE_CHECKING:
    from perse.avatar.fields import Field

MAX_NAME = 80


@dataclass(frozen=True)
class AdapterShape:
    """Sizes of an adapter: enough to build an empty one and load weights into it."""

    name: str
    """What the look is called."""
    category: str
    """Whose look it is."""
    kind: str
    """`points` (for the `basis` field) or `lora` (for `mlp`)."""
    dim: int
    """Numbers of the category's code."""
    rank: int = 4
    """lora: rank of every update."""
    layer: int = 0
    """points: points of the category's layer."""
    base: int = 0
    """points: points of the head that it changes."""
    own: int = 0
    """points: points of its own."""
    press: Mapping[str, int] = field(default_factory=dict)
    """points: layers that make room for it, with their sizes."""


class PointAdapter(nn.Module):
    """A look as changes of a layered field's points; see the module's text."""

    z: Tensor
    base_index: Tensor
    seat: Tensor
    steps: Tensor

    def __init__(self, shape: AdapterShape, config: FieldConfig) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("z", torch.zeros(shape.dim))  # z_k = MLP_z(f_I, f_T) of the look
        self.layer_shift = empty(shape.layer, VALUES)
        self.base_shift = empty(shape.base, VALUES)
        self.press = nn.ParameterDict({name: empty(n) for name, n in shape.press.items()})
        self.own = PointLayer(shape.own, config.pose_code)
        self.register_buffer("base_index", torch.zeros(shape.base, dtype=torch.int64))
        self.register_buffer("seat", torch.zeros(shape.own, dtype=torch.int64))  # nearest point of the layer
        self.register_buffer("steps", value_steps(config.offset_step), persistent=False)

    def change(self, field: Field, codes: Codes, canonical: Canonical, worn: Worn) -> Canonical:
        """The canonical points with this look put on by its weight; its own points come last."""
        presence = codes.presence[worn.slot]
        if float(presence) <= 0:
            return canonical
        canonical = self._shifted(canonical, worn.weight)
        return self._with_own(field, codes, canonical, worn, presence) if self.shape.own else canonical

    def _shifted(self, canonical: Canonical, weight: Tensor) -> Canonical:
        """What is there, moved along this look's direction."""
        layers, device = canonical.layers, canonical.means.device
        rows, values = [self.base_index + layers["base"].start], [self.base_shift * self.steps]
        if self.shape.category in layers and self.shape.layer:
            rows.append(_rows(layers[self.shape.category], device))
            values.append(self.layer_shift * self.steps)
        for name, shift in self.press.items():
            if name in layers:
                rows.append(_rows(layers[name], device))
                values.append(nn.functional.pad(shift[:, None], (0, VALUES - 1)))
        change = canonical.means.new_zeros(len(canonical), VALUES)
        change = change.index_add(0, torch.cat(rows), torch.cat(values) * weight)
        return replace(
            canonical,
            means=canonical.means + change[:, OFFSET],
            quats=canonical.quats + change[:, ROTATION],
            log_scales=canonical.log_scales + change[:, SCALE],
            opacity=canonical.opacity + change[:, OPACITY][:, 0],
            colors=canonical.colors + change[:, COLOR],
        )

    def _with_own(
        self, field: Field, codes: Codes, canonical: Canonical, worn: Worn, presence: Tensor
    ) -> Canonical:
        """The look's own points added; they make room for other parts as the layer's points near them do."""
        own = self.own
        faded, moved = self._room(field, codes, canonical)
        opacity = own.opacity[:, 0] + faded
        pose_code = canonical.pose_code
        if pose_code is not None and own.pose_code is not None:
            pose_code = torch.cat([pose_code, own.pose_code])
        name = f"{self.shape.category}: {self.shape.name}"
        return replace(
            canonical,
            means=torch.cat([canonical.means, own.points + moved]),
            quats=torch.cat([canonical.quats, own.rotation]),
            log_scales=torch.cat([canonical.log_scales, own.scale]),
            opacity=torch.cat([canonical.opacity, opacity]),
            colors=torch.cat([canonical.colors, own.color]),
            presence=torch.cat([canonical.presence, (presence * worn.weight).expand(len(opacity))]),
            bindings=[*canonical.bindings, Binding(own.E, own.P, own.W)],
            labels=torch.cat([canonical.labels, own.labels]),
            pose_code=pose_code,
            layers={**canonical.layers, name: slice(len(canonical), len(canonical) + len(opacity))},
        )

    def _room(
        self, field: Field, codes: Codes, canonical: Canonical
    ) -> tuple[Tensor | float, Tensor | float]:
        """How the look's own points give way: hair to a hat that is worn with it. Logits [k], metres [k, 3]."""
        category = self.shape.category
        others = {other for layer, other in field.layout.yields if layer == category}
        slots = [i for i, name in enumerate(CATEGORIES) if name in others and float(codes.presence[i]) > 0]
        if not slots or category not in canonical.layers or not self.shape.layer:
            return 0.0, 0.0
        without = codes.presence.clone()
        without[slots] = 0
        alone, together = (field.evaluate(Codes(codes.z, p), False) for p in (without, codes.presence))
        before, after = alone.layers[category], together.layers[category]
        faded = (together.opacity[after] - alone.opacity[before]).clamp_max(0.0)
        moved = together.means[after] - alone.means[before]
        return faded[self.seat], moved[self.seat]

    def roles(self) -> dict[str, str]:
        """What every parameter is, for its step size; E, P, W of its own points stay the head's."""
        kinds = {"points": "layer_position", "layer_shift": "direction", "base_shift": "direction"}
        found = {}
        for name, _ in self.named_parameters():
            last = name.rsplit(".", 1)[-1]
            found[name] = "direction" if name.startswith("press.") else kinds.get(last, last)
        return {name: role for name, role in found.items() if role not in ("E", "P", "W")}


class LowRankAdapter(nn.Module):
    """LoRA: W + weight * B A for every linear layer of the coordinate networks (Hu et al. 2022; Eq. 39)."""

    z: Tensor

    def __init__(self, shape: AdapterShape, sizes: Mapping[str, tuple[int, int]]) -> None:
        """`sizes`: outputs and inputs of every weight matrix, by name."""
        super().__init__()
        self.shape = shape
        self.register_buffer("z", torch.zeros(shape.dim))
        # Dots in names would be taken for modules.
        keys = {name: name.replace(".", "-") for name in sizes}
        self._names = {key: name for name, key in keys.items()}
        self.down = nn.ParameterDict({keys[n]: empty(shape.rank, i) for n, (_, i) in sizes.items()})
        self.up = nn.ParameterDict({keys[n]: empty(o, shape.rank) for n, (o, _) in sizes.items()})

    def initialize(self, generator: torch.Generator) -> None:
        """A random, B zero: at first it changes nothing."""
        with torch.no_grad():
            for down in self.down.values():
                down.copy_(torch.randn(down.shape, generator=generator) * down.shape[1] ** -0.5)

    def updates(self) -> dict[str, Tensor]:
        """B A [outputs, inputs] of every weight matrix, by its name."""
        return {name: self.up[key] @ self.down[key] for key, name in self._names.items()}

    def roles(self) -> dict[str, str]:
        """All of it is network."""
        return {name: "net" for name, _ in self.named_parameters()}


Adapter = PointAdapter | LowRankAdapter


def make_adapter(shape: AdapterShape, config: FieldConfig, weights: Mapping[str, Tensor]) -> Adapter:
    """An empty adapter. `weights`: the field's own, for the sizes of its matrices."""
    if shape.kind == "points":
        return PointAdapter(shape, config)
    sizes = {n: (w.shape[0], w.shape[1]) for n, w in weights.items() if n.endswith("weight") and w.ndim == 2}
    return LowRankAdapter(shape, sizes)


def adapter_kind(config: FieldConfig) -> str:
    """The kind of adapter that a field takes."""
    return "points" if config.kind == "basis" else "lora"


def evaluate_adapted(
    field: Field, codes: Codes, adapters: Mapping[str, Adapter], learn_flame: bool
) -> Canonical:
    """The field with the adapters that the codes wear (Eq. 39). PerseError if one of them was removed."""
    for name in codes.worn:
        if name not in adapters:
            raise PerseError(f'the look "{name}" was removed from this avatar')
    worn = [(adapters[name], how) for name, how in codes.worn.items()]
    low_rank = [(adapter, how.weight) for adapter, how in worn if isinstance(adapter, LowRankAdapter)]
    canonical = (
        _low_rank(field, codes, low_rank, learn_flame) if low_rank else field.evaluate(codes, learn_flame)
    )
    for adapter, how in worn:
        if isinstance(adapter, PointAdapter):
            canonical = adapter.change(field, codes, canonical, how)
    return canonical


class _Evaluate(nn.Module):
    """A field whose `forward` evaluates it, as functional_call wants."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, codes: Codes, learn_flame: bool) -> Canonical:
        return self.field.evaluate(codes, learn_flame)  # type: ignore[operator]


def _low_rank(
    field: Any, codes: Codes, adapters: Iterable[tuple[LowRankAdapter, Tensor]], learn_flame: bool
) -> Canonical:
    weights = dict(field.named_parameters())
    changed: dict[str, Tensor] = {}
    for adapter, weight in adapters:
        for name, update in adapter.updates().items():
            changed[name] = (changed[name] if name in changed else weights[name]) + weight * update
    changed = {f"field.{name}": tensor for name, tensor in changed.items()}
    return torch.func.functional_call(_Evaluate(field), changed, (codes, learn_flame))


def fingerprint(state: Mapping[str, Tensor], layout: Layout) -> str:
    """Tells one base from another: an adapter fits only the weights it was learned on."""
    digest = hashlib.sha256(repr(layout).encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _rows(part: slice, device: torch.device) -> Tensor:
    return torch.arange(part.start, part.stop, device=device)
