"""Whole trainings at tiny size: everything learns, nothing is skipped, and stopping changes nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from perse.avatar import Avatar
from perse.dataset import Dataset
from perse.errors import PerseError
from perse.head import open_head
from perse.training import LossWeights, StepSizes, TrainConfig, Training, train
from perse.training.combinations import Combiner
from perse.training.frames import FrameStore
from perse.training.reconstruct import make_sampler, schedule
from perse.training.sampling import Sampler, subject_detail, subject_weights
from perse.training.subjects import Cast
from synthetic import SUBJECTS, make_dataset, motion, shared_dataset, tiny_config


def heldout_error(avatar: Avatar, dataset: Dataset) -> float:
    """Mean absolute error over all subjects and held-out frames."""
    t = dataset.heldout_indices
    errors = []
    for subject in dataset.subjects:
        drawn = avatar.render(avatar.look_of(subject.id), dataset.motion.expr[t], dataset.motion.pose[t])
        wanted = dataset.load_frames(subject, t.tolist())[0].float() / 255
        errors.append(float((drawn - wanted).abs().mean()))
    return float(np.mean(errors))


@pytest.mark.parametrize(
    ("kind", "start"),
    [("basis", "studio"), ("basis", "images"), ("basis", "head"), ("mlp", "studio"), ("mlp", "head")],
)
def test_every_field_learns_from_every_start(tmp_path: Path, kind: str, start: str) -> None:
    """Held-out frames must get clearly better within a few steps: a field whose gradient is cut somewhere would not."""
    dataset = shared_dataset(start != "images")
    training = Training(dataset, tiny_config(kind, start, steps=24), tmp_path / "t", open_head())
    before = heldout_error(training.avatar(), dataset)
    training.run(progress=False)
    after = heldout_error(training.avatar(), dataset)
    assert training.start.name == start
    assert after < 0.85 * before, (before, after)


@pytest.mark.parametrize("kind", ["basis", "mlp"])
def test_every_learnable_tensor_moves(tmp_path: Path, kind: str) -> None:
    """The paper's release leaves parts of its model untouched for ever; here each tensor must move."""
    dataset = shared_dataset()
    config = tiny_config(kind, steps=60, warmup=0.1, flame_every=2)
    training = Training(dataset, config, tmp_path / "t", open_head())
    before = {name: p.detach().clone() for name, p in training.model.named_parameters()}
    training.run(progress=False)
    still = [name for name, p in training.model.named_parameters() if torch.equal(p, before[name])]
    assert not still


def test_no_look_learns_to_leave_the_skeleton(tmp_path: Path) -> None:
    """Directions move colours boldly. Were skinning weights to learn as boldly, points would fly out of the picture."""
    dataset = shared_dataset()
    config = tiny_config(steps=60, warmup=0.1, flame_every=2, step_sizes=StepSizes(direction=0.05))
    training = Training(dataset, config, tmp_path / "t", open_head())
    training.run(progress=False)
    for subject in training.cast.subjects:
        codes = training.model.latent.codes(subject.entries)
        weights = torch.cat([b.W for b in training.model.canonical(codes).bindings])
        assert float(weights.detach().min()) > -0.05, subject.id
        assert float(weights.detach().max()) < 1.05, subject.id


def test_every_loss_term_is_reached_and_has_a_gradient(tmp_path: Path) -> None:
    """A term that is configured but never computed, always zero, or cut off from the weights is a lie."""
    dataset = shared_dataset()
    config = tiny_config(warmup=0.0, combinations=0.5, random_background=0.3, flame_every=1)
    training = Training(dataset, config, tmp_path / "t", open_head())
    for _ in range(3):  # away from the start, where E, P, W are exactly the head's
        training.one_step()
    seen: dict[str, float] = {}
    for step in range(3, 24):
        terms = training.objective.terms(training.model, step)
        for name, value in terms.values.items():
            if name in seen:
                continue
            training.optimizer.zero_grad(set_to_none=True)
            value.backward(retain_graph=True)
            gradients = [p.grad for p in training.model.parameters() if p.grad is not None]
            largest = max((float(g.abs().max()) for g in gradients), default=0.0)
            assert float(value.detach()) > 0, name
            assert largest > 0, name
            seen[name] = largest
    assert set(seen) == {"l1", "ssim", "alpha", "perceptual", "label", "z", "flame", "combination"}
    named = {f.name for f in dataclasses.fields(LossWeights)} - {"flame_e", "flame_p", "flame_w"}
    assert set(seen) == named


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """Interrupted twice, between checkpoints: the end must be the same numbers, bit for bit."""
    dataset = shared_dataset()
    config = tiny_config(steps=16, checkpoint_seconds=0.0)
    whole = train(dataset, config, tmp_path / "whole", progress=False)

    class Kill(Exception):
        pass

    def kill_at(step: int):
        def check(done: int) -> None:
            if done == step:
                raise Kill

        return check

    for step in (5, 11):
        with pytest.raises(Kill):
            train(dataset, config, tmp_path / "parts", progress=False, on_step=kill_at(step))
    parts = train(dataset, config, tmp_path / "parts", progress=False)
    for (name, a), (_, b) in zip(whole.model.state_dict().items(), parts.model.state_dict().items()):
        assert torch.equal(a, b), name
    again = train(dataset, config, tmp_path / "parts", progress=False)  # nothing left to do
    assert torch.equal(
        again.model.state_dict()["_field.base.color"], whole.model.state_dict()["_field.base.color"]
    )
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)), "the log repeats steps"


