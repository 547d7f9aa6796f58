"""The build as a user meets it: it owns its folder, goes on where it stopped, and says clearly what it will not do."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import skimage.data
import torch

from perse._build_folder import BuildFolder
from perse.capture import capture
from perse.dataset import Motion, Portrait, default_motion, demo_attributes
from perse.errors import PerseError
from perse.frames import (
    HELD_OUT_TURNS,
    MOUTH_TURNS,
    PHOTO_TURNS,
    select_frames,
    with_open_mouth,
    with_photo_frames,
    with_turned_heldout,
)
from perse.generate import generate
from perse.pipeline import SCALES, BuildConfig, build, subjects_of
from perse.splat import Camera

SETTINGS = {"preset": "tiny", "seed": 0}


def quiet(_: str) -> None:
    pass


def test_stage_runs_once_and_its_time_is_kept(tmp_path):
    """If this fails, a resumed build repeats finished work or forgets how long it took."""
    runs = []
    for _ in range(2):
        with BuildFolder.open(tmp_path / "run", SETTINGS) as folder:
            folder.stage("portrait", lambda: runs.append(1), quiet)
    assert runs == [1]
    assert folder.figures()["seconds_by_stage"].keys() == {"portrait"}


def test_failed_stage_is_not_done(tmp_path):
    """If this fails, an interrupted stage would be taken for finished."""
    with pytest.raises(KeyboardInterrupt), BuildFolder.open(tmp_path / "run", SETTINGS) as folder:
        folder.stage("dataset", lambda: (_ for _ in ()).throw(KeyboardInterrupt()), quiet)
    with BuildFolder.open(tmp_path / "run", SETTINGS) as folder:
        again = []
        folder.stage("dataset", lambda: again.append(1), quiet)
    assert again == [1]


def test_a_result_that_was_deleted_is_made_again(tmp_path):
    """If this fails, a build without an avatar ends with a line that says where it is."""
    runs = []

    def avatar() -> None:
        (tmp_path / "run" / "avatar").mkdir()
        runs.append("avatar")

    for _ in range(2):
        with BuildFolder.open(tmp_path / "run", SETTINGS) as folder:
            folder.stage("dataset", lambda: runs.append("dataset"), quiet)
            folder.stage("tuning", avatar, quiet, ["avatar"])
            folder.stage("report", lambda: runs.append("report"), quiet)
        (tmp_path / "run" / "avatar").rmdir()
    assert runs == ["dataset", "avatar", "report", "avatar", "report"]


def test_two_builds_cannot_share_a_folder(tmp_path):
    with (
        BuildFolder.open(tmp_path / "run", SETTINGS),
        pytest.raises(PerseError, match="another build is running"),
    ):
        BuildFolder.open(tmp_path / "run", SETTINGS)


def test_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    """If this fails, a user's own files could be mixed with, or overwritten by, a build."""
    precious = tmp_path / "thesis.tex"
    precious.write_text("years of work")
    with pytest.raises(PerseError, match="not a build"):
        BuildFolder.open(tmp_path, SETTINGS)
    assert precious.read_text() == "years of work"
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_other_settings_are_refused(tmp_path):
    with BuildFolder.open(tmp_path / "run", SETTINGS):
        pass
    with pytest.raises(PerseError, match="another seed"):
        BuildFolder.open(tmp_path / "run", {**SETTINGS, "seed": 1})


@pytest.mark.parametrize("content", ["{", "[]", '{"settings": {}}', '{"format": 99, "settings": 3}'])
def test_broken_record_is_refused(tmp_path, content):
    (tmp_path / "build.json").write_text(content)
    with pytest.raises(PerseError):
        BuildFolder.open(tmp_path, SETTINGS)


