"""Points that come and go: everything learned follows them, and the picture stays what it was."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perse.avatar import Canonical
from perse.avatar.start import HIDDEN_LOGIT
from perse.errors import PerseError
from perse.head import open_head, quaternion_to_matrix
from perse.splat import Gaussians, rasterize
from perse.training import DensityConfig, TrainConfig, Training, train
from perse.training.density import Survey, follow_in_adam, halves
from synthetic import camera, shared_dataset, small_model, tiny_config

GUIDED = DensityConfig(start_points=1000, every=0.25, prune_opacity=0.1)
PAPER = DensityConfig(start_points=600, every=0.2, guided=False, prune_opacity=0.3, shrink=0.75)


def per_point(canonical: Canonical, name: str) -> torch.Tensor:
    """Everything that is known of the points of one set, side by side."""
    part, first = canonical.layers[name], 0
    for binding in canonical.bindings:  # one run a set
        if first == part.start:
            E, P, W = binding
            break
        first += len(binding.W)
    columns = [canonical.means, canonical.quats, canonical.log_scales, canonical.opacity, canonical.colors]
    rest = [canonical.labels.float(), canonical.presence]
    assert canonical.pose_code is not None
    columns += [canonical.pose_code, *rest]
    return torch.cat([c[part].reshape(len(W), -1) for c in columns] + [t.flatten(1) for t in (E, P, W)], 1)


@pytest.mark.parametrize("kind", ["basis", "mlp"])
def test_rearranged_points_keep_all_they_learned(kind: str) -> None:
    """Drop some, double others, shuffle: each point must still be what its source was, for every look.

    Were one tensor forgotten (directions, how hair yields to a hat, where a nose acts), colours of one point would
    appear at another.
    """
    model = copy.deepcopy(small_model(kind)[0])
    with torch.no_grad():  # away from the start, where many values are alike
        for p in model.parameters():
            p += 0.01 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    looks = [model.latent.codes(entries) for entries in ((), (0,), (3, 0), (2,), (5,), (6,))]
    before = [model.canonical(codes) for codes in looks]
    sources = {}
    for name, ancestors in list(model.field.ancestors.items()):
        count = len(ancestors)
        generator = torch.Generator().manual_seed(count)
        sources[name] = torch.randint(0, count, (count + 7,), generator=generator)
        model.field.rearrange(name, sources[name], torch.zeros(count + 7, dtype=torch.bool))
        assert torch.equal(model.field.ancestors[name], sources[name])
    for codes, old in zip(looks, before):
        new = model.canonical(codes)
        assert list(new.layers) == list(old.layers)
        targets = model.field.flame_targets(new)
        for name in new.layers:
            assert torch.allclose(per_point(new, name), per_point(old, name)[sources[name]], atol=1e-6), name
        assert [len(t.W) for t in targets] == [len(b.W) for b in new.bindings]
    total = sum(len(source) for source in sources.values())
    layout = model.field.layout
    assert layout.base + sum(layout.layers.values()) == total


def test_targets_of_eq_31_follow_their_points() -> None:
    model = copy.deepcopy(small_model("basis")[0])
    codes = model.latent.codes()
    old = model.field.flame_targets(model.canonical(codes))[0]
    source = torch.arange(len(old.W)).flip(0)[:50]
    model.field.rearrange("base", source, torch.zeros(50, dtype=torch.bool))
    new = model.field.flame_targets(model.canonical(codes))[0]
    assert all(torch.equal(a, b[source]) for a, b in zip(new, old))


def test_adams_moments_follow_and_a_newborn_has_no_direction() -> None:
    model = copy.deepcopy(small_model("basis")[0]).requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters())
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    optimizer.step()
    layer = model._field.layers["hair"]
    old = {name: dict(optimizer.state[p]) for name, p in layer.named_parameters()}
    source = torch.tensor([5, 3, 3])
    follow_in_adam(optimizer, model.field.rearrange("hair", source, torch.tensor([False, False, True])))
    assert len(optimizer.state) == len(list(model.parameters()))
    for name, p in layer.named_parameters():
        new, dim = optimizer.state[p], int(name == "directions")
        assert torch.equal(new["exp_avg_sq"], old[name]["exp_avg_sq"].index_select(dim, source))
        expected = old[name]["exp_avg"].index_select(dim, source)
        expected.movedim(dim, 0)[2] = 0
        assert torch.equal(new["exp_avg"], expected)
        assert any(p is q for group in optimizer.param_groups for q in group["params"])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 0.85))
def test_halves_lie_within_the_whole(seed: int, shrink: float) -> None:
    """Two halves must not reach farther than the whole in any direction, and cover it across the split."""
    generator = torch.Generator().manual_seed(seed)
    quats = torch.nn.functional.normalize(torch.randn(1, 4, generator=generator), dim=1)
    log_scales = torch.randn(1, 3, generator=generator)
    offset, change = halves(quats, log_scales, shrink)
    rotation = quaternion_to_matrix(quats)[0]

    def covariance(log_scale: torch.Tensor) -> torch.Tensor:
        return rotation @ torch.diag((2 * log_scale).exp()) @ rotation.T

    both = covariance(log_scales[0] + change[0]) + torch.outer(offset[0], offset[0])
    missing = torch.linalg.eigvalsh(covariance(log_scales[0]) - both)
    size = float((2 * log_scales).exp().max())
    assert float(missing.min()) > -1e-5 * size
    assert int((missing > 1e-4 * size).sum()) == 1


def test_unseen_points_are_dropped_and_others_are_born_where_the_error_is(tmp_path: Path) -> None:
    """A layer that no subject shows shrinks to its least; if all error lies in the hair, all new points do."""
    density = dataclasses.replace(GUIDED, start_points=1450)
    training = Training(shared_dataset(), tiny_config(density=density), tmp_path / "t", open_head())
    layers = training.model._field.layers
    with torch.no_grad():
        layers["beard"].opacity.fill_(HIDDEN_LOGIT)
        layers["beard"].directions.zero_()
    before = {name: len(a) for name, a in training.model.field.ancestors.items()}
    seen = {name: torch.zeros(count, 2) for name, count in before.items()}
    seen["hair"][:, 0] = 1.0
    training.density.load(seen)
    after = training._change_points()
    assert after["beard"] == 16
    assert after["hair"] > before["hair"] + 100
    assert all(after[name] <= before[name] for name in before if name != "hair")


def test_a_survey_tells_what_each_point_covers_and_the_error_there() -> None:
    """All points together must cover what alpha says; the error of a pixel goes to those that it shows."""
    generator = torch.Generator().manual_seed(0)
    means = 0.1 * torch.randn(40, 3, generator=generator)
    quats = torch.tensor([1.0, 0, 0, 0]).expand(40, 4)
    gaussians = Gaussians(means, quats, torch.full((40, 3), 0.02), torch.full((40,), 0.7), torch.rand(40, 3))
    probe = torch.zeros(40, 2, requires_grad=True)
    image, alpha = rasterize(gaussians, camera(64), torch.ones(3), probe)
    error = torch.rand(64, 64, generator=generator)
    survey = Survey.of({"base": slice(0, 40)}, probe, image[None, ..., 3:], error[None])
    assert float(survey.tap.detach()) == 0
    survey.tap.backward()
    found, alpha = probe.grad.double().sum(0), alpha.detach()
    assert float(found[1]) == pytest.approx(float(alpha.double().sum()), rel=1e-4)
    assert float(found[0]) == pytest.approx(float((alpha * error).double().sum()), rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "density"), [("basis", GUIDED), ("basis", PAPER), ("mlp", PAPER)], ids=["guided", "paper", "mlp"]
)
def test_resumed_equals_uninterrupted_through_changes_of_the_points(
    tmp_path: Path, kind: str, density: DensityConfig
) -> None:
    """Killed before and after points changed: sizes, moments and what was seen so far must come back bit for bit."""
    dataset = shared_dataset()
    config = tiny_config(kind, steps=13, checkpoint_seconds=0.0, density=density)
    whole = train(dataset, config, tmp_path / "whole", progress=False)
    for stop in (2, 7):
        part = Training(dataset, config, tmp_path / "parts", open_head())
        while part.step < stop:
            part.one_step()
        part.save()
    parts = train(dataset, config, tmp_path / "parts", progress=False)
    a, b = whole.model.state_dict(), parts.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    counts = [sum(line["points"].values()) for line in lines if "points" in line]
    assert len(counts) >= 3
    assert counts[0] > (density.start_points or 0)
    loaded = type(whole).load(whole.save(tmp_path / "avatar"))
    assert loaded.model.field.layout == whole.model.field.layout


def test_splitting_changes_the_picture_little(tmp_path: Path) -> None:
    """A change that spoils what was learned costs more steps than its points repay."""
    dataset = shared_dataset()
    density = dataclasses.replace(GUIDED, prune_opacity=0.0)
    training = Training(dataset, tiny_config(density=density, warmup=0.0), tmp_path / "t", open_head())
    for _ in range(5):
        training.one_step()
    t = dataset.heldout_indices[:1]

    def pictures() -> torch.Tensor:
        avatar = training.avatar()
        looks = [avatar.look_of(s.id) for s in dataset.subjects]
        return torch.cat([avatar.render(k, dataset.motion.expr[t], dataset.motion.pose[t]) for k in looks])

    before = pictures()
    points = training._change_points()
    assert sum(points.values()) > 1300
    wanted = torch.cat([dataset.load_frames(s, t.tolist())[0] for s in dataset.subjects]).float() / 255
    assert float((pictures() - before).abs().mean()) < 0.35 * float((before - wanted).abs().mean())


def test_bad_settings_are_named() -> None:
    with pytest.raises(PerseError, match="growth"):
        DensityConfig(growth=0.5)
    with pytest.raises(PerseError, match="at least 100 points"):
        TrainConfig(density=DensityConfig(start_points=50))
