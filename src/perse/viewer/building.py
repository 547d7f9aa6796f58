"""A build started from the live viewer, and the avatar that grows in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from perse.avatar import Avatar
from perse.dataset import Dataset
from perse.viewer.job import Job, Progress

STAGES = {
    "portrait": 0.01,
    "dataset": 0.18,
    "avatar": 0.57,
    "blends": 0.06,
    "tuning": 0.09,
    "metrics": 0.05,
    "report": 0.04,
}
"""Stages of a build, and their usual shares of its time."""
_DOING = {
    "portrait": "looking at the photo",
    "dataset": "making the videos it learns from",
    "avatar": "learning the avatar",
    "blends": "making looks in between",
    "tuning": "learning looks in between",
    "metrics": "measuring it",
    "report": "writing the report",
}


@dataclass(frozen=True)
class Plan:
    """What may be built from the page."""

    photo: Path
    """The portrait."""
    out: Path
    """The build's folder."""
    preset: str = "demo"
    """Size of the build: a preset of `perse build`."""


class Build(Job):
    """One `perse build` of a photo into a folder, started at once."""

    doing = "the build"

    def __init__(self, plan: Plan) -> None:
        self.plan, self._grown = plan, 0.0
        super().__init__("build", str(plan.photo), "--out", str(plan.out), "--preset", plan.preset)

    def grown(self) -> Avatar | None:
        """The avatar as the last checkpoint has it; None while there is none newer than the last one asked for."""
        from perse.training import TrainConfig, snapshot

        folder = self.plan.out / "training"
        try:
            written = (folder / "checkpoint.safetensors").stat().st_mtime
        except OSError:
            return None
        if written <= self._grown:
            return None
        self._grown = written
        return snapshot(Dataset.open(self.plan.out / "dataset"), TrainConfig.preset(self.plan.preset), folder)

    def _now(self) -> Progress:
        finished = self._finished()
        stage = next((name for name in STAGES if name not in finished), "report")
        bar = self._bar()
        within, left = (0.0, "") if bar is None else bar
        share = sum(STAGES[name] for name in finished if name != stage)
        return Progress(min(1.0, share + STAGES[stage] * within), _DOING[stage] + left, "running")

    def _finished(self) -> list[str]:
        try:
            done = json.loads((self.plan.out / "build.json").read_text())["done"]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [name for name in STAGES if name in done]
