"""A photo -> Portrait; a video -> Motion, whole or frame by frame; takes of face capture apps."""

from perse.capture.driver import Calibration, DriverFrame, FaceDriver, motion_of
from perse.capture.framing import CaptureWarning
from perse.capture.images import load_image
from perse.capture.livelink import read_take, write_take
from perse.capture.overlay import fit_overlay, parts_overlay, tracking_overlay
from perse.capture.portrait import capture, fit_error
from perse.capture.sources import Source, VideoFile, Webcam, open_source
from perse.capture.tracking import Tracking, track, track_details

__all__ = [
    "Calibration",
    "CaptureWarning",
    "DriverFrame",
    "FaceDriver",
    "Source",
    "Tracking",
    "VideoFile",
    "Webcam",
    "capture",
    "fit_error",
    "fit_overlay",
    "load_image",
    "motion_of",
    "open_source",
    "parts_overlay",
    "read_take",
    "track",
    "track_details",
    "tracking_overlay",
    "write_take",
]
