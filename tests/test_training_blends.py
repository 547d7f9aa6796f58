"""Looks between learned ones: which are planned, that they leave learned looks alone, and that tuning resumes."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest
import torch

from perse.avatar import AvatarModel
from perse.dataset import Dataset, DatasetWriter, combinations_of, default_motion
from perse.errors import PerseError
from perse.head import open_head
from perse.training import (
    InterpolationConfig,
    PlannedBlend,
    Training,
    Tuning,
    blend_motion,
    matching_rows,
    plan_blends,
    train,
    tune,
)
from perse.training.interpolation import with_between
from synthetic import SUBJECTS, Body, attribute, shared_dataset, small_avatar, tiny_config

HOW = InterpolationConfig(pairs_a_subject=1, frames=2, steps=16, directions=2, checkpoint_seconds=0.0)
CONFIG = tiny_config(steps=3)


def make_blends(path: Path) -> Dataset:
    """The hats half way: half of each one's points."""
    dataset = shared_dataset()
    planned = [PlannedBlend("hat", 4, 5, 3), PlannedBlend("beard", 0, 3, 3)]
    motion = blend_motion(dataset.motion, HOW.frames)
    writer = DatasetWriter.create(
        path, dataset.portrait, motion, dataset.size, {"morpher": "synthetic"}, 0, [p.id for p in planned]
    )
    body = Body.of(dataset.portrait)
    joints = body.head.joints(dataset.portrait.betas)
    for plan in planned:
        points = body.points(tuple(SUBJECTS.values())[plan.second])
        with writer.subject(plan.id, (attribute(plan.category, "half way"),), 0) as subject:
            subject.portrait(torch.full((512, 512, 3), 0.5))
            subject.mask(torch.zeros(512, 512, dtype=torch.bool))
            subject.points(points)
            for t in range(len(motion)):
                subject.frame(body.frame(points, joints, motion.expr[t], motion.pose[t], writer.camera))
    writer.finish()
    return Dataset.open(path, blends=True)


def test_blends_find_their_frames_among_hundreds() -> None:
    """A dataset of the demo's size or the paper's, not the few frames of a test."""
    motion = default_motion()
    blends = blend_motion(motion, 12)
    rows = matching_rows(blends, motion)
    assert torch.equal(motion.expr[rows], blends.expr)
    assert torch.equal(motion.pose[rows], blends.pose)
    with pytest.raises(PerseError, match="another motion"):
        matching_rows(dataclasses.replace(blends, expr=blends.expr + 0.01), motion)


@functools.cache
def widened() -> tuple[AvatarModel, AvatarModel]:
    """A model, and the same one with directions in between that say something."""
    model = small_avatar().model
    wide = with_between(model, 3, 0)
    with torch.no_grad():
        for module in wide.field.between.values():
            module.directions.normal_(generator=torch.Generator().manual_seed(1))
            module.absence.normal_(generator=torch.Generator().manual_seed(2))
    return model, wide


def test_directions_in_between_are_silent_at_learned_looks() -> None:
    """Tuning may not touch what was learned; between two looks the directions must speak."""
    model, wide = widened()
    hats = [
        i for i, c in enumerate(model.latent.entry_category.tolist()) if model.latent.categories[c] == "hat"
    ]
    a, b = (model.latent.codes([h]) for h in hats[:2])
    for codes in (a, b, model.latent.codes([])):
        before, after = model.canonical(codes), wide.canonical(codes)
        for value in ("means", "colors", "opacity", "presence"):
            assert torch.equal(getattr(before, value), getattr(after, value)), value
    half = a.mix(b, 0.5)
    before, after = model.canonical(half), wide.canonical(half)
    part = before.layers["hat"]
    assert float((before.means[part] - after.means[part]).detach().abs().max()) > 1e-3
    worn = model.latent.codes([]).mix(a, 0.5)
    assert not torch.equal(model.canonical(worn).means, wide.canonical(worn).means)


