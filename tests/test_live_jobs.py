"""Jobs of the live viewer: an avatar out of a photo, a look out of another. They tell, stop, write in one folder."""

from __future__ import annotations

import base64
import io
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from perse.capture import capture
from perse.cli import main
from perse.dataset import default_motion
from perse.errors import PerseError
from perse.viewer._transfer_panel import TransferPanel
from perse.viewer.building import Build, Plan
from perse.viewer.job import Job, Progress
from perse.viewer.live import LiveViewer
from perse.viewer.stage import PuppetStage, open_stage
from perse.viewer.teaching import MAX_PHOTO_BYTES, Teaching, keep_photo
from synthetic import shared_dataset, small_avatar
from test_live import ARGUMENTS, CHROMIUM, free_port, wait_for


def jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build with a small avatar and what it learned from."""
    small_avatar().save(tmp_path / "me" / "avatar")
    shutil.copytree(shared_dataset().path, tmp_path / "me" / "dataset")
    (tmp_path / "me" / "build.json").write_text("{}")
    return tmp_path / "me"


@pytest.fixture
def panel(build: Path):
    """The part of a viewer that teaches looks."""
    viewer = LiveViewer(open_stage(build), default_motion().select(range(3)), port=free_port())
    assert isinstance(viewer._job, TransferPanel)
    yield viewer._job
    viewer.close()


# --- how far a job is


class Saying(Job):
    """A job that has said something."""

    def __init__(self, text: str) -> None:
        super().__init__("--version")
        self._process.wait()
        self.text = text

    def _tail(self) -> str:
        return self.text

    def _now(self) -> Progress:
        raise AssertionError


def test_the_bar_is_that_of_the_stage_that_runs() -> None:
    """Fails when the page's bar shows the stage before, or never moves."""
    first = "[dataset]\ndataset: 100%|███| 37/37 [02:00<00:00,  3.00s/subject]\n[dataset] 120 s\n"
    assert Saying(first)._bar() is None
    later = first + "[avatar]\navatar:   1%|▏ | 50/5000 [00:05<08:15, 10.0step/s]\n"
    assert Saying(later)._bar() == (0.01, ", 08:15 left")
    assert Saying(later + "avatar:   2%|▏ | 100/5000 [00:05<?, ?step/s]")._bar() == (0.02, "")
    assert Saying("Downloading 3/4 of it")._bar() is None


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    """Fails when the page shows a bar that never moves for a photo that cannot be used."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"no picture")
    build = Build(Plan(photo, tmp_path / "runs" / "me"))
    wait_for(lambda: build.progress().state != "running", 120)
    assert build.progress().state == "failed"
    assert build.progress().words.startswith(f"{photo}: not a picture"), "the message alone, no log"
    assert build.grown() is None
    build.stop()
    assert {path.name for path in tmp_path.iterdir()} <= {"photo.jpg", "runs"}


def test_a_folder_has_no_photo_to_build_from(build: Path, capsys) -> None:
    assert main(["view", str(build), "--preset", "tiny", "--no-browser"]) == 2
    assert "for a photo" in capsys.readouterr().err


# --- photos that are given to the page


def test_a_photo_is_kept_as_its_pixels_in_the_build(build: Path) -> None:
    """Fails when a stranger's bytes or names reach the disk, or lie outside the build."""
    before = set(build.parent.rglob("*"))
    content = jpeg(skimage.data.astronaut())
    path, picture = keep_photo(build, content)
    assert picture.shape == (512, 512, 3)
    assert np.array_equal(np.asarray(Image.open(path)), picture)
    assert path.parent == build / "photos"
    assert keep_photo(build, content)[0] == path, "the same photo again goes on with the same transfer"
    assert set(build.parent.rglob("*")) - before == {path.parent, path}


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff" * 99, b"x" * (MAX_PHOTO_BYTES + 1)])
def test_what_is_no_photo_is_refused(panel: TransferPanel, build: Path, content: bytes) -> None:
    """Fails when junk is taken, kept, or more than said."""
    before = set(build.rglob("*"))
    panel.take(content, "../../.bashrc")
    assert "picture" in panel.words.text or "larger" in panel.words.text
    panel.start()
    assert panel.words.text == "Choose a photo first."
    assert set(build.rglob("*")) == before


def test_a_linked_or_full_folder_takes_no_photo(build: Path, tmp_path: Path, monkeypatch) -> None:
    """Fails when a build from a stranger makes the viewer write elsewhere, or uploads fill the disk."""
    content = jpeg(skimage.data.astronaut())
    (tmp_path / "elsewhere").mkdir()
    (build / "photos").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PerseError, match="symbolic link"):
        keep_photo(build, content)
    assert not list((tmp_path / "elsewhere").iterdir())
    (build / "photos").unlink()
    monkeypatch.setattr("perse.viewer.teaching.MAX_PHOTOS", 1)
    keep_photo(build, content)
    with pytest.raises(PerseError, match="delete some"):
        keep_photo(build, jpeg(skimage.data.cat()))


# --- teaching a look


def test_names_and_categories_are_checked_before_anything_runs(panel: TransferPanel) -> None:
    """Fails when a name that cannot be one, or is taken, costs the user a minute of waiting."""
    panel.take(jpeg(skimage.data.astronaut()), "<b>Anna</b>.jpg")
    assert "512 x 512" in panel.words.text
    for name, message in (
        ("\x07", "printable"), ("!!!", "a letter or a digit"), ("a person with long curly red hair", "already")
    ):  # fmt: skip
        panel.name.value = name
        panel.start()
        assert message in panel.words.text
    assert panel._job is None


