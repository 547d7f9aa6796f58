"""A build started from the live viewer: a process of its own, whose progress and growing avatar are looked at.

It is the command `perse build`, so it can be interrupted, and goes on when the button is pressed another time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perse.avatar import Avatar
from perse.dataset import Dataset, demo_attributes

STAGES = {"portrait": 0.02, "dataset": 0.25, "avatar": 0.65, "metrics": 0.04, "report": 0.04}
"""Stages of a build, and their usual shares of its time."""
MAX_LOG_BYTES = 1 << 16


@dataclass(frozen=True)
class Progress:
    """How far a build is."""

    share: float
    """0 to 1."""
    words: str
    """What it does at the moment, or why it ended."""
    state: Literal["running", "done", "failed"]


class Build:
    """One `perse build` of a photo into a folder, started at once."""

    def __init__(self, photo: Path, out: Path, preset: str = "demo") -> None:
        self.out, self._preset = out, preset
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed with the build
        command = [sys.executable, "-m", "perse.cli", "build", str(photo), "--out", str(out)]
        command += ["--preset", preset]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, preexec_fn=_yield
        )
        self._grown = 0.0

    def progress(self) -> Progress:
        """Where it is now."""
        status = self._process.poll()
        if status == 0:
            return Progress(1.0, f"done: perse view {self.out}", "done")
        if status is not None:
            return Progress(0.0, f"it ended with status {status}: {self._last_words()}", "failed")
        finished = self._finished()
        share = sum(STAGES[name] for name in finished)
        stage = next((name for name in STAGES if name not in finished), "report")
        return Progress(share + STAGES[stage] * self._within(stage), _DOING[stage], "running")

    def grown(self) -> Avatar | None:
        """The avatar as the last checkpoint has it; None while there is none newer than the last one asked for."""
        from perse.training import TrainConfig, snapshot

        folder = self.out / "training"
        try:
            written = (folder / "checkpoint.safetensors").stat().st_mtime
        except OSError:
            return None
        if written <= self._grown:
            return None
        self._grown = written
        return snapshot(Dataset.open(self.out / "dataset"), TrainConfig.preset(self._preset), folder)

    def stop(self) -> None:
        """Interrupt it as Ctrl-C would; what is finished stays. Nothing happens to one that has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def _finished(self) -> list[str]:
        try:
            done = json.loads((self.out / "build.json").read_text())["done"]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [name for name in STAGES if name in done]

    def _within(self, stage: str) -> float:
        """How much of a stage is done, 0 to 1."""
        from perse.training import TrainConfig

        if stage == "avatar":
            try:
                with open(self.out / "training" / "log.jsonl", "rb") as file:
                    file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
                    last = file.read().splitlines()[-1]
                step = int(json.loads(last)["step"])
            except (OSError, ValueError, KeyError, IndexError, TypeError):
                return 0.0
            return min(1.0, step / TrainConfig.preset(self._preset).steps)
        if stage == "dataset":
            made = len(list((self.out / "dataset" / "subjects").glob("*/subject.json")))
            return min(1.0, made / (1 + len(demo_attributes())))
        return 0.0

    def _last_words(self) -> str:
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - MAX_LOG_BYTES))
        lines = self._log.read().decode(errors="replace").replace("\r", "\n").splitlines()
        return " ".join(line for line in lines if line.strip())[-600:] if lines else "without a word"


_DOING = {
    "portrait": "looking at the photo",
    "dataset": "making the videos it learns from",
    "avatar": "learning the avatar",
    "metrics": "measuring it",
    "report": "writing the report",
}


def _yield() -> None:
    """Let what is looked at go first."""
    os.nice(10)
