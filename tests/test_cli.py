"""The command line: quick help, exit statuses, and what it hands to the pipeline."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from safetensors import SafetensorError

from perse import cli, pipeline
from perse.cli import main, parse_looks
from perse.errors import PerseError


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["build", "--help"], ["render", "--help"], ["track", "--help"], ["assets", "list"]],
)
def test_help_imports_nothing_slow(arguments):
    """The help must answer at once; importing torch alone would cost a second or more."""
    code = f"""
import json, sys
from perse.cli import main
try:
    main({arguments!r})
except SystemExit:
    pass
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    finished = run_python(code)
    assert finished.returncode == 0, finished.stderr
    loaded = set(json.loads(finished.stdout.splitlines()[-1]))
    assert not loaded & {
        "torch",
        "numpy",
        "scipy",
        "cv2",
        "skimage",
        "mediapipe",
        "transformers",
        "matplotlib",
    }


def test_help_names_every_command():
    finished = run_python("from perse.cli import main; main(['--help'])")
    assert finished.returncode == 0
    for command in ("build", "render", "track", "assets"):
        assert command in finished.stdout


def test_no_arguments_show_the_help(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 0
    assert "usage: perse" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("perse ")


@pytest.mark.parametrize("arguments", [["bulid"], ["build", "--preset", "huge"], ["build", "--seed", "x"]])
def test_what_cannot_be_parsed_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err


def test_build_gets_its_config(monkeypatch):
    seen = []
    monkeypatch.setattr(pipeline, "build", seen.append)
    assert (
        main(["build", "me.jpg", "--out", "runs/me", "--preset", "full", "--seed", "3", "--face", "1"]) == 0
    )
    assert main(["build", "--portrait", "astronaut", "--out", "runs/demo", "--preset", "demo"]) == 0
    assert seen == [
        pipeline.BuildConfig(photo=Path("me.jpg"), out=Path("runs/me"), preset="full", seed=3, face=1),
        pipeline.BuildConfig(portrait="astronaut", out=Path("runs/demo"), preset="demo"),
    ]
    assert type(seen[0]) is pipeline.BuildConfig


def test_render_gets_its_config(monkeypatch, capsys):
    seen = []

    def render(config):
        seen.append(config)
        return config.out

    monkeypatch.setattr(pipeline, "render", render)
    settings = ["--set", "hair=long curly red", "--set", "hat=none"]
    assert (
        main(["render", "runs/me/avatar", *settings, "--out", "me.mp4", "--size", "256", "--frames", "9"])
        == 0
    )
    looks = {"hair": "long curly red", "hat": None}
    assert seen == [
        pipeline.RenderConfig(Path("runs/me/avatar"), looks=looks, out=Path("me.mp4"), size=256, frames=9)
    ]
    assert capsys.readouterr().out.strip() == "me.mp4"


@pytest.mark.parametrize("settings", [["hair"], ["=red"], ["hair="], ["hair=red", "hair=none"]])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(PerseError, match="--set"):
        parse_looks(settings)


def test_an_interrupted_view_promises_nothing(monkeypatch, capsys, tmp_path):
    """It keeps nothing that the same command could go on from."""

    def view(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.View, "run", view)
    assert main(["view", str(tmp_path)]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_prompt_may_hold_an_equals_sign():
    assert parse_looks(["hair = a=b "]) == {"hair": "a=b"}


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (PerseError("no face in me.jpg; take another photo"), 2, "error: no face in me.jpg"),
        (KeyboardInterrupt(), 130, "same command goes on where it stopped"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 2, "disk is full"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), 2, "disk is full"),
    ],
)
def test_errors_become_messages_and_statuses(monkeypatch, capsys, raised, status, said):
    """A traceback for a user's mistake, or status 0 after a failure, would mislead people and scripts alike."""

    def build(config):
        raise raised

    monkeypatch.setattr(pipeline, "build", build)
    assert main(["build", "me.jpg"]) == status
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert not captured.out


def test_our_own_defects_keep_their_traceback(monkeypatch):
    def build(config):
        raise ValueError("a bug")

    monkeypatch.setattr(pipeline, "build", build)
    with pytest.raises(ValueError, match="a bug"):
        main(["build", "me.jpg"])


def test_unknown_asset_exits_with_2(capsys):
    assert main(["assets", "pull", "nosuch"]) == 2
    assert "face_landmarker" in capsys.readouterr().err


def test_output_into_a_closed_pipe_is_quiet():
    code = "import sys; from perse.cli import main; sys.exit(main(['assets', 'list']))"
    finished = subprocess.run(
        f'{sys.executable} -u -c "{code}" | true', shell=True, capture_output=True, text=True, timeout=60
    )
    assert finished.stderr == ""


def test_own_warnings_are_one_plain_line_and_others_are_silent(monkeypatch, capsys):
    """If this fails, users read source paths and line numbers instead of what is wrong with their photo."""

    class OwnWarning(UserWarning):
        pass

    OwnWarning.__module__ = "perse.capture.portrait"

    def warn(config):
        warnings.warn("the face is small", OwnWarning, stacklevel=1)
        warnings.warn("an array was converted", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr("perse.pipeline.build", warn)
    assert main(["build", "--portrait", "astronaut"]) == 0
    assert capsys.readouterr().err == "warning: the face is small\n"
