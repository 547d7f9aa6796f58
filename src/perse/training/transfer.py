"""A look from another photo, taught to an avatar beside everything that it knows (section 4.4, A.4, Eqs. 39-44).

Only an adapter learns. Its target is the animated edit inside the part's region (Eq. 40) and the avatar's own drawing
outside, so that nothing else has a reason to change. The 3D loss (Eqs. 41-43) holds points of other parts in place,
under random codes; on the layered field the adapter cannot reach them, and the term is left out.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from perse.avatar import (
    Adapter,
    AdapterShape,
    Avatar,
    Codes,
    PointAdapter,
    adapter_kind,
    fingerprint,
    make_adapter,
)
from perse.dataset import CATEGORIES, CATEGORY_LABEL, Dataset, SubjectPoints, category_code
from perse.errors import PerseError
from perse.head import Head, open_head
from perse.perception import LPIPS
from perse.splat import Camera, rasterize
from perse.training import losses
from perse.training._start_adapter import nearest_code, start_adapter
from perse.training.checkpoint import Checkpoint, save_checkpoint
from perse.training.config import LossWeights, StepSizes
from perse.training.frames import FrameStore
from perse.training.regions import part_region
from perse.training.sampling import step_rng
from perse.training.starts import Context
from perse.training.subjects import Cast

ADAM_EPS = 1e-4
"""Relative to a pixel's share of the loss, as in the training."""


@dataclass(frozen=True)
class TransferConfig:
    """One transfer."""

    epochs: float = 5.0
    """Passes over the training frames (the paper: 5)."""
    rank: int = 4
    """Rank of the LoRA updates (`mlp` field)."""
    own_points: int = 4000
    """Points of its own that a look may bring (`basis` field)."""
    weights: LossWeights = field(default_factory=LossWeights)
    """Weights of the loss terms."""
    three_d: float = 1.0
    """Weight of the 3D loss (Eq. 43; `mlp` field)."""
    step_sizes: StepSizes = field(default_factory=StepSizes)
    """Adam's step sizes; `net` is LoRA's."""
    perceptual_net: Literal["alexnet", "vgg16"] = "alexnet"
    """Network of the perceptual loss."""
    checkpoint_seconds: float = 15.0
    """Seconds between checkpoints."""
    cache_mb: int = 2000
    """Memory for decoded frames."""
    seed: int = 0
    """Seed of every random choice."""

    def __post_init__(self) -> None:
        if self.epochs <= 0 or self.rank < 1 or self.own_points < 0:
            raise PerseError("epochs and rank must be positive, own_points at least 0")


def transfer(
    avatar: Avatar,
    look: Dataset,
    name: str,
    category: str,
    out: Path,
    config: TransferConfig | None = None,
    progress: bool = True,
    head: Head | None = None,
) -> Adapter:
    """Learn a look; the same call goes on where an interrupted one stopped. The avatar is not changed.

    Args:
        look: a dataset of two subjects, the reference and the person with the new part; of the portrait that the
            avatar was made from, seen by the same camera.
        name: what the look is to be called.
        out: folder for the checkpoint.

    Raises:
        PerseError: the dataset does not fit the avatar, or the folder holds another transfer.
    """
    job = Transfer(avatar, look, name, category, out, config or TransferConfig(), head or open_head())
    job.run(progress)
    return job.adapter.eval().requires_grad_(False)


@dataclass(frozen=True)
class _Frame:
    """What one frame is compared with."""

    rgb: Tensor
    """[1, H, W, 3] the edit inside the part's region, the avatar's own drawing outside."""
    alpha: Tensor
    """[1, H, W] likewise."""
    labels: Tensor
    """[1, H, W] uint8 of the edit."""
    region: Tensor
    """[1, H, W] bool."""
    features: list[Tensor]
    """Perceptual features of `rgb`."""


