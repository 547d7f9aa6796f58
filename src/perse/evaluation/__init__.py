"""How good is an avatar? Metrics on held-out frames, identity, leakage, tables."""

from perse.evaluation.distributions import PictureFeatures, frechet_distance, kernel_distance
from perse.evaluation.identity import identity_distance, portrait_embedding
from perse.evaluation.interpolation import (
    PAPER,
    InterpolationProtocol,
    between,
    evaluate_interpolation,
    path_length,
    path_variance,
)
from perse.evaluation.leakage import Leakage, dilate, foreground, part_region
from perse.evaluation.metrics import Perceptual, psnr, ssim
from perse.evaluation.protocol import evaluate
from perse.evaluation.tables import format_figure, table

__all__ = [
    "PAPER",
    "InterpolationProtocol",
    "Leakage",
    "Perceptual",
    "PictureFeatures",
    "between",
    "dilate",
    "evaluate",
    "evaluate_interpolation",
    "foreground",
    "format_figure",
    "frechet_distance",
    "identity_distance",
    "kernel_distance",
    "part_region",
    "path_length",
    "path_variance",
    "portrait_embedding",
    "psnr",
    "ssim",
    "table",
]
