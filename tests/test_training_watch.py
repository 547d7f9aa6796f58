"""What watches a training: the moving average of its weights, and TensorBoard."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from perse.errors import PerseError
from perse.head import open_head
from perse.training import DensityConfig, Training, train
from synthetic import shared_dataset, tiny_config

CHANGING = DensityConfig(start_points=1200, every=0.3, prune_opacity=0.1)


def test_the_average_lags_behind_and_the_avatar_gets_it(tmp_path: Path) -> None:
    training = Training(shared_dataset(), tiny_config(steps=40, ema=0.95), tmp_path / "t", open_head())
    start = training.model.get_parameter("_field.base.color").detach().clone()
    while training.step < 32:
        training.one_step()
    now = training.model.get_parameter("_field.base.color").detach()
    average = training.avatar().model.get_parameter("_field.base.color")
    assert 0 < float((average - start).norm()) < float((now - start).norm())
    assert not torch.equal(average, now)


def test_resumed_equals_uninterrupted_with_an_average_and_changing_points(tmp_path: Path) -> None:
    """Averages of points that were rearranged must come back with the right sizes, and bit for bit."""
    dataset, config = shared_dataset(), tiny_config(steps=19, ema=0.9, density=CHANGING)
    whole = train(dataset, config, tmp_path / "whole", progress=False)
    for stop in (6, 14):
        part = Training(dataset, config, tmp_path / "parts", open_head())
        while part.step < stop:
            part.one_step()
        part.save()
    parts = train(dataset, config, tmp_path / "parts", progress=False)
    a, b = whole.model.state_dict(), parts.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_tensorboard_gets_scalars_points_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny_config(steps=20, tensorboard=True, density=CHANGING)
    train(shared_dataset(), config, tmp_path / "t", progress=False)
    train(shared_dataset(), config, tmp_path / "t", progress=False)  # its folder is known: nothing is refused
    events = EventAccumulator(str(tmp_path / "t" / "tensorboard")).Reload()
    tags = events.Tags()
    assert {"loss/l1", "loss/perceptual", "points/hair"} <= set(tags["scalars"])
    assert tags["images"] == ["subjects"]
    assert [event.step for event in events.Scalars("loss/l1")] == [1, 20]


def test_tensorboard_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(PerseError, match=r"pip install 'perse\[tensorboard\]'"):
        train(shared_dataset(), tiny_config(steps=1, tensorboard=True), tmp_path / "t", progress=False)
