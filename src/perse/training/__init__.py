"""Learning an avatar from a dataset: losses, starts, reconstruction, tuning on blends (sections 4.3, A.1.2, A.2.3)."""

from perse.training import losses
from perse.training.blends import PlannedBlend, plan_blends
from perse.training.config import PRESETS, DensityConfig, LossWeights, StepSizes, TrainConfig
from perse.training.interpolation import InterpolationConfig, Tuning, blend_motion, matching_rows, tune
from perse.training.reconstruct import Training, train
from perse.training.snapshot import snapshot
from perse.training.subjects import POINT_CATEGORIES
from perse.training.transfer import TransferConfig, transfer

__all__ = [
    "POINT_CATEGORIES",
    "PRESETS",
    "DensityConfig",
    "InterpolationConfig",
    "LossWeights",
    "PlannedBlend",
    "StepSizes",
    "TrainConfig",
    "Training",
    "TransferConfig",
    "Tuning",
    "blend_motion",
    "losses",
    "matching_rows",
    "plan_blends",
    "snapshot",
    "train",
    "transfer",
    "tune",
]
