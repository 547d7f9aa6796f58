"""The part of the live viewer that turns a photo into an avatar, and shows it grow."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from perse.avatar import Avatar
from perse.errors import PerseError
from perse.viewer.building import Build
from perse.viewer.media import to_uint8
from perse.viewer.stage import AvatarStage, open_stage

if TYPE_CHECKING:
    import viser

    from perse.viewer.live import LiveViewer

LOOK_SECONDS = 1.0
"""How often a build is looked at."""
SIDE = 256
"""Size of the growing avatar's picture."""


class BuildPanel:
    """A button, a bar, words, and the avatar as the last checkpoint has it."""

    def __init__(self, viewer: LiveViewer, gui: viser.GuiApi, photo: Path, out: Path) -> None:
        self._viewer, self._photo, self._out = viewer, photo, out
        self._build: Build | None = None
        self._closed = threading.Event()
        with gui.add_folder("an avatar of this photo"):
            self._words = gui.add_markdown(
                "What you see is drawn by the studio. An avatar learns from its videos and blends continuously; "
                f"that takes some ten minutes on two cores and is written to `{out}`."
            )
            self.button = gui.add_button("Make it")
            self._bar: Any = gui.add_progress_bar(0.0, visible=False)
            blank = np.full((SIDE, SIDE, 3), 255, np.uint8)
            self._picture = gui.add_image(blank, format="jpeg", visible=False)
        self.button.on_click(self.start)

    @property
    def words(self) -> str:
        """What the user is told."""
        return str(self._words.content)

    def start(self, _: Any = None) -> None:
        """Start the build, or, once it is done, show what came out."""
        if self._build is not None:
            return
        self._build = Build(self._photo, self._out)
        self.button.disabled = True
        self._bar.visible = True
        threading.Thread(target=self._watch, args=(self._build,), name="perse-build", daemon=True).start()

    def close(self) -> None:
        """Interrupt what runs; the same command or button goes on with it another time."""
        self._closed.set()
        if self._build is not None:
            self._build.stop()

    def _watch(self, build: Build) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            now = build.progress()
            self._bar.value = 100 * now.share
            self._words.content = f"{now.words} ..." if now.state == "running" else now.words
            if now.state != "running":
                break
            self._show_grown(build)
        else:
            return
        build.stop()
        if now.state == "done":
            self._viewer.show(open_stage(self._out))
        else:
            self._build, self.button.disabled = None, False

    def _show_grown(self, build: Build) -> None:
        try:
            avatar = build.grown()
        except PerseError:  # a checkpoint may be replaced while it is read; the next one comes
            return
        if avatar is not None:
            self._picture.image = portrait_of(avatar)
            self._picture.visible = True


def portrait_of(avatar: Avatar) -> np.ndarray:
    """The reference at rest, uint8 [SIDE, SIDE, 3]."""
    stage = AvatarStage(avatar)
    return to_uint8(stage.draw(stage.rest, stage.camera.resized(SIDE, SIDE), torch.ones(3)))
