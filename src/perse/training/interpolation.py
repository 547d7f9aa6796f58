"""Tuning an avatar on looks between learned ones, so that blends grow instead of dissolving (section 4.3, A.2.3)."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from perse.avatar import Avatar, AvatarModel, Codes
from perse.avatar.fields import BasisField
from perse.dataset import Dataset, Motion, category_code
from perse.errors import PerseError
from perse.head import Head, open_head
from perse.perception import LPIPS
from perse.splat import Camera, rasterize
from perse.training import losses
from perse.training._between_start import Way, solve_between
from perse.training.blends import PlannedBlend
from perse.training.checkpoint import Checkpoint, save_checkpoint
from perse.training.config import TrainConfig
from perse.training.frames import FrameStore
from perse.training.objective import Terms, fast_bfloat16
from perse.training.reconstruct import LOG_EVERY, RAMP_STEPS, Training, make_optimizer
from perse.training.sampling import step_rng

CHANGED = 8
"""Grey levels of 255 by which the ends differ where their part is."""
AREA_BLENDS = 16
"""Blends of a category whose areas tell how much of its steps it gets."""
MARGIN = 7
"""Side in pixels (at 256) of the neighbourhood of the part that is looked at, too."""


@dataclass(frozen=True)
class InterpolationConfig:
    """One tuning, and the blends that it needs."""

    pairs_a_subject: int = 2
    """Others of its category that each subject is paired with (40 in the paper)."""
    alphas_a_pair: int = 2
    """Looks between the two of a pair: 1 to 5 of the sixths."""
    frames: int = 6
    """Training frames of the motion in which blends are shown."""
    steps: int = 1200
    """Optimizer steps."""
    directions: int = 8
    """K: directions a layer gets that speak between learned looks only."""
    step_size: float = 2.5
    """Height of the schedule, relative to the main training's step sizes."""
    pivots: float = 0.5
    """mlp: share of the steps on learned looks, with the whole loss. (What is tuned of `basis` is silent there.)"""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints."""

    def __post_init__(self) -> None:
        if min(self.pairs_a_subject, self.alphas_a_pair, self.frames, self.steps, self.directions) < 1:
            raise PerseError(
                "a tuning on blends needs pairs, alphas, frames, steps and directions: at least 1 of each"
            )
        if not 0 <= self.pivots < 1:
            raise PerseError(f"pivots must lie between 0 and 1, not {self.pivots}")

    @staticmethod
    def preset(name: str) -> InterpolationConfig:
        """`tiny`, `demo`, `full` or `paper`. PerseError for others."""
        if name not in PRESETS:
            raise PerseError(f"there is no preset {name!r}; there is: {', '.join(PRESETS)}")
        return PRESETS[name]


PRESETS = {
    "tiny": InterpolationConfig(pairs_a_subject=1, alphas_a_pair=1, frames=2, steps=10, directions=2),
    "demo": InterpolationConfig(),
    "full": InterpolationConfig(pairs_a_subject=40, alphas_a_pair=5, frames=40, steps=8000, directions=24),
    "paper": InterpolationConfig(
        pairs_a_subject=40, alphas_a_pair=5, frames=100, steps=100_000, directions=32
    ),
}


def blend_motion(motion: Motion, count: int) -> Motion:
    """The training frames, evenly spread, in which blends are drawn."""
    rows = motion.train.nonzero().flatten()
    return motion.select(rows[torch.linspace(0, len(rows) - 1, min(count, len(rows))).round().long()])


class Tuning:
    """A trained model, the blends it is tuned on, and an optimizer, at some step."""

    def __init__(self, training: Training, blends: Dataset, config: InterpolationConfig, out: Path) -> None:
        self.training, self.blends, self.config = training, blends, config
        self.planned = [PlannedBlend.from_id(s.id) for s in blends.subjects]
        self._out = out
        out.mkdir(parents=True, exist_ok=True)
        dataset, device = training.dataset, torch.device(training.config.device)
        self._frames = matching_rows(blends.motion, dataset.motion)
        self._device = device
        self.avatar = training.avatar()
        self.model = with_between(self.avatar.model, config.directions, training.config.seed)
        self.model.to(device)
        self._store = FrameStore(dataset, device, training.config.cache_mb // 2)
        self._blend_store = FrameStore(blends, device, training.config.cache_mb // 2)
        self._lpips = LPIPS(training.config.perceptual_net).to(device)
        self._solve()
        self._choose_what_learns()
        self.optimizer = make_optimizer(self.model, training.config, dataset.size)
        self._heights = [config.step_size * group["lr"] for group in self.optimizer.param_groups]
        self.step = 0
        if self._checkpoint.is_file():
            saved = Checkpoint.read(self._checkpoint, self._identity())
            saved.fill(self.model, self.optimizer)
            self.step = saved.step

    @property
    def _checkpoint(self) -> Path:
        return self._out / "checkpoint.safetensors"

    def _identity(self) -> dict[str, Any]:
        settings = dataclasses.asdict(self.config)
        del settings["checkpoint_seconds"]
        content = [s.content for s in (*self.training.dataset.subjects, *self.blends.subjects)]
        return {
            "settings": settings,
            "training": json.loads(json.dumps(self.training.identity())),
            "data": content,
        }

    def _choose_what_learns(self) -> None:
        """Of a field with directions in between only those: learned looks then stay what they are, to the last bit. Of
        others everything but the codes, with steps on learned looks in between."""
        model = self.model.requires_grad_(False)
        between = model.field.between if isinstance(model.field, BasisField) else {}
        if between:
            for module in between.values():
                module.requires_grad_(True)
                # Solved coefficients of strands are large: a step of what they are linear in would throw hair about.
                module.hidden.requires_grad_(False)
            learning = [blend.category in between for blend in self.planned]
        else:
            model.requires_grad_(True)
            model.latent.requires_grad_(False)
            learning = [True] * len(self.planned)
        self._pivots = 0.0 if between else self.config.pivots
        self._weights = _shares(self.planned, learning, self._areas())

    def _areas(self) -> dict[str, float]:
        """Mean share of the picture that M_part covers, by category: in the middle frame of some of its blends."""
        frame, areas = len(self._frames) // 2, {}
        for name in dict.fromkeys(blend.category for blend in self.planned):
            rows = [i for i, blend in enumerate(self.planned) if blend.category == name]
            found = []
            for i in rows[:: -(-len(rows) // AREA_BLENDS)]:
                labels = self._blend_store.raw(i, frame)[2]
                found.append(max(float(self.part(self.planned[i], frame, labels[None]).mean()), 1e-3))
            areas[name] = float(np.mean(found))
        return areas

    # ---- where it starts --------------------------------------------------------------------------------

    @torch.no_grad()
    def codes(self, blend: PlannedBlend, weight: float | None = None) -> Codes:
        """The codes of a blend (Eq. 13), or of another one between the same ends."""
        model, subjects = self.model, self.training.cast.subjects
        a, b = (model.latent.codes(subjects[i].entries) for i in (blend.first, blend.second))
        slot = model.latent.categories.index(blend.category)
        weight = blend.weight if weight is None else weight
        return a.mix(b, weight, slot, by_presence=model.field.uses_presence)

    def _solve(self) -> None:
        """Directions in between from the points of the blends, where both starts have them."""
        field = self.model.field
        if not isinstance(field, BasisField):
            return
        subjects = self.training.cast.subjects
        ways: dict[str, list[Way]] = {}
        for blend, subject in zip(self.planned, self.blends.subjects):
            points = subject.points() if blend.category in field.between else None
            if points is None:
                continue
            first, second = (next(iter(subjects[i].entries), None) for i in (blend.first, blend.second))
            way = Way(functools.partial(self.codes, blend), (first, second), blend.weight, points)
            ways.setdefault(blend.category, []).append(way)
        for name, found in ways.items():
            if name in self.training.start.layers:
                known = any(None in way.ends for way in found)
                quiet = [] if known else self._with_reference(name)
                solve_between(field, name, self.training.start.layers[name], found, quiet)

    def _has_own(self, category: str) -> bool:
        latent = self.model.latent
        return float(latent.reference_presence[latent.categories.index(category)]) > 0

    def _with_reference(self, category: str) -> list[Codes]:
        """Blends of the person's own part with every learned one, for when nobody shows any."""
        if not self._has_own(category):
            return []
        latent, slot = self.model.latent, self.model.latent.categories.index(category)
        own = latent.codes()
        learned = [
            i
            for i, s in enumerate(self.training.cast.subjects)
            if [a.category for a in s.attributes] == [category]
        ]
        ends = [latent.codes(self.training.cast.subjects[i].entries) for i in learned]
        return [own.mix(end, weight, slot) for end in ends for weight in (0.25, 0.5, 0.75)]

    # ---- running ----------------------------------------------------------------------------------------

    def run(self, progress: bool = True, on_step: Callable[[int], None] | None = None) -> None:
        """All steps that are left."""
        saved = time.monotonic()
        bar = tqdm(
            total=self.config.steps,
            initial=self.step,
            unit="step",
            desc="blends",
            disable=not progress,
            mininterval=1.0,
        )
        with bar:
            while self.step < self.config.steps:
                numbers = self.one_step()
                if self.step % LOG_EVERY == 0:
                    bar.set_postfix({name: f"{value:.3f}" for name, value in numbers.items()}, refresh=False)
                bar.update()
                done = self.step == self.config.steps
                if done or time.monotonic() - saved > self.config.checkpoint_seconds:
                    save_checkpoint(
                        self._checkpoint, self.model, self.optimizer, self.step, self._identity(), {}
                    )
                    saved = time.monotonic()
                if on_step is not None:
                    on_step(self.step)

    def one_step(self) -> dict[str, float]:
        """One optimizer step, on a learned look or on a blend; returns its loss terms."""
        scale = (
            0.5
            * (1 + math.cos(math.pi * self.step / self.config.steps))
            * min(1, (self.step + 1) / RAMP_STEPS)
        )
        for group, height in zip(self.optimizer.param_groups, self._heights):
            group["lr"] = height * max(scale, 0.02)
        self.optimizer.zero_grad(set_to_none=True)
        rng = step_rng(self.training.config.seed, self.step, 5000)
        if rng.random() < self._pivots:
            terms = self.training.objective.terms(self.model, self.training.config.steps + self.step)
        else:
            terms = self.blend_terms(rng)
        loss = terms.total()
        if not bool(torch.isfinite(loss.detach())):
            raise RuntimeError(f"the loss of step {self.step} is not finite: {terms.numbers()}")
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return terms.numbers() if self.step % LOG_EVERY == 0 else {}

    def blend_terms(self, rng: np.random.Generator) -> Terms:
        """The loss of one frame of a blend: on its part (Eq. 15), colour and alpha everywhere."""
        index = int(rng.choice(len(self.planned), p=self._weights))
        frame = int(rng.integers(len(self._frames)))
        blend = self.planned[index]
        target = self._blend_store.target(index, np.array([frame]))
        mask = self.part(blend, frame, target.labels)
        canonical = self.model.canonical(self.codes(blend), learn_flame=False)
        motion = self.blends.motion
        posed = self.model.pose(
            canonical,
            motion.expr[frame : frame + 1].to(self._device),
            motion.pose[frame : frame + 1].to(self._device),
        )
        view = motion.camera(self.blends.camera).to(self._device)
        if view.viewmat.ndim == 3:
            view = Camera(view.viewmat[frame : frame + 1], view.K, view.width, view.height)
        drawn, alpha = rasterize(posed, view, torch.ones(3, device=self._device))
        shown, wanted = (1 - (1 - picture) * mask[..., None] for picture in (drawn, target.rgb))
        weights, terms = self.training.config.weights, Terms()
        # Everywhere: what hangs in the air beside the part, or lies across the face, is in no M_part.
        terms.add("between_l1", weights.l1, losses.l1(drawn, target.rgb))
        terms.add("between_alpha", weights.alpha, (alpha - target.alpha).abs().mean())
        terms.add("between_ssim", weights.ssim, 1 - losses.ssim(shown, wanted))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=fast_bfloat16(self._device)):
            found = self._lpips.features(shown.permute(0, 3, 1, 2))
            with torch.no_grad():
                goal = self._lpips.features(wanted.permute(0, 3, 1, 2))
        terms.add("between_perceptual", weights.perceptual, self._lpips.distance(found, goal).mean())
        return terms

    def part(self, blend: PlannedBlend, frame: int, labels: Tensor) -> Tensor:
        """M_part [1, H, W]: where the part is at either end or between (`labels` [1, H, W]), or the ends differ."""
        ends = [self._store.raw(i, int(self._frames[frame])) for i in (blend.first, blend.second)]
        code = category_code(blend.category)
        inside = (labels[0] == code) | (ends[0][2] == code) | (ends[1][2] == code)
        difference = (ends[0][0].short() - ends[1][0].short()).abs().amax(-1)
        inside |= difference > CHANGED
        side = max(3, round(MARGIN * labels.shape[-1] / 256)) | 1
        return F.max_pool2d(inside[None, None].float(), side, 1, side // 2)[0]

    def result(self) -> Avatar:
        """The avatar as it is now."""
        result = copy.copy(self.avatar)
        result.model = copy.deepcopy(self.model).eval().requires_grad_(False)
        return result


def tune(
    dataset: Dataset,
    config: TrainConfig,
    training_dir: str | Path,
    blends: Dataset,
    how: InterpolationConfig,
    out_dir: str | Path,
    progress: bool = True,
    head: Head | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Avatar:
    """Tune the result of `train(dataset, config, training_dir)` on blends between its looks (section 4.3).

    The same call goes on where an interrupted one stopped and ends with the same avatar.

    Args:
        blends: looks between subjects of `dataset`, named by `PlannedBlend.id`, in frames of `blend_motion`.
        out_dir: the checkpoint goes here. Give it to one tuning only.

    Raises:
        PerseError: the training is not there or not finished, the folder holds another tuning, or the blends are
            not this dataset's.
    """
    training = Training(dataset, config, Path(training_dir), head or open_head())
    if training.step < config.steps:
        raise PerseError(
            f"{training_dir}: {training.step} of {config.steps} steps are done; finish the training first"
        )
    tuning = Tuning(training, blends, how, Path(out_dir))
    tuning.run(progress, on_step)
    return tuning.result()


def with_between(model: AvatarModel, directions: int, seed: int) -> AvatarModel:
    """The same model with directions that speak between learned looks only; it draws what it drew."""
    field = model.field
    config = dataclasses.replace(model.config, field=dataclasses.replace(field.config, between=directions))
    image, text = model.latent.split
    wider = AvatarModel(config, field.layout, len(model.latent.features), image, text)
    wider.load_state_dict(model.state_dict(), strict=False)
    if isinstance(wider.field, BasisField) and isinstance(field, BasisField):
        generator = torch.Generator().manual_seed(seed)
        for module in wider.field.between.values():
            module.initialize(model.latent.norm, generator)
        wider.field.remember(field)
    return wider


def matching_rows(part: Motion, whole: Motion) -> Tensor:
    """The row of `whole` that each row of `part` is."""
    some, all_rows = (torch.cat([m.expr, m.pose], 1) for m in (part, whole))
    # Plainly: by matrix products, equal rows come out a thousandth apart.
    distance = torch.cdist(some, all_rows, compute_mode="donot_use_mm_for_euclid_dist")
    if not len(part) or float(distance.min(1).values.max()) > 1e-5:
        raise PerseError("the blends show another motion than the dataset; make them again")
    return distance.argmin(1)


def _shares(planned: list[PlannedBlend], learning: list[bool], areas: dict[str, float]) -> np.ndarray:
    """Probability of each blend: by category, the root of its area (hair is more to learn than earrings), within a
    category alike; what cannot learn left out."""
    if not any(learning):
        raise PerseError("no blend to tune on: no layer of this avatar has two looks, or one and none")
    counts = Counter(blend.category for blend in planned)
    names = [blend.category for blend in planned]
    share = np.array([learns * areas[n] ** 0.5 / counts[n] for n, learns in zip(names, learning)])
    return share / share.sum()
