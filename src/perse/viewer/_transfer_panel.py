"""The part of the live viewer that teaches an avatar a look out of another photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from perse.avatar import folder_name
from perse.dataset import CATEGORIES, check_category
from perse.errors import PerseError
from perse.viewer._drop_zone import add_drop_zone
from perse.viewer._job_panel import JobPanel
from perse.viewer._words import Words
from perse.viewer.teaching import Teaching, keep_photo, why_not

if TYPE_CHECKING:
    import viser

    from perse.viewer.live import LiveViewer

ROWS = 120
"""Height at which the photo is shown."""
MAX_STEM = 40


class TransferPanel(JobPanel):
    """A photo, what to take from it, a name, and the job that learns it."""

    def __init__(self, viewer: LiveViewer, gui: viser.GuiApi, build: Path) -> None:
        super().__init__(viewer)
        self._build = build
        self._photo: Path | None = None
        self._stem = ""
        missing = why_not(build)
        with gui.add_folder("a look from another photo", expand_by_default=False):
            Words(
                gui,
                "A part of somebody else's photo becomes a look of this avatar. That takes some minutes; what it has "
                "learned stays as it is.",
            )
            upload: Any = gui.add_upload_button(
                "Choose a photo", mime_type="image/*", disabled=bool(missing), hint="one face, from the front"
            )
            if not missing:
                add_drop_zone(gui, "image/*", "or drop it here")
            blank = np.full((ROWS, ROWS, 3), 255, np.uint8)
            self._picture = gui.add_image(blank, format="jpeg", visible=False)
            self.category = gui.add_dropdown("take its", CATEGORIES, initial_value="hair")
            self.name: Any = gui.add_text("call it", "", hint="its name in the list; may be left empty")
            self.words = Words(gui, missing or "")
            self._add_buttons(gui, "Learn this look")
            self.button.disabled = bool(missing)
        upload.on_upload(lambda _: self.take(upload.value.content, upload.value.name))

    def take(self, content: bytes, filename: str) -> None:
        """Check a photo that somebody gave, and show it."""
        try:
            self._photo, picture = keep_photo(self._build, content)
        except PerseError as error:
            self.words.say(f"{error}.")
            return
        stem = "".join(letter for letter in Path(filename).stem if letter.isprintable())
        self._stem = stem[:MAX_STEM].strip() or self._photo.stem
        height, width = picture.shape[:2]
        small = Image.fromarray(picture).resize((max(1, round(width * ROWS / height)), ROWS))
        self._picture.image = np.asarray(small)
        self._picture.visible = True
        self.words.say(f"{self._stem}, {width} x {height} pixels.")

    def _make(self) -> Teaching:
        if self._photo is None:
            raise PerseError("Choose a photo first")
        category = self.category.value
        check_category(category)
        name = self.name.value.strip() or f"{category} of {self._stem}"
        folder_name(name)
        if self._viewer.offers(category, name):
            raise PerseError(f'There is a look called "{name}" already; call this one something else')
        return Teaching(self._build, self._photo, category, name)

    def _finish(self, job: Teaching) -> None:
        self._viewer.take_in(job.category, job.name)
        self.name.value = ""
        self.words.say(f'"{job.name}" is in the list of {job.category} now, and put on.')
