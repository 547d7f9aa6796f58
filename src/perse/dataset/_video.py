"""Frames as all-intra H.264 in an mp4, written through PyAV and read one packet at a time.

Every frame is a key frame, so frame t needs its own packet only: the container's index gives the packet's place,
one read fetches it and one decode gives the picture.
Colour is stored at full resolution (4:4:4, full range, BT.601 matrix): at 4:2:0 strands of saturated hair on white
lose 5 to 8 dB at the same file size (docs/dataset.md). Rate control is tuned for PSNR, because a network and not an
eye reads the result; CAVLC and no deblocking make the decoder twice as fast for a tenth more bytes.
"""

import os
import threading
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import av
import cv2
import numpy as np

from perse.errors import PerseError

_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
_BT709_PRIMARIES = 1
_SRGB_TRANSFER = 13
_BT601_MATRIX = 6  # SMPTE 170M

FRAME_OPTIONS = {
    "preset": "veryfast",
    "tune": "psnr",
    "crf": "10",
    "coder": "0",
    "g": "1",
    "x264-params": "no-deblock=1:threads=1",
}
PREVIEW_OPTIONS = {"preset": "veryfast", "crf": "24", "g": "48", "x264-params": "threads=1"}


class VideoWriter:
    """Writes frames.mp4 (exact colour, random access) or preview.mp4 (4:2:0, small, opens anywhere)."""

    def __init__(self, path: Path, size: int, fps: float, *, preview: bool = False) -> None:
        self._preview = preview
        self._file: IO[bytes] = open(path, "wb")  # noqa: SIM115 - closed in close()
        self._container = av.open(self._file, "w", format="mp4")
        options = PREVIEW_OPTIONS if preview else FRAME_OPTIONS
        rate = round(fps * 1000)
        stream: Any = self._container.add_stream("libx264", rate=Fraction(rate, 1000), options=dict(options))
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p" if preview else "yuv444p"
        context = stream.codec_context
        context.thread_count = 1
        context.color_range = _LIMITED_RANGE if preview else _FULL_RANGE
        context.color_primaries = _BT709_PRIMARIES
        context.color_trc = _SRGB_TRANSFER
        context.colorspace = _BT601_MATRIX
        self._stream = stream

    def write(self, rgb: np.ndarray) -> None:
        """Append one frame. rgb [S, S, 3] uint8."""
        if self._preview:
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
        else:
            ycrcb = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)
            planes: Any = np.ascontiguousarray(
                ycrcb[..., [0, 2, 1]].transpose(2, 0, 1)
            )  # [3, S, S] Y, Cb, Cr
            frame = av.VideoFrame.from_ndarray(planes, format="yuv444p")
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        """Finish the file and push it to the disk."""
        try:
            for packet in self._stream.encode():
                self._container.mux(packet)
            self._container.close()
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def abort(self) -> None:
        """Give up: release the file, whatever is in it (a full disk must not hide the first error)."""
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class VideoIndex:
    """Where every packet of one frames.mp4 lies, and the header that its decoder needs."""

    def __init__(self, path: Path, size: int, frames: int) -> None:
        """Read the container's index only. PerseError if the video is not what the dataset promises."""
        self.path = path
        try:
            with av.open(str(path), "r", format="mp4") as container:
                if len(container.streams.video) != 1:
                    raise PerseError(f"{path}: holds {len(container.streams.video)} videos instead of one")
                stream: Any = container.streams.video[0]
                context = stream.codec_context
                if context.name != "h264" or (context.width, context.height) != (size, size):
                    found = f"{context.name} at {context.width} x {context.height}"
                    raise PerseError(f"{path}: holds {found}, not h264 at {size} x {size}")
                self.extradata = bytes(context.extradata or b"")
                entries = [(int(entry.pos), int(entry.size)) for entry in stream.index_entries]
        except (OSError, ValueError, av.error.FFmpegError) as error:
            raise PerseError(f"{path}: not a readable video ({error}); it may be truncated") from error
        if len(entries) != frames:
            raise PerseError(f"{path}: holds {len(entries)} frames instead of {frames}; it may be truncated")
        end = path.stat().st_size
        if any(
            position < 0 or not 0 < length <= 64 << 20 or position + length > end
            for position, length in entries
        ):
            raise PerseError(f"{path}: its index points outside the file; the video is truncated")
        self.packets = entries


class FrameDecoder:
    """Decodes single packets; one per thread, kept per header because frames of a dataset share it."""

    def __init__(self) -> None:
        self._local = threading.local()

    def _context(self, extradata: bytes) -> Any:
        contexts = self._local.__dict__.setdefault("contexts", {})
        if extradata not in contexts:
            if len(contexts) >= 16:
                contexts.clear()
            context: Any = av.CodecContext.create("h264", "r")
            context.extradata = extradata
            context.thread_count = 1
            context.options = {"err_detect": "explode"}
            contexts[extradata] = context
        return contexts[extradata]

    def decode(self, index: VideoIndex, t: int, data: bytes, size: int) -> np.ndarray:
        """The picture in packet `data`: rgb [S, S, 3] uint8."""
        try:
            context = self._context(index.extradata)
            frames = context.decode(av.Packet(data))
            if not frames:
                frames = context.decode(None)
                context.flush_buffers()
        except (ValueError, av.error.FFmpegError) as error:
            self._local.__dict__.pop("contexts", None)
            raise PerseError(f"{index.path}: frame {t} is damaged ({error})") from error
        if len(frames) != 1 or (frames[0].width, frames[0].height) != (size, size) or frames[0].is_corrupt:
            self._local.__dict__.pop("contexts", None)
            raise PerseError(f"{index.path}: frame {t} is damaged")
        frame = frames[0]
        if frame.format.name not in ("yuv444p", "yuvj444p"):
            raise PerseError(f"{index.path}: frame {t} is stored as {frame.format.name}, not as yuv444p")
        y, cb, cr = frame.to_ndarray()  # [3, S, S]
        return cv2.cvtColor(cv2.merge([y, cr, cb]), cv2.COLOR_YCrCb2RGB)
