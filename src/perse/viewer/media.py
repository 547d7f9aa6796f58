"""Pictures and videos to disk, written aside and renamed: an interrupted write leaves no broken file."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from perse._files import written_whole


def to_uint8(image: torch.Tensor | np.ndarray) -> np.ndarray:
    """[..., 3] in [0, 1] (or uint8 already) -> uint8."""
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().numpy()
    if image.dtype == np.uint8:
        return image
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def save_image(path: Path, image: torch.Tensor | np.ndarray, quality: int = 92) -> None:
    """Write a picture [H, W, 3]; the suffix of ``path`` chooses the format."""
    with written_whole(path) as aside:
        Image.fromarray(to_uint8(image)).save(aside, quality=quality)


def write_video(path: Path, frames: Iterable[torch.Tensor | np.ndarray], fps: float, crf: int = 17) -> None:
    """Write pictures [H, W, 3] of one size as an H.264 video that any player opens.

    Sides are cut to even numbers, as H.264 wants.
    """
    import av

    options = {"movflags": "faststart"}
    with written_whole(path) as aside, av.open(str(aside), "w", options=options) as container:
        stream = None
        for frame in frames:
            picture = to_uint8(frame)
            height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
            if stream is None:
                rate = Fraction(fps).limit_denominator(1001)
                stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf)})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            picture = np.ascontiguousarray(picture[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if stream is None:
            raise ValueError("no frames to write")
        container.mux(stream.encode())