def test_out_is_a_file(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(PerseError, match="is a file"):
        BuildFolder.open(tmp_path / "x", SETTINGS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either a photo"),
        ({"photo": Path("a.jpg"), "portrait": "astronaut"}, "give either a photo"),
        ({"photo": Path("nowhere.jpg")}, "no photo at nowhere.jpg"),
        ({"portrait": "mona lisa"}, "astronaut"),
    ],
)
def test_build_says_what_is_wrong_with_its_options(tmp_path, options, message):
    with pytest.raises(PerseError, match=message):
        build(BuildConfig(out=tmp_path / "run", **options), log=quiet)
    assert not (tmp_path / "run").exists()


def test_selected_frames_keep_the_split_and_the_first_frame():
    """If this fails, held-out frames leak into training or the rest pose is missing from the dataset."""
    train = torch.arange(50) % 5 != 4
    motion = Motion(
        expr=torch.arange(50.0)[:, None].repeat(1, 50),
        pose=torch.zeros(50, 15),
        train=train,
        fps=24.0,
        source="",
    )
    thinned = select_frames(motion, 8, 3)
    assert len(thinned.expr) == 11
    assert int(thinned.train.sum()) == 8
    assert float(thinned.expr[0, 0]) == 0.0
    original = thinned.expr[:, 0].long()
    assert torch.equal(train[original], thinned.train)
    assert torch.equal(original, original.sort().values)


def test_the_photos_own_face_is_taught_and_not_held_out():
    """If this fails, the avatar never sees the expression that its likeness is judged by."""
    motion = default_motion().select(range(3))
    expr, pose = torch.linspace(-1, 1, 50), torch.linspace(0, 0.1, 15)
    longer = with_photo_frames(
        motion, SimpleNamespace(expr=expr, pose=pose, camera=Camera(torch.eye(4), torch.eye(3), 8, 8))
    )
    assert len(longer) == 3 + len(PHOTO_TURNS)
    assert torch.equal(longer.expr[:3], motion.expr)
    assert torch.equal(longer.train[:3], motion.train)
    assert bool(longer.train[3:].all())
    assert torch.equal(longer.expr[3:], expr.expand(len(PHOTO_TURNS), -1))
    assert torch.equal(longer.pose[3:, 6:], pose[6:].expand(len(PHOTO_TURNS), -1))
    assert torch.rad2deg(longer.pose[3:, 4]).round().tolist() == [yaw for yaw, _ in PHOTO_TURNS]


def test_demo_has_every_category_and_enough_subjects():
    subjects = subjects_of(SCALES["demo"], seed=0)
    assert subjects[0] == ()
    assert len(subjects) >= 28
    assert len({s[0].category for s in subjects[1:] if len(s) == 1}) == 9
    singles = {s[0] for s in subjects[1:] if len(s) == 1}
    combined = [s for s in subjects if len(s) > 1]
    assert len(combined) == SCALES["demo"].combined
    assert all(attribute in singles for s in combined for attribute in s), "a combination of unknown edits"


@pytest.mark.slow
def test_tiny_build_end_to_end(tmp_path):
    """One portrait in, everything out. If this fails, ``make demo`` does not work."""
    out = tmp_path / "run"
    result = build(BuildConfig(portrait="astronaut", out=out, preset="tiny"), log=quiet)
    for name in ("portrait/photo.png", "portrait/fit.jpg", "dataset/dataset.json", "avatar/avatar.json"):
        assert (out / name).is_file(), name
    for name in ("report.html", "report.png", "avatar.mp4", "avatar.html", "metrics.json"):
        assert (out / name).stat().st_size > 1000 or name == "metrics.json"
    report = (out / "report.html").read_text()
    assert '<iframe src="avatar.html"' in report
    assert report.count("<li>") == 5, "the story in five pictures"
    metrics = json.loads((out / "metrics.json").read_text())
    wanted = {"psnr", "ssim", "lpips", "identity", "leakage", "subjects", "categories", "frames_heldout"}
    assert wanted | {"seconds_total", "seconds_by_stage", "peak_rss_mb"} <= metrics.keys()
    assert metrics["subjects"] == 4
    assert metrics["psnr"] > 12
    again = build(BuildConfig(portrait="astronaut", out=out, preset="tiny"), log=quiet)
    assert again.metrics["psnr"] == result.metrics["psnr"]


