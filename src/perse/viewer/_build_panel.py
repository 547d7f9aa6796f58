"""The part of the live viewer that turns a photo into an avatar, and shows it grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from perse.avatar import Avatar
from perse.errors import PerseError
from perse.viewer._job_panel import JobPanel
from perse.viewer._words import Words
from perse.viewer.building import Build, Plan
from perse.viewer.media import to_uint8
from perse.viewer.stage import AvatarStage, open_stage

if TYPE_CHECKING:
    import viser

    from perse.viewer.live import LiveViewer

SIDE = 256
"""Size of the growing avatar's picture."""
USUAL_TIME = {
    "tiny": "a minute on two cores (a sketch, only to try it)",
    "demo": "a quarter of an hour on two cores",
    "full": "some hours on a GPU",
    "paper": "a day on eight GPUs",
}


class BuildPanel(JobPanel):
    """A button, a bar, words, and the avatar as the last checkpoint has it."""

    def __init__(self, viewer: LiveViewer, gui: viser.GuiApi, plan: Plan) -> None:
        super().__init__(viewer)
        self._plan = plan
        with gui.add_folder("an avatar of this photo"):
            self.words = Words(
                gui,
                "What you see is drawn by the studio. An avatar learns from its videos, moves as a person does and "
                f"blends without steps. That takes {USUAL_TIME[plan.preset]} and is written to {plan.out}.",
            )
            self._add_buttons(gui, "Make it")
            blank = np.full((SIDE, SIDE, 3), 255, np.uint8)
            self._picture = gui.add_image(blank, label="the avatar so far", format="jpeg", visible=False)

    def _make(self) -> Build:
        return Build(self._plan)

    def _look(self, job: Build) -> None:
        try:
            avatar = job.grown()
        except (PerseError, OSError):  # files may be replaced while they are read; the next checkpoint comes
            return
        if avatar is not None:
            self._picture.image = portrait_of(avatar)
            self._picture.visible = True

    def _finish(self, job: Build) -> None:
        self._viewer.show(open_stage(self._plan.out))


def portrait_of(avatar: Avatar) -> np.ndarray:
    """The reference at rest, uint8 [SIDE, SIDE, 3]."""
    stage = AvatarStage(avatar)
    return to_uint8(stage.draw(stage.rest, stage.camera.resized(SIDE, SIDE), torch.ones(3)))
