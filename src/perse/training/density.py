"""Where the points are: more of them where the error is, none where no subject shows any (section A.1.2).

While training, some steps draw two more channels whose values are zero. Their gradients tell, for every point, how
much error of the picture it carries and how much of the picture it covers. At fixed steps the points that no subject
shows are dropped and others are born, up to `TrainConfig.points`: guided, by splitting points that carry error in
two; or as in the paper, near any point. Everything learned follows (`Field.rearrange`), Adam's moments too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perse._ranks import Ranks
from perse.avatar import AvatarModel, Codes, Moved
from perse.head import quaternion_to_matrix
from perse.training.config import TrainConfig
from perse.training.sampling import step_rng
from perse.training.thinning import nearest_gap

SURVEY_EVERY = 4
"""Steps between surveys: two more channels cost some milliseconds."""
SPLIT_WAY = 0.5
"""Distance of a half from the old centre, in standard deviations. Halves as wide as the whole (with 0.6 and a shrink of
0.8 their variance is the same) are opaque out to where the whole had faded: outlines grow, details blur."""
LEAST = 16
"""Points that a set keeps whatever happens."""


@dataclass(frozen=True)
class Survey:
    """What one picture tells of its points."""

    layers: dict[str, slice]
    """Where each set's points are among the N drawn."""
    probe: Tensor
    """[N, 2] zeros, drawn as two channels; their gradients are the error and the pixels of each point."""
    tap: Tensor
    """A zero to add to the loss, so that the gradients come along."""

    @staticmethod
    def of(layers: dict[str, slice], probe: Tensor, drawn: Tensor, error: Tensor) -> Survey:
        """From the drawn channels [F, H, W, 2] and the error of every pixel [F, H, W]."""
        tap = (drawn[..., 0] * error.detach()).sum() + drawn[..., 1].sum()
        return Survey(layers, probe, tap)


@dataclass
class Peak:
    """How each point of a set looks in the subject that shows it most."""

    opacity: Tensor
    """[n] between 0 and 1."""
    quats: Tensor
    """[n, 4]"""
    log_scales: Tensor
    """[n, 3]"""
    means: Tensor
    """[n, 3]"""


@dataclass(frozen=True)
class Change:
    """New points of one set."""

    source: Tensor
    """[n'] int64 the old point each is a copy of: first those that stay, then the newborn."""
    fresh: Tensor
    """[n'] bool"""