def test_a_lost_last_checkpoint_costs_only_time(tmp_path: Path) -> None:
    """Killed before the next checkpoint: the steps since the last one are done again, with the same result."""
    dataset = shared_dataset()
    config = tiny_config(steps=8, checkpoint_seconds=1e9)
    first = Training(dataset, config, tmp_path / "a", open_head())
    for _ in range(3):
        first.one_step()
    first.save()
    for _ in range(2):
        first.one_step()  # lost
    second = train(dataset, config, tmp_path / "a", progress=False)
    whole = train(dataset, config, tmp_path / "b", progress=False)
    for (name, a), (_, b) in zip(whole.model.state_dict().items(), second.model.state_dict().items()):
        assert torch.equal(a, b), name


def test_same_seed_same_avatar_other_seed_other(tmp_path: Path) -> None:
    dataset = shared_dataset()
    a, b = (train(dataset, tiny_config(steps=3), tmp_path / name, progress=False) for name in "ab")
    c = train(dataset, tiny_config(steps=3, seed=1), tmp_path / "c", progress=False)
    key = "_field.layers.hair.color"
    assert torch.equal(a.model.state_dict()[key], b.model.state_dict()[key])
    assert a.model.state_dict()[key].shape != c.model.state_dict()[key].shape or not torch.equal(
        a.model.state_dict()[key], c.model.state_dict()[key]
    )


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    dataset = shared_dataset()
    train(dataset, tiny_config(steps=2), tmp_path / "t", progress=False)
    with pytest.raises(PerseError, match=r"another training|other settings"):
        train(dataset, tiny_config(steps=2, seed=5), tmp_path / "t", progress=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(PerseError, match="holds something else"):
        train(dataset, tiny_config(), tmp_path / "mine", progress=False)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    dataset = shared_dataset()
    train(dataset, tiny_config(steps=2), tmp_path / "t", progress=False)
    path = tmp_path / "t" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(PerseError, match="damaged"):
        train(dataset, tiny_config(steps=2), tmp_path / "t", progress=False)


def test_checkpoints_hold_no_pickle_and_whole_state(tmp_path: Path) -> None:
    train(shared_dataset(), tiny_config(steps=2), tmp_path / "t", progress=False)
    tensors = load_file(tmp_path / "t" / "checkpoint.safetensors")
    kinds = {name.split(".")[0] + "." + name.split(".")[1] for name in tensors if name.startswith("adam")}
    assert kinds == {"adam.exp_avg", "adam.exp_avg_sq", "adam.step"}
    assert sorted(p.name for p in (tmp_path / "t").iterdir()) == [
        "checkpoint.safetensors",
        "log.jsonl",
        "start.safetensors",
    ]


def test_studio_start_without_points_says_so(tmp_path: Path) -> None:
    with pytest.raises(PerseError, match=r"no points\.safetensors"):
        Training(shared_dataset(False), tiny_config(start="studio"), tmp_path / "t", open_head())
    auto = Training(shared_dataset(False), tiny_config(start="auto"), tmp_path / "t", open_head())
    assert auto.start.name == "images"


def test_studio_start_is_close_before_the_first_step(tmp_path: Path) -> None:
    """Each subject must be recognisable at step 0: red hair red, bald bald, hats on."""
    dataset = shared_dataset()
    training = Training(dataset, tiny_config(points=4000), tmp_path / "t", open_head())
    avatar = training.avatar()
    t = dataset.heldout_indices[:1]
    for subject in dataset.subjects:
        drawn = avatar.render(avatar.look_of(subject.id), dataset.motion.expr[t], dataset.motion.pose[t])
        wanted = dataset.load_frames(subject, t.tolist())[0].float() / 255
        errors = []
        for other in dataset.subjects:
            rgb = dataset.load_frames(other, t.tolist())[0].float() / 255
            errors.append(float((drawn - rgb).abs().mean()))
        own = float((drawn - wanted).abs().mean())
        assert own < 0.12, subject.id
        # A nose alone is too small to stand out from thinning; everything else must be nearest to itself.
        if subject.id not in ("000-reference", "006-nose"):
            assert own == min(errors), subject.id


# ---- sampling -----------------------------------------------------------------------------------------------


def test_sampling_is_balanced_and_a_function_of_the_step() -> None:
    """Categories alike whatever their size, the reference its own share, and the same draw whenever asked."""
    dataset = shared_dataset()
    subjects = Cast.of(dataset).subjects
    weights = subject_weights(subjects, 0.1)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] == pytest.approx(0.1)
    by_id = {s.id: w for s, w in zip(subjects, weights)}
    assert by_id["004-hat"] + by_id["005-hat"] == pytest.approx(by_id["003-beard"])
    sampler = Sampler(weights, np.arange(8), 2, seed=3)
    drawn = [sampler.draw(step) for step in range(400)]
    counts = np.bincount([s for s, _ in drawn], minlength=len(subjects)) / 400
    assert np.abs(counts - weights).max() < 0.01
    assert all(len(set(frames)) == 2 for _, frames in drawn)
    assert sampler.draw(17)[0] == drawn[17][0]
    assert np.array_equal(sampler.draw(17)[1], drawn[17][1])
    assert len({tuple(f) for _, f in drawn}) > 30


