"""A face drives an avatar: frame by frame, by webcam, video or take, and nothing of the driver's looks gets through."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perse.capture import FaceDriver, open_source, read_take, write_take
from perse.capture.frames import FrameSolver
from perse.capture.model import LandmarkModel
from perse.capture.one_euro import OneEuro
from perse.capture.video import read_video, video_info
from perse.cli import main
from perse.dataset import Motion, default_motion
from perse.errors import PerseError
from perse.head import arkit_names, arkit_to_motion, open_head
from perse.viewer import write_video
from synthetic import small_avatar

WIDTH, HEIGHT, FOCAL = 320, 240, 384.0
FPS = 24.0


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel(open_head())


def seen(model: LandmarkModel, betas: torch.Tensor, expr: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
    """Landmarks [T, 478, 2] of a head before a webcam of WIDTH x HEIGHT pixels."""
    still = pose.double().clone()
    turn = still[:, 3:6].clone()
    still[:, :6] = 0
    place = torch.tensor([0.01, 0.02, 0.6], dtype=torch.float64).expand(len(expr), 3)
    points = model.points(betas, expr.double(), still)
    return model.project(turn, place, points, FOCAL, (WIDTH / 2, HEIGHT / 2))


def driven(model: LandmarkModel, betas: torch.Tensor, motion: Motion) -> torch.Tensor:
    """psi [T, 50] that an avatar gets from a person of shape `betas` who makes that motion; frame 0 is neutral."""
    points = seen(model, betas, motion.expr, motion.pose)
    with FaceDriver() as driver:
        driver.calibrate_on(points[:1], WIDTH, HEIGHT)
        answers = [driver.answer(frame, t / FPS) for t, frame in enumerate(points)]
    assert all(trusted for _, _, trusted in answers)
    return torch.stack([expr for expr, _, _ in answers])


# --- the solver and the filter


def test_a_few_steps_from_the_frame_before_find_what_many_find_anew(model: LandmarkModel) -> None:
    """Fails when driving live is less exact than tracking a whole video."""
    motion, betas = default_motion(), torch.zeros(100, dtype=torch.float64)
    points = seen(model, betas, motion.expr[40:43], motion.pose[40:43])
    solver = FrameSolver(model, betas, FOCAL, (WIDTH / 2, HEIGHT / 2))
    anew = solver.solve(points)
    warm = solver.solve(points[1:], 2, anew.x[:2])
    assert torch.allclose(warm.expr, anew.expr[1:], atol=0.06)
    assert float(warm.error.max()) < float(anew.error.max()) + 0.02


@settings(max_examples=20)
@given(st.floats(-5, 5), st.floats(1.0, 5.0), st.floats(0.0, 3.0))
def test_the_filter_leaves_stillness_alone_and_ends_where_a_step_ends(
    value: float, cutoff: float, gain: float
) -> None:
    """Fails when smoothing shifts what does not move, or never arrives."""
    smooth = OneEuro(cutoff, gain)
    for t in range(3):
        assert torch.allclose(smooth(torch.tensor([value]), t / 30), torch.tensor([value]))
    for t in range(3, 60):
        last = smooth(torch.tensor([value + 1]), t / 30)
    assert float(last) == pytest.approx(value + 1, abs=1e-2)


def test_the_filter_calms_noise_but_follows_a_blink() -> None:
    """Fails when trembling passes, or a blink of an eighth of a second is swallowed."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.02 * torch.randn(200, generator=generator)
    smooth = OneEuro(2.5, 0.5)
    calmed = torch.stack([smooth(value, t / 30) for t, value in enumerate(noise)])
    assert float(calmed[20:].std()) < 0.6 * float(noise.std())
    blink = torch.zeros(30)
    blink[10:14] = 2.0  # psi units of a closing lid
    smooth = OneEuro(2.5, 0.5)
    followed = torch.stack([smooth(value, t / 30) for t, value in enumerate(blink)])
    assert float(followed.max()) > 1.6


# --- the driver


def test_two_people_who_do_the_same_drive_the_same(model: LandmarkModel) -> None:
    """Fails when a driver's shape leaks into the avatar's expression."""
    motion = default_motion().select([0, *range(30, 42)])
    motion.pose[:, 3:6] = 0  # the head would jump from the first frame to the second
    generator = torch.Generator().manual_seed(1)
    first, second = 0.7 * torch.randn(2, 100, dtype=torch.float64, generator=generator)
    one, other = driven(model, first, motion), driven(model, second, motion)
    head = open_head()

    def apart(a: torch.Tensor, b: torch.Tensor) -> float:
        """Mean distance of landmarks, mm."""
        points = [head.landmarks(head.vertices(expr=psi)) for psi in (a, b)]
        return 1000 * float(torch.linalg.vector_norm(points[0] - points[1], dim=-1).mean())

    moved = apart(one[1:], default_motion().expr[:1].expand(12, 50))
    assert apart(one, other) < 0.35
    assert apart(one, other) < 0.35 * moved
    assert apart(one[:1], default_motion().expr[:1]) < 0.05, "the driver's neutral is the avatar's"


