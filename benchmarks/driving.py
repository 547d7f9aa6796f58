"""How quickly and how faithfully a face drives an avatar: the landmarker is run again on what was drawn.

    python benchmarks/driving.py runs/demo [--every 2] [--strip strip.jpg]

Every frame of the bundled video is followed as a webcam's would be, one after the other. Printed: time from picture to
motion on the wall and of the processor, beside the whole-video tracker's a frame; and the correlation of blendshape
scores and of the lips' gap between the driver and the drawn avatar: over all drawn frames, and over those in which no
hand is before the face.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from perse import assets
from perse.capture import FaceDriver, VideoFile, track_details
from perse.perception import Face, LandmarkTracker, hidden_share
from perse.splat import Camera
from perse.viewer.media import to_uint8
from perse.viewer.sheet import hstack, vstack
from perse.viewer.stage import Acting, Stage, open_stage

SHOWN = (
    "jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookInRight", "eyeLookOutLeft",
    "mouthSmileLeft", "mouthSmileRight", "mouthUpperUpLeft", "browInnerUp", "browOuterUpRight",
)  # fmt: skip

COVERED = 0.06  # share of the inner face behind something else, as `perse track` repairs it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--every", type=int, default=2, help="draw every n-th frame")
    parser.add_argument(
        "--track", type=int, default=48, help="frames to time the whole-video tracker on; 0: none"
    )
    parser.add_argument("--strip", type=Path, help="write driver above avatar, once a second")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source, stage = VideoFile(assets.path("talking_head_video")), open_stage(arguments.avatar)
    camera = stage.camera.resized(384, 384)
    spent: list[tuple[float, float]] = []
    pairs: list[tuple[Face, Face, bool]] = []
    strip: list[np.ndarray] = []
    with FaceDriver() as driver, LandmarkTracker() as again:
        start = time.perf_counter()
        driver.calibrate(source.calm())
        print(f"calibration {time.perf_counter() - start:.1f} s")
        for index, (at, picture) in enumerate(source.frames()):
            before = time.process_time()
            frame = driver(picture, at)
            spent.append((1000 * frame.seconds, 1000 * (time.process_time() - before)))
            if index % arguments.every:
                continue
            drawn = _drawn(stage, Acting(frame.expr, frame.pose), camera)
            drawn_face = again.track(drawn, round(1000 * at))
            if frame.face is not None and drawn_face is not None:
                free = hidden_share(picture, frame.face.landmarks) <= COVERED
                pairs.append((frame.face, drawn_face, free))
            if index % round(source.fps) == 0:
                strip.append(vstack([_square(picture, frame.face), _shrunk(drawn)]))
    for what, values in zip(("on the wall", "of one core"), np.array(spent).T):
        print(
            f"picture to motion {what}: median {np.median(values):.0f} ms, 95 % {np.percentile(values, 95):.0f}"
        )
    if arguments.track:
        frames = [picture for _, (_, picture) in zip(range(arguments.track), source.frames())]
        start = time.process_time()
        track_details(frames, fps=source.fps)
        print(
            f"whole-video tracker: {1000 * (time.process_time() - start) / len(frames):.0f} ms of one core a frame"
        )
    _print_agreement(pairs)
    if arguments.strip:
        half = (len(strip) + 1) // 2
        sheet = vstack([hstack(strip[:half]), hstack(strip[half:])])
        Image.fromarray(sheet).save(arguments.strip, quality=85)


def _print_agreement(pairs: list[tuple[Face, Face, bool]]) -> None:
    free = np.array([pair[2] for pair in pairs])
    print(
        f"correlation driver - avatar over {len(pairs)} drawn frames, over the {free.sum()} without a hand; highest"
    )
    rows = {name: [[face.blendshapes[name] for face in pair[:2]] for pair in pairs] for name in SHOWN}
    rows["lips' gap"] = [[_gap(face) for face in pair[:2]] for pair in pairs]
    for name, values in rows.items():
        one, two = np.array(values).T
        every, some = np.corrcoef(one, two)[0, 1], np.corrcoef(one[free], two[free])[0, 1]
        print(f"  {name:18s} {every:5.2f} {some:5.2f}   {one.max():.2f} / {two.max():.2f}")


def _gap(face: Face) -> float:
    """Distance of the inner lips in interocular distances."""
    return float(face.landmarks[14, 1] - face.landmarks[13, 1]) / face.interocular


def _drawn(stage: Stage, acting: Acting, camera: Camera) -> np.ndarray:
    return to_uint8(stage.draw(acting, camera, torch.ones(3)))


def _shrunk(picture: np.ndarray, size: int = 128) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def _square(picture: np.ndarray, face: Face | None) -> np.ndarray:
    """The square of a driver's frame that shows the face; its right end where none was found."""
    side = min(picture.shape[:2])
    left, _, right, _ = face.box if face is not None else (picture.shape[1], 0, picture.shape[1], 0)
    first = int(np.clip((left + right) / 2 - side / 2, 0, picture.shape[1] - side))
    return _shrunk(picture[:side, first : first + side])


if __name__ == "__main__":
    main()
