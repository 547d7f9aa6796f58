"""The layered field: every category owns points with learned values and a few learned directions.

Values of a layer's points are ``base + coefficients @ directions``; the K coefficients are a linear map of the
category's own code, so blending codes blends values linearly, editing is local by construction, and depth order
makes layers hide one another. Base points answer to no code, except where a category *acts* on them (nose and
mouth shapes, skin under a beard or without eyebrows). A layer may *yield* to another category (hair to a hat).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from perse.avatar.codes import Codes
from perse.avatar.fields._between import Between
from perse.avatar.fields._closed_form import SEPARATOR, place_codes, solve_category
from perse.avatar.fields._points import Moved, rearrange_buffers, rearrange_parameters, rows_of
from perse.avatar.fields.base import FieldConfig, Layout, detach_unless, empty
from perse.avatar.fields.mlp import normalize_weights
from perse.avatar.posing import Canonical, layer_slices
from perse.avatar.start import (
    COLOR,
    OFFSET,
    OPACITY,
    ROTATION,
    SCALE,
    VALUES,
    WEIGHTS,
    YIELD_CELLS,
    YIELD_VALUES,
    Points,
    Start,
    value_steps,
)
from perse.dataset import ABSENTABLE, CATEGORY_LABEL, LABEL_CODE
from perse.head import Binding

if TYPE_CHECKING:
    from perse.avatar.latent import LatentSpace

NOISE = 3e-4
"""Size of the random part of new directions: none at all would keep unused ones unused for ever."""


class PointLayer(nn.Module):
    """n points with values of their own, tied to the head."""

    labels: Tensor

    def __init__(self, n: int, pose_code: int) -> None:
        super().__init__()
        self.points = empty(n, 3)
        self.pose_code = empty(n, pose_code) if pose_code else None
        self.opacity, self.scale, self.rotation, self.color = (
            empty(n, 1),
            empty(n, 3),
            empty(n, 4),
            empty(n, 3),
        )
        self.E, self.P, self.W = empty(n, 3, 50), empty(n, 3, 36), empty(n, 5)
        self.register_buffer("labels", torch.zeros(n, dtype=torch.uint8))

    def set_points(self, points: Points) -> None:
        """Take over the values of a start."""
        with torch.no_grad():
            self.points.copy_(points.means)
            self.opacity.copy_(points.opacity[:, None])
            self.scale.copy_(points.log_scales)
            self.rotation.copy_(points.quats)
            self.color.copy_(points.colors)
            self.E.copy_(points.E)
            self.P.copy_(points.P)
            self.W.copy_(points.W)
            self.labels.copy_(points.labels)

    def own_values(self, learn_flame: bool = True) -> Tensor:
        """[n, 19] values before any code speaks."""
        own = [self.opacity, self.scale, self.rotation, self.color, torch.zeros_like(self.points)]
        return torch.cat([*own, self.W if learn_flame else self.W.detach()], 1)


class CategoryLayer(PointLayer):
    """A category's points, with K directions in which their values may move."""

    def __init__(self, n: int, rank: int, pose_code: int) -> None:
        super().__init__(n, pose_code)
        self.directions = empty(rank, n, VALUES)


