"""Looks taught after the avatar: only they change, they resume, they are kept, they blend, they go again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from perse.avatar import Avatar, LowRankAdapter, PointAdapter, delete_adapter, save_adapter
from perse.cli import main
from perse.dataset import Dataset
from perse.errors import PerseError
from perse.training import TransferConfig, train, transfer
from perse.training.regions import part_region
from perse.training.transfer import Transfer
from synthetic import attribute, make_dataset, shared_dataset, small_avatar, tiny_config

NAME = "Anna's long hair"
CONFIG = TransferConfig(epochs=2, own_points=300, checkpoint_seconds=0.0)
LOOKS: tuple[dict, ...] = ({}, {"hair": "long curly red"}, {"hat": "black fedora"}, {"beard": "full brown"})


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The person as she is, and with long hair."""
    hair = attribute("hair", "the hair of Anna", "long")
    return make_dataset(
        tmp_path_factory.mktemp("look") / "dataset", subjects={"000-reference": (), "001-look": (hair,)}
    )


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    """An avatar to change, of its own."""
    folder = tmp_path_factory.mktemp("avatar")
    return Avatar.load(small_avatar().save(folder / "avatar"))


@pytest.fixture(scope="module")
def adapter(avatar: Avatar, look: Dataset, tmp_path_factory: pytest.TempPathFactory) -> PointAdapter:
    out = tmp_path_factory.mktemp("transfer")
    found = transfer(avatar, look, NAME, "hair", out, CONFIG, progress=False)
    assert isinstance(found, PointAdapter)
    return found


def draw(avatar: Avatar, **attributes: str | None) -> Tensor:
    motion = shared_dataset().motion
    frames = shared_dataset().heldout_indices
    return avatar.render(avatar.look(**attributes), motion.expr[frames], motion.pose[frames])


def test_the_part_becomes_the_photos_and_the_rest_stays(
    avatar: Avatar, adapter: PointAdapter, look: Dataset
) -> None:
    before = draw(avatar)
    avatar.add(adapter)
    after = draw(avatar, hair=NAME)
    avatar.remove(NAME)
    frames = look.heldout_indices
    (old, _, old_labels), (new, _, labels) = (look.load_frames(s, frames) for s in look.subjects)
    region = part_region("hair", (labels, old_labels), (new, old))
    learned = draw(avatar, hair="long curly red")  # the same hair, taught from the start
    missed, usual = (((one - new.float() / 255) ** 2).mean(-1)[region].mean() for one in (after, learned))
    assert float(missed) < 10**0.2 * float(usual), (
        "more than 2 dB worse than the same hair taught from the start"
    )
    assert float((after - before).abs().mean(-1)[~region].mean()) < 0.005


def test_earlier_looks_stay_bit_for_bit_and_the_look_is_found_by_name(
    avatar: Avatar, adapter: PointAdapter
) -> None:
    """Whatever the adapter learned, an avatar that does not wear it is the avatar from before."""
    before = [draw(avatar, **attributes) for attributes in LOOKS]
    avatar.add(adapter)
    try:
        assert all(torch.equal(a, draw(avatar, **attributes)) for a, attributes in zip(before, LOOKS))
        assert avatar.transferred == {NAME: "hair"}
        assert NAME in avatar.learned("hair")
        new, red = avatar.look(hair=NAME), avatar.look(hair="long curly red")
        for weight, end in ((0.0, red), (1.0, new)):
            mixed = avatar.mix(red, new, weight, category="hair")
            assert torch.equal(avatar.canonical(mixed).colors, avatar.canonical(end).colors)
        half = avatar.mix(red, new, 0.5)
        assert float(half.codes.worn[NAME].weight) == 0.5
        with pytest.raises(PerseError, match="already"):
            avatar.add(adapter)
    finally:
        avatar.remove(NAME)
    assert all(torch.equal(a, draw(avatar, **attributes)) for a, attributes in zip(before, LOOKS))
    with pytest.raises(PerseError, match="was removed"):
        avatar.canonical(new)
    with pytest.raises(PerseError, match="no look called"):
        avatar.remove(NAME)


def test_own_points_make_room_for_a_hat(avatar: Avatar, adapter: PointAdapter) -> None:
    """A transferred hairstyle under a hat must be pressed where the learned ones are."""
    avatar.add(adapter)
    try:
        bare = avatar.canonical(avatar.look(hair=NAME))
        hat = avatar.canonical(avatar.look(hair=NAME, hat="black fedora"))
        name = f"hair: {NAME}"
        change = hat.opacity[hat.layers[name]] - bare.opacity[bare.layers[name]]
        layer = hat.opacity[hat.layers["hair"]] - bare.opacity[bare.layers["hair"]]
        assert torch.allclose(change, layer[adapter.seat].clamp_max(0), atol=1e-5)
        assert float(change.min()) < -1
    finally:
        avatar.remove(NAME)


def test_every_tensor_moves_and_every_term_is_there(avatar: Avatar, look: Dataset, tmp_path: Path) -> None:
    job = Transfer(avatar, look, NAME, "hair", tmp_path, CONFIG, _head())
    before = {name: p.detach().clone() for name, p in job.adapter.named_parameters()}
    for _ in range(3):
        terms = job.one_step()
    assert set(terms) == {"l1", "ssim", "alpha", "label", "perceptual"}
    assert all(value > 0 for value in terms.values())
    still = [n for n, p in job.adapter.named_parameters() if p.numel() and torch.equal(p, before[n])]
    assert set(still) == {"own.E", "own.P", "own.W"}, "these stay the head's; press has no size here"
    assert not avatar.model.adapters, "a transfer must leave the avatar as it was"


