"""Outfits kept under names in the live viewer: they last, they are undone, and no file can do harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perse.cli import main
from perse.dataset import default_motion
from perse.errors import PerseError
from perse.viewer.live import LiveViewer, Scene
from perse.viewer.outfits import MAX_OUTFITS, Outfits
from perse.viewer.stage import NONE, AvatarStage, Choice, open_stage
from synthetic import small_avatar
from test_live import free_port

RED = {"hair": Choice("a person with long curly red hair")}
HAT = {"hat": Choice(NONE, "a person wearing a black fedora", 0.25)}


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """The folder of a build with a small avatar."""
    small_avatar().save(tmp_path / "me" / "avatar")
    (tmp_path / "me" / "build.json").write_text("{}")
    return tmp_path / "me"


def viewer_of(stage: AvatarStage) -> LiveViewer:
    return LiveViewer(stage, default_motion().select(range(3)), port=free_port())


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_kept_is_there_after_a_restart(build: Path) -> None:
    """Fails when a kept outfit is lost or changed, or undo does not reach behind putting it on."""
    before = files_of(build.parent)
    viewer = viewer_of(open_stage(build))
    try:
        viewer.change(outfit=RED)
        panel = viewer._controls.outfits
        panel.name.value = " Sunday best "
        panel.keep()
        viewer.wear(HAT)
        panel.name.value = "Hat"
        panel.keep()
    finally:
        viewer.close()
    assert files_of(build.parent) == before | {"me/outfits.json"}
    viewer = viewer_of(open_stage(build / "avatar"))
    try:
        assert viewer.outfits.names == ("Sunday best", "Hat")
        viewer.change(turn=(5.0, 0.0, 0.0))
        panel = viewer._controls.outfits
        panel.list.value = "Sunday best"
        panel.put_on()  # at once after another change: a step of its own nevertheless
        assert viewer.scene == Scene(outfit=RED, turn=(5.0, 0.0, 0.0))
        look, _, _ = viewer._controls._looks["hair"]
        assert look.value == RED["hair"].look, "the controls must show what is worn"
        panel.list.value = "Hat"
        panel.put_on()
        viewer.picture(viewer._stage.camera)
        panel.forget()
        assert viewer.outfits.names == ("Sunday best",)
        assert viewer.undo().outfit == RED
        assert viewer.undo() == Scene(turn=(5.0, 0.0, 0.0))
        panel.list.value = "Hat"  # another window has not heard yet
        panel.put_on()
        assert "no outfit is called" in panel.words.text
    finally:
        viewer.close()


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 61, "bell\x07", "turned \u202e round"])
def test_names_are_plain_text(name: str, tmp_path: Path) -> None:
    """Fails when a name can be empty, hide what it says, or fill the page."""
    outfits = Outfits(tmp_path)
    with pytest.raises(PerseError, match="printable"):
        outfits.keep(name, RED)
    assert not list(tmp_path.iterdir())


def test_names_are_never_markup(build: Path) -> None:
    """Fails when what somebody typed becomes a picture, a link or HTML in everybody's page."""
    viewer = viewer_of(open_stage(build))
    try:
        panel = viewer._controls.outfits
        panel.name.value = "![x](/etc/passwd) <b>{1+1}</b>"
        panel.keep()
        assert panel.words.text == '"![x](/etc/passwd) <b>{1+1}</b>" is kept.'
        assert "\\!\\[x\\]" in panel.words._handle.content
        assert "\\<b\\>" in panel.words._handle.content
    finally:
        viewer.close()


def test_two_viewers_of_one_build_keep_both(tmp_path: Path) -> None:
    """Fails when the second viewer writes over what the first kept."""
    first, second = Outfits(tmp_path), Outfits(tmp_path)
    first.keep("one", RED)
    second.keep("two", HAT)
    assert Outfits(tmp_path).names == ("one", "two")
    first.forget("two")
    assert Outfits(tmp_path).find("one") == RED


def test_there_is_an_end_to_keeping(tmp_path: Path) -> None:
    """Fails when the file grows without limit."""
    outfits = Outfits(None)
    for number in range(MAX_OUTFITS):
        outfits.keep(f"{number}", RED)
    outfits.keep("0", HAT)
    with pytest.raises(PerseError, match="forget one first"):
        outfits.keep("one more", RED)


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        json.dumps({"format": "perse outfits", "version": 9, "outfits": {}}),
        json.dumps({"format": "perse outfits", "version": 1, "outfits": {"a\nb": {}}}),
        json.dumps({"format": "perse outfits", "version": 1, "outfits": {"a": {"feet": {}}}}),
        json.dumps({"format": "perse outfits", "version": 1, "outfits": {str(n): {} for n in range(201)}}),
        " " * (2 << 20),
    ],
)
def test_damaged_files_are_named_and_left_alone(build: Path, damage: str, capsys) -> None:
    """Fails when a broken file is silently lost with all that was kept in it, or ends in a traceback."""
    (build / "outfits.json").write_text(damage)
    assert main(["view", str(build), "--no-browser"]) == 2
    assert "outfits.json" in capsys.readouterr().err
    assert (build / "outfits.json").read_text() == damage


def test_a_link_does_not_lead_out_of_the_build(build: Path, tmp_path: Path) -> None:
    """Fails when an avatar from a stranger reads or writes a file elsewhere."""
    (tmp_path / "mine.json").write_text("{}")
    (build / "outfits.json").symlink_to(tmp_path / "mine.json")
    with pytest.raises(PerseError, match="symbolic link"):
        Outfits(build)
    outfits = Outfits(None)
    outfits._file = build / "outfits.json"  # a link that came after the start
    with pytest.raises(PerseError, match="symbolic link"):
        outfits.keep("one", RED)
    assert (tmp_path / "mine.json").read_text() == "{}"


def test_outfits_of_a_photo_go_over_to_its_avatar(build: Path) -> None:
    """Fails when what somebody kept while the avatar was built is gone when it is there."""
    viewer = viewer_of(AvatarStage(small_avatar(), "in no build"))
    try:
        viewer.outfits.keep("red", RED)
        viewer.outfits.keep("odd", {"hair": Choice("a person with hair of glass")})
        assert not viewer.outfits.lasting
        viewer.show(open_stage(build))
        assert viewer.outfits.names == ("red",)
        assert viewer._controls.outfits.list.options == ("red",)
        assert Outfits(build).find("red") == RED
    finally:
        viewer.close()