class Action(nn.Module):
    """How one category changes the base points in its reach."""

    index: Tensor

    def __init__(self, n: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("index", torch.zeros(n, dtype=torch.int64))
        self.shift = empty(n, VALUES)
        self.directions = empty(rank, n, VALUES)


class Yield(nn.Module):
    """How one layer gives way to another category: a grid over space, of how far what is there fades and moves.

    Told for places, it holds for whatever comes there: a hat that pressed one hair presses all, and points may be
    born or lost without it.
    """

    low: Tensor
    high: Tensor

    def __init__(self, rank: int) -> None:
        super().__init__()
        cells = YIELD_CELLS[::-1]  # z, y, x
        self.shift = empty(YIELD_VALUES, *cells)
        self.directions = empty(rank, YIELD_VALUES, *cells)
        self.register_buffer("low", torch.zeros(3))
        self.register_buffer("high", torch.ones(3))

    def at(self, means: Tensor, coefficients: Tensor) -> Tensor:
        """[n, 4] what is asked of points at means [n, 3], linear between the grid's corners, nothing outside."""
        grid = self.shift + (coefficients @ self.directions.flatten(1)).view(self.shift.shape)
        return sample_grid(grid, means.detach(), self.low, self.high)


def sample_grid(grid: Tensor, means: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Values [n, C] of a grid [C, Z, Y, X] over a box at means [n, 3]: linear between corners, fading to zero within a
    cell outside."""
    places = (means - low) / (high - low) * 2 - 1
    asked = nn.functional.grid_sample(grid[None], places[None, None, None], align_corners=True)
    return asked[0, :, 0, 0].T


class BasisField(nn.Module):
    """Layers of points over the head; see the module's text."""

    uses_presence = True
    steps: Tensor
    coefficients: Mapping[str, nn.Linear]
    layers: Mapping[str, CategoryLayer]
    actions: Mapping[str, Action]
    yields: Mapping[str, Yield]
    between: Mapping[str, Between]

    def __init__(self, config: FieldConfig, layout: Layout, slots: tuple[str, ...], latent_dim: int) -> None:
        super().__init__()
        self.config, self.layout, self.slots, self.latent_dim = config, layout, slots, latent_dim
        rank = config.rank
        # ModuleDicts, typed above as the mappings they are.
        spoken = {*layout.layers, *layout.actions, *(other for _, other in layout.yields)}
        names = [name for name in slots if name in spoken]  # a category that changes nothing learns nothing
        self.coefficients = _modules({name: nn.Linear(latent_dim, rank, bias=False) for name in names})
        self.base = PointLayer(layout.base, config.pose_code)
        self.layers = _modules(
            {name: CategoryLayer(n, rank, config.pose_code) for name, n in layout.layers.items()}
        )
        self.actions = _modules({name: Action(n, rank) for name, n in layout.actions.items()})
        self.yields = _modules({SEPARATOR.join(p): Yield(rank) for p in layout.yields})
        between = {name: Between(n, config.between, latent_dim) for name, n in layout.layers.items()}
        self.between = _modules(between if config.between else {})
        self.register_buffer("steps", value_steps(config.offset_step), persistent=False)
        self._targets: dict[str, Binding] = {}
        self.ancestors: dict[str, Tensor] = {}

    # ---- starting ---------------------------------------------------------------------------------------

    def initialize(self, start: Start, latent: LatentSpace, generator: torch.Generator) -> None:
        """Values and directions of the start, solved in closed form: step 0 already shows every known subject."""
        self.base.set_points(start.base)
        for name, layer in start.layers.items():
            self.layers[name].set_points(layer.points)
        for name, action in start.actions.items():
            self.actions[name].index.copy_(action.index)
        for pair, y in start.yields.items():
            self.yields[SEPARATOR.join(pair)].low.copy_(y.low)
            self.yields[SEPARATOR.join(pair)].high.copy_(y.high)
        with torch.no_grad():
            self._randomize(generator)
            for name, coefficients in place_codes(self, start, latent).items():
                solve_category(self, name, start, latent, coefficients)
        self._targets = {
            name: Binding(p.E.detach().clone(), p.P.detach().clone(), p.W.detach().clone())
            for name, p in [("base", self.base), *self.layers.items()]
        }
        self.ancestors = {name: torch.arange(len(target.W)) for name, target in self._targets.items()}

    def remember(self, other: BasisField) -> None:
        """Take over what another field of the same points knows of its start."""
        self._targets, self.ancestors = dict(other._targets), dict(other.ancestors)

    def _randomize(self, generator: torch.Generator) -> None:
        for linear in self.coefficients.values():
            linear.weight.copy_(
                torch.randn(linear.weight.shape, generator=generator) * linear.weight.shape[1] ** -0.5
            )
        modules: list[CategoryLayer | Action | Yield] = []
        modules += [*self.layers.values(), *self.actions.values(), *self.yields.values()]
        for module in modules:
            module.directions.copy_(torch.randn(module.directions.shape, generator=generator) * NOISE)

    # ---- evaluating -------------------------------------------------------------------------------------

    def evaluate(self, codes: Codes, learn_flame: bool = True) -> Canonical:
        """Values of the base and of every layer whose part is there; absent layers are left out before drawing."""
        presence = dict(zip(self.slots, codes.presence))
        there = {name for name, p in zip(self.slots, codes.presence.tolist()) if p > 0}
        coefficients = {
            name: self.coefficients[name](codes.z[i])
            for i, name in enumerate(self.slots)
            if name in self.coefficients
        }
        live: list[tuple[str, PointLayer]] = [("base", self.base)]
        values = [self._act(self.base.own_values(learn_flame), coefficients, presence, there)]
        shown = [torch.ones_like(values[0][:, 0])]
        for name, layer in self.layers.items():
            if name in there:
                own = layer.own_values(learn_flame) + self._along(layer.directions, coefficients[name])
                factor = presence[name]
                if name in self.between:
                    module, code = self.between[name], codes.z[self.slots.index(name)]
                    own = own + module.change(code, factor) * self.steps
                    factor = module.shown(factor).squeeze()
                own = self._give_way(name, own, layer.points, coefficients, presence, there)
                values.append(own)
                shown.append(factor.expand(len(own)))
                live.append((name, layer))
        value = torch.cat(values)
        return Canonical(
            means=torch.cat(tuple(layer.points for _, layer in live)) + value[:, OFFSET],
            quats=value[:, ROTATION],
            log_scales=value[:, SCALE],
            opacity=value[:, OPACITY][:, 0],
            colors=value[:, COLOR],
            presence=torch.cat(shown),
            bindings=[self.binding(layer, own, learn_flame) for (_, layer), own in zip(live, values)],
            pose_code=_joined([layer.pose_code for _, layer in live]),
            labels=torch.cat([self._base_labels(there), *(layer.labels for _, layer in live[1:])]),
            layers=layer_slices([(name, len(layer.points)) for name, layer in live]),
        )

    def _base_labels(self, there: set[str]) -> Tensor:
        """Labels of the base; skin painted as a part (the shade under hair) is skin again without that part."""
        labels = self.base.labels
        for name in self.layers:
            if name not in there:
                painted = labels == LABEL_CODE[CATEGORY_LABEL[name]]
                labels = labels.masked_fill(painted, LABEL_CODE["skin"])
        return labels

    def _along(self, directions: Tensor, coefficients: Tensor) -> Tensor:
        """coefficients [K] @ directions [K, n, 19], in units of a value. [n, 19]"""
        return (coefficients @ directions.flatten(1)).view(directions.shape[1:]) * self.steps

    def _act(
        self, values: Tensor, coefficients: dict[str, Tensor], presence: dict[str, Tensor], there: set[str]
    ) -> Tensor:
        """Base values [n, 19] with every category's action added; a part that may be absent acts by its presence."""
        for name, action in self.actions.items():
            if name in ABSENTABLE and name not in there:
                continue
            change = action.shift * self.steps + self._along(action.directions, coefficients[name])
            values = values.index_add(
                0, action.index, change * presence[name] if name in ABSENTABLE else change
            )
        return values

    def _give_way(
        self,
        name: str,
        values: Tensor,
        points: Tensor,
        coefficients: dict[str, Tensor],
        presence: dict[str, Tensor],
        there: set[str],
    ) -> Tensor:
        """Values [n, 19] of layer `name` at `points` [n, 3], faded and moved where another category takes its place."""
        for pair, module in self.yields.items():
            layer, other = pair.split(SEPARATOR)
            if layer == name and other in there:
                change = module.at(points + values[:, OFFSET], coefficients[other]) * presence[other]
                change = change * self.yield_steps
                opacity, offset = values[:, OPACITY] + change[:, :1], values[:, OFFSET] + change[:, 1:]
                kept = values[:, OPACITY.stop : OFFSET.start]
                values = torch.cat([opacity, kept, offset, values[:, WEIGHTS]], 1)
        return values

    @property
    def yield_steps(self) -> Tensor:
        """[4] sizes of one unit of a yield's values."""
        return torch.cat([self.steps[OPACITY], self.steps[OFFSET]])

    def binding(self, layer: PointLayer, values: Tensor, learn: bool = True) -> Binding:
        """E and P of the points, and the skinning weights that their values end with.

        Only the points' own weights learn. What codes add to them stays as the start solved it: a step of a direction
        is a thousand times one of `StepSizes.flame_weight`, and throws points out of the picture.
        """
        weights = values[:, WEIGHTS].detach() + (layer.W - layer.W.detach())
        E, P, W = detach_unless(learn, layer.E, layer.P, normalize_weights(weights))
        return Binding(E, P, W)

    def effect(self, category: str) -> Tensor:
        """[K, d] coefficients of a code, on axes along which the category's values move by one."""
        owners = [part[category] for part in (self.layers, self.actions) if category in part]
        if not owners:
            return torch.eye(self.latent_dim, device=self.base.points.device)
        flat = torch.cat([owner.directions.flatten(1) for owner in owners], 1)
        sizes, axes = torch.linalg.eigh(flat @ flat.T)
        return sizes.clamp_min(0).sqrt()[:, None] * axes.T @ self.coefficients[category].weight

    # ---- learning ---------------------------------------------------------------------------------------

    def flame_targets(self, canonical: Canonical) -> list[Binding]:
        """The bindings that the start gave each live layer; a code's own change of the weights is not held back."""
        targets = []
        for name, found in zip(canonical.layers, canonical.bindings):
            layer: PointLayer = self.base if name == "base" else self.layers[name]
            wanted = self._targets[name]
            targets.append(Binding(wanted.E, wanted.P, found.W.detach() + wanted.W - layer.W.detach()))
        return targets

    def rearrange(self, name: str, source: Tensor, fresh: Tensor) -> list[Moved]:
        """Rows of a layer's points and directions; for the base, of what acts on it."""
        layer: PointLayer = self.base if name == "base" else self.layers[name]
        count, rest = len(layer.points), (source, fresh)
        own = [key for key, _ in layer.named_parameters(recurse=False)]
        moved = rearrange_parameters(layer, {key: int(key == "directions") for key in own}, *rest)
        rearrange_buffers(layer, ("labels",), source)
        if name in self._targets:
            self._targets[name] = Binding(*(t[source] for t in self._targets[name]))
            self.ancestors[name] = self.ancestors[name][source.cpu()]
        if name == "base":
            for action in self.actions.values():
                index, copied = rows_of(action.index, source, count)
                action.index = index
                moved += rearrange_parameters(action, {"shift": 0, "directions": 1}, copied, fresh[index])
            actions = {category: len(action.index) for category, action in self.actions.items()}
            self.layout = replace(self.layout, base=len(source), actions=actions)
        else:
            if name in self.between:
                moved += rearrange_parameters(self.between[name], {"directions": 1, "absence": 0}, *rest)
            self.layout = replace(self.layout, layers={**self.layout.layers, name: len(source)})
        return moved

    def adjust(self, name: str, points: Tensor, offset: Tensor, log_scale: Tensor) -> None:
        """The layer's own points and sizes; directions stay as they are."""
        layer: PointLayer = self.base if name == "base" else self.layers[name]
        with torch.no_grad():
            layer.points[points] += offset
            layer.scale[points] += log_scale

    def roles(self) -> dict[str, str]:
        """By the last part of a parameter's name; a layer's points may wander further than the base's."""
        kinds = {
            "directions": "direction",
            "shift": "direction",
            "absence": "direction",
            "fade": "opacity",
            "E": "flame",
            "P": "flame",
            "W": "flame",
            "weight": "coefficient",
            "bias": "coefficient",
        }
        roles = {}
        for name, _ in self.named_parameters():
            kind = name.rsplit(".", 1)[-1]
            if kind == "points":
                kind = "position" if name.startswith("base.") else "layer_position"
            roles[name] = kinds.get(kind, kind)
        return roles


def _joined(parts: list[nn.Parameter | None]) -> Tensor | None:
    """All parts in order; None if they are not there."""
    return torch.cat([p for p in parts if p is not None]) if parts[0] is not None else None


def _modules(named: Mapping[str, nn.Module]) -> Any:
    """A ModuleDict (returned as Any, so that its owner can say what it maps to)."""
    return nn.ModuleDict(named)
