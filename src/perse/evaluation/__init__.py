"""How good is an avatar? Metrics on held-out frames, identity, leakage, tables."""

from perse.evaluation.identity import identity_distance, portrait_embedding
from perse.evaluation.leakage import Leakage, dilate, foreground, part_region
from perse.evaluation.metrics import Perceptual, psnr, ssim
from perse.evaluation.protocol import evaluate
from perse.evaluation.tables import format_figure, table

__all__ = [
    "Leakage",
    "Perceptual",
    "dilate",
    "evaluate",
    "foreground",
    "format_figure",
    "identity_distance",
    "part_region",
    "portrait_embedding",
    "psnr",
    "ssim",
    "table",
]
