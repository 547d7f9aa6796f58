"""A photo -> Portrait; a video -> Motion."""

from perse.capture.framing import CaptureWarning
from perse.capture.images import load_image
from perse.capture.overlay import fit_overlay, parts_overlay, tracking_overlay
from perse.capture.portrait import capture, fit_error
from perse.capture.tracking import Tracking, track, track_details

__all__ = [
    "CaptureWarning",
    "Tracking",
    "capture",
    "fit_error",
    "fit_overlay",
    "load_image",
    "parts_overlay",
    "track",
    "track_details",
    "tracking_overlay",
]
