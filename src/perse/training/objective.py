"""The loss of one step: what is drawn, against what, and how much every term weighs (Eqs. 11, 12, 31)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from perse.avatar import AvatarModel, Canonical, LearnedSubject
from perse.dataset import Dataset, category_code
from perse.perception import LPIPS
from perse.splat import Camera, rasterize
from perse.training import losses
from perse.training.combinations import Combiner
from perse.training.config import TrainConfig
from perse.training.density import Survey
from perse.training.frames import Box, FrameStore, Target
from perse.training.sampling import Sampler, step_rng

LEAST_WINDOW = 64
"""Pixels a side that the perceptual network needs."""


@dataclass
class Terms:
    """Weighted loss terms of a step."""

    values: dict[str, Tensor] = field(default_factory=dict)
    survey: Survey | None = None
    """What the picture tells density control, where it was asked; adds nothing to the loss."""

    def add(self, name: str, weight: float, value: Tensor) -> None:
        """Add `weight` times `value` under `name`."""
        self.values[name] = self.values.get(name, 0.0) + weight * value  # type: ignore[operator]

    def total(self) -> Tensor:
        """Their sum (Eq. 12)."""
        total = torch.stack(list(self.values.values())).sum()
        return total if self.survey is None else total + self.survey.tap

    def numbers(self) -> dict[str, float]:
        """For the log."""
        return {name: float(value.detach()) for name, value in self.values.items()}


@dataclass(frozen=True)
class _Plan:
    """What one share of a step shows."""

    combine: bool
    """Whether parts of several subjects are pasted together."""
    subjects: list[int]
    frames: np.ndarray
    rng: np.random.Generator
    """For what is left to chance."""


class Objective:
    """Computes the loss terms of any step of a training."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        subjects: tuple[LearnedSubject, ...],
        sampler: Sampler,
        warmup_steps: int,
    ) -> None:
        self.config = config
        self.warmup_steps = warmup_steps
        self._subjects, self._sampler = subjects, sampler
        self._device = torch.device(config.device)
        self._store = FrameStore(dataset, self._device, config.cache_mb)
        self._combiner = Combiner(subjects, self._store)
        self._expr = dataset.motion.expr.to(self._device)
        self._pose = dataset.motion.pose.to(self._device)
        self._camera = dataset.motion.camera(dataset.camera).to(self._device)
        self._lpips: LPIPS | None = None
        if config.weights.perceptual > 0:
            self._lpips = LPIPS(config.perceptual_net).to(self._device)
        self._white = torch.ones(3, device=self._device)

    def terms(self, model: AvatarModel, step: int, part: int = 0, survey: bool = False) -> Terms:
        """The loss terms of one subject's share of a step; `survey` asks which points carry the error."""
        plan = self._plan(step, part)
        if plan.combine:
            return self._combination_terms(model, step, plan)
        return self._subject_terms(model, step, plan, survey)

    def prefetch(self, step: int, part: int) -> None:
        """Begin to read what `terms` of that step will need."""
        plan = self._plan(step, part)
        subjects = [0, *plan.subjects] if plan.combine else plan.subjects
        self._store.prefetch((subject, int(frame)) for subject in subjects for frame in plan.frames)

    def _plan(self, step: int, part: int) -> _Plan:
        rng = step_rng(self.config.seed, step, 1000 + part)
        combine = rng.random() < self.config.combinations and step >= self.warmup_steps
        subject, frames = self._sampler.draw(step, part)
        if combine and self._combiner.possible:
            return _Plan(True, self._combiner.pick(rng), frames[:1], rng)
        return _Plan(False, [subject], frames, rng)

    # ---- one subject of the dataset ---------------------------------------------------------------------

    def _subject_terms(self, model: AvatarModel, step: int, plan: _Plan, survey: bool) -> Terms:
        (subject,), frames, rng = plan.subjects, plan.frames, plan.rng
        target = self._store.target(subject, frames)
        on_white = rng.random() >= self.config.random_background
        background = self._white
        if not on_white:
            background = torch.from_numpy(rng.random(3)).float().to(self._device)
            target = target.over(background)
        learn_flame = step % self.config.flame_every == 0
        codes = model.latent.codes(self._subjects[subject].entries)
        canonical = model.canonical(codes, learn_flame)
        layer = self._random_layer(canonical, rng)
        probe = canonical.means.new_zeros(len(canonical), 2).requires_grad_() if survey else None
        image, alpha, marked, probed = self._draw(model, canonical, frames, background, step, layer, probe)

        weights, terms = self.config.weights, Terms()
        # Colours are compared where there is foreground; whatever is drawn outside of it, alpha sees.
        box = target.box(losses.SSIM_WINDOW // 2) if weights.alpha > 0 else Box.whole(image)
        share = box.area / image[0, ..., 0].numel()
        near, wanted = box.of(image), box.of(target.rgb)
        terms.add("l1", weights.l1 * share, losses.l1(near, wanted))
        terms.add("ssim", weights.ssim * share, 1 - losses.ssim(near, wanted))
        terms.add("alpha", weights.alpha, (alpha - target.alpha).abs().mean())
        every = self.config.perceptual_every
        if self._lpips is not None and step % every == 0:
            if self.config.perceptual_window < 1:
                value = share * self._perceptual_window(image, target, box, rng)
            else:
                value = self._perceptual(image, target, subject, frames, on_white)
            terms.add("perceptual", weights.perceptual * every, value)
        if marked is not None and layer is not None:
            own, unsure = marked.unbind(-1)
            value = losses.label_loss(own, target.labels, category_code(layer), unsure)
            terms.add("label", weights.label, value)
        terms.add("z", weights.z, losses.latent_loss(codes.z))
        if learn_flame:
            terms.add("flame", weights.flame, self._flame(model, canonical))
        if probe is not None and probed is not None:
            error = (image - target.rgb).abs().mean(-1)
            terms.survey = Survey.of(canonical.layers, probe, probed, error)
        return terms

    def _random_layer(self, canonical: Canonical, rng: np.random.Generator) -> str | None:
        names = [name for name in canonical.layers if name != "base"]
        if not names or self.config.weights.label == 0:
            return None
        return names[int(rng.integers(len(names)))]

    def _perceptual(
        self, image: Tensor, target: Target, subject: int, frames: np.ndarray, cached: bool
    ) -> Tensor:
        """LPIPS of whole pictures."""
        found = self._features(image)
        if cached:
            wanted = self._store.features(subject, frames, self._features)
        else:
            with torch.no_grad():
                wanted = self._features(target.rgb)
        return LPIPS.distance(found, wanted).mean()

    def _perceptual_window(self, image: Tensor, target: Target, box: Box, rng: np.random.Generator) -> Tensor:
        """LPIPS of a random window; on average over windows about that of the box."""
        height, width = image.shape[1:3]
        side = max(LEAST_WINDOW, round(self.config.perceptual_window * max(height, width)))
        window = box.window(side, (height, width), rng)
        found = self._features(window.of(image))
        with torch.no_grad():
            wanted = self._features(window.of(target.rgb))
        return LPIPS.distance(found, wanted).mean()

    def _features(self, images: Tensor) -> list[Tensor]:
        """Perceptual features of images [F, H, W, 3]."""
        assert self._lpips is not None
        with torch.autocast(self._device.type, torch.bfloat16, enabled=fast_bfloat16(self._device)):
            return self._lpips.features(images.permute(0, 3, 1, 2))

    def _flame(self, model: AvatarModel, canonical: Canonical) -> Tensor:
        weights = self.config.weights
        targets = model.field.flame_targets(canonical)
        return losses.flame_loss(canonical, targets, weights.flame_e, weights.flame_p, weights.flame_w)

    # ---- several subjects in one picture ----------------------------------------------------------------

    def _combination_terms(self, model: AvatarModel, step: int, plan: _Plan) -> Terms:
        frames = plan.frames
        combination = self._combiner.paste(plan.subjects, int(frames[0]))
        codes = model.latent.codes(combination.entries)
        canonical = model.canonical(codes, learn_flame=False)
        image = self._draw(model, canonical, frames, self._white, step)[0]
        terms = Terms()
        value = losses.l1(image, combination.rgb[None], combination.mask[None])
        terms.add("combination", self.config.weights.combination, value)
        terms.add("z", self.config.weights.z, losses.latent_loss(codes.z))
        return terms

    # ---- drawing ----------------------------------------------------------------------------------------

    def _draw(
        self,
        model: AvatarModel,
        canonical: Canonical,
        frames: np.ndarray,
        background: Tensor,
        step: int,
        layer: str | None = None,
        probe: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """image [F, H, W, 3], alpha [F, H, W], the visible shares [F, H, W, 2] of the layer and of its like, and the
        probe [N, 2] drawn [F, H, W, 2]."""
        index = torch.from_numpy(frames).to(self._device)
        use_mlp = step >= self.warmup_steps
        gaussians = model.pose(canonical, self._expr[index], self._pose[index], use_mlp)
        camera = self._camera
        if camera.viewmat.ndim == 3:
            camera = Camera(camera.viewmat[index], camera.K, camera.width, camera.height)
        extra = []
        if layer is not None:
            marks = canonical.means.new_zeros(len(canonical), 2)
            marks[canonical.layers[layer], 0] = 1.0
            base = canonical.layers["base"]
            marks[base, 1] = (canonical.labels[base] == category_code(layer)).to(marks.dtype)
            extra.append(marks)
        if probe is not None:
            extra.append(probe)
        image, alpha = rasterize(gaussians, camera, background, torch.cat(extra, 1) if extra else None)
        share = image[..., 3:5] if layer is not None else None
        return image[..., :3], alpha, share, image[..., -2:] if probe is not None else None


def fast_bfloat16(device: torch.device) -> bool:
    """Whether convolutions are faster in bfloat16 here. (Elsewhere a CPU would emulate it, slowly.)"""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())
