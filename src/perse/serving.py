"""The start of the live viewer, for every command that shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perse.errors import PerseError

if TYPE_CHECKING:
    from perse.capture import Source
    from perse.dataset import Motion
    from perse.viewer.building import Plan
    from perse.viewer.lobby import Lobby
    from perse.viewer.stage import Outfit, Stage


@dataclass(frozen=True)
class Address:
    """Where the live viewer is served."""

    host: str = "127.0.0.1"
    """Address to serve on. Others than this machine's own let anyone in the network in."""
    port: int = 8080
    """Port to serve on; the next free one if it is taken."""
    browser: bool = True
    """Open a browser window (--no-browser: only print the address)."""


@contextmanager
def welcome(target: Path, address: Address) -> Iterator[Lobby]:
    """Serve a page at once, in which the browser can start and wait for who is to be shown.

    From here on, this process computes on half of the cores. Errors are left in the page, and raised.
    """
    import webbrowser

    leave_cores()
    from perse.viewer.lobby import Lobby, url_of
    from perse.viewer.target import avatar_folder

    avatar_folder(target)
    lobby = Lobby(target, address.host, address.port)
    try:
        if address.host not in ("127.0.0.1", "localhost", "::1"):
            print(f"warning: everyone who can reach {address.host} can see and change this")
        print(f"{url_of(lobby.server)}  (Ctrl-C ends it)", flush=True)
        if address.browser:
            webbrowser.open(url_of(lobby.server))
        lobby.say("Loading", 0.1)
        _let_torch_leave_cores()
        yield lobby
    except PerseError as error:
        lobby.fail(str(error))
        raise
    except BaseException:
        lobby.close()
        raise


def serve(
    lobby: Lobby,
    stage: Stage,
    motion: Motion,
    outfit: Outfit | None = None,
    source: Source | None = None,
    playing: bool = False,
    build: Plan | None = None,
) -> None:
    """Fill the page of the lobby with the live viewer, and serve it until interrupted.

    Dressed in `outfit`, driven by `source` or playing the motion.
    """
    import time

    from perse.viewer.live import LiveViewer

    viewer = LiveViewer(stage, motion, outfit=outfit, build=build, lobby=lobby)
    try:
        if source is not None:
            viewer.drive(source)
        viewer.play(playing)
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        pass
    finally:
        viewer.close()


def leave_cores() -> None:
    """Compute on half of the cores: the browser and a build need some, too. Threads that wait for one another on busy
    cores cost more than they bring: on two cores, three times as long until a photo's first picture.

    What is started from here is not told: a build takes all. Call it before numpy is imported; :func:`welcome` does.
    """
    told = "OPENBLAS_NUM_THREADS" in os.environ
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(_half()))
    import numpy  # noqa: F401 - these two bring an OpenBLAS each, which looks only now
    import scipy.linalg  # noqa: F401

    if not told:
        del os.environ["OPENBLAS_NUM_THREADS"]


def _let_torch_leave_cores() -> None:
    """The rest of :func:`leave_cores`, apart because torch takes seconds to import."""
    import torch

    torch.set_num_threads(min(_half(), torch.get_num_threads()))


def _half() -> int:
    return max(1, (os.cpu_count() or 1) // 2)
