"""How good is an avatar? Metrics on held-out frames, identity, leakage, tables."""

from perse.evaluation.combinations import Combination, combination_figures, draw_combinations
from perse.evaluation.distributions import PictureFeatures, frechet_distance, kernel_distance
from perse.evaluation.identity import identity_distance, portrait_embedding
from perse.evaluation.interpolation import (
    PAPER,
    InterpolationProtocol,
    between,
    chosen_pairs,
    evaluate_interpolation,
    evenly,
    neighbour_distances,
    path_length,
    path_variance,
)
from perse.evaluation.leakage import Leakage, foreground
from perse.evaluation.metrics import Perceptual, psnr, ssim
from perse.evaluation.plots import curves_plot, metrics_plot
from perse.evaluation.protocol import evaluate
from perse.evaluation.tables import format_figure, table
from perse.evaluation.transfer import evaluate_transfer
from perse.training.regions import dilate, part_region

__all__ = [
    "PAPER",
    "Combination",
    "InterpolationProtocol",
    "Leakage",
    "Perceptual",
    "PictureFeatures",
    "between",
    "chosen_pairs",
    "combination_figures",
    "curves_plot",
    "dilate",
    "draw_combinations",
    "evaluate",
    "evaluate_interpolation",
    "evaluate_transfer",
    "evenly",
    "foreground",
    "format_figure",
    "frechet_distance",
    "identity_distance",
    "kernel_distance",
    "metrics_plot",
    "neighbour_distances",
    "part_region",
    "path_length",
    "path_variance",
    "portrait_embedding",
    "psnr",
    "ssim",
    "table",
]
