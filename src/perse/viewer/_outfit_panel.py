"""The part of the live viewer in which outfits are kept under names, and put on again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perse.errors import PerseError
from perse.viewer._words import Words

if TYPE_CHECKING:
    import viser

    from perse.viewer.live import LiveViewer

NOTHING = "none yet"


class OutfitPanel:
    """A name to keep what is worn under, a list to put on from, and files."""

    def __init__(self, viewer: LiveViewer, gui: viser.GuiApi) -> None:
        self._viewer = viewer
        with gui.add_folder("outfits"):
            self.name: Any = gui.add_text("name", "")
            keep = gui.add_button("Keep what is worn")
            self.list: Any = gui.add_dropdown("kept", (NOTHING,), initial_value=NOTHING)
            acts: Any = gui.add_button_group("", ("Put on", "Forget"))
            self.words = Words(
                gui,
                "They are here again next time."
                if viewer.outfits.lasting
                else "They are kept until the viewer ends: this is no avatar in a build's folder.",
            )
            download = gui.add_button("Save what is worn as a file")
            load: Any = gui.add_upload_button("Put on from a file", mime_type="application/json")
        keep.on_click(lambda _: self.keep())
        acts.on_click(lambda _: self.put_on() if acts.value == "Put on" else self.forget())
        download.on_click(self._download)
        load.on_upload(lambda _: self._try(lambda: viewer.load_preset(load.value.content), "Put on."))
        self._renew()

    def keep(self) -> None:
        """Keep what is worn under the name that is written."""
        viewer, name = self._viewer, self.name.value.strip()
        done = f'"{name}" is kept.'
        if self._try(lambda: viewer.outfits.keep(name, viewer.scene.outfit), done):
            self._renew(name)
            self.name.value = ""

    def put_on(self) -> None:
        """Put on the outfit that is chosen in the list."""
        viewer, name = self._viewer, self.list.value
        self._try(
            lambda: viewer.wear(viewer.outfits.find(name)), f'"{name}" is put on. Undo takes it off again.'
        )

    def forget(self) -> None:
        """Forget the outfit that is chosen in the list."""
        name = self.list.value
        if self._try(lambda: self._viewer.outfits.forget(name), f'"{name}" is forgotten.'):
            self._renew()

    def _download(self, event: Any) -> None:
        if event.client is not None:
            event.client.send_file_download("outfit.json", self._viewer.preset())

    def _try(self, act: Any, done: str) -> bool:
        try:
            act()
        except PerseError as error:
            self.words.say(f"{error}.")
            return False
        self.words.say(done)
        return True

    def _renew(self, chosen: str | None = None) -> None:
        names = self._viewer.outfits.names or (NOTHING,)
        self.list.options = names
        self.list.value = chosen if chosen in names else names[-1]