class Transfer:
    """An adapter, its optimizer and its frames, at some step."""

    def __init__(
        self,
        avatar: Avatar,
        look: Dataset,
        name: str,
        category: str,
        out: Path,
        config: TransferConfig,
        head: Head,
    ) -> None:
        _check(avatar, look)
        self.avatar, self.look, self.config = avatar, look, config
        self.model, self.category = avatar.model, category
        self._device = avatar.device
        self._slot = self.model.latent.categories.index(category)
        self._codes = self._look_codes(head)
        self.adapter = self._start(name, head).to(self._device)
        self.optimizer = self._optimizer()
        self._heights = [group["lr"] for group in self.optimizer.param_groups]
        self._frames = self.look.train_indices.numpy()
        self.steps = max(1, round(config.epochs * len(self._frames)))
        self._store = FrameStore(look, self._device, config.cache_mb)
        self._targets: dict[int, _Frame] = {}
        self._lpips = LPIPS(config.perceptual_net).to(self._device) if config.weights.perceptual > 0 else None
        self._camera = look.motion.camera(look.camera).to(self._device)
        self.step = 0
        self._checkpoint = out / "checkpoint.safetensors"
        out.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.is_file():
            found = Checkpoint.read(self._checkpoint, self._identity())
            found.fill(self.adapter, self.optimizer)
            self.step = found.step

    def run(self, progress: bool = True) -> None:
        """All steps that are left."""
        saved = time.monotonic()
        bar = tqdm(
            total=self.steps,
            initial=self.step,
            unit="step",
            desc="transfer",
            disable=not progress,
            mininterval=1.0,
        )
        with bar:
            while self.step < self.steps:
                self.one_step()
                bar.update()
                if time.monotonic() - saved > self.config.checkpoint_seconds or self.step == self.steps:
                    self.save()
                    saved = time.monotonic()

    def save(self) -> None:
        """Write a checkpoint of the current step."""
        save_checkpoint(self._checkpoint, self.adapter, self.optimizer, self.step, self._identity(), {})

    def one_step(self) -> dict[str, float]:
        """One optimizer step on one frame; returns its loss terms."""
        scale = 0.5 * (1 + np.cos(np.pi * self.step / self.steps))
        for group, height in zip(self.optimizer.param_groups, self._heights):
            group["lr"] = height * max(scale, 0.02)
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.terms(self.step)
        loss = torch.stack(list(terms.values())).sum()
        if not bool(torch.isfinite(loss.detach())):
            raise RuntimeError(f"the loss of step {self.step} is not finite")
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return {name: float(value.detach()) for name, value in terms.items()}

    def terms(self, step: int) -> dict[str, Tensor]:
        """The weighted loss terms of a step (Eq. 44)."""
        frame = self._frame_of(step)
        target, weights = self._target(frame), self.config.weights
        self.model.adapters[self.adapter.shape.name] = self.adapter
        try:
            canonical = self.model.canonical(self._codes)
            expr, pose = self._motion(frame)
            gaussians = self.model.pose(canonical, expr, pose)
            share = (canonical.labels == category_code(self.category)).to(canonical.means.dtype)[:, None]
            image, alpha = rasterize(gaussians, self._view(frame), torch.ones(3, device=self._device), share)
            terms = self._compare(image, alpha, target)
            if not isinstance(self.adapter, PointAdapter) and self.config.three_d > 0:
                terms["three_d"] = self.config.three_d * self._three_d(step, frame)
        finally:
            del self.model.adapters[self.adapter.shape.name]
        return {name: value for name, value in terms.items() if getattr(weights, name, 1.0) > 0}

    def _compare(self, image: Tensor, alpha: Tensor, target: _Frame) -> dict[str, Tensor]:
        """The part-wise loss (Eq. 40): outside of the part the target is the avatar's own drawing."""
        weights, rgb = self.config.weights, image[..., :3]
        terms = {
            "l1": weights.l1 * losses.l1(rgb, target.rgb),
            "ssim": weights.ssim * (1 - losses.ssim(rgb, target.rgb)),
            "alpha": weights.alpha * (alpha - target.alpha).abs().mean(),
        }
        if CATEGORY_LABEL.get(self.category) is not None:
            missed = (image[..., 3] - (target.labels == category_code(self.category)).float()).abs()
            terms["label"] = weights.label * (missed * target.region).mean()
        if self._lpips is not None:
            found = self._lpips.features(rgb.permute(0, 3, 1, 2))
            terms["perceptual"] = weights.perceptual * self._lpips.distance(found, target.features).mean()
        return terms

    def _three_d(self, step: int, frame: int) -> Tensor:
        """L_3d (Eqs. 41-43): posed points of other parts, with and without the adapter, under random codes."""
        codes = self._random_codes(step)
        expr, pose = self._motion(frame)
        worn = self.model.canonical(codes)
        with torch.no_grad():
            plain = self.model.canonical(Codes(codes.z, codes.presence))
            before = self.model.pose(plain, expr, pose)
        after = self.model.pose(worn, expr, pose)
        other = worn.labels != category_code(self.category)
        total = worn.means.new_zeros(())
        for name in ("means", "quats", "opacities", "scales", "colors"):
            a, b = getattr(after, name), getattr(before, name)
            axis = -1 if name == "opacities" else -2
            rows = torch.nonzero(other)[:, 0]
            total = total + (a.index_select(axis, rows) - b.index_select(axis, rows)).abs().mean()
        return total

    def _random_codes(self, step: int) -> Codes:
        """The look worn with a random learned look of every other category."""
        rng, latent = step_rng(self.config.seed, step, 7), self.model.latent
        entries = []
        for slot in range(len(CATEGORIES)):
            rows = torch.nonzero(latent.entry_category == slot)[:, 0].tolist()
            if slot != self._slot and rows and rng.random() < 0.5:
                entries.append(int(rng.choice(rows)))
        codes = latent.codes(entries)
        return codes.replaced(self._slot, self.adapter.z, 1.0, self.adapter.shape.name)

    # ---- what it starts from ------------------------------------------------------------------------------

    def _look_codes(self, head: Head) -> Codes:
        """The reference's codes with the look's: the learned one that is nearest in shape on the layered field, else
        z_k = MLP_z(f_I) (its words name no known look: no f_T)."""
        latent = self.model.latent
        z = None
        if adapter_kind(self.model.field.config) == "points":
            z = nearest_code(self._context(head), self.model, self.category, self._points())
        with torch.no_grad():
            if z is None:
                image = self.look.subjects[1].features[0].float().to(self._device)
                z = latent.feature_code(image, None, self.category)
            return latent.codes().replaced(self._slot, z, 1.0)

    def _context(self, head: Head) -> Context:
        return Context(self.look, head, Cast((), (), ()), 0, self.config.seed)

    def _points(self) -> tuple[SubjectPoints, SubjectPoints] | None:
        """The maker's points of the reference and of the look."""
        reference, look = (subject.points() for subject in self.look.subjects)
        return None if reference is None or look is None else (reference, look)

    def _start(self, name: str, head: Head) -> Adapter:
        """The adapter at step 0; from now on the codes wear it."""
        codes, field_ = self._codes, self.model.field
        if adapter_kind(field_.config) == "points":
            adapter: Adapter = start_adapter(
                self._context(head),
                self.model,
                name,
                self.category,
                codes,
                self._points(),
                self.config.own_points,
            )
        else:
            shape = AdapterShape(name, self.category, "lora", codes.z.shape[1], rank=self.config.rank)
            adapter = make_adapter(shape, field_.config, dict(field_.named_parameters()))
            assert not isinstance(adapter, PointAdapter)
            adapter.initialize(torch.Generator().manual_seed(self.config.seed))
            adapter.z.copy_(codes.z[self._slot])
        self._codes = codes.replaced(self._slot, adapter.z, 1.0, name)
        return adapter

    def _optimizer(self) -> torch.optim.Optimizer:
        sizes, roles = asdict(self.config.step_sizes), self.adapter.roles()
        groups: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in self.adapter.named_parameters():
            if name in roles:
                groups.setdefault(sizes[roles[name]], []).append(parameter)
            else:
                parameter.requires_grad_(False)
        return torch.optim.Adam(
            [{"params": parameters, "lr": lr} for lr, parameters in groups.items()],
            betas=(0.9, 0.99),
            eps=ADAM_EPS / self.look.size**2,
        )

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to fit."""
        settings = asdict(self.config)
        for free in ("checkpoint_seconds", "cache_mb"):
            settings.pop(free)
        shape = json.loads(json.dumps(asdict(self.adapter.shape)))
        base = fingerprint(self.model.state_dict(), self.model.field.layout)
        data = [subject.content for subject in self.look.subjects]
        return {"settings": json.loads(json.dumps(settings)), "look": shape, "avatar": base, "data": data}

    # ---- frames -------------------------------------------------------------------------------------------

    def _frame_of(self, step: int) -> int:
        """Every epoch visits the training frames in an order of its own."""
        epoch, place = divmod(step, len(self._frames))
        return int(step_rng(self.config.seed, epoch, 5).permutation(self._frames)[place])

    def _motion(self, frame: int) -> tuple[Tensor, Tensor]:
        motion = self.look.motion
        return motion.expr[frame][None].to(self._device), motion.pose[frame][None].to(self._device)

    def _view(self, frame: int) -> Camera:
        camera = self._camera
        if camera.viewmat.ndim == 2:
            return camera
        return Camera(camera.viewmat[frame][None], camera.K, camera.width, camera.height)

    @torch.no_grad()
    def _target(self, frame: int) -> _Frame:
        if frame not in self._targets:
            (old, _, old_labels), (new, new_alpha, labels) = (self._store.raw(k, frame) for k in (0, 1))
            region = part_region(
                self.category,
                (labels[None].cpu(), old_labels[None].cpu()),
                (new[None].cpu(), old[None].cpu()),
            ).to(self._device)
            own = self.avatar.render_layers(
                self.avatar.reference, *self._motion(frame), camera=self._view(frame)
            )
            rgb = torch.where(region[..., None], new[None].float() / 255, own.rgb)
            alpha = torch.where(region, new_alpha[None].float() / 255, own.alpha)
            features = self._lpips.features(rgb.permute(0, 3, 1, 2)) if self._lpips is not None else []
            self._targets[frame] = _Frame(rgb, alpha, labels[None], region, features)
        return self._targets[frame]


def _check(avatar: Avatar, look: Dataset) -> None:
    """The look must be this person's, before the same camera."""
    if len(look.subjects) != 2:
        raise PerseError(
            f"{look.path}: a transfer takes a dataset of two subjects, the reference and the look"
        )
    own, other = avatar.camera, look.camera
    same = torch.allclose(own.K, other.K) and torch.allclose(own.viewmat, other.viewmat)
    if not same or look.size != own.width or not torch.allclose(avatar.betas, look.portrait.betas):
        raise PerseError(
            f"{look.path}: shows another person, size or camera than the avatar was learned from"
        )


__all__ = ["Transfer", "TransferConfig", "transfer"]
