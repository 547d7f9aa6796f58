"""The scripts in examples/ run as they are printed, at tiny size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from perse.viewer import write_video

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, **settings: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **settings}
    script = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_examples_make_morph_and_drive_an_avatar(tmp_path: Path) -> None:
    """Fails when an example no longer fits the library."""
    out = tmp_path / "avatar"
    said = run("make_avatar.py", PERSE_OUT=str(out), PERSE_PRESET="tiny")
    assert "beard - a person with" in said
    assert Image.open(out / "dressed.png").size == (64, 64)
    run("morph_gif.py", PERSE_OUT=str(out), PERSE_STEPS="3")
    with Image.open(out / "morph.gif") as gif:
        assert gif.n_frames == 4
    photo = skimage.data.astronaut()
    video = tmp_path / "talk.mp4"
    write_video(video, [photo[t : 256 + t, 96:352] for t in range(4)], 8.0)
    run("drive_by_video.py", PERSE_OUT=str(out), PERSE_VIDEO=str(video), PERSE_FRAMES="3")
    assert len((out / "driven.csv").read_text().splitlines()) == 4
    assert (out / "driven.mp4").is_file()


def test_every_example_is_a_notebook() -> None:
    """Fails when an example cannot be opened cell by cell."""
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert len(scripts) == 3
    for script in scripts:
        text = script.read_text()
        assert text.startswith("# %% [markdown]\n# # ")
        assert text.count("\n# %%\n") >= 2
