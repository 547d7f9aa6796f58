"""The live viewer: a local web page with the person in it, and everything that can be changed beside it.

Pictures are drawn here, on whatever runs the rasterizer, and sent to the browser: a laptop without a GPU is enough,
and what is seen is exactly what `perse render` writes.
"""

from __future__ import annotations

import io
import json
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from perse.capture import Source
from perse.dataset import Motion
from perse.errors import PerseError
from perse.head import arkit_to_motion, open_head, quaternion_to_matrix
from perse.splat import Camera
from perse.viewer._build_panel import BuildPanel
from perse.viewer._controls import Controls
from perse.viewer._job_panel import JobPanel
from perse.viewer._transfer_panel import TransferPanel
from perse.viewer.building import Plan
from perse.viewer.feed import Feed
from perse.viewer.lobby import Lobby, arrange, start_server, stop_server, url_of
from perse.viewer.media import to_uint8, write_video
from perse.viewer.outfits import Outfits, outfit_to_json, read_outfit
from perse.viewer.stage import Acting, Choice, Outfit, Stage

if TYPE_CHECKING:
    import viser

STILL_HEIGHT, LEAST_HEIGHT = 720, 320
"""Rows of a picture at rest, and at least while something moves."""
FRAME_SECONDS = 1 / 24
"""Pictures that take longer are drawn smaller while something moves."""
SETTLED_SECONDS = 0.25
"""After this long without a change the picture is drawn at its best."""
UNDO_STEPS, UNDO_SECONDS = 50, 0.7
"""How many changes are remembered; what is moved within this time is one change."""
RECORDED_FRAMES = 120


