"""The live viewer's page before there is anybody to show: the photo, and what is being done.

It is up in a second, for nothing slow is imported here: the browser starts while the avatar is read or made.
"""

from __future__ import annotations

import errno
import io
import socket
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from perse.errors import PerseError
from perse.viewer._words import Words

if TYPE_CHECKING:
    import viser

ROWS = 720
"""Height at which a photo is shown, at most."""
MAX_PIXELS = 50_000_000
PORTS = 100
"""How many ports are tried."""
FAREWELL_SECONDS = 0.7
"""How long a last message may take to every window."""


def start_server(host: str, port: int, label: str) -> viser.ViserServer:
    """Serve an empty page, on the next free port if this one is taken.

    Raises:
        PerseError: viser is not installed, or there is no serving there.
    """
    try:
        import viser
    except ImportError as error:
        raise PerseError("the live viewer needs viser: pip install 'perse[view]'") from error
    warnings.filterwarnings(
        "ignore", "Queued a .* on a closed connection"
    )  # a window that was closed meanwhile
    port = free_port(host, port)
    with redirect_stdout(io.StringIO()):  # its banner: who serves says where
        server = viser.ViserServer(host=host, port=port, label=label, verbose=False)
    arrange(server)
    return server


def free_port(host: str, port: int) -> int:
    """The first of a hundred ports that can be served on. viser itself would wait for ever where there is none.

    Raises:
        PerseError: no such address on this machine, no such port, none that is free or allowed.
    """
    if not 1 <= port <= 65535:
        raise PerseError(f"--port {port}: ports are numbers from 1 to 65535")
    why = ""
    for attempt in range(port, min(port + PORTS, 65536)):
        try:
            family, _, _, _, place = socket.getaddrinfo(host, attempt, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise PerseError(f"--host {host}: this machine has no such address; try 127.0.0.1") from error
            why = error.strerror or str(error)
            continue
        return attempt
    raise PerseError(f"cannot serve on {host}:{port} or after it ({why}); choose another --port")


def stop_server(server: viser.ViserServer) -> None:
    """End serving, without viser's word on it."""
    with redirect_stdout(io.StringIO()):
        server.stop()


def arrange(server: viser.ViserServer) -> None:
    """The page's looks: controls on the right, heads upright, no axes. A reset of the controls undoes it."""
    server.gui.configure_theme(control_width="large", show_logo=False, show_share_button=False)
    server.gui.main_panel.dock_right()
    server.scene.set_up_direction("+y")
    server.scene.world_axes.visible = False


def url_of(server: viser.ViserServer) -> str:
    """Where it is served."""
    return f"http://{server.get_host()}:{server.get_port()}"


class Lobby:
    """A server whose page says what is being done, until somebody else fills it."""

    def __init__(self, target: Path, host: str = "127.0.0.1", port: int = 8080) -> None:
        """Start serving. PerseError: it cannot.

        Args:
            target: a photo, which is shown, or an avatar's folder.
        """
        name = target.stem if target.is_file() else target.resolve().name
        self.server = start_server(host, port, f"PERSE: {name}")
        self._photo = _small(target) if target.is_file() else None
        self._open = True
        self._aspects: dict[int, float] = {}
        self._words = Words(self.server.gui, "Starting ...")
        self._bar: Any = self.server.gui.add_progress_bar(5.0)
        self.server.on_client_connect(self._greet)

    def say(self, text: str, share: float) -> None:
        """What is being done, and how much is done already: 0 to 1."""
        self._words.say(f"{text} ...")
        self._bar.value = 100 * share

    def fail(self, text: str) -> None:
        """Leave a message in the page, and end."""
        if self._open:
            self._bar.visible = False
            self._words.say(f"{text}.")
            self.server.flush()
            if self.server.get_clients():
                time.sleep(FAREWELL_SECONDS)
        self.close()

    def leave(self) -> viser.ViserServer:
        """The server with an empty page, for somebody else to fill; this page is over."""
        self._open = False
        self.server.gui.reset()
        arrange(self.server)
        return self.server

    def close(self) -> None:
        """End serving."""
        self._open = False
        stop_server(self.server)

    def _greet(self, client: viser.ClientHandle) -> None:
        client.camera.on_update(lambda _: self._show_photo(client))
        self._show_photo(client)

    def _show_photo(self, client: viser.ClientHandle) -> None:
        """Show the photo in a window, again when its shape has changed."""
        aspect = float(client.camera.aspect)
        if not self._open or self._photo is None or self._aspects.get(client.client_id) == aspect:
            return
        self._aspects[client.client_id] = aspect
        client.scene.set_background_image(framed(self._photo, aspect), format="jpeg")


def framed(picture: np.ndarray, aspect: float) -> np.ndarray:
    """A picture [H, W, 3] in the middle of a white one of another shape: width / height."""
    height, width = picture.shape[:2]
    rows, columns = max(height, round(width / aspect)), max(width, round(height * aspect))
    canvas = np.full((rows, columns, 3), 255, np.uint8)
    top, left = (rows - height) // 2, (columns - width) // 2
    canvas[top : top + height, left : left + width] = picture
    return canvas


def _small(photo: Path) -> np.ndarray | None:
    """A photo as far as a page needs it, uint8 [H, W, 3]; None if it cannot be read: who looks at it says why."""
    try:
        with Image.open(photo) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            picture.draft("RGB", (2 * ROWS, 2 * ROWS))  # a JPEG is read at a half or a quarter of its size
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    upright.thumbnail((2 * ROWS, ROWS))
    white = Image.new("RGBA", upright.size, "white")
    return np.asarray(Image.alpha_composite(white, upright).convert("RGB"))