def test_the_mouth_opens_as_far_as_the_drivers_and_shuts_with_it(model: LandmarkModel) -> None:
    """Fails when lips alone part for a jaw that opens, when an open mouth is less open, or a shut one is not shut."""
    start = default_motion().select([0])
    jaw = torch.cat([torch.zeros(4), torch.linspace(0, 0.3, 12), torch.full((6,), 0.3), torch.zeros(12)])
    expr, pose = start.expr.expand(len(jaw), 50), start.pose.expand(len(jaw), 15).clone()
    pose[:, 6] = jaw
    shape = 0.7 * torch.randn(100, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    points = seen(model, shape, expr, pose)
    with FaceDriver() as driver:
        driver.calibrate_on(points[:1], WIDTH, HEIGHT)
        answers = [driver.answer(frame, t / FPS) for t, frame in enumerate(points)]
    own = torch.stack([pose[6] for _, pose, _ in answers])
    assert float(own[21]) > 0.2, "the jaw opens"
    assert float(own[[0, 3, -1]].max()) < 0.03, "and shuts"

    def gap(betas: torch.Tensor, psi: torch.Tensor, theta: torch.Tensor) -> float:
        """Of the inner lips, in distances between the outer corners of the eyes."""
        marks = model.points(betas, psi.double()[None], theta.double()[None])[0]
        return float((marks[13] - marks[14]).norm() / (marks[33] - marks[263]).norm())

    nobody = torch.zeros(100, dtype=torch.float64)
    his = gap(shape, expr[21], pose[21])
    theirs = gap(nobody, *answers[21][:2]) - gap(nobody, *answers[0][:2])
    assert theirs == pytest.approx(his, rel=0.2)


def test_a_lost_face_is_held_then_relaxes(model: LandmarkModel) -> None:
    """Fails when a hand before the face makes the avatar jump, or freezes it for good."""
    motion = default_motion().select([0, *range(60, 66)])
    motion.pose[:, 3:6] = 0
    points = seen(model, torch.zeros(100, dtype=torch.float64), motion.expr, motion.pose)
    rest = default_motion().expr[0]
    with FaceDriver() as driver:
        with pytest.raises(PerseError, match="calibrate"):
            driver.answer(points[0], 0.0)
        driver.calibrate_on(points[:1], WIDTH, HEIGHT)
        for t, frame in enumerate(points):
            last = driver.answer(frame, t / FPS)[0]
        torn = points[-1] + 40 * torch.randn(478, 2, generator=torch.Generator().manual_seed(0))
        now = len(points) / FPS
        for lost in (None, torn):
            held, _, trusted = driver.answer(lost, now)
            assert not trusted
            assert torch.equal(held, last)
        later = driver.answer(None, now + 5.0)[0]
        assert float((later - rest).norm()) < 0.01 * float((last - rest).norm())
        assert driver.answer(points[-1], now + 5.1)[2], "it is found again"


def test_a_calm_photo_drives_nothing() -> None:
    """Fails when a face that only looks like itself moves the avatar, or a picture of another size is misread."""
    photo = np.ascontiguousarray(skimage.data.astronaut()[:256, 96:352])
    with FaceDriver() as driver:
        driver.calibrate([photo, np.zeros_like(photo)])
        frames = [driver(photo, t / FPS) for t in range(3)]
        assert all(frame.face is not None for frame in frames)
        head, rest = open_head(), default_motion().expr[0]
        moved = head.vertices(expr=frames[-1].expr) - head.vertices(expr=rest)
        # most of this smile is taken for the driver's neutral, the open lips are not
        assert float(moved.norm(dim=-1).mean()) < 0.001
        with pytest.raises(PerseError, match="calibrate anew"):
            driver(photo[:128], 1.0)
        with pytest.raises(PerseError, match="no face"):
            driver.calibrate([np.zeros_like(photo)])


# --- takes


def test_a_take_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Fails when a column is mixed up, an angle changes its sign, or the time code counts wrong."""
    head, rest = open_head(), default_motion()
    faces = [{}, {"jawOpen": 0.6, "eyeBlinkLeft": 0.9}, {"mouthSmileRight": 0.8, "eyeLookOutLeft": 0.5}]
    moved = [arkit_to_motion(head, face) for face in faces]
    expr = rest.expr[0] + torch.stack([psi for psi, _ in moved])
    pose = torch.stack([theta for _, theta in moved])
    pose[:, 3:6] = torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.3, -0.1], [-0.1, -0.4, 0.1]])
    motion = Motion(expr, pose, torch.ones(3, dtype=torch.bool), 30.0, None, "made")
    path = write_take(tmp_path / "take.csv", motion)
    header = path.read_text().splitlines()[0].split(",")
    assert header[:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    assert len(header) == 2 + 61
    back = read_take(path, fps=60)
    back = back.select(range(0, 5, 2))  # 60 frames a second, as the app counts
    vertices = [head.vertices(expr=m.expr) for m in (motion, back)]
    assert float((vertices[0] - vertices[1]).norm(dim=-1).max()) < 0.0015
    assert torch.allclose(back.pose[:, 3:9], motion.pose[:, 3:9], atol=1e-4)
    assert torch.allclose(back.pose[:, 9:], motion.pose[:, 9:], atol=1e-4)


def test_takes_of_other_apps_are_read(tmp_path: Path) -> None:
    """Fails for other spellings, frames left out, or rows in which the face was lost."""
    path = tmp_path / "take.csv"
    path.write_text(
        "\ufeffTimecode,BlendShapeCount,jawopen,EYEBLINKLEFT,Unknown\n"
        "10:00:00:00.000,61,0,0,x\n10:00:00:01.000,61,0.5,1,x\n10:00:00:02.500,0\n10:00:00:04.000,61,1,0,x\n"
    )
    motion = read_take(path)
    assert (len(motion), motion.fps) == (5, 30.0)
    jaw = motion.pose[:, 6] / open_head().jaw_open
    assert torch.allclose(jaw[:3], torch.tensor([0.0, 0.5, 0.5]), atol=1e-5)
    assert float(jaw[4]) == pytest.approx(1.0)
    path.write_text("JawOpen\n0\n1\n")
    assert read_take(path, fps=25).fps == 25
    assert len(arkit_names(open_head())) == 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header"),
        ("JawOpen\n", "at least one frame"),
        ("a,b\n1,2\n", "no column"),
        ("Timecode,JawOpen\n10:00:00:01,1\n", "no face was tracked"),
        ("JawOpen,EyeBlinkLeft\n0.1,0.2\n0.1\n", "frame 2, column EyeBlinkLeft"),
        ("JawOpen\nnan\n", "no blendshape value"),
        ("JawOpen\n1e9\n", "no blendshape value"),
        ("Timecode,BlendShapeCount,JawOpen\nyesterday,61,0\n", "no time code"),
        ("Timecode,BlendShapeCount,JawOpen\n10:00:01:00,61,0\n10:00:00:00,61,0\n", "go back"),
    ],
)
def test_broken_takes_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """Fails when a broken table moves a face, or ends in a traceback."""
    path = tmp_path / "take.csv"
    path.write_text(text)
    with pytest.raises(PerseError, match=message):
        read_take(path)
    path.write_bytes(b"\xff\xfe\x00\x01" * 9)
    with pytest.raises(PerseError, match="not a CSV"):
        read_take(path)


# --- the command


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_avatar().save(tmp_path_factory.mktemp("driven") / "avatar")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face that drifts a little, half a second long."""
    photo = skimage.data.astronaut()
    frames = [photo[t : 256 + t, 96 + t : 352 + t] for t in range(8)]
    path = tmp_path_factory.mktemp("video") / "talk.mp4"
    write_video(path, frames, 16.0)
    return path


def test_a_video_drives_an_avatar_into_files(avatar: Path, video: Path, tmp_path: Path, capsys) -> None:
    """Fails when frames get lost, driver and avatar do not stand side by side, or CSV and motion tell other things."""
    out = tmp_path / "deep" / "driven.mp4"
    arguments = ["drive", str(avatar), str(video), "--out", str(out), "--size", "64", "--seconds", "0.25"]
    arguments += ["--csv", str(tmp_path / "take.csv"), "--motion", str(tmp_path / "motion.npz")]
    assert main(arguments) == 0
    assert "ms" in capsys.readouterr().out
    pictures = list(read_video(out))
    assert [picture.shape for picture in pictures] == [(64, 128, 3)] * 4
    assert video_info(out).fps == pytest.approx(16.0)
    motion = Motion.load(tmp_path / "motion.npz")
    assert len(motion) == 4
    take = read_take(tmp_path / "take.csv")
    head = open_head()
    ends = [head.vertices(expr=m.expr[-1]) for m in (motion, take)]
    assert float((ends[0] - ends[1]).norm(dim=-1).mean()) < 0.002
    assert main(["drive", str(avatar), str(tmp_path / "take.csv"), "--out", str(out), "--size", "64"]) == 0
    assert next(iter(read_video(out))).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["webcam:99"], "no picture from webcam 99"),
        (["webcam:x"], "webcam:1"),
        (["missing.mp4"], "no such file"),
        (["missing.csv"], "missing"),
        (["webcam", "--out", "x.avi"], "write to .mp4"),
        (["webcam", "--live", "--out", "x.mp4"], "choose one"),
        (["webcam", "--seconds", "0"], "above 0"),
    ],
)
def test_drive_says_what_is_wrong(avatar: Path, arguments: list[str], message: str, capsys) -> None:
    """Fails when a wrong word ends in a traceback, or after minutes."""
    assert main(["drive", str(avatar), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_paced_video_comes_no_faster_than_it_was_taken(video: Path) -> None:
    """Fails when the live viewer would play a file in fast motion, or show frames that are long past."""
    source = open_source(str(video))
    shown = [(at, time.monotonic()) for at, _ in source.frames(paced=True)]
    assert shown[0][0] == 0.0
    assert all(now - shown[0][1] > at - 0.01 for at, now in shown)
    assert [at for at, _ in source.frames()] == [t / 16 for t in range(8)]
    assert len(source.calm()) == 8