@dataclass(frozen=True)
class Scene:
    """Everything the controls say; immutable, so that it can be remembered and drawn from another thread."""

    outfit: dict[str, Choice] = field(default_factory=dict)
    """What is worn."""
    units: dict[str, float] = field(default_factory=dict)
    """ARKit blendshape values, on top of the rest or the motion."""
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Degrees the head is turned further: yaw to the person's left, pitch down, roll."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Degrees both eyes are turned further: to the person's left, down."""
    frame: float | None = None
    """Row of the motion that is played; None: the face at rest."""
    background: tuple[int, int, int] = (255, 255, 255)
    """RGB, 0 to 255."""
    beside: bool = False
    """Whether the photo stands beside the person."""


class LiveViewer:
    """Serves one stage to any number of browser windows; controls are shared between them."""

    def __init__(
        self,
        stage: Stage,
        motion: Motion,
        *,
        outfit: Outfit | None = None,
        build: Plan | None = None,
        lobby: Lobby | None = None,
        host: str = "127.0.0.1",
        port: int = 8080,
    ) -> None:
        """Start serving. :meth:`close` ends it.

        Args:
            outfit: what is worn at first.
            build: the avatar of a photo that may be built from the page.
            lobby: whose server and page it takes over; None: a server of its own, on `host` and `port`.

        Raises:
            PerseError: viser is not installed, the port cannot be used, or the kept outfits cannot be read.
        """
        self._stage, self._motion, self._head = stage, motion, open_head()
        self.outfits = Outfits(stage.build)
        """What is kept under names."""
        self._scene, self._past, self._last_change = Scene(dict(outfit or {})), list[Scene](), 0.0
        self._driven: Acting | None = None
        self._feed: Feed | None = None
        self._lock, self._changed, self._closed = threading.RLock(), threading.Event(), False
        self._dressed: dict[str, Choice] | None = None
        self._playing, self._speed, self._loop = False, 1.0, True
        self._height = STILL_HEIGHT // 2
        self.server = start_server(host, port, f"PERSE: {stage.name}") if lobby is None else lobby.leave()
        self.updates: list[float] = []
        """Times at which pictures were sent, the last few hundred."""
        self._fill_page(build)
        self.server.on_client_connect(self._greet)
        self._drawer = threading.Thread(target=self._draw_forever, name="perse-viewer", daemon=True)
        self._drawer.start()

    @property
    def url(self) -> str:
        """Where it is served."""
        return url_of(self.server)

    @property
    def scene(self) -> Scene:
        """What is shown."""
        return self._scene

    def close(self) -> None:
        """Stop drawing and serving."""
        self.drive(None)
        if self._job is not None:
            self._job.close()
        self._closed = True
        self._changed.set()
        self._drawer.join(timeout=10)
        stop_server(self.server)

    def _fill_page(self, build: Plan | None = None) -> None:
        """The controls of who is shown, and below them a job: to make an avatar, or to teach it a look."""
        gui, stage = self.server.gui, self._stage
        self._controls = Controls(self, self.server, stage, self._head)
        job: JobPanel | None = None
        if build is not None:
            job = BuildPanel(self, gui, build)
        elif stage.build is not None:
            job = TransferPanel(self, gui, stage.build)
        self._job = job

    def show(self, stage: Stage) -> None:
        """Put somebody else before the camera, undressed. Outfits kept in memory go over, where they fit."""
        self.drive(None)
        outfits = Outfits(stage.build)
        if not self.outfits.lasting:
            outfits.take_over(self.outfits, stage)
        with self._lock:
            self._stage, self._scene, self._past, self._dressed = stage, Scene(), [], None
            self._driven, self._playing, self.outfits = None, False, outfits
            self.server.gui.reset()
            arrange(self.server)
            self._fill_page()
        for client in self.server.get_clients().values():
            self.reset_camera(client)
        self._changed.set()

    # ---- changes ----------------------------------------------------------------------------------------

    def change(self, **changes: Any) -> None:
        """Set fields of the scene; remembered for :meth:`undo`."""
        with self._lock:
            now = time.monotonic()
            if now - self._last_change > UNDO_SECONDS:
                self._past = [*self._past[-UNDO_STEPS + 1 :], self._scene]
            self._last_change = now
            self._scene = replace(self._scene, **changes)
        self._changed.set()

    def wear(self, outfit: Outfit) -> None:
        """Put on an outfit: a change of its own, however soon it comes after another."""
        with self._lock:
            self._last_change = 0.0
            self.change(outfit=dict(outfit))
            self._last_change = 0.0
            self._controls.show(self._scene)

    def offers(self, category: str, look: str) -> bool:
        """Whether there is a look of that name."""
        return look in self._stage.options(category)

    def take_in(self, category: str, look: str) -> None:
        """Take in a look that was taught meanwhile, and put it on. PerseError if it cannot be read."""
        with self._lock:
            self._stage.renew()
            self._controls.offer(category, look)
            self.wear({**self._scene.outfit, category: Choice(look)})

    def undo(self) -> Scene:
        """Go back to the scene before the last change, if there is one."""
        with self._lock:
            if self._past:
                self._scene = self._past.pop()
            self._last_change = 0.0
        self._changed.set()
        return self._scene

    def play(self, playing: bool, speed: float | None = None, loop: bool | None = None) -> None:
        """Start or stop the motion."""
        self._speed = self._speed if speed is None else speed
        self._loop = self._loop if loop is None else loop
        self._playing = playing
        self._changed.set()

    def act(self, acting: Acting | None) -> None:
        """What the face does until the next call, under the sliders; None: the scene's own rest or motion again."""
        self._driven = acting
        self._changed.set()

    def drive(self, source: Source | None) -> None:
        """Let a face drive the avatar from now on; None ends it. Errors on the way are shown in the page."""
        if self._feed is not None:
            self._feed.close()
        self._feed = None if source is None else Feed(source, self.act, self._controls.driver)

    def recalibrate(self) -> None:
        """Take the driver's face of the next moment as neutral."""
        if self._feed is not None:
            self._feed.recalibrate()

    # ---- drawing ----------------------------------------------------------------------------------------

    def picture(self, camera: Camera, scene: Scene | None = None) -> np.ndarray:
        """The scene as a camera sees it: uint8 [H, W, 3]. PerseError for a look that is not there."""
        with self._lock:
            scene = scene or self._scene
            if scene.outfit != self._dressed:
                self._dressed = None
                self._stage.dress(scene.outfit)
                self._dressed = dict(scene.outfit)
            background = torch.tensor(scene.background, dtype=torch.float32) / 255
            return to_uint8(self._stage.draw(self.acting(scene), camera, background))

    def seen(self, window: viser.CameraHandle, height: int) -> np.ndarray:
        """What a window shows, with `height` rows: uint8 [H, W, 3]; the photo left of the person if asked for."""
        photo = self._stage.portrait
        if photo is None or not self._scene.beside:
            return self.picture(camera_of(window, height))
        drawn = self.picture(camera_of(window, height, 0.5))
        side = min(height, drawn.shape[1])
        small = Image.fromarray(to_uint8(photo)).resize((side, side), Image.Resampling.BILINEAR)
        left = np.full_like(drawn, 255)
        top, start = (height - side) // 2, (drawn.shape[1] - side) // 2
        left[top : top + side, start : start + side] = np.asarray(small)
        return np.hstack([left, drawn])

    def acting(self, scene: Scene) -> Acting:
        """The face of a scene: a driver's, the motion's, or at rest; then the sliders on top."""
        base = self._driven
        if base is None:
            base = self._stage.rest if scene.frame is None else _frame_of(self._motion, scene.frame)
        expr, pose = arkit_to_motion(self._head, scene.units)
        yaw, pitch, roll = (math.radians(angle) for angle in scene.turn)
        pose[3:6] += torch.tensor([pitch, yaw, roll])
        across, down = (math.radians(angle) for angle in scene.gaze)
        pose[9:15] += torch.tensor([down, across, 0.0, down, across, 0.0])
        return Acting(base.expr + expr, base.pose + pose)

    def _draw_forever(self) -> None:
        settled = False
        clock = time.monotonic()
        while not self._closed:
            moving = self._playing
            if not moving and not self._changed.wait(timeout=None if settled else SETTLED_SECONDS):
                settled = True  # nothing happened for a while: one picture at its best
                self._send(STILL_HEIGHT)
                continue
            self._changed.clear()
            settled = False
            now = time.monotonic()
            if moving:
                self._advance((now - clock) * self._speed)
            clock = now
            seconds = self._send(self._height)
            if seconds > 0:
                wanted = self._height * math.sqrt(FRAME_SECONDS / seconds)
                self._height = round(min(max(0.7 * self._height + 0.3 * wanted, LEAST_HEIGHT), STILL_HEIGHT))
            if moving:
                time.sleep(max(0.0, FRAME_SECONDS - seconds))

    def _advance(self, seconds: float) -> None:
        with self._lock:
            frame = (self._scene.frame or 0.0) + seconds * self._motion.fps
            last = len(self._motion) - 1
            if frame > last and not self._loop:
                frame, self._playing = float(last), False
            self._scene = replace(self._scene, frame=frame % max(last, 1) if frame > last else frame)

    def _send(self, height: int) -> float:
        """Draw for every window; the longest time it took."""
        longest = 0.0
        for client in self.server.get_clients().values():
            start = time.perf_counter()
            try:
                image = self.seen(client.camera, height)
            except PerseError as error:
                client.add_notification("Cannot be shown", str(error), color="red", auto_close_seconds=8)
                self._controls.show(self.undo())
                continue
            with suppress(Exception):  # the window may be gone
                client.scene.set_background_image(image, format="jpeg", jpeg_quality=90)
                client.flush()
            longest = max(longest, time.perf_counter() - start)
            self.updates = [*self.updates[-299:], time.monotonic()]
        return longest

    def _greet(self, client: viser.ClientHandle) -> None:
        self.reset_camera(client)
        client.camera.on_update(lambda _: self._changed.set())
        self._changed.set()

    def reset_camera(self, client: viser.ClientHandle) -> None:
        """Look from where the portrait was taken."""
        position, look_at, up = view_of(self._stage.camera)
        client.camera.up_direction = up
        client.camera.position = position
        client.camera.look_at = look_at
        height = self._stage.camera.height
        client.camera.fov = 2 * math.atan(height / 2 / float(self._stage.camera.K[1, 1]))

    # ---- things to take away ----------------------------------------------------------------------------

    def screenshot(self, client: viser.ClientHandle) -> bytes:
        """What a window shows, as PNG."""
        buffer = io.BytesIO()
        Image.fromarray(self.seen(client.camera, STILL_HEIGHT)).save(buffer, format="PNG")
        return buffer.getvalue()

    def record(self, client: viser.ClientHandle, progress: Callable[[float], None]) -> bytes:
        """The motion from a window's view, from its start, as mp4."""
        camera = camera_of(client.camera, STILL_HEIGHT)
        count = min(RECORDED_FRAMES, len(self._motion))

        def frames():
            for t in range(count):
                yield self.picture(camera, replace(self._scene, frame=float(t)))
                progress((t + 1) / count)

        with TemporaryDirectory() as folder:
            path = Path(folder) / "perse.mp4"
            write_video(path, frames(), self._motion.fps)
            return path.read_bytes()

    def preset(self) -> bytes:
        """The outfit as JSON."""
        return json.dumps(outfit_to_json(self._scene.outfit), indent=1).encode()

    def load_preset(self, content: bytes) -> None:
        """Put on what :meth:`preset` wrote. PerseError if it is something else."""
        self.wear(read_outfit(content))


