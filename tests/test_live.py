"""The live viewer: what it shows follows from the controls, with and without a browser."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from perse.capture import capture, open_source
from perse.cli import main
from perse.dataset import default_motion
from perse.errors import PerseError
from perse.head import arkit_names, arkit_to_motion, open_head
from perse.splat import Camera
from perse.viewer import write_video
from perse.viewer.live import LiveViewer, Scene, camera_of, view_of
from perse.viewer.lobby import Lobby, framed, url_of
from perse.viewer.stage import AS_IN_PHOTO, NONE, Acting, AvatarStage, Choice, PuppetStage, check_outfit
from synthetic import small_avatar

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]  # fmt: skip
WHITE = torch.ones(3)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def stage() -> AvatarStage:
    return AvatarStage(small_avatar(), "small")


@pytest.fixture
def viewer(stage: AvatarStage):
    viewer = LiveViewer(stage, default_motion().select(range(12)), port=free_port())
    yield viewer
    viewer.close()


def a_learned(stage: AvatarStage) -> tuple[str, str]:
    """A category and a prompt in it."""
    avatar = small_avatar()
    attribute = next(s.attributes[0] for s in avatar.subjects if len(s.attributes) == 1)
    return attribute.category, attribute.prompt


# --- ARKit's names


def test_arkit_values_move_what_they_name() -> None:
    """Fails when a phone's jawOpen, gaze or smile moves something else, or to the other side."""
    head = open_head()
    expr, pose = arkit_to_motion(head, {"jawOpen": 0.5, "eyeLookOutLeft": 1.0, "eyeLookDownRight": 1.0})
    assert float(pose[6]) == pytest.approx(0.5 * head.jaw_open)
    assert float(pose[10]) > 0, "the left eye looks to the person's left"
    assert float(pose[12]) > 0, "x turns an eye down"
    assert not bool(expr.any())
    inwards = arkit_to_motion(head, {"eyeLookInRight": 1.0})[1]
    assert float(inwards[13]) > 0, "the right eye looks to the nose, that is to the person's left"
    smile = arkit_to_motion(head, {"mouthSmileLeft": 0.7, "tongueOut": 1.0})[0]
    assert torch.equal(smile, head.expr_from_units({"mouthSmileLeft": 0.7}))
    assert len(arkit_names(head)) == 50
    with pytest.raises(PerseError, match="mouthSmileLeft"):
        arkit_to_motion(head, {"mouthSmilLeft": 1.0})


# --- stages


def test_an_avatar_is_dressed_as_its_looks_say(stage: AvatarStage) -> None:
    """Fails when the picture is not that of Avatar.look and Avatar.mix."""
    avatar = small_avatar()
    category, prompt = a_learned(stage)
    assert stage.options(category)[0] == AS_IN_PHOTO
    assert prompt in stage.options(category)
    assert NONE in stage.options("hat")
    assert NONE not in stage.options("nose")
    assert stage.find(category, prompt) == prompt
    plain, look = avatar.reference, avatar.look(**{category: prompt})
    for weight, expected in ((0.0, plain), (1.0, look), (0.4, avatar.mix(plain, look, 0.4, category))):
        stage.dress({category: Choice(AS_IN_PHOTO, prompt, weight)})
        drawn = stage.draw(stage.rest, avatar.camera, WHITE)
        truth = avatar.bake(expected).render(avatar.rest[0][None], avatar.rest[1][None], avatar.camera)[0]
        assert torch.equal(drawn, truth)
    with pytest.raises(PerseError, match="learned"):
        stage.dress({category: Choice("a person with very odd things")})
    stage.dress({})


def test_a_photo_is_dressed_without_training() -> None:
    """Fails when a photo's puppet does not wear what was chosen, or its blends are not between their ends."""
    stage = PuppetStage(capture(skimage.data.astronaut(), name="astronaut"))
    hat = stage.find("hat", "blue knitted beanie")
    assert hat not in (AS_IN_PHOTO, NONE)
    camera = stage.camera.resized(96, 96)
    drawn = []
    for weight in (0.0, 0.5, 1.0):
        stage.dress({"hat": Choice(AS_IN_PHOTO, hat, weight)})
        drawn.append(stage.draw(stage.rest, camera, WHITE))
    changes = [float((picture - drawn[0]).abs().mean()) for picture in drawn]
    assert 0 < changes[1] < changes[2]
    stage.dress({"hat": Choice(hat)})
    assert torch.equal(stage.draw(stage.rest, camera, WHITE), drawn[2])
    stage.dress({})
    assert torch.equal(stage.draw(stage.rest, camera, WHITE), drawn[0])


