"""The model's maths: skinning in runs, closed-form starts, locality, mixing, MLP_pose's bounds."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perse.avatar import Codes, LatentConfig, LatentSpace
from perse.avatar.fields._closed_form import spread_codes
from perse.avatar.networks import SplitMLP, positional_encoding
from perse.avatar.posing import PoseMLP
from perse.avatar.start import VISIBLE_LOGIT
from synthetic import small_model


def codes(seed: int, presence: list[float]) -> Codes:
    generator = torch.Generator().manual_seed(seed)
    return Codes(torch.randn(len(presence), 4, generator=generator), torch.tensor(presence))


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=3), st.booleans())
def test_mix_endpoints_are_the_looks_themselves(presence: list[float], by_presence: bool) -> None:
    """A slider at its ends must show exactly what was learned, whatever is absent on either side."""
    a, b = codes(0, [1.0, 0.0, 1.0]), codes(1, presence)
    for weight, end in ((0.0, a), (1.0, b)):
        mixed = a.mix(b, weight, by_presence=by_presence)
        assert torch.equal(mixed.z, end.z)
        assert torch.equal(mixed.presence, end.presence)


@given(st.floats(0, 1))
def test_mix_is_linear_where_both_have_the_part(weight: float) -> None:
    """Between two hairs the code must move on the straight line of Eq. 13."""
    a, b = codes(0, [1.0] * 3), codes(1, [1.0] * 3)
    mixed = a.mix(b, weight)
    assert torch.allclose(mixed.z, a.z * (1 - weight) + b.z * weight, atol=1e-6)


def test_a_part_only_one_side_has_fades_without_changing_shape() -> None:
    """Half a hat is a faint hat, not a hat half-way to z_zero (which would be another hat)."""
    none, hat = codes(0, [0.0]), codes(1, [1.0])
    mixed = none.mix(hat, 0.25)
    assert torch.equal(mixed.z, hat.z)
    assert float(mixed.presence) == pytest.approx(0.25)


def test_mixing_one_category_leaves_the_others() -> None:
    a, b = codes(0, [1.0] * 3), codes(1, [1.0] * 3)
    mixed = a.mix(b, 0.7, only=1)
    assert torch.equal(mixed.z[[0, 2]], a.z[[0, 2]])
    assert not torch.equal(mixed.z[1], a.z[1])


def test_latent_codes_replace_one_category_only() -> None:
    """Eq. 4: putting on a hat must not touch the code of the hair."""
    space = LatentSpace(LatentConfig(dim=6), entries=2, image_features=5, text_features=3)
    hat, hair = space.categories.index("hat"), space.categories.index("hair")
    features = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    reference = [0.0 if c in ("hat", "beard", "earrings", "headphones") else 1.0 for c in space.categories]
    space.initialize(features, [hat, hair], [1.0, 1.0], reference, torch.Generator().manual_seed(1))
    plain, worn = space.codes(), space.codes([0])
    others = [i for i in range(len(space.categories)) if i != hat]
    assert torch.equal(plain.z[others], worn.z[others])
    assert torch.equal(plain.z[hat], space.z_zero)
    assert plain.presence[hat] == 0
    assert worn.presence[hat] == 1
    off = space.codes([0], absent=("beard",))
    assert torch.equal(off.z[space.categories.index("beard")], space.z_zero)
    # L_z needs something to pull on: a LayerNorm without gain would make every code equally long for ever.
    space.codes([0, 1]).z.square().mean().backward()
    assert space.norm.weight.grad is not None
    assert float(space.norm.weight.grad.abs().max()) > 0


@given(st.integers(2, 40), st.integers(1, 31), st.integers(0, 9))
def test_codes_lie_as_far_apart_as_what_they_stand_for(count: int, rank: int, seed: int) -> None:
    """Thirty looks whose codes are nearly alike need a map that turns one step of MLP_z into metres."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(count, count + 3, generator=generator)
    vectors = torch.linalg.svd(raw - raw.mean(0), full_matrices=False)[0]
    coefficients = vectors[:, : min(rank, count - 1)] * count**0.5
    codes = spread_codes(coefficients, 32)
    assert float(codes.mean(1).abs().max()) < 1e-5
    assert float((codes.square().mean(1) - 1).abs().max()) < 1e-4
    held = coefficients[:, :30]
    weight = torch.linalg.pinv(codes, rtol=1e-4) @ held
    assert float((codes @ weight - held).abs().max()) < 1e-3
    assert float(torch.linalg.matrix_norm(weight, 2)) < count**0.5