def camera_of(window: viser.CameraHandle, height: int, share: float = 1.0) -> Camera:
    """A window's view as a camera with `height` rows; in a `share` of its width it sees as much, smaller."""
    width = max(16, round(height * share * float(np.clip(window.aspect, 0.2, 5.0))))
    rotation = quaternion_to_matrix(torch.tensor(window.wxyz, dtype=torch.float32))  # camera to world
    viewmat = torch.eye(4)
    viewmat[:3, :3] = rotation.T
    viewmat[:3, 3] = -rotation.T @ torch.tensor(window.position, dtype=torch.float32)
    focal = height / 2 / math.tan(float(window.fov) / 2)
    if share < 1:
        focal *= min(1.0, width / height)
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Camera(viewmat, K, width, height)


def view_of(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position, the point looked at (as far away as the head's origin), and the up direction of a camera."""
    rotation, translation = camera.viewmat[:3, :3], camera.viewmat[:3, 3]
    position = -rotation.T @ translation
    look_at = position + rotation.T @ torch.tensor([0.0, 0.0, float(translation[2])])
    return position.numpy(), look_at.numpy(), (-rotation[1]).numpy()


def _frame_of(motion: Motion, frame: float) -> Acting:
    """A moment between two frames."""
    before = min(int(frame), len(motion) - 1)
    after = min(before + 1, len(motion) - 1)
    share = frame - before
    expr = motion.expr[before] * (1 - share) + motion.expr[after] * share
    return Acting(expr, motion.pose[before] * (1 - share) + motion.pose[after] * share)
