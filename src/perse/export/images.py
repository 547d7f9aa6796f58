"""A look playing a motion as pictures with cameras, for programs that learn avatars from video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from perse.avatar import Avatar, Look
from perse.dataset import Frame, Motion, to_uint8, write_tracked_video

AT_ONCE = 8


def write_images(
    avatar: Avatar,
    look: Look,
    folder: str | Path,
    motion: Motion,
    size: int,
    progress: Callable[[], None] = lambda: None,
) -> Path:
    """Draw every frame of a motion on white, with alpha, in the layout of `perse.dataset.write_tracked_video`."""
    camera = avatar.camera.resized(size, size)

    def frames() -> Iterator[Frame]:
        for start in range(0, len(motion), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            view = camera
            if motion.viewmats is not None:
                view = replace(camera, viewmat=motion.viewmats[part])
            drawn = avatar.render_layers(look, motion.expr[part], motion.pose[part], view)
            for rgb, alpha in zip(drawn.rgb.cpu(), drawn.alpha.cpu()):
                yield Frame(to_uint8(rgb), to_uint8(alpha), torch.zeros(size, size, dtype=torch.uint8))
                progress()

    return write_tracked_video(
        folder, frames(), motion, camera, avatar.betas, len(avatar.head), avatar.head_name
    )
