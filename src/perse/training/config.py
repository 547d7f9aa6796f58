"""Every number of a training, with presets from a laptop to the paper's scale."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from perse.avatar import FieldConfig, LatentConfig, ModelConfig
from perse.errors import PerseError


@dataclass(frozen=True)
class LossWeights:
    """Weight of every loss term (Eqs. 11, 12, 31). 0 leaves a term out."""

    l1: float = 1.0
    """Mean absolute colour difference."""
    ssim: float = 0.2
    """1 - SSIM."""
    perceptual: float = 0.1
    """LPIPS (Eq. 11's VGG term; which network is `TrainConfig.perceptual_net`)."""
    alpha: float = 0.1
    """Mean absolute difference of alpha: white clothes on a white background leave no other trace."""
    label: float = 0.1
    """One random layer's visible share against its part label."""
    flame: float = 1.0
    """Eq. 31."""
    flame_e: float = 1.0
    """lambda_e of Eq. 31."""
    flame_p: float = 0.1
    """lambda_p of Eq. 31."""
    flame_w: float = 0.01
    """lambda_w of Eq. 31."""
    z: float = 1e-3
    """Mean square of the codes (L_z)."""
    combination: float = 1.5
    """Masked colour difference on pasted combinations (weighs instead of the colour terms on such steps)."""


@dataclass(frozen=True)
class StepSizes:
    """Adam's step size for each kind of parameter, in that parameter's own unit."""

    net: float = 1.5e-3
    """MLP_pose; MLP_d and MLP_c of the `mlp` field."""
    latent_net: float = 1e-4
    """MLP_z: its many inputs move together, so a small step already moves a code a lot."""
    code: float = 3e-4
    """z_ref, z_zero."""
    coefficient: float = 3e-4
    """The linear map from a code to its coefficients."""
    direction: float = 5e-3
    """Directions of layers and actions."""
    position: float = 1.5e-4
    """Points of the head, metres."""
    layer_position: float = 3e-4
    """Points of the categories' layers, metres."""
    opacity: float = 2e-2
    """Logits."""
    scale: float = 8e-3
    """Logarithms."""
    rotation: float = 3e-3
    """Quaternions."""
    color: float = 2e-2
    """Logits."""
    pose_code: float = 1e-2
    """What MLP_pose knows of each point."""
    flame: float = 2e-7
    """E and P, metres a unit of psi or of a rotation matrix. Ten times more and fifty numbers of expression a point
    learn forty frames by heart: eyes and mouth then fail on unseen ones."""
    flame_weight: float = 1e-5
    """W."""


@dataclass(frozen=True)
class DensityConfig:
    """Density control (A.1.2): from `start_points` to `TrainConfig.points`, and where they are."""

    start_points: int | None = None
    """Points to start with; None: all of them, and only their places change."""
    every_epochs: float = 5.0
    """Epochs between changes, as in the paper."""
    every: float | None = None
    """Share of the training between changes; replaces `every_epochs`."""
    until: float = 0.8
    """Share of the training after which the points stay."""
    growth: float = 2.0
    """Largest factor by which the points become more in one change."""
    guided: bool = True
    """Split points that carry error. False: the paper's way, anywhere, and all shrink once there are enough."""
    prune_opacity: float = 0.5
    """A point that no subject shows with this opacity is dropped."""
    shrink: float = 0.6
    """Length of the axis along which a point was split; in the paper's way (0.75) of every point's every axis."""
    radius_gaps: float = 1.0
    """The paper's way: how far from its parent a point is born, in gaps between neighbours."""

    def __post_init__(self) -> None:
        if self.growth < 1 or not 0 < self.shrink < 1 or not 0 <= self.prune_opacity < 1:
            raise PerseError(
                "density: growth must be at least 1, shrink and prune_opacity must lie between 0 and 1"
            )
        if self.every_epochs <= 0 or (self.every is not None and self.every <= 0):
            raise PerseError("density: every and every_epochs must be larger than 0")


@dataclass(frozen=True)
class TrainConfig:
    """One training. The number of steps is fixed, so that the same seed gives the same avatar on any machine."""

    start: Literal["auto", "studio", "images", "head"] = "auto"
    """Where the points come from: a maker's points, the images alone, the bare head; auto: studio if there are any."""
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    """Shapes of the networks."""
    points: int = 30_000
    """Points, all layers together: at the start, or where density control leads to."""
    density: DensityConfig | None = None
    """How points become more and change places; None: they stay what the start made them."""
    steps: int = 4500
    """Optimizer steps."""
    frames_per_step: int = 1
    """Frames of one subject a step renders from one evaluation of the field."""
    subjects_per_step: int = 1
    """Subjects a step accumulates gradients over."""
    warmup: float = 0.08
    """Share of the steps without MLP_pose (the paper's first epoch)."""
    warmup_epochs: float | None = None
    """The same in epochs; replaces `warmup`."""
    weights: LossWeights = dataclasses.field(default_factory=LossWeights)
    """Weights of the loss terms."""
    step_sizes: StepSizes = dataclasses.field(default_factory=StepSizes)
    """Adam's step sizes."""
    perceptual_net: Literal["alexnet", "vgg16"] = "alexnet"
    """Network of the perceptual loss: alexnet is twenty times cheaper on a CPU, vgg16 is the paper's."""
    perceptual_every: int = 1
    """Steps between perceptual losses (their weight grows to match)."""
    perceptual_window: float = 1.0
    """Side of the window that the perceptual loss looks at, relative to the picture's; below 1 it lies anywhere on the
    foreground, another place every step. 0.5 takes a third of the time and no memory for features of targets."""
    flame_every: int = 4
    """Steps between updates of E, P, W in the `basis` field, and of Eq. 31."""
    combinations: float = 0.2
    """Share of the steps (after the warm-up) that learn from parts pasted together from several subjects."""
    random_background: float = 0.0
    """Share of the steps on a random background instead of white."""
    reference_share: float = 0.1
    """Share of the steps that show the unedited reference."""
    detail_share: float = 0.65
    """Share of the other steps that go to subjects by how much fine structure they have; the rest visits categories
    alike."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Adam's decay rates."""
    final_step_size: float = 0.02
    """What the cosine schedule ends at, relative to its height."""
    ema: float = 0.0
    """Decay a step of the moving average of the weights that the avatar gets; 0: the last step's weights."""
    tensorboard: bool = False
    """Write scalars and pictures for TensorBoard beside the log (needs perse[tensorboard])."""
    cache_mb: int = 3000
    """Memory for decoded frames and for the perceptual features of targets."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints."""
    seed: int = 0
    """Seed of every random choice."""
    device: str = "cpu"
    """Where to compute: cpu or cuda."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.frames_per_step < 1 or self.subjects_per_step < 1:
            raise PerseError("steps, frames_per_step and subjects_per_step must be at least 1")
        if min(self.points, self.first_points) < 100:
            raise PerseError("an avatar needs at least 100 points")
        if not 0 < self.perceptual_window <= 1:
            raise PerseError(f"perceptual_window must lie between 0 and 1, not {self.perceptual_window}")
        if not 0 <= self.ema < 1:
            raise PerseError(f"ema must lie between 0 and 1 (a decay such as 0.99), not {self.ema}")
        for name in ("warmup", "combinations", "random_background", "reference_share", "detail_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise PerseError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")

    @property
    def first_points(self) -> int:
        """Points to start with."""
        start = self.density.start_points if self.density else None
        return self.points if start is None else min(start, self.points)

    @staticmethod
    def preset(name: str, *, seed: int = 0, device: str = "cpu", **changes: Any) -> TrainConfig:
        """`tiny` (seconds, tests), `demo` (2 cores, minutes), `full` (one GPU), `paper` (the paper's field and size).

        Raises:
            PerseError: no such preset.
        """
        if name not in PRESETS:
            raise PerseError(f"there is no preset {name!r}; there is: {', '.join(PRESETS)}")
        return dataclasses.replace(PRESETS[name], seed=seed, device=device, **changes)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)


GENTLE = StepSizes(latent_net=1e-5, direction=1e-3)
"""For starts that already show every look: bolder codes and directions first unlearn it (docs/training.md)."""

PRESETS: dict[str, TrainConfig] = {
    "tiny": TrainConfig(
        points=4000, steps=60, model=ModelConfig(pose_width=16), checkpoint_seconds=20.0, cache_mb=200
    ),
    "demo": TrainConfig(
        points=35_000,
        steps=5300,
        step_sizes=GENTLE,
        perceptual_window=0.5,
        density=DensityConfig(every=0.1, prune_opacity=0.1),
    ),
    "full": TrainConfig(
        points=120_000,
        density=DensityConfig(start_points=60_000, every=0.06, prune_opacity=0.1),
        steps=40_000,
        step_sizes=GENTLE,
        frames_per_step=4,
        flame_every=1,
        cache_mb=48_000,
        perceptual_net="vgg16",
        model=ModelConfig(field=FieldConfig(rank=12), pose_width=64, pose_depth=3),
    ),
    "paper": TrainConfig(
        start="head",
        points=130_000,
        # Every 5 of the paper's 112 epochs; ours are fewer (steps), so it is told as a share.
        density=DensityConfig(
            start_points=400, every=5 / 112, until=0.95, guided=False, shrink=0.75, radius_gaps=0.5
        ),
        steps=150_000,
        subjects_per_step=8,
        frames_per_step=4,
        flame_every=1,
        warmup_epochs=1.0,
        cache_mb=64_000,
        perceptual_net="vgg16",
        combinations=0.0,
        weights=LossWeights(ssim=0.25, alpha=0.0, label=0.0, z=0.1),
        step_sizes=StepSizes(net=1e-4, position=1e-4),
        model=ModelConfig(
            field=FieldConfig(
                kind="mlp", width=512, depth=9, skip=4, frequencies=6, pose_code=0, point_values=False
            ),
            latent=LatentConfig(dim=32, hidden=512, skin_slot=True),
            pose_width=128,
            pose_depth=4,
        ),
    ),
}
