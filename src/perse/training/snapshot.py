"""A look at a training that is running."""

from __future__ import annotations

from pathlib import Path

from perse.avatar import Avatar
from perse.dataset import Dataset
from perse.head import Head, open_head
from perse.training.config import TrainConfig
from perse.training.reconstruct import Training


def snapshot(
    dataset: Dataset, config: TrainConfig, out_dir: str | Path, head: Head | None = None
) -> Avatar | None:
    """The avatar as the last checkpoint in a training's folder has it; None before the first. Nothing is written.

    Raises:
        PerseError: the folder holds another training, or a file in it is damaged.
    """
    out = Path(out_dir)
    if not all((out / f"{name}.safetensors").is_file() for name in ("start", "checkpoint")):
        return None
    return Training(dataset, config, out, head or open_head()).avatar()