class Density:
    """Density control of one training: what was seen of the points since the last change, and the changes."""

    def __init__(self, config: TrainConfig, epoch: float, model: AvatarModel, ranks: Ranks) -> None:
        """`epoch`: steps in which every frame of every subject is seen once."""
        self.config = config
        self._ranks = ranks
        self.settings = config.density
        self.interval = 0
        if self.settings is not None:
            share = self.settings.every
            steps = self.settings.every_epochs * epoch if share is None else share * config.steps
            self.interval = max(1, round(steps))
        self._seen: dict[str, Tensor] = {}
        self._reset(model)

    def due(self, step: int) -> bool:
        """Whether points change after `step` steps."""
        if self.settings is None or step % self.interval:
            return False
        return 0 < step <= self.settings.until * self.config.steps

    def surveys(self, step: int) -> bool:
        """Whether a step looks at its points."""
        if self.settings is None or not self.settings.guided:
            return False
        return step % SURVEY_EVERY == 0 and step < self.settings.until * self.config.steps

    def observe(self, surveys: Sequence[Survey]) -> None:
        """Add what the backward passes of a step left in their probes, on all processes."""
        found = {name: torch.zeros_like(seen) for name, seen in self._seen.items()}
        for survey in surveys:
            assert survey.probe.grad is not None
            for name, points in survey.layers.items():
                found[name] += survey.probe.grad[points]
        flat = self._ranks.sum(torch.cat(list(found.values())))
        for seen, more in zip(self._seen.values(), flat.split([len(s) for s in self._seen.values()])):
            seen += more

    def state(self) -> dict[str, Tensor]:
        """What a resumed training needs: error and pixels [n, 2] of every set since the last change."""
        return dict(self._seen)

    def load(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state`."""
        for name, seen in state.items():
            self._seen[name] = seen.to(self._seen[name])

    def _reset(self, model: AvatarModel) -> None:
        if self.settings is not None:
            device = model.joints.device
            self._seen = {n: torch.zeros(len(a), 2, device=device) for n, a in model.field.ancestors.items()}

    # ---- changing ---------------------------------------------------------------------------------------

    def change(
        self, model: AvatarModel, looks: Sequence[Callable[[], Codes]], step: int
    ) -> tuple[dict[str, int], list[Moved]]:
        """Drop and add points.

        Args:
            looks: the codes of every subject.

        Returns:
            How many points each set has now, and the parameters that were replaced.
        """
        moved = []
        with torch.no_grad():
            peaks = find_peaks(model, looks)
            for name, change in self._plan(peaks, step).items():
                moved += model.field.rearrange(name, change.source, change.fresh)
                self._place(model, name, peaks[name], change, step)
        self._reset(model)
        return {name: len(ancestors) for name, ancestors in model.field.ancestors.items()}, moved

    def _plan(self, peaks: dict[str, Peak], step: int) -> dict[str, Change]:
        """Who stays, and who gives birth; the first process decides."""
        assert self.settings is not None
        names, settings = list(peaks), self.settings
        stays = {name: _stays(peaks[name].opacity, settings.prune_opacity) for name in names}
        before = sum(len(stay) for stay in stays.values())
        kept = sum(int(stay.sum()) for stay in stays.values())
        births = max(0, min(self.config.points, round(settings.growth * before)) - kept)
        guided = settings.guided
        weights = [stays[n].double() * (self._seen[n][:, 0].double() if guided else 1.0) for n in names]
        chosen = _choose(torch.cat(weights).cpu().numpy(), births, guided, self._rng(step))
        changes, first = {}, 0
        for name in names:
            count, device = len(stays[name]), stays[name].device
            mine = chosen[(chosen >= first) & (chosen < first + count)] - first
            parents = torch.from_numpy(np.sort(mine)).to(device)
            staying = stays[name].nonzero()[:, 0]
            source = self._ranks.of_first(torch.cat([staying, parents]))
            old = self._ranks.of_first(torch.tensor([len(staying)], device=device))
            changes[name] = Change(source, torch.arange(len(source), device=device) >= old)
            first += count
        return changes

    def _place(self, model: AvatarModel, name: str, peak: Peak, change: Change, step: int) -> None:
        """Where the newborn go, and how large they and their parents are."""
        assert self.settings is not None
        shrink = self.settings.shrink
        born = change.fresh.nonzero()[:, 0]
        parents = change.source[born]
        if self.settings.guided:
            if not len(born):
                return
            kept = change.source[~change.fresh]
            split = torch.searchsorted(kept, parents)  # where the parents are now; `kept` is sorted
            offset, log_scale = halves(peak.quats[parents], peak.log_scales[parents], shrink)
            model.field.adjust(name, split, -offset, log_scale)
            model.field.adjust(name, born, offset, log_scale)
            return
        if len(born):
            gap = float(np.median(nearest_gap(peak.means.cpu().numpy())))
            jitter = torch.from_numpy(self._rng(step, 1).standard_normal((len(born), 3))).to(peak.means)
            offset = jitter * gap * self.settings.radius_gaps
            model.field.adjust(name, born, offset, torch.zeros_like(offset))
        if len(change.source) >= self.config.points:
            everyone = torch.arange(len(change.source), device=born.device)
            size = peak.means.new_full((len(everyone), 3), float(np.log(shrink)))
            model.field.adjust(name, everyone, torch.zeros_like(size), size)

    def _rng(self, step: int, purpose: int = 0) -> np.random.Generator:
        return step_rng(self.config.seed, step, 2000 + purpose)


def find_peaks(model: AvatarModel, looks: Sequence[Callable[[], Codes]]) -> dict[str, Peak]:
    """Every set's points as the subject shows them that shows them most."""
    peaks: dict[str, Peak] = {}
    for name, ancestors in model.field.ancestors.items():
        shapes = ((), (4,), (3,), (3,))
        peaks[name] = Peak(*(model.joints.new_zeros(len(ancestors), *shape) for shape in shapes))
        peaks[name].quats[:, 0] = 1.0
    for look in looks:
        canonical = model.canonical(look(), learn_flame=False)
        shown = canonical.opacity.sigmoid() * canonical.presence
        for name, points in canonical.layers.items():
            peak = peaks[name]
            more = shown[points] > peak.opacity
            peak.opacity = torch.where(more, shown[points], peak.opacity)
            for key in ("quats", "log_scales", "means"):
                found = getattr(canonical, key)[points]
                setattr(peak, key, torch.where(more[:, None], found, getattr(peak, key)))
    return peaks


def halves(quats: Tensor, log_scales: Tensor, shrink: float) -> tuple[Tensor, Tensor]:
    """Split Gaussians along their longest axis into two that overlap.

    Args:
        quats: [k, 4]. log_scales: [k, 3]. shrink: the length of a half's axis relative to the whole's.

    Returns:
        Half the way between the two centres [k, 3] metres, and the change of the log scales [k, 3].
    """
    axis = log_scales.argmax(1)
    rotation = quaternion_to_matrix(torch.nn.functional.normalize(quats, dim=1))  # [k, 3, 3]
    rows = torch.arange(len(axis), device=axis.device)
    way = SPLIT_WAY * log_scales[rows, axis].exp()
    change = torch.zeros_like(log_scales)
    change[rows, axis] = float(np.log(shrink))
    return rotation[rows, :, axis] * way[:, None], change


def follow_in_adam(optimizer: torch.optim.Optimizer, moved: Sequence[Moved]) -> None:
    """Put the new parameters where the old ones were; moments follow their points.

    A newborn starts without a direction (first moment 0) and as cautious as its parent (its second moment).
    """
    new = {id(m.old): m.new for m in moved}
    for group in optimizer.param_groups:
        group["params"] = [new.get(id(p), p) for p in group["params"]]
    for m in moved:
        state = optimizer.state.pop(m.old, None)
        if not state:
            continue
        kept = {name: value if value.ndim == 0 else m.rows(value) for name, value in state.items()}
        kept["exp_avg"].movedim(m.dim, 0)[m.fresh] = 0
        optimizer.state[m.new] = kept


def _stays(opacity: Tensor, least: float) -> Tensor:
    """Points that are shown at least so much [n] bool; the few most shown stay in any case."""
    stays = opacity >= least
    if int(stays.sum()) < LEAST:
        stays[opacity.topk(min(LEAST, len(opacity))).indices] = True
    return stays


def _choose(weights: np.ndarray, count: int, once: bool, rng: np.random.Generator) -> np.ndarray:
    """Parents, in proportion to their weights; no one twice if `once`."""
    possible = int((weights > 0).sum())
    if once:
        count = min(count, possible)
    if count == 0 or possible == 0:
        return np.zeros(0, np.int64)
    return rng.choice(len(weights), count, replace=not once, p=weights / weights.sum())
