"""The tab of the live viewer in which a face drives the avatar."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from perse.capture import open_source
from perse.errors import PerseError
from perse.viewer._words import Words

if TYPE_CHECKING:
    import viser

    from perse.capture import DriverFrame
    from perse.viewer.live import LiveViewer

ROWS = 180
"""Height at which the driver is shown."""
MAX_VIDEO_BYTES = 512 << 20


class DriverPanel:
    """Start, stop, calibrate, and see who drives."""

    def __init__(self, viewer: LiveViewer, gui: viser.GuiApi) -> None:
        self._viewer, self._gui = viewer, gui
        self._folder: TemporaryDirectory[str] | None = None
        webcam = gui.add_button("By this computer's webcam")
        video: Any = gui.add_upload_button("By a video", mime_type="video/*")
        calm = gui.add_button("This is my relaxed face", hint="Look into the camera, then press")
        stop = gui.add_button("Stop")
        self.words = Words(gui, "A face moves the avatar: expression, gaze and turn, not its looks.")
        self._picture = gui.add_image(np.full((ROWS, ROWS * 4 // 3, 3), 240, np.uint8), format="jpeg")
        webcam.on_click(lambda _: self._start("webcam"))
        calm.on_click(lambda _: viewer.recalibrate())

        @video.on_upload
        def _(_: Any) -> None:
            content = video.value.content
            if len(content) > MAX_VIDEO_BYTES:
                self.say(f"This video is larger than {MAX_VIDEO_BYTES >> 20} MB.")
                return
            viewer.drive(None)
            self._folder = TemporaryDirectory(prefix="perse-")  # the file's own name is not used
            path = Path(self._folder.name) / "video"
            path.write_bytes(content)
            self._start(str(path))

        @stop.on_click
        def _(_: Any) -> None:
            viewer.drive(None)
            viewer.act(None)
            self.say("Stopped.")

    def _start(self, source: str) -> None:
        try:
            self._viewer.drive(open_source(source))
        except PerseError as error:
            self.say(f"{error}.")

    def say(self, text: str) -> None:
        """A line of plain text for the user."""
        self.words.say(text)

    def show(self, picture: np.ndarray, frame: DriverFrame) -> None:
        """The driver's picture [H, W, 3] and how long it took to follow it."""
        height, width = picture.shape[:2]
        small = Image.fromarray(picture).resize(
            (round(width * ROWS / height), ROWS), Image.Resampling.BILINEAR
        )
        self._picture.image = np.asarray(small)
        followed = f"{1000 * frame.seconds:.0f} ms from picture to motion"
        self.say(followed if frame.face is not None else "No face that can be trusted: the last one is held.")