def test_outfits_from_files_are_checked() -> None:
    """Fails when a file from a stranger can put nonsense into the viewer."""
    good = {"hat": {"look": "none", "other": "as in the photo", "weight": 0.5}}
    assert check_outfit(good) == {"hat": Choice(NONE, AS_IN_PHOTO, 0.5)}
    for bad in (
        [], {"feet": {}}, {"hat": 3}, {"hat": {"weight": 2}}, {"hat": {"look": 7}}, {"hat": {"look": "x" * 999}}
    ):  # fmt: skip
        with pytest.raises(PerseError):
            check_outfit(bad)


# --- the viewer without a window


def test_a_window_that_stands_where_the_camera_stood_sees_the_same() -> None:
    """Fails when the page shows the person mirrored, turned, or at another scale than the portrait's camera."""
    angle = 0.3
    turn = torch.tensor(
        [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
    )
    viewmat = torch.eye(4)
    viewmat[:3, :3] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ turn
    viewmat[:3, 3] = torch.tensor([0.02, 0.01, 0.9])
    K = torch.tensor([[200.0, 0, 64], [0, 200.0, 48], [0, 0, 1]])
    camera = Camera(viewmat, K, 128, 96)
    position, look_at, up = view_of(camera)
    forward = (look_at - position) / np.linalg.norm(look_at - position)
    right = np.cross(forward, up)
    world = np.stack([right, -up, forward], 1)  # camera axes in the world, OpenCV
    window = SimpleNamespace(
        wxyz=Rotation.from_matrix(world).as_quat()[[3, 0, 1, 2]],
        position=position,
        fov=2 * math.atan(48 / 200),
        aspect=128 / 96,
    )
    seen = camera_of(window, 96)
    assert (seen.width, seen.height) == (128, 96)
    assert torch.allclose(seen.viewmat, viewmat, atol=1e-4)
    assert torch.allclose(seen.K, K, atol=1e-3)


def test_controls_change_the_picture_and_undo_takes_it_back(viewer: LiveViewer, stage: AvatarStage) -> None:
    """Fails when a control is not drawn, or undo leaves a trace."""
    category, prompt = a_learned(stage)
    plain = viewer.picture(stage.camera)
    viewer.change(outfit={category: Choice(prompt)})
    dressed = viewer.picture(stage.camera)
    assert not np.array_equal(dressed, plain)
    viewer._last_change = 0.0  # another change, not the same drag
    viewer.change(units={"jawOpen": 1.0}, turn=(20.0, 0.0, 0.0))
    assert not np.array_equal(viewer.picture(stage.camera), dressed)
    assert viewer.undo() == Scene(outfit={category: Choice(prompt)})
    assert np.array_equal(viewer.picture(stage.camera), dressed)
    viewer.undo()
    assert np.array_equal(viewer.picture(stage.camera), plain)
    assert viewer.undo() == Scene(), "nothing is left to undo"


def test_sliders_add_to_the_motion(viewer: LiveViewer) -> None:
    """Fails when moving the face by hand stops the motion, or frames jump."""
    motion = default_motion().select(range(12))
    frame = viewer.acting(Scene(frame=3.5))
    assert torch.allclose(frame.expr, (motion.expr[3] + motion.expr[4]) / 2)
    turned = viewer.acting(Scene(frame=3.5, turn=(10.0, 0.0, 0.0), units={"mouthPucker": 0.5}))
    assert float(turned.pose[4] - frame.pose[4]) == pytest.approx(math.radians(10), abs=1e-6)
    pucker = open_head().expr_from_units({"mouthPucker": 0.5})
    assert torch.allclose(turned.expr - frame.expr, pucker, atol=1e-6)
    assert isinstance(turned, Acting)


def test_outfits_can_be_kept_and_loaded(viewer: LiveViewer, stage: AvatarStage) -> None:
    """Fails when a saved outfit does not come back, or a broken file does more than say so."""
    category, prompt = a_learned(stage)
    viewer.change(outfit={category: Choice(prompt, AS_IN_PHOTO, 0.25)})
    kept = viewer.preset()
    viewer.change(outfit={})
    viewer.load_preset(kept)
    assert viewer.scene.outfit == {category: Choice(prompt, AS_IN_PHOTO, 0.25)}
    for broken in (b"{", b"[1]", json.dumps({"feet": {}}).encode(), b" " * (2 << 20)):
        with pytest.raises(PerseError):
            viewer.load_preset(broken)
    assert viewer.scene.outfit == {category: Choice(prompt, AS_IN_PHOTO, 0.25)}


def test_a_video_drives_until_it_is_told_to_stop(viewer: LiveViewer, stage: AvatarStage, tmp_path) -> None:
    """Fails when a driver does not move the avatar, its video ends it, or the avatar stays possessed by it."""
    photo = skimage.data.astronaut()
    frames = [photo[t : 256 + t, 96 + 8 * t : 352 + 8 * t] for t in range(4)]
    write_video(tmp_path / "talk.mp4", frames, 8.0)
    before = viewer.acting(viewer.scene)
    assert torch.equal(before.expr, stage.rest.expr)
    viewer.drive(open_source(str(tmp_path / "talk.mp4")))
    seen: set[float] = set()
    wait_for(
        lambda: seen.add(float(viewer.acting(Scene()).pose[4])) or len(seen) > 5
    )  # it plays over and over
    viewer.drive(None)
    viewer.act(None)
    assert torch.equal(viewer.acting(viewer.scene).expr, stage.rest.expr)
    write_video(tmp_path / "empty.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3, 8.0)
    viewer.drive(open_source(str(tmp_path / "empty.mp4")))
    wait_for(lambda: "no face" in viewer._controls.driver.words.text)


def test_the_command_says_what_it_cannot_show(tmp_path, capsys) -> None:
    """Fails when a wrong folder opens an empty page."""
    assert main(["view", str(tmp_path), "--no-browser"]) == 2
    assert "neither an avatar" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: edit_json(f / "avatar.json", version=99), "version 99"),
        (lambda f: edit_json(f / "avatar.json", layout={"base": 10**12}), "layout"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"\xff" * 64), "weights"),
        (lambda f: swap_for_link(f / "weights.safetensors"), "symbolic link"),
    ],
)
def test_avatars_from_strangers_are_refused_by_every_command(damage, message: str, tmp_path, capsys) -> None:
    """Fails when a broken or hostile folder ends in a traceback, fills the memory, or is read outside of itself."""
    folder = small_avatar().save(tmp_path / "avatar")
    damage(folder)
    before = sorted(tmp_path.rglob("*"))
    for command in (["view", str(folder), "--no-browser"], ["drive", str(folder), "take.csv"]):
        (tmp_path / "take.csv").write_text("JawOpen\n0\n")
        arguments = [word.replace("take.csv", str(tmp_path / "take.csv")) for word in command]
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "take.csv"])


