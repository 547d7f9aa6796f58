"""Learning the avatar from the dataset: a fixed number of steps, resumable at any of them (section 4.3, A.1.2)."""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from perse._ranks import Ranks, ranks
from perse.avatar import Avatar, AvatarModel, Layout, Start
from perse.dataset import Dataset
from perse.errors import PerseError
from perse.head import Head, open_head
from perse.training.board import PICTURES_EVERY, Board
from perse.training.checkpoint import Checkpoint, load_start, save_checkpoint, save_start
from perse.training.config import StepSizes, TrainConfig
from perse.training.density import Density, follow_in_adam
from perse.training.ema import Ema
from perse.training.objective import Objective
from perse.training.parallel import my_parts, sum_gradients
from perse.training.sampling import Sampler, subject_detail, subject_weights
from perse.training.starts import make_start
from perse.training.subjects import Cast, encoder_name, feature_sizes, initialize_latent

LOG_EVERY = 20
READ_AHEAD = 4
"""Steps by which frames are read before they are needed."""
RAMP_STEPS = 20
"""Steps in which the step size rises to its height."""


def train(
    dataset: Dataset,
    config: TrainConfig,
    out_dir: str | Path,
    progress: bool = True,
    head: Head | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Avatar:
    """Learn an avatar; the same call goes on where an interrupted one stopped and ends with the same avatar.

    Under `torchrun` every process calls this with the same arguments, takes its share of each step's subjects, and
    returns the same avatar; only the first writes.

    Args:
        out_dir: checkpoints and the log (log.jsonl) go here. Give it to one training only.
        progress: show a bar with the time left.
        head: the head of the dataset's motion; the open head if None.
        on_step: called after every step with the number of steps done.

    Raises:
        PerseError: the folder holds another training, a file in it is damaged, the data lack something, or there
            are more processes than subjects in a step.
    """
    with ranks() as all_ranks:
        training = Training(dataset, config, Path(out_dir), head or open_head(), all_ranks)
        training.run(progress, on_step)
        return training.avatar()


@dataclass(frozen=True)
class _Paths:
    """Files of a training."""

    folder: Path

    @property
    def start(self) -> Path:
        return self.folder / "start.safetensors"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def board(self) -> Path:
        return self.folder / "tensorboard"


class Training:
    """A model, its optimizer and its data, at some step."""

    def __init__(
        self, dataset: Dataset, config: TrainConfig, out: Path, head: Head, ranks: Ranks | None = None
    ) -> None:
        self.dataset, self.config, self.head = dataset, config, head
        self.ranks = ranks or Ranks()
        self._parts = my_parts(config.subjects_per_step, self.ranks)
        self._paths = _Paths(out)
        self._check_folder()
        self.cast = Cast.of(dataset)
        self.start = self._make_start()
        self.model = build_model(dataset, self.cast, self.start, config, head)
        saved = None
        if self._paths.checkpoint.is_file():
            saved = Checkpoint.read(self._paths.checkpoint, self.identity())
            rearrange_as(self.model, saved)
        self.optimizer = make_optimizer(self.model, config, dataset.size)
        self._heights = [group["lr"] for group in self.optimizer.param_groups]
        self.warmup_steps = warmup_steps(config, dataset)
        self.objective = Objective(
            config, dataset, self.cast.subjects, make_sampler(config, dataset, self.cast), self.warmup_steps
        )
        self.density = Density(config, epoch_steps(config, dataset), self.model, self.ranks)
        self.ema = Ema(self.model, config.ema)
        self.step = 0
        if saved is not None:
            saved.fill(self.model, self.optimizer)
            self.density.load(saved.part("density"))
            self.ema.load(saved.part("ema"))
            self.step = saved.step

    # ---- running ----------------------------------------------------------------------------------------

    def run(self, progress: bool = True, on_step: Callable[[int], None] | None = None) -> None:
        """All steps that are left."""
        if self.step >= self.config.steps:
            return
        first = self.ranks.first
        if first:
            self._trim_log()
        board = None
        if self.config.tensorboard and first:
            board = Board(self._paths.board, self.dataset, self.step)
        saved = time.monotonic()
        bar = tqdm(
            total=self.config.steps,
            initial=self.step,
            unit="step",
            desc="avatar",
            disable=not (progress and first),
            mininterval=1.0,
        )
        with bar, open(self._paths.log if first else os.devnull, "a", encoding="utf-8") as log:
            while self.step < self.config.steps:
                numbers = self.one_step()
                if numbers:
                    log.write(json.dumps({"step": self.step, **numbers}) + "\n")
                    log.flush()
                if board is not None:
                    self._show(board, numbers)
                bar.update()
                late = time.monotonic() - saved > self.config.checkpoint_seconds
                if first and (late or self.step == self.config.steps):
                    self.save()
                    saved = time.monotonic()
                if on_step is not None:
                    on_step(self.step)
        if board is not None:
            board.close()

    def _show(self, board: Board, numbers: dict[str, Any]) -> None:
        board.scalars(self.step, numbers)
        if self.step % PICTURES_EVERY == 0 or self.step == self.config.steps:
            board.pictures(self.step, self.avatar())

    def one_step(self) -> dict[str, Any]:
        """One optimizer step; returns what the log tells of it: loss terms at some steps, points where they change."""
        scale = schedule(self.step, self.config)
        for group, height in zip(self.optimizer.param_groups, self._heights):
            group["lr"] = height * scale
        # Parameters that no part of this step uses keep no gradient, and Adam leaves them alone.
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.config.subjects_per_step
        numbers: dict[str, Any] = {}  # of this process's subjects
        survey, surveys = self.density.surveys(self.step), []
        for part in self._parts:
            if self.step + READ_AHEAD < self.config.steps:
                self.objective.prefetch(self.step + READ_AHEAD, part)
            terms = self.objective.terms(self.model, self.step, part, survey)
            loss = terms.total() / parts
            if not bool(torch.isfinite(loss.detach())):
                raise RuntimeError(f"the loss of step {self.step} is not finite: {terms.numbers()}")
            loss.backward()
            if terms.survey is not None:
                surveys.append(terms.survey)
            if (self.step + 1) % LOG_EVERY == 0 or self.step == 0:
                for name, value in terms.numbers().items():
                    numbers[name] = numbers.get(name, 0.0) + value / len(self._parts)
        if survey:
            self.density.observe(surveys)
        sum_gradients(self.model.parameters(), self.ranks)
        self.optimizer.step()
        self.step += 1
        if self.density.due(self.step):
            numbers["points"] = self._change_points()
        self.ema.update(self.step)
        return numbers

    def _change_points(self) -> dict[str, int]:
        """Density control; returns the points of every set."""
        codes = [partial(self.model.latent.codes, s.entries) for s in self.cast.subjects]
        points, moved = self.density.change(self.model, codes, self.step)
        follow_in_adam(self.optimizer, moved)
        self.ema.restart(moved)
        return points

    def save(self) -> None:
        """Write a checkpoint of the current step."""
        parts = {
            "density": self.density.state(),
            "ancestor": self.model.field.ancestors,
            "ema": self.ema.state(),
        }
        save_checkpoint(self._paths.checkpoint, self.model, self.optimizer, self.step, self.identity(), parts)

    def avatar(self) -> Avatar:
        """The avatar as it is now."""
        first = int(self.dataset.train_indices[0])
        motion = self.dataset.motion
        # A copy: an avatar's weights are frozen, the training may go on.
        model = copy.deepcopy(self.model)
        model.zero_grad(set_to_none=True)
        self.ema.copy_to(model)
        return Avatar(
            model,
            self.cast.subjects,
            self.dataset.camera,
            self.dataset.portrait.betas,
            (motion.expr[first], motion.pose[first]),
            self.head.name,
            encoder_name(self.dataset),
        )

    # ---- the folder -------------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to fit."""
        settings = self.config.to_json()
        for free in ("checkpoint_seconds", "cache_mb", "device", "tensorboard"):
            settings.pop(free)
        data = [subject.content for subject in self.dataset.subjects]
        return {"settings": json.loads(json.dumps(settings)), "data": data}

    def _check_folder(self) -> None:
        folder = self._paths.folder
        paths = self._paths
        known = {p.name for p in (paths.start, paths.checkpoint, paths.log, paths.board)}
        if folder.exists():
            other = [p.name for p in folder.iterdir() if p.name not in known and not p.name.startswith(".")]
            if other:
                raise PerseError(
                    f"{folder} holds something else ({other[0]}); choose another folder for the training"
                )
        folder.mkdir(parents=True, exist_ok=True)

    def _make_start(self) -> Start:
        """The first process makes it, unless it is there; the others wait, and read it."""
        if not self.ranks.first:
            self.ranks.wait()
        if self._paths.start.is_file():
            start = load_start(self._paths.start, self.identity())
        else:
            start = make_start(self.dataset, self.head, self.cast, self.config)
            save_start(self._paths.start, start, self.identity())
        if self.ranks.first:
            self.ranks.wait()
        return start

    def _trim_log(self) -> None:
        """Drop lines that a resumed training will write again."""
        if not self._paths.log.is_file():
            return
        lines = []
        for line in self._paths.log.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= self.step:
                    lines.append(line)
            except (ValueError, KeyError, TypeError):
                break
        self._paths.log.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def build_model(dataset: Dataset, cast: Cast, start: Start, config: TrainConfig, head: Head) -> AvatarModel:
    """M_Theta at step 0."""
    image, text = feature_sizes(dataset)
    model = AvatarModel(config.model, Layout.of(start), len(cast.entries), image, text)
    generator = torch.Generator().manual_seed(config.seed)
    initialize_latent(model.latent, dataset, cast, generator)
    model.field.initialize(start, model.latent, generator)
    model.pose_mlp.net.initialize(generator, 3e-3)
    model.joints.copy_(head.joints(dataset.portrait.betas))
    model.to(config.device)
    return model


def make_sampler(config: TrainConfig, dataset: Dataset, cast: Cast) -> Sampler:
    """Balanced draws over the subjects and train frames."""
    frames = dataset.train_indices.numpy()
    detail = None
    if config.detail_share > 0:
        detail = subject_detail(dataset, frames[[0, len(frames) // 2]].tolist())
    weights = subject_weights(cast.subjects, config.reference_share, detail, config.detail_share)
    return Sampler(weights, frames, config.frames_per_step, config.seed)


def warmup_steps(config: TrainConfig, dataset: Dataset) -> int:
    """Steps without MLP_pose."""
    if config.warmup_epochs is None:
        return round(config.warmup * config.steps)
    return round(config.warmup_epochs * epoch_steps(config, dataset))


def epoch_steps(config: TrainConfig, dataset: Dataset) -> float:
    """Steps in which every training frame of every subject is seen once, on average."""
    frames = len(dataset.subjects) * len(dataset.train_indices)
    return frames / (config.frames_per_step * config.subjects_per_step)


def rearrange_as(model: AvatarModel, saved: Checkpoint) -> None:
    """Give a model of step 0 the points of a checkpoint: each is a copy of the point of the start it descends from."""
    for name, ancestors in saved.part("ancestor").items():
        model.field.rearrange(
            name, ancestors.to(model.joints.device), torch.zeros(len(ancestors), dtype=torch.bool)
        )


def schedule(step: int, config: TrainConfig) -> float:
    """Step size relative to its height: a short ramp, then a cosine."""
    low = config.final_step_size
    cosine = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return cosine * min(1.0, (step + 1) / RAMP_STEPS)


def make_optimizer(model: AvatarModel, config: TrainConfig, size: int) -> torch.optim.Optimizer:
    """Adam with one group a kind of parameter.

    Its eps is a fraction of a pixel's share of the loss: a point that no pixel shows has gradients of rounding
    size, and must not wander because Adam blows them up.
    """
    sizes = asdict(config.step_sizes)
    groups: dict[float, list[torch.nn.Parameter]] = {}
    roles = model.roles()
    for name, parameter in model.named_parameters():
        groups.setdefault(step_size(sizes, name, roles[name]), []).append(parameter)
    return torch.optim.Adam(
        [{"params": parameters, "lr": lr} for lr, parameters in groups.items()],
        betas=config.betas,
        eps=1e-4 / size**2,
        fused=True,
    )


def step_size(sizes: dict[str, float], name: str, role: str) -> float:
    """Adam's step for one parameter."""
    if role == "flame" and name.endswith(".W"):
        return sizes["flame_weight"]
    return sizes[role]


__all__ = ["StepSizes", "Training", "train"]
