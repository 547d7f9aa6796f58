"""The sliders and buttons of the live viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perse.dataset import CATEGORIES
from perse.errors import PerseError
from perse.head import Head, arkit_names
from perse.viewer._driver_panel import DriverPanel
from perse.viewer._outfit_panel import OutfitPanel
from perse.viewer.stage import AS_IN_PHOTO, Choice, Stage

if TYPE_CHECKING:
    import viser

    from perse.viewer.live import LiveViewer, Scene

GROUPS = ("brow", "eye", "cheek", "nose", "jaw", "mouth")
"""How the names of ARKit begin; one folder each."""


class Controls:
    """The sliders and buttons beside the picture."""

    def __init__(self, viewer: LiveViewer, server: viser.ViserServer, stage: Stage, head: Head) -> None:
        self._viewer, self._gui, self._stage, self._head = viewer, server.gui, stage, head
        self._quiet = False
        self._looks: dict[str, tuple[Any, Any, Any]] = {}
        self._units: dict[str, Any] = {}
        self._turn: list[Any] = []
        self._gaze: list[Any] = []
        tabs = server.gui.add_tab_group()
        with tabs.add_tab("Looks"):
            for category in CATEGORIES:
                self._add_category(category)
        with tabs.add_tab("Face"):
            self._add_face()
        with tabs.add_tab("Motion"):
            self._add_motion()
        with tabs.add_tab("Drive"):
            self.driver = DriverPanel(viewer, server.gui)
        with tabs.add_tab("Keep"):
            self._add_keep()
        self.show(viewer.scene)

    def _add_category(self, category: str) -> None:
        gui = self._gui
        with gui.add_folder(category, expand_by_default=category == "hair"):
            options = self._stage.options(category)
            look: Any = gui.add_dropdown("look", options, initial_value=AS_IN_PHOTO)
            typed = gui.add_text("or type", "", hint=f"words for {category}, for example from the list above")
            other = gui.add_dropdown("blend with", options, initial_value=AS_IN_PHOTO)
            weight = gui.add_slider("how far", 0.0, 1.0, 0.01, 0.0)
        self._looks[category] = (look, other, weight)

        def changed(_: Any) -> None:
            if not self._quiet:
                choice = Choice(look.value, other.value, weight.value)
                self._viewer.change(outfit={**self._viewer.scene.outfit, category: choice})

        for control in (look, other, weight):
            control.on_update(changed)

        @typed.on_update
        def _(event: Any) -> None:
            if not typed.value.strip():
                return
            try:
                prompt = self._stage.find(category, typed.value.strip())
            except PerseError as error:
                if event.client is not None:
                    event.client.add_notification(
                        "Not known", str(error), color="yellow", auto_close_seconds=8
                    )
                return
            self.offer(category, prompt)
            look.value = prompt

    def offer(self, category: str, prompt: str) -> None:
        """Make sure that a prompt can be chosen."""
        for control in self._looks[category][:2]:
            if prompt not in control.options:
                control.options = (*control.options, prompt)

    def _add_face(self) -> None:
        gui = self._gui
        reset = gui.add_button("Relax")
        with gui.add_folder("turn of the head"):
            for name, most in (("to the left", 40.0), ("down", 25.0), ("tilt", 25.0)):
                self._turn.append(gui.add_slider(name, -most, most, 0.5, 0.0))
        with gui.add_folder("gaze"):
            for name, most in (("eyes to the left", 30.0), ("eyes down", 25.0)):
                self._gaze.append(gui.add_slider(name, -most, most, 0.5, 0.0))
        names = arkit_names(self._head)
        for group in GROUPS:
            with gui.add_folder(group, expand_by_default=group == "jaw"):
                for name in (name for name in names if name.startswith(group)):
                    self._units[name] = gui.add_slider(name, 0.0, 1.0, 0.01, 0.0)

        def changed(_: Any) -> None:
            if not self._quiet:
                units = {name: slider.value for name, slider in self._units.items() if slider.value}
                yaw, pitch, roll = (slider.value for slider in self._turn)
                across, down = (slider.value for slider in self._gaze)
                self._viewer.change(units=units, turn=(yaw, pitch, roll), gaze=(across, down))

        for slider in (*self._units.values(), *self._turn, *self._gaze):
            slider.on_update(changed)

        @reset.on_click
        def _(_: Any) -> None:
            self._viewer.change(units={}, turn=(0.0, 0.0, 0.0), gaze=(0.0, 0.0))
            self.show(self._viewer.scene)

    def _add_motion(self) -> None:
        gui, viewer = self._gui, self._viewer
        play: Any = gui.add_checkbox("play", False)
        speed = gui.add_slider("speed", 0.1, 2.0, 0.1, 1.0)
        loop = gui.add_checkbox("again and again", True)
        still = gui.add_button("Back to the photo's face")
        for control in (play, speed, loop):
            control.on_update(lambda _: viewer.play(play.value, speed.value, loop.value))

        @still.on_click
        def _(_: Any) -> None:
            play.value = False
            viewer.change(frame=None)

    def _add_keep(self) -> None:
        gui, viewer = self._gui, self._viewer
        undo = gui.add_button("Undo")
        camera = gui.add_button("Reset camera")
        shot = gui.add_button("Save a picture")
        film = gui.add_button("Save a video of the motion")
        background = gui.add_rgb("background", (255, 255, 255))
        if self._stage.portrait is not None:
            beside: Any = gui.add_checkbox("photo beside it", False)
            beside.on_update(lambda _: viewer.change(beside=beside.value))
        self.outfits = OutfitPanel(viewer, gui)
        undo.on_click(lambda _: self.show(viewer.undo()))
        background.on_update(lambda _: viewer.change(background=tuple(background.value)))

        @camera.on_click
        def _(event: Any) -> None:
            if event.client is not None:
                viewer.reset_camera(event.client)

        @shot.on_click
        def _(event: Any) -> None:
            if event.client is not None:
                event.client.send_file_download("perse.png", viewer.screenshot(event.client))

        @film.on_click
        def _(event: Any) -> None:
            if event.client is None:
                return
            film.disabled = True
            bar = gui.add_progress_bar(0.0)
            try:
                content = viewer.record(event.client, lambda share: setattr(bar, "value", 100 * share))
                event.client.send_file_download("perse.mp4", content)
            finally:
                bar.remove()
                film.disabled = False

    def show(self, scene: Scene) -> None:
        """Set every control to a scene, without calling back."""
        self._quiet = True
        try:
            for category, (look, other, weight) in self._looks.items():
                choice = scene.outfit.get(category, Choice())
                for prompt in (choice.look, choice.other):
                    self.offer(category, prompt)
                look.value, other.value, weight.value = choice.look, choice.other, choice.weight
            for name, slider in self._units.items():
                slider.value = scene.units.get(name, 0.0)
            for slider, value in zip((*self._turn, *self._gaze), (*scene.turn, *scene.gaze)):
                slider.value = value
        finally:
            self._quiet = False
