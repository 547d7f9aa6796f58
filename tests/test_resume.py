"""A build that is killed at any moment and started again ends with the same avatar as one left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "perse.cli", "build", "--portrait", "astronaut", "--preset", "tiny", "--out"]


def _start(out: Path) -> subprocess.Popen:
    return subprocess.Popen([*COMMAND, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finish(out: Path) -> dict:
    process = _start(out)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 0, error.decode()[-2000:]
    return json.loads((out / "metrics.json").read_text())


def _figures(metrics: dict) -> list[float]:
    return [metrics[name] for name in ("psnr", "ssim", "lpips", "identity")]


@pytest.mark.slow
def test_killed_three_times_and_resumed_equals_left_alone(tmp_path):
    """If this fails, an interruption changes or loses results: SIGKILL gives no chance to tidy up."""
    start = time.monotonic()
    whole = _finish(tmp_path / "whole")
    duration = time.monotonic() - start

    moments = random.Random(os.environ.get("PERSE_TEST_SEED", "3"))
    out = tmp_path / "killed"
    for _ in range(3):
        process = _start(out)
        time.sleep(moments.uniform(0.15, 0.6) * duration)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        time.sleep(1.5)  # the workers notice that their parent is gone
    killed = _finish(out)
    assert _figures(killed) == pytest.approx(_figures(whole), abs=1e-3)