def test_what_is_full_of_detail_is_shown_more_often() -> None:
    """Subjects that look busier than the reference get more steps, none fewer than half of its even share, and the
    reference its own."""
    dataset = shared_dataset()
    subjects = Cast.of(dataset).subjects
    detail = subject_detail(dataset, [0, 1])
    assert detail[0] == 0
    even, weights = subject_weights(subjects, 0.1), subject_weights(subjects, 0.1, detail, 0.5)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] == pytest.approx(0.1)
    assert (weights >= 0.5 * even - 1e-9).all()
    gained = (weights - 0.5 * even)[1:]
    assert np.allclose(gained / gained.sum(), detail[1:] / detail.sum())
    assert np.allclose(subject_weights(subjects, 0.1, np.zeros(len(subjects)), 0.5), even)


def test_heldout_frames_are_never_trained_on() -> None:
    dataset = shared_dataset()
    sampler = make_sampler(tiny_config(), dataset, Cast.of(dataset))
    seen = {int(t) for step in range(300) for t in sampler.draw(step)[1]}
    assert seen == set(dataset.train_indices.tolist())


def test_schedule_ramps_up_and_falls() -> None:
    config = tiny_config(steps=100)
    values = [schedule(step, config) for step in range(100)]
    assert values[0] < 0.1
    assert max(values) > 0.8
    assert values[-1] == pytest.approx(config.final_step_size, abs=0.01)
    assert max(values[30:]) == values[30]


# ---- combinations -------------------------------------------------------------------------------------------


def test_pasted_combinations_take_each_part_from_its_subject() -> None:
    """A pixel only the hat changes comes from the hat's subject; two that fight over a pixel are masked out."""
    dataset = shared_dataset()
    cast = Cast.of(dataset)
    store = FrameStore(dataset, "cpu", 100)
    combiner = Combiner(cast.subjects, store)
    names = [s.id for s in cast.subjects]
    beard, hat, hair = names.index("003-beard"), names.index("004-hat"), names.index("001-hair")
    combined = combiner.paste([beard, hat], 2)
    _, _, beard_labels = store.raw(beard, 2)
    _, _, hat_labels = store.raw(hat, 2)
    trusted = combined.mask > 0
    on_beard = (beard_labels == 5) & trusted
    on_hat = (hat_labels == 6) & trusted
    assert int(on_beard.sum()) > 20
    assert int(on_hat.sum()) > 20
    assert torch.equal(combined.rgb[on_beard], store.raw(beard, 2)[0][on_beard].float() / 255)
    assert torch.equal(combined.rgb[on_hat], store.raw(hat, 2)[0][on_hat].float() / 255)
    assert float(combined.mask.mean()) > 0.95, "parts far apart hardly fight"
    fighting = combiner.paste([hair, hat], 2)
    over = (hat_labels == 6) & (fighting.mask > 0)
    assert torch.equal(fighting.rgb[over], store.raw(hat, 2)[0][over].float() / 255), "a hat lies over hair"


# ---- settings -----------------------------------------------------------------------------------------------


def test_presets_and_bad_settings() -> None:
    for name in ("tiny", "demo", "full", "paper"):
        assert TrainConfig.preset(name, seed=3).seed == 3
    assert TrainConfig.preset("paper").model.field.kind == "mlp"
    with pytest.raises(PerseError, match="no preset"):
        TrainConfig.preset("huge")
    with pytest.raises(PerseError, match="warmup"):
        TrainConfig(warmup=2.0)


def test_combined_subjects_and_frames_per_step(tmp_path: Path) -> None:
    """A subject with two attributes wears both codes; several frames and subjects a step accumulate."""
    subjects = dict(list(SUBJECTS.items())[:2])
    subjects["003-beard"], subjects["004-hat"] = SUBJECTS["003-beard"], SUBJECTS["004-hat"]
    subjects["009-both"] = (*SUBJECTS["003-beard"], *SUBJECTS["004-hat"])
    dataset = make_dataset(tmp_path / "d", size=64, train=4, heldout=1, subjects=subjects)
    cast = Cast.of(dataset)
    both = cast.subjects[-1]
    assert set(both.entries) == {*cast.subjects[2].entries, *cast.subjects[3].entries}
    config = tiny_config(steps=4, frames_per_step=3, subjects_per_step=2)
    avatar = train(dataset, config, tmp_path / "t", progress=False)
    assert {"hat", "beard"} <= set(avatar.canonical(avatar.look_of("009-both")).layers)


def test_motion_of_the_synthetic_data_is_split() -> None:
    assert int(motion().train.sum()) == 8
