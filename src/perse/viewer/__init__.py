"""Things to look at: pictures, videos, the report of a build, and the live viewer (`perse.viewer.live`)."""

from perse.viewer.media import save_image, write_video
from perse.viewer.report import write_report
from perse.viewer.showreel import write_showreel

__all__ = ["save_image", "write_report", "write_showreel", "write_video"]
