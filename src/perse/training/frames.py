"""Training frames in memory: decoded ahead by a thread, kept while they fit; features of targets likewise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from perse.dataset import Dataset


@dataclass(frozen=True)
class Target:
    """Frames of one subject, on the training device."""

    rgb: Tensor
    """[F, H, W, 3] in [0, 1], on white."""
    alpha: Tensor
    """[F, H, W] in [0, 1]."""
    labels: Tensor
    """[F, H, W] uint8."""

    def over(self, background: Tensor) -> Target:
        """The same frames over another colour [3]."""
        rgb = self.rgb + (background - 1) * (1 - self.alpha)[..., None]
        return Target(rgb, self.alpha, self.labels)

    def box(self, margin: int) -> Box:
        """The smallest rectangle that holds the foreground of all frames, and `margin` pixels around it."""
        covered = self.alpha.amax(0) > 0
        sides = []
        for line, size in ((covered.any(1), covered.shape[0]), (covered.any(0), covered.shape[1])):
            where = line.nonzero()
            if len(where) == 0:
                return Box.whole(self.alpha)
            sides.append(slice(max(0, int(where[0]) - margin), min(size, int(where[-1]) + 1 + margin)))
        return Box(*sides)


class Box(NamedTuple):
    """A rectangle of a picture."""

    rows: slice
    columns: slice

    @staticmethod
    def whole(images: Tensor) -> Box:
        """All of images [F, H, W, ...]."""
        return Box(slice(0, images.shape[1]), slice(0, images.shape[2]))

    def window(self, side: int, size: tuple[int, int], rng: np.random.Generator) -> Box:
        """A random square on this box, in a picture of `size` (height, width); it may reach over the edge a little."""
        sides = []
        for line, length in zip(self, size):
            low, high = line.start - side // 4, max(line.start - side // 4 + 1, line.stop - 3 * side // 4)
            first = min(max(0, int(rng.integers(low, high))), max(0, length - side))
            sides.append(slice(first, min(length, first + side)))
        return Box(*sides)

    @property
    def area(self) -> int:
        """Pixels in it."""
        return (self.rows.stop - self.rows.start) * (self.columns.stop - self.columns.start)

    def of(self, images: Tensor) -> Tensor:
        """That part of images [F, H, W, ...]."""
        return images[:, self.rows, self.columns]


Raw = tuple[Tensor, Tensor, Tensor]


class FrameStore:
    """Reads frames through a cache of bounded size, and keeps the perceptual features of targets beside it."""

    def __init__(self, dataset: Dataset, device: torch.device | str, cache_mb: int) -> None:
        self._dataset = dataset
        self._device = torch.device(device)
        self._bytes_left = cache_mb << 20
        self._frames: dict[tuple[int, int], Raw] = {}
        self._features: dict[tuple[int, int], list[Tensor]] = {}
        # Only this thread reads the dataset.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="frames")
        self._coming: dict[tuple[int, int], Future[Raw]] = {}

    def prefetch(self, wanted: Iterable[tuple[int, int]]) -> None:
        """Begin to decode some (subject, frame) that will be asked for soon."""
        for key in wanted:
            if key not in self._frames and key not in self._coming:
                self._coming[key] = self._reader.submit(self._decode, *key)

    def raw(self, subject: int, frame: int) -> Raw:
        """rgb, alpha, labels as uint8 on the device."""
        key = (subject, frame)
        if key in self._frames:
            return self._frames[key]
        self.prefetch([key])
        tensors = self._coming.pop(key).result()
        if self._reserve(sum(t.numel() for t in tensors)):
            self._frames[key] = tensors
        return tensors

    def _decode(self, subject: int, frame: int) -> Raw:
        f = self._dataset.frame(self._dataset.subjects[subject], frame)
        return f.rgb.to(self._device), f.alpha.to(self._device), f.labels.to(self._device)

    def target(self, subject: int, frames: np.ndarray) -> Target:
        """Frames [F] of a subject."""
        rgb, alpha, labels = (torch.stack(t) for t in zip(*(self.raw(subject, int(t)) for t in frames)))
        return Target(rgb.float() / 255, alpha.float() / 255, labels)

    def features(
        self, subject: int, frames: np.ndarray, compute: Callable[[Tensor], list[Tensor]]
    ) -> list[Tensor]:
        """Features of the frames on white, a list of [F, C, h, w]; kept as bfloat16 while memory lasts.

        Args:
            compute: images [1, H, W, 3] -> maps [1, C, h, w].
        """
        found = [self._features_of(subject, int(t), compute) for t in frames]
        return [torch.cat(maps) for maps in zip(*found)]

    def _features_of(
        self, subject: int, frame: int, compute: Callable[[Tensor], list[Tensor]]
    ) -> list[Tensor]:
        key = (subject, frame)
        if key in self._features:
            return self._features[key]
        with torch.no_grad():
            rgb = self.raw(subject, frame)[0].float() / 255
            # Rounded whether they are kept or not: what fits in memory must not change the result.
            maps = [m.bfloat16() for m in compute(rgb[None])]
        if self._reserve(sum(m.numel() * 2 for m in maps)):
            self._features[key] = maps
        return maps

    def _reserve(self, size: int) -> bool:
        if size > self._bytes_left:
            return False
        self._bytes_left -= size
        return True