def test_the_network_gives_the_codes_it_was_placed_at() -> None:
    """More looks than a code has numbers, of two categories."""
    space = LatentSpace(LatentConfig(), entries=60, image_features=50, text_features=20)
    generator = torch.Generator().manual_seed(0)
    categories = [space.categories.index("hat" if i % 2 else "hair") for i in range(60)]
    space.initialize(torch.randn(60, 70, generator=generator), categories, [1.0] * 60, [1.0] * 9, generator)
    wanted = spread_codes(torch.randn(60, 8, generator=generator), 32)
    space.place(torch.arange(60), wanted)
    space.place_reference("hat", wanted[0])
    with torch.no_grad():
        assert float((space.entry_codes(torch.arange(60)) - wanted).abs().max()) < 1e-2
        assert float((space.codes().z[space.categories.index("hat")] - wanted[0]).abs().max()) < 1e-4


def test_split_mlp_equals_concatenation() -> None:
    """The latent share computed once must give the same numbers as one matrix over [x, z]."""
    net = SplitMLP(inputs=9, latent=5, width=16, depth=3, outputs=4, skip=2)
    net.initialize(torch.Generator().manual_seed(0), 0.1)
    x, z = torch.randn(7, 9), torch.randn(5)
    joined = torch.nn.Linear(14, 16)
    joined.weight.data = torch.cat([net.first.weight, net.latent.weight], 1)
    joined.bias.data = net.first.bias.data
    h = torch.relu(joined(torch.cat([x, z.expand(7, 5)], 1)))
    h = torch.relu(net.hidden[0](h))
    h = torch.relu(net.hidden[1](torch.cat([h, x], 1)))
    assert torch.allclose(net(x, z), net.last(h), atol=1e-5)


def test_positional_encoding_has_octaves() -> None:
    x = torch.tensor([[0.25]])
    out = positional_encoding(x, 2)
    expected = [
        0.25,
        *torch.sin(torch.pi * torch.tensor([0.25, 0.5])),
        *torch.cos(torch.pi * torch.tensor([0.25, 0.5])),
    ]
    assert torch.allclose(out[0], torch.tensor(expected), atol=1e-6)


def test_pose_mlp_is_bounded() -> None:
    """However far a point is flung, opacity and colour may only move a little (else points pop in unseen poses)."""
    net = PoseMLP(latent=0, width=8, depth=2, pose_code=3)
    net.net.initialize(torch.Generator().manual_seed(0), 50.0)
    flung, code = 1e3 * torch.randn(2, 20, 3), torch.randn(20, 3)
    quats, scales, opacity, colors = net(flung, flung, code, None)
    for value, bound in ((quats, 0.1), (scales, 0.3), (opacity, 0.5), (colors, 1.0)):
        assert float(value.detach().abs().max()) <= bound + 1e-6
    still = torch.zeros(1, 20, 3)
    assert all(float(v.detach().abs().max()) == 0 for v in net(still, still, code, None)), (
        "a still point changes"
    )


def test_closed_form_start_shows_every_known_subject() -> None:
    """Step 0 of a basis field must give each subject the very values the start knows of it."""
    model, start = small_model("basis")
    field, latent = model.field, model.latent
    assert set(start.layers) >= {"hair", "hat"}
    for name, layer in start.layers.items():
        for row, subject in enumerate(layer.known.subjects):
            canonical = field.evaluate(latent.codes([] if subject is None else [subject]))
            if name not in canonical.layers:
                continue
            part = canonical.layers[name]
            known = layer.known.values[row]
            assert float((canonical.opacity[part] - known[:, 0]).abs().max()) < 0.05, (name, subject)
            for value, block in (
                ("log_scales", slice(1, 4)),
                ("quats", slice(4, 8)),
                ("means", slice(11, 14)),
            ):
                expected = getattr(layer.points, value) + known[:, block]
                worst = (getattr(canonical, value)[part] - expected).abs().max()
                assert float(worst) < 0.02, (name, subject, value)
            shown = known[:, 0] > 0
            differences = (canonical.colors[part] - known[:, 8:11])[shown].abs()
            assert float(differences.quantile(1.0) if len(differences) else 0.0) < 0.05
    for name, action in start.actions.items():
        for row, subject in enumerate(action.known.subjects):
            canonical = field.evaluate(latent.codes([] if subject is None else [subject]))
            moved = canonical.means[: len(start.base)] - start.base.means
            expected = action.known.values[row][:, 11:14]
            assert float((moved[action.index] - expected).abs().max()) < 2e-4, (name, subject)


