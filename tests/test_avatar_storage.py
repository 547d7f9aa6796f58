"""Avatars by prompt and on disk: the same pictures after loading, clear refusals of everything foreign."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from perse.avatar import Avatar
from perse.errors import PerseError
from synthetic import small_avatar

EXPR, POSE = torch.zeros(2, 50), torch.zeros(2, 15)
POSE[1, 4] = 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_avatar().save(tmp_path_factory.mktemp("avatars") / "avatar")


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(folder, tmp_path / "avatar"))


def test_loading_gives_the_same_pictures_bit_for_bit(folder: Path) -> None:
    """Anything lost on disk (a buffer, a rounding, the order of subjects) would show here."""
    before, after = small_avatar(), Avatar.load(folder)
    for attributes in ({}, {"hair": "long curly red"}, {"hat": "black fedora", "beard": "full brown"}):
        a, b = (x.render_layers(x.look(**attributes), EXPR, POSE, labels=True) for x in (before, after))
        assert torch.equal(a.rgb, b.rgb)
        assert torch.equal(a.alpha, b.alpha)
        assert torch.equal(a.labels, b.labels)
    assert before.learned("hair") == after.learned("hair")
    assert [s.id for s in before.subjects] == [s.id for s in after.subjects]


def test_no_pickles(folder: Path) -> None:
    assert {p.name for p in folder.iterdir()} == {
        "avatar.json",
        "subjects.json",
        "weights.safetensors",
        "head.safetensors",
        "preview.png",
    }
    subjects = json.loads((folder / "subjects.json").read_text())["subjects"]
    assert len(subjects[1]["codes"]["hair"]) == small_avatar().model.latent.config.dim


def test_saving_again_replaces_and_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    avatar = small_avatar()
    place = tmp_path / "a"
    avatar.save(place)
    avatar.save(place)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"], "leftovers of writing aside"
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter1.txt").write_text("years of work")
    with pytest.raises(PerseError, match="not an avatar"):
        avatar.save(other)
    assert (other / "chapter1.txt").read_text() == "years of work"


def test_mix_endpoints_draw_the_looks() -> None:
    avatar = small_avatar()
    a, b = avatar.look(hair="long curly red"), avatar.look(hat="blue knitted beanie")
    for weight, end in ((0.0, a), (1.0, b)):
        assert torch.equal(
            avatar.render(avatar.mix(a, b, weight), EXPR, POSE), avatar.render(end, EXPR, POSE)
        )
    only_hat = avatar.mix(a, b, 1.0, category="hat")
    hair = avatar.model.latent.categories.index("hair")
    assert torch.equal(only_hat.codes.z[hair], a.codes.z[hair])
    with pytest.raises(PerseError, match="between 0 and 1"):
        avatar.mix(a, b, 1.5)


def test_looks_by_any_words_that_mean_the_prompt() -> None:
    avatar = small_avatar()
    full = avatar.look(hair="a person with long curly red hair")
    loose = avatar.look(hair="red long curly")
    assert torch.equal(full.codes.z, loose.codes.z)
    assert torch.equal(avatar.look_of("001-hair").codes.z, full.codes.z)
    assert torch.equal(avatar.look(hat=None).codes.z, avatar.reference.codes.z)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"hair": "long curly purpleish"}, "It learned, for hair"),
        (
            {"hair": "short straight black"},
            'not learned "a person with short straight black hair".*long curly red',
        ),
        ({"hairs": "long"}, "Did you mean hair"),
        ({"hair": None}, "only beard, earrings, hat, headphones can be absent"),
    ],
)
def test_unknown_looks_say_what_there_is(attributes: dict, message: str) -> None:
    with pytest.raises(PerseError, match=message):
        small_avatar().look(**attributes)


def _edit(path: Path, change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def set_version(value: dict) -> None:
    value["version"] = 99


def set_format(value: dict) -> None:
    value["format"] = "something else"


def huge_base(value: dict) -> None:
    value["layout"]["base"] = 10**12


def negative_base(value: dict) -> None:
    value["layout"]["base"] = -5


def float_rank(value: dict) -> None:
    value["model"]["field"]["rank"] = 8.5


def huge_width(value: dict) -> None:
    value["model"]["field"]["width"] = 10**9


def path_as_layer(value: dict) -> None:
    value["layout"]["layers"]["../../etc"] = 10


def unknown_setting(value: dict) -> None:
    value["model"]["command"] = "rm"


def odd_kind(value: dict) -> None:
    value["model"]["field"]["kind"] = "os"


def huge_camera(value: dict) -> None:
    value["camera"]["width"] = 10**7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_version, "version"),
        (set_format, "not a perse avatar"),
        (huge_base, "layout.base"),
        (negative_base, "layout.base"),
        (float_rank, "whole number"),
        (huge_width, "field.width"),
        (path_as_layer, "must name categories"),
        (unknown_setting, "unknown entry"),
        (odd_kind, "unknown field"),
        (huge_camera, "width and height"),
    ],
)
def test_a_hostile_description_is_refused_before_memory_is_spent(broken: Path, change, message: str) -> None:
    _edit(broken / "avatar.json", change)
    with pytest.raises(PerseError, match=message):
        Avatar.load(broken)


def test_hostile_weights_are_refused(broken: Path) -> None:
    """Wrong shapes, unknown tensors, indices that point outside, numbers that are no numbers."""
    path = broken / "weights.safetensors"
    good = load_file(path)
    name = "_field.base.color"
    index = next(k for k in good if k.endswith(".index"))
    for tensors, message in (
        ({**good, name: good[name][:-1].contiguous()}, "must have shape"),
        ({**good, "extra": torch.zeros(1)}, "'extra' is unknown"),
        ({k: v for k, v in good.items() if k != name}, "is missing"),
        ({**good, name: torch.full_like(good[name], torch.nan)}, "not finite"),
        ({**good, name: good[name].double()}, "must be torch.float32"),
        ({**good, index: good[index] + 10**6}, "points outside"),
    ):
        save_file(tensors, path)
        with pytest.raises(PerseError, match=message):
            Avatar.load(broken)


def test_damaged_or_missing_files_are_named(broken: Path, tmp_path: Path) -> None:
    with pytest.raises(PerseError, match="no avatar folder"):
        Avatar.load(tmp_path / "nowhere")
    path = broken / "weights.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(PerseError, match="may be damaged"):
        Avatar.load(broken)
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(content)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PerseError, match="symbolic link"):
        Avatar.load(broken)
    path.unlink()
    with pytest.raises(PerseError, match="is missing"):
        Avatar.load(broken)


def test_subjects_that_point_nowhere_are_refused(broken: Path) -> None:
    _edit(broken / "subjects.json", lambda v: v["subjects"][1].update(entries=[999]))
    with pytest.raises(PerseError, match="out of range"):
        Avatar.load(broken)
    (broken / "subjects.json").write_text("[" * 100_000)
    with pytest.raises(PerseError, match="not valid JSON"):
        Avatar.load(broken)