def test_blends_are_planned_within_categories_and_their_names_say_all() -> None:
    """Fails when a pair mixes categories, a subject has no pair, or an id cannot be read back."""
    subjects = list(SUBJECTS.values())
    planned = plan_blends(subjects, 40, 5, 0)
    assert {p.category for p in planned} == {"hair", "hat", "beard", "clothes"}
    for p in planned:
        assert PlannedBlend.from_id(p.id) == p
        assert all(i == 0 or subjects[i][0].category == p.category for i in (p.first, p.second))
    hats = sorted(p.step for p in planned if p.category == "hat")
    assert hats == [1, 2, 3, 4, 5]
    assert [p.first for p in planned if p.category == "beard"] == [0] * 5
    few = plan_blends(subjects, 1, 1, 0)
    own = [(p.second, p.step) for p in few if p.category in ("hair", "clothes") and p.first == 0]
    assert own == [(7, 2), (7, 4), (1, 2), (1, 4), (2, 2), (2, 4)], (
        "every head of hair and garment, from one's own"
    )
    assert len({p.id for p in few}) == len(few)
    with pytest.raises(PerseError, match="names no blend"):
        PlannedBlend.from_id("hat-004-005-6of6")


def test_combinations_are_new_and_of_different_categories() -> None:
    """Fails when a measured combination was trained on, or sets one category twice."""
    subjects = list(SUBJECTS.values())
    taught = combinations_of(subjects, 3, "train/0")
    measured = combinations_of([*subjects, *taught], 3, "measure/0")
    assert len(taught) == 3
    assert measured
    for look in [*taught, *measured]:
        assert len({a.category for a in look}) == len(look) >= 2
    assert not {frozenset(look) for look in taught} & {frozenset(look) for look in measured}
    assert combinations_of([(), (attribute("hat", "a hat"),)], 3, 0) == []


def test_tuning_moves_everything_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What speaks in between must learn, and nothing else; killed and resumed, the end must be the same to the bit."""
    dataset, blends = shared_dataset(), make_blends(tmp_path / "blends")
    with pytest.raises(PerseError, match="finish the training"):
        tune(dataset, CONFIG, tmp_path / "t", blends, HOW, tmp_path / "u", progress=False)
    train(dataset, CONFIG, tmp_path / "t", progress=False)
    training = Training(dataset, CONFIG, tmp_path / "t", open_head())
    tuning = Tuning(training, blends, HOW, tmp_path / "whole")
    before = {name: p.detach().clone() for name, p in tuning.model.named_parameters()}
    tuning.run(progress=False)
    seen = [n for n in before if ".between.hat." in n and not {"fade", "absence", "hidden"} & {*n.split(".")}]
    still = [n for n in seen if torch.equal(before[n], tuning.model.get_parameter(n))]
    assert seen
    assert not still
    for name in ("_field.between.beard.absence", "_field.between.beard.fade"):
        assert not torch.equal(before[name], tuning.model.get_parameter(name)), name
    for name in (n for n in before if ".between." not in n):
        assert torch.equal(before[name], tuning.model.get_parameter(name)), (
            f"{name}: learned looks may not change"
        )

    class Kill(Exception):
        pass

    def kill(done: int) -> None:
        if done == 5:
            raise Kill

    arguments = (dataset, CONFIG, tmp_path / "t", blends, HOW, tmp_path / "parts")
    with pytest.raises(Kill):
        tune(*arguments, progress=False, on_step=kill)
    avatar = tune(*arguments, progress=False)
    for (name, a), (_, b) in zip(tuning.model.state_dict().items(), avatar.model.state_dict().items()):
        assert torch.equal(a, b), name
    other = InterpolationConfig(pairs_a_subject=1, frames=2, steps=17, directions=2)
    with pytest.raises(PerseError, match="another"):
        tune(*arguments[:4], other, tmp_path / "parts", progress=False)