def test_one_categorys_code_leaves_other_layers_untouched() -> None:
    """Locality by construction: another hat may not move a single number of the beard, the clothes or the face
    out of the hat's reach. (Hair may yield to it: that is the one exception, opacity and place.)"""
    model, start = small_model("basis")
    latent = model.latent
    hats = [
        i
        for i in range(len(latent.entry_category))
        if latent.categories[int(latent.entry_category[i])] == "hat"
    ]
    first, second = (model.canonical(latent.codes([h])) for h in hats[:2])
    assert set(first.layers) == set(second.layers)
    for name, part in first.layers.items():
        for value in ("means", "log_scales", "quats", "colors", "opacity"):
            same = torch.equal(getattr(first, value)[part], getattr(second, value)[part])
            if name == "hat":
                continue
            if name == "hair" and value in ("opacity", "means"):
                continue
            if name == "base" and "hat" in start.actions:
                outside = torch.ones(len(start.base), dtype=torch.bool)
                outside[start.actions["hat"].index] = False
                same = torch.equal(
                    getattr(first, value)[part][outside], getattr(second, value)[part][outside]
                )
            assert same, (name, value)
    assert not torch.equal(first.colors[first.layers["hat"]], second.colors[second.layers["hat"]])


def test_absent_layers_are_not_drawn() -> None:
    """A bare-headed look must not even carry the hat's points: that is what makes it fast and leak-free."""
    model, _ = small_model("basis")
    assert "hat" not in model.canonical(model.latent.codes()).layers


def test_a_bald_heads_hair_lies_under_the_skin() -> None:
    """Blends from a bald head grow hair: its points must be there, tiny, and short of everyone else's."""
    model, start = small_model("basis")
    known = start.layers["hair"].known
    sizes = known.values[..., 1:4].mean((1, 2))
    sizes[known.subjects.index(None)] = sizes.mean()  # the person's own strands are as small as a bald head's
    bald, other = int(sizes.argmin()), int(sizes.argmax())
    codes = model.latent.codes([known.subjects[bald]])
    canonical = model.canonical(codes)
    part = canonical.layers["hair"]
    own = known.values[known.subjects.index(None), :, 0] > 0
    assert float(canonical.log_scales[part][~own].exp().max()) < 4e-4
    assert float(canonical.opacity[part][own].max()) < -4, "the person's own hair is hidden where it is"
    moved = known.values[other, ~own, 11:14] - known.values[bald, ~own, 11:14]
    assert float(moved.norm(dim=1).median()) > 0.005


def test_yielding_hides_hair_under_a_hat() -> None:
    """The start must press down the hair that the hat's subject does not show."""
    model, start = small_model("basis")
    known = start.yields["hair", "hat"].known
    assert float(known.values.min()) < -VISIBLE_LOGIT
    plain = model.canonical(model.latent.codes())
    worn = model.canonical(model.latent.codes([known.subjects[0]]))
    drop = worn.opacity[worn.layers["hair"]] - plain.opacity[plain.layers["hair"]]
    assert float(drop.min()) < -VISIBLE_LOGIT


def test_baking_keeps_the_picture(tmp_path) -> None:
    """Playback without the invisible points must look the same (to what 8 bits can show)."""
    from synthetic import small_avatar

    avatar = small_avatar()
    look = avatar.look(hat="blue knitted beanie")
    expr, pose = torch.zeros(1, 50), torch.zeros(1, 15)
    pose[0, 4] = 0.2
    camera = avatar.camera.resized(48, 48)
    baked = avatar.bake(look)
    assert len(baked) < len(avatar.canonical(look))
    difference = (baked.render(expr, pose, camera) - avatar.render(look, expr, pose, camera)).abs().max()
    assert float(difference) < 3 / 255


def test_look_is_frozen() -> None:
    from synthetic import small_avatar

    with pytest.raises(dataclasses.FrozenInstanceError):
        small_avatar().reference.name = "other"  # type: ignore[misc]
