"""Which pixels a step compares: the foreground's box, windows on it, and what is drawn outside."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from perse.head import open_head
from perse.training import LossWeights, Training
from perse.training.frames import Box, FrameStore, Target
from synthetic import shared_dataset, tiny_config


@given(st.integers(0, 10**6), st.integers(0, 9))
def test_the_box_holds_all_foreground_of_all_frames(seed: int, margin: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    alpha = (torch.rand(2, 20, 30, generator=generator) > 0.99).float()
    target = Target(torch.zeros(2, 20, 30, 3), alpha, torch.zeros(2, 20, 30, dtype=torch.uint8))
    box = target.box(margin)
    outside = alpha.clone()
    outside[:, box.rows, box.columns] = 0
    assert float(outside.sum()) == 0
    assert box.of(alpha).shape == (2, *box.of(target.rgb).shape[1:3])
    assert box.area == box.of(alpha)[0].numel()
    if alpha.any():
        tight = target.box(0)
        assert tight.area <= box.area
        assert box.rows.start == max(0, tight.rows.start - margin)


@given(st.integers(0, 40), st.integers(1, 24), st.integers(0, 10**6))
def test_windows_lie_in_the_picture_and_on_the_box(first: int, length: int, seed: int) -> None:
    box = Box(slice(first, first + length), slice(5, 60))
    window = box.window(16, (64, 64), np.random.default_rng(seed))
    for side, line in zip(window, box):
        assert side.stop - side.start == 16
        assert 0 <= side.start < side.stop <= 64
        assert side.start < line.stop
        assert side.stop > line.start


def test_windows_come_to_every_pixel_of_the_box() -> None:
    """A border that no window ever covers would be compared less sharply for ever."""
    box, rng, covered = Box(slice(3, 61), slice(10, 40)), np.random.default_rng(0), torch.zeros(1, 64, 64)
    for _ in range(400):
        box.window(16, (64, 64), rng).of(covered).add_(1)
    assert float(box.of(covered).min()) > 0


def test_what_is_drawn_outside_of_the_box_is_punished(tmp_path: Path) -> None:
    """Colours are not compared there: without the alpha term a floating point would stay for ever."""
    gradients = {}
    for alpha in (0.1, 0.0):
        weights = LossWeights(
            alpha=alpha, label=0.0, l1=0.0 if alpha else 1.0, ssim=0.0, perceptual=0.0, flame=0
        )
        config = tiny_config(warmup=1.0, weights=weights)
        training = Training(shared_dataset(), config, tmp_path / str(alpha), open_head())
        base = training.model._field.base
        with torch.no_grad():
            base.points[7] = torch.tensor([-0.16, 0.14, 0.0])  # the picture's corner
            base.scale[7], base.opacity[7] = -4.0, 2.0
        training.objective.terms(training.model, 1).total().backward()
        gradients[alpha] = float(base.opacity.grad[7])
    assert gradients[0.1] > 0
    assert gradients[0.0] > 0, "without an alpha term the whole picture is compared"


def test_frames_read_ahead_are_the_frames_asked_for() -> None:
    dataset = shared_dataset()
    store, plain = FrameStore(dataset, "cpu", 100), FrameStore(dataset, "cpu", 0)
    store.prefetch([(1, 2), (3, 0), (1, 2)])
    for subject, frame in ((3, 0), (1, 2), (2, 5)):
        for ours, theirs in zip(store.raw(subject, frame), plain.raw(subject, frame)):
            assert torch.equal(ours, theirs)


def test_a_window_learns_too(tmp_path: Path) -> None:
    config = dataclasses.replace(tiny_config(), perceptual_window=0.5)
    training = Training(shared_dataset(), config, tmp_path / "t", open_head())
    terms = training.objective.terms(training.model, 0)
    terms.values["perceptual"].backward()
    assert float(terms.values["perceptual"].detach()) > 0
    assert float(training.model._field.base.color.grad.abs().max()) > 0
