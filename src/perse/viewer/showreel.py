"""``avatar.mp4``: the motion is played while one attribute after the other changes and blends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from perse.avatar import Avatar, Look
from perse.dataset import CATEGORIES, Motion
from perse.splat import Camera
from perse.viewer.media import to_uint8, write_video
from perse.viewer.sheet import Caption, short

HOLD, BLEND = 16, 12


def tour(avatar: Avatar) -> list[tuple[str, Look]]:
    """Stops of the showreel: the reference, one learned look of every category, and two combinations."""
    stops = [("the reference", avatar.reference)]
    by_category = {c: avatar.learned(c) for c in CATEGORIES}
    for category, prompts in by_category.items():
        if prompts:
            stops.append((short(prompts[0]), avatar.look(**{category: prompts[0]})))
    for pair in (("hat", "beard"), ("hair", "headphones")):
        chosen = {c: by_category[c][-1] for c in pair if by_category[c]}
        if len(chosen) == 2:
            stops.append((" + ".join(short(p) for p in chosen.values()), avatar.look(**chosen)))
    return [*stops, stops[0]]


def _frames(avatar: Avatar, motion: Motion, camera: Camera, size: int) -> Iterator[np.ndarray]:
    camera = camera.resized(size, size)
    t = 0
    total = len(motion.expr)
    stops = tour(avatar)
    for (caption, look), (_, following) in pairwise(stops):
        for step in range(HOLD + BLEND):
            weight = max(0, step - HOLD + 1) / BLEND
            shown = look if weight == 0 else avatar.mix(look, following, weight)
            # the motion is played forth and back, so that it never jumps
            index = t % (2 * total - 2)
            index = index if index < total else 2 * total - 2 - index
            picture = avatar.render(shown, motion.expr[index][None], motion.pose[index][None], camera)[0]
            yield _caption(to_uint8(picture), caption)
            t += 1


def _caption(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture with its text on a white band below it."""
    band = Caption(text, max(11, picture.shape[0] // 28)).draw(picture.shape[1])
    return np.concatenate([picture, band])


def write_showreel(avatar: Avatar, motion: Motion, camera: Camera, path: Path, size: int = 512) -> None:
    """Write the video (about 15 seconds at the motion's own rate)."""
    write_video(path, _frames(avatar, motion, camera, size), fps=motion.fps)