def edit_json(path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def swap_for_link(path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


STARTED = """
import os, sys
from perse.serving import leave_cores, _let_torch_leave_cores
leave_cores()
import perse.cli, perse.viewer.lobby, perse.viewer.target
slow = [name for name in ("torch", "cv2", "av") if name in sys.modules]
_let_torch_leave_cores()
import torch
from perse.splat import Camera, Gaussians, rasterize
one = Gaussians(torch.zeros(1, 3), torch.eye(4)[:1], torch.ones(1, 3) * 0.1, torch.ones(1), torch.ones(1, 3))
K = torch.tensor([[32.0, 0, 16], [0, 32.0, 16], [0, 0, 1]])
viewmat = torch.eye(4)
viewmat[2, 3] = 2
assert rasterize(one, Camera(viewmat, K, 32, 32), torch.zeros(3))[1].max() > 0.5
assert torch.get_num_threads() <= max(1, os.cpu_count() // 2)
import perse.viewer.live
heavy = [name for name in ("sympy", "pandas", "matplotlib", "scipy.signal") if name in sys.modules]
print(slow, heavy, "OPENBLAS_NUM_THREADS" in os.environ)
"""


def test_the_viewer_starts_lightly_and_leaves_cores_to_the_browser() -> None:
    """Fails when the page waits for slow imports, some serve nothing, all cores are taken, or builds inherit that."""
    told = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    ran = subprocess.run(
        [sys.executable, "-c", STARTED], env=told, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[] [] False"


def test_a_port_in_use_is_no_obstacle(stage: AvatarStage) -> None:
    """Fails when a second viewer beside a first one does not start."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        viewer = LiveViewer(stage, default_motion().select(range(3)), port=taken.getsockname()[1])
        try:
            assert not viewer.url.endswith(f":{taken.getsockname()[1]}")
        finally:
            viewer.close()


def test_a_photo_of_nobody_is_said_in_the_page_too(tmp_path, capsys, monkeypatch) -> None:
    """Fails when somebody who looks at the page waits for ever after the command gave up."""
    Image.new("RGB", (200, 200), "gray").save(tmp_path / "nobody.png")
    said: list[str] = []
    monkeypatch.setattr(Lobby, "say", lambda lobby, text, share: said.append(text))
    fail = Lobby.fail
    monkeypatch.setattr(Lobby, "fail", lambda lobby, text: (said.append(text), fail(lobby, text)))
    arguments = ["view", str(tmp_path / "nobody.png"), "--no-browser", "--port", str(free_port())]
    assert main(arguments) == 2
    assert "no face" in capsys.readouterr().err
    assert said[:-1] == ["Loading", "Looking at the face"]
    assert "no face" in said[-1]


def test_a_photo_stands_in_the_middle_of_the_page() -> None:
    """Fails when a photo is stretched or cut to the shape of the window."""
    picture = np.zeros((30, 20, 3), np.uint8)
    for aspect in (0.3, 2 / 3, 1.0, 3.0):
        shown = framed(picture, aspect)
        assert shown.shape[1] / shown.shape[0] == pytest.approx(aspect, abs=0.03)
        assert int((shown == 0).all(-1).sum()) == 600


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--port", "99999", "65535"), ("--port", "0", "65535"), ("--host", "203.0.113.7", "no such address")],
)
def test_addresses_that_cannot_be_served_on_are_refused(option, value, message, tmp_path, capsys) -> None:
    """Fails when such an address ends in a traceback, or in a command that waits for ever."""
    Image.new("RGB", (60, 80), "red").save(tmp_path / "photo.png")
    assert main(["view", str(tmp_path / "photo.png"), "--no-browser", option, value]) == 2
    assert re.search(message, capsys.readouterr().err)


# --- with a browser


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_who_waits_in_the_lobby_sees_the_person_come(stage: AvatarStage, tmp_path) -> None:
    """Fails when a page that was opened early stays empty, keeps its progress bar, or has errors."""
    from playwright.sync_api import sync_playwright

    Image.new("RGB", (60, 80), "red").save(tmp_path / "photo.png")
    lobby = Lobby(tmp_path / "photo.png", port=free_port())
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1000, "height": 600})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url_of(lobby.server))
        lobby.say("Looking at the face", 0.3)
        page.get_by_text("Looking at the face").wait_for()
        viewer = LiveViewer(stage, default_motion().select(range(3)), lobby=lobby)
        try:
            wait_for(lambda: len(viewer.updates) > 0)
            page.get_by_role("tab", name="Looks").wait_for()
            assert page.get_by_text("Looking at the face").count() == 0
            client = next(iter(viewer.server.get_clients().values()))
            wait_for(lambda: camera_of(client.camera, 64).viewmat.allclose(stage.camera.viewmat, atol=1e-3))
        finally:
            viewer.close()
        browser.close()
    assert not errors


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_person_and_its_sliders_move(viewer: LiveViewer, stage: AvatarStage) -> None:
    """Fails when the page has errors, reaches for outside hosts, or a look chosen in it is not drawn."""
    from playwright.sync_api import sync_playwright

    category, prompt = "hair", next(p for p in stage.options("hair") if p not in (AS_IN_PHOTO, NONE))
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1000, "height": 600})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(viewer.url)
        wait_for(lambda: len(viewer.updates) > 0)
        field = page.locator("input:visible").nth(
            1
        )  # of the open folder: the look, the words, the other look
        field.fill(prompt)
        field.press("Enter")
        wait_for(lambda: viewer.scene.outfit.get(category, Choice()).look == prompt)
        page.get_by_role("tab", name="Face").click()
        slider = page.get_by_role("slider").locator("visible=true").first
        slider.focus()
        slider.press("ArrowRight")
        wait_for(lambda: viewer.scene.turn[0] > 0)
        before = len(viewer.updates)
        viewer.play(True)
        wait_for(lambda: len(viewer.updates) > before + 3)
        other = browser.new_page()
        other.goto(viewer.url)
        wait_for(lambda: len(viewer.server.get_clients()) == 2)
        other.close()  # in the middle of a motion
        before = len(viewer.updates)
        wait_for(lambda: len(viewer.server.get_clients()) == 1 and len(viewer.updates) > before + 3)
        viewer.play(False)
        client = next(iter(viewer.server.get_clients().values()))
        assert viewer.screenshot(client).startswith(b"\x89PNG")
        browser.close()
    assert not errors


def wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)