def test_a_photo_without_a_face_ends_with_the_reason_and_can_be_tried_again(
    panel: TransferPanel, build: Path
) -> None:
    """Fails when a transfer that cannot be made leaves a bar that never moves, or a dead button."""
    panel.take(jpeg(skimage.data.coffee()), "coffee.jpg")
    panel.start()
    assert panel._bar.visible
    assert panel._stop.visible
    wait_for(lambda: panel._job is None, 120)
    assert "face" in panel.words.text
    assert panel.button.visible
    assert not panel._bar.visible
    assert (build / "transfers" / "hair-of-coffee").is_dir()


def test_a_job_can_be_stopped_and_says_so(panel: TransferPanel) -> None:
    """Fails when Stop leaves a process behind, or the button cannot go on."""
    panel.take(jpeg(skimage.data.astronaut()), "astronaut.jpg")
    panel.start()
    job = panel._job
    assert isinstance(job, Teaching)
    panel.start()
    assert panel._job is job, "one at a time"
    panel.stop()
    assert job._process.poll() is not None
    wait_for(lambda: panel._job is None)
    assert panel.words.text.startswith("Stopped.")
    assert panel.button.visible


def test_without_the_videos_it_says_what_lacks(build: Path) -> None:
    """Fails when an avatar whose dataset was deleted offers what cannot be done."""
    shutil.rmtree(build / "dataset")
    viewer = LiveViewer(open_stage(build), default_motion().select(range(3)), port=free_port())
    try:
        assert viewer._job is not None
        assert "videos that the avatar learned from" in viewer._job.words.text
        assert viewer._job.button.disabled
    finally:
        viewer.close()


DROP = """bytes => { const carried = new DataTransfer();
  carried.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], 'anna.jpg', { type: 'image/jpeg' }));
  const zone = document.querySelector('[data-drop]');
  for (const kind of ['dragover', 'drop'])
    zone.dispatchEvent(new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true })); }"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_photo_can_be_dropped_on_the_page(panel: TransferPanel) -> None:
    """Fails when viser's page changes so that a dropped photo is not taken, as chosen ones are."""
    from playwright.sync_api import sync_playwright

    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(panel._viewer.url)
        page.get_by_text("a look from another photo").click()
        page.locator("[data-drop]").wait_for()
        page.evaluate(DROP, base64.b64encode(jpeg(skimage.data.astronaut())).decode())
        wait_for(lambda: panel.words.text == "anna, 512 x 512 pixels.")
        browser.close()
    assert not errors


# --- from a photo to an avatar to another's hair


def test_a_photo_becomes_an_avatar_and_learns_a_look_in_the_page(tmp_path: Path) -> None:
    """Fails when the bar does not move, the growing avatar is not shown, the avatar does not take the puppet's place,
    or a look that was taught to it is not in its list."""
    photo = tmp_path / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(photo)
    stage = PuppetStage(capture(skimage.data.astronaut(), name="astronaut"))
    plan = Plan(photo, tmp_path / "runs" / "astronaut", "tiny")
    viewer = LiveViewer(stage, default_motion().select(range(3)), build=plan, port=free_port())
    try:
        panel = viewer._job
        assert panel is not None
        seen = watch(panel, lambda: viewer._job is not panel)
        shares = [share for share, _ in seen]
        assert shares == sorted(shares)
        assert len(set(shares)) > 5
        doing = {words.split(",")[0].removesuffix(" ...") for _, words in seen}
        assert {"making the videos it learns from", "learning the avatar", "writing the report"} <= doing
        assert any("left" in words for _, words in seen), "how long it takes"
        assert panel._picture.visible
        assert int(panel._picture.image.min()) < 128, "the growing avatar, no blank"
        assert isinstance(viewer._job, TransferPanel)
        assert viewer._stage.portrait is not None

        teach = viewer._job
        teach.take(jpeg(skimage.data.astronaut()[:, ::-1]), "mirrored.jpg")
        watch(teach, lambda: teach._job is None)
        assert teach.words.text == '"hair of mirrored" is in the list of hair now, and put on.'
        look, other, _ = viewer._controls._looks["hair"]
        assert look.value == "hair of mirrored"
        assert "hair of mirrored" in other.options
        worn = viewer.picture(stage.camera.resized(96, 96))
        assert viewer.undo().outfit == {}
        assert not np.array_equal(viewer.picture(stage.camera.resized(96, 96)), worn)
        assert "hair of mirrored" in open_stage(plan.out).options("hair")
    finally:
        viewer.close()
    assert {path.name for path in tmp_path.iterdir()} == {"astronaut.png", "runs"}


def watch(panel, over) -> list[tuple[float, str]]:
    """Start a panel's job and wait for its end: shares and words on the way."""
    seen: list[tuple[float, str]] = []
    panel.start()
    end = time.monotonic() + 900
    while not over():
        assert panel._job is not None or over(), panel.words.text
        assert time.monotonic() < end
        now = (panel._bar.value, panel.words.text)
        if now[0] and (not seen or seen[-1] != now):
            seen.append(now)
        time.sleep(0.1)
    return seen
