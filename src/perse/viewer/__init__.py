"""Things to look at: pictures, videos, the report of a build, and the live viewer (`perse.viewer.live`).

What is named here is imported when it is used: the live viewer's page is up before anything slow is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perse.viewer.media import save_image, write_video
    from perse.viewer.report import write_report
    from perse.viewer.showreel import write_showreel

__all__ = ["save_image", "write_report", "write_showreel", "write_video"]

_HOME = {
    "save_image": "media",
    "write_report": "report",
    "write_showreel": "showreel",
    "write_video": "media",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