def test_held_out_frames_turn_as_far_as_25_degrees():
    """If this fails, what is measured leaves out the far turns, or they leak into training."""
    motion = select_frames(default_motion(), 8, 4)
    longer = with_turned_heldout(motion, Camera(torch.eye(4), torch.eye(3), 8, 8))
    added = longer.select(torch.arange(len(motion), len(longer)))
    assert not added.train.any()
    assert torch.rad2deg(added.pose[:, 4]).tolist() == pytest.approx(list(HELD_OUT_TURNS), abs=1e-4)
    heldout = motion.expr[~motion.train]
    assert all(bool((heldout == expr).all(1).any()) for expr in added.expr), "no face of a training frame"
    assert torch.equal(longer.train[: len(motion)], motion.train)


def test_training_frames_hold_the_extremes():
    """If this fails, the avatar never sees the mouth wide open or the lids closed, and draws them badly."""
    motion = default_motion()
    chosen = select_frames(motion, 40, 10)
    for joint in (4, 6):  # yaw, jaw
        all_of_it = motion.pose[motion.train, joint]
        seen = chosen.pose[chosen.train, joint]
        assert float(seen.max()) > 0.9 * float(all_of_it.max())
        assert float(seen.min()) <= 0.9 * float(all_of_it.min())


ON_RANKS = """
import sys
from perse.dataset import Portrait, default_motion, demo_attributes
from perse.generate import generate

if __name__ == "__main__":
    hat = next(a for a in demo_attributes() if a.category == "hat")
    motion = default_motion().select([0, 5])
    generate(Portrait.load(sys.argv[1]), [(), (hat,)], motion, sys.argv[2], size=64, workers=1)
"""


def test_the_inside_of_the_mouth_is_shown_from_more_sides():
    """If this fails, teeth are learned from one side, and fall apart from every other."""
    motion = default_motion().select([0, 5, 40, 300])
    longer = with_open_mouth(motion, Camera(torch.eye(4), torch.eye(3), 8, 8))
    added = longer.pose[len(motion) :]
    assert len(added) == len(MOUTH_TURNS)
    assert bool(longer.train[len(motion) :].all())
    widest = float(motion.pose[motion.train, 6].max())
    assert [float(row[6]) for row in added] == pytest.approx([widest * share for *_, share in MOUTH_TURNS])
    assert torch.rad2deg(added[:, 4]).round().tolist() == [yaw for yaw, *_ in MOUTH_TURNS]
    assert torch.equal(longer.pose[: len(motion)], motion.pose)


@pytest.mark.slow
def test_a_dataset_does_not_depend_on_who_made_it(tmp_path):
    """If this fails, a build that was interrupted before its last subject, or one spread over ranks, ends with
    another dataset."""
    capture(skimage.data.astronaut(), name="astronaut").save(tmp_path / "portrait")
    portrait = Portrait.load(tmp_path / "portrait")
    motion = default_motion().select([0, 5])
    subjects = [(), (next(a for a in demo_attributes() if a.category == "hat"),)]
    pace = generate(portrait, subjects, motion, tmp_path / "apart", size=64)
    assert pace is not None
    assert pace.subjects == 2
    assert pace.hours(4, 10) < pace.hours(8, 10)
    last = sorted((tmp_path / "apart" / "subjects").iterdir())[-1]
    shutil.rmtree(last)
    generate(portrait, subjects, motion, tmp_path / "apart", size=64)
    script = tmp_path / "on_ranks.py"
    script.write_text(ON_RANKS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, str(script), str(tmp_path / "portrait"), str(tmp_path / "ranks")], check=True)
    for file in sorted(file for file in (tmp_path / "apart").rglob("*") if file.is_file()):
        on_ranks = tmp_path / "ranks" / file.relative_to(tmp_path / "apart")
        assert on_ranks.read_bytes() == file.read_bytes(), file