def test_interrupted_and_resumed_gives_the_same_look(
    avatar: Avatar, adapter: PointAdapter, look: Dataset, tmp_path: Path
) -> None:
    job = Transfer(avatar, look, NAME, "hair", tmp_path, CONFIG, _head())
    assert job.steps > 5
    for _ in range(5):
        job.one_step()
    job.save()
    again = transfer(avatar, look, NAME, "hair", tmp_path, CONFIG, progress=False)
    for name, tensor in adapter.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    with pytest.raises(PerseError, match="another look"):
        transfer(avatar, look, "another", "hair", tmp_path, CONFIG, progress=False)


def test_kept_beside_the_avatar_and_removed(avatar: Avatar, adapter: PointAdapter, tmp_path: Path) -> None:
    folder = avatar.save(tmp_path / "avatar")
    place = save_adapter(adapter, avatar.model, folder)
    loaded = Avatar.load(folder)
    avatar.add(adapter)
    try:
        expected = draw(avatar, hair=NAME, hat="black fedora")
    finally:
        avatar.remove(NAME)
    assert torch.equal(draw(loaded, hair=NAME, hat="black fedora"), expected)
    moved = Avatar.load(loaded.save(tmp_path / "elsewhere"))
    assert torch.equal(draw(moved, hair=NAME, hat="black fedora"), expected), "saving must take it along"
    delete_adapter(folder, NAME)
    assert not place.exists()
    assert Avatar.load(folder).transferred == {}
    with pytest.raises(PerseError, match="no look called"):
        delete_adapter(folder, NAME)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: info.update(base="0" * 64), "another state of the avatar"),
        (lambda info: info["shape"].update(category="teeth"), "no category"),
        (lambda info: info["shape"].update(own=10**9), "own must be a whole number"),
        (lambda info: info["shape"].update(layer=3), "another kind or size"),
        (lambda info: info["shape"].update(own=17), "must have shape"),
        (lambda info: info["shape"].update(name="../../etc"), "not that of its folder"),
    ],
)
def test_damaged_or_foreign_looks_are_refused(
    avatar: Avatar, adapter: PointAdapter, tmp_path: Path, change, message: str
) -> None:
    folder = avatar.save(tmp_path / "avatar")
    place = save_adapter(adapter, avatar.model, folder)
    info = json.loads((place / "adapter.json").read_text())
    change(info)
    (place / "adapter.json").write_text(json.dumps(info))
    with pytest.raises(PerseError, match=message):
        Avatar.load(folder)
    shutil.rmtree(place)
    Avatar.load(folder)


def test_lora_on_the_papers_field(look: Dataset, tmp_path: Path) -> None:
    """The coordinate networks get LoRA: it changes the look that wears it, and the 3D loss has a gradient."""
    base = train(shared_dataset(), tiny_config("mlp", steps=4), tmp_path / "training", progress=False)
    config = TransferConfig(epochs=0.5, rank=2)
    job = Transfer(base, look, NAME, "hair", tmp_path / "transfer", config, _head())
    assert isinstance(job.adapter, LowRankAdapter)
    before = draw(base)
    losses = [job.one_step() for _ in range(3)]
    assert losses[0]["three_d"] == 0, "B starts at zero"
    assert losses[-1]["three_d"] > 0
    terms = job.terms(3)
    (gradient,) = torch.autograd.grad(terms["three_d"], [job.adapter.up["deform-last-weight"]])
    assert float(gradient.abs().sum()) > 0
    base.add(job.adapter)
    assert torch.equal(draw(base), before)
    assert not torch.equal(draw(base, hair=NAME), draw(base, hair="long curly red"))
    folder = base.save(tmp_path / "avatar")
    loaded = Avatar.load(folder)
    assert torch.equal(draw(loaded, hair=NAME), draw(base, hair=NAME))


def _head():
    from perse.head import open_head

    return open_head()


def test_the_command_says_what_is_wrong_and_removes(
    avatar: Avatar, adapter: PointAdapter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every mistake at the command line must end in a message; removing must leave other looks and the avatar."""
    build = tmp_path / "build"
    photo = tmp_path / "friend.jpg"

    def says(*arguments: str) -> str:
        assert main(["transfer", str(build), *arguments]) == 2
        return capsys.readouterr().err

    assert "no finished build" in says(str(photo), "--category", "hair")
    folder = avatar.save(build / "avatar")
    save_adapter(adapter, avatar.model, folder)
    (build / "transfers" / "anna-s-long-hair").mkdir(parents=True)
    assert "what to take" in says()
    assert "there is no photo" in says(str(photo), "--category", "hair")
    photo.write_bytes(b"not looked at")
    assert "already" not in says(str(photo), "--category", "teeth")
    assert "--remove it first" in says(str(photo), "--category", "hair", "--name", NAME)
    assert "either a photo or --remove" in says(str(photo), "--remove", NAME)
    assert "no look called" in says("--remove", "another")
    assert main(["transfer", str(build), "--remove", NAME]) == 0
    assert Avatar.load(folder).transferred == {}
    assert not (build / "transfers" / "anna-s-long-hair").exists()
