"""Learning an avatar from a dataset: losses, starts, reconstruction (paper sections 4.3, A.1.2, A.1.3)."""

from perse.training import losses
from perse.training.config import PRESETS, DensityConfig, LossWeights, StepSizes, TrainConfig
from perse.training.reconstruct import Training, train
from perse.training.snapshot import snapshot
from perse.training.transfer import TransferConfig, transfer

__all__ = [
    "PRESETS",
    "DensityConfig",
    "LossWeights",
    "StepSizes",
    "TrainConfig",
    "Training",
    "TransferConfig",
    "losses",
    "snapshot",
    "train",
    "transfer",
]
