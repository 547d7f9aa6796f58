"""track(): from a video of one face to the motion that drives an avatar.

Shape is shared over the video; expression, jaw, gaze and the head's turn are solved for every frame. The turn goes
into the neck joint, so shoulders stand still under a camera that stands still; where the head moves to is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perse.capture.fit import fit_landmarks, lips_touch
from perse.capture.following import FaceFollower
from perse.capture.frames import RIGID_SIZE, FrameSolver, FrameStates
from perse.capture.framing import warn
from perse.capture.model import LandmarkModel, intrinsics, view_matrix
from perse.capture.video import read_video, video_info
from perse.dataset import Motion
from perse.errors import PerseError
from perse.head import Head, open_head
from perse.perception import as_rgb8, hidden_share
from perse.splat import Camera

Progress = Callable[[int, int], None]
NECK = slice(3, 6)
"""Where theta holds the turn of a tracked head."""
JAW = 6
"""Where theta holds the opening of the jaw."""
_JAW_STEPS = 5  # of the solver, from the solution with another jaw

FOCAL_SHARE = 1.2  # guessed focal length in longer picture sides
_SHAPE_FRAMES = 12  # frames that the shape is averaged over
MAX_TURN_SPEED = 400.0  # degrees a second: faster is a wrong detection
BAD_ERROR = 2.2  # times the median fit error
_SMOOTH_SECONDS = 0.2  # window of the smoothing filter
_MAX_BAD = 0.5  # share of frames that may be repaired
_LOOKS_A_SECOND = 6.0  # how often it is checked whether something covers the face
_COVERED = 0.06  # share of the inner face that is covered: expression is not to be trusted
_WELL_COVERED = 0.3  # nor is the head's turn


@dataclass(frozen=True)
class Tracking:
    """A tracked video: the motion and how far to trust it."""

    motion: Motion
    """Smoothed; the head's turn is in the neck joint."""
    betas: Tensor
    """[100] the shape shared by all frames."""
    error: Tensor
    """[T] mean landmark error, % of the interocular distance; infinite where no face was found."""
    repaired: Tensor
    """[T] bool: frames whose expression (and mostly pose) is interpolated from their neighbours."""
    camera: Camera
    """viewmat [T, 4, 4], K and size of the video, for a head whose neck is at zero: turn and place are in it. The
    focal length is a guess, so distances are."""
    head: Head
    """The parametric head that was fitted."""

    def summary(self) -> str:
        """One line: how many frames, how many repaired, how well the head fits."""
        good = self.error[self.error.isfinite()]
        return (
            f"{len(self.error)} frames, {int(self.repaired.sum())} repaired; "
            f"median landmark error {float(good.median()):.2f} % of the distance between the eyes"
        )


@dataclass(frozen=True)
class _Landmarks:
    points: Tensor  # [T, 478, 2] float64 pixels; rows without a face are zero
    found: Tensor  # [T] bool
    covered: Tensor  # [T] share of the inner face behind something else
    width: int
    height: int


def track(
    video: str | Path | Iterable[np.ndarray],
    *,
    fps: float | None = None,
    head: Head | None = None,
    progress: Progress | None = None,
) -> Motion:
    """The motion of the one face in a video: expression and pose for every frame.

    `video` is a file, or frames uint8 [H, W, 3] together with `fps`. Neck at zero means facing the camera. Frames
    without a face, with a bad fit or a sudden jump (a hand before the face) are interpolated.

    Raises PerseError: unreadable video, no face in it, a face in less than half of it.
    """
    return track_details(video, fps=fps, head=head, progress=progress).motion


def track_details(
    video: str | Path | Iterable[np.ndarray],
    *,
    fps: float | None = None,
    head: Head | None = None,
    progress: Progress | None = None,
) -> Tracking:
    """As :func:`track`, with shape, error and repaired frames."""
    frames, rate, total, what = _open(video, fps)
    seen = _follow(frames, rate, total, what, progress)
    head = head or open_head()
    model = LandmarkModel(head)
    focal = FOCAL_SHARE * max(seen.width, seen.height)
    centre = (seen.width / 2, seen.height / 2)
    betas = _shared_shape(model, seen, focal, centre)
    solver = FrameSolver(model, betas, focal, centre)
    states = shut_jaw(solver, solver.solve(seen.points[seen.found]), seen.points[seen.found])
    states, error = _spread(states, seen.found)
    bad = _bad_frames(states, error, rate) | (seen.covered > _WELL_COVERED)
    bad_expr = bad | (seen.covered > _COVERED)
    if float(bad_expr.double().mean()) > _MAX_BAD:
        raise PerseError(
            f"{what}: the face could be followed in only {int((~bad_expr).sum())} of {len(bad)} frames; use a "
            "video of one face that is well lit, in focus and not covered"
        )
    states = _repaired(states, bad, bad_expr, rate, what)
    views = torch.stack([view_matrix(x[:3], x[3:RIGID_SIZE]) for x in states.x]).float()
    camera = Camera(views, intrinsics(focal, centre), seen.width, seen.height)
    train = torch.ones(len(bad), dtype=torch.bool)
    source = f"tracked from {Path(what).name}"
    motion = Motion(states.expr.float(), states.pose.float(), train, rate, None, source)
    return Tracking(motion, betas.float(), error.float(), bad_expr, camera, head)


def _open(
    video: str | Path | Iterable[np.ndarray], fps: float | None
) -> tuple[Iterator[np.ndarray], float, int, str]:
    """Frames, frames a second, their number (0: unknown) and a name for messages."""
    if isinstance(video, (str, Path)):
        info = video_info(Path(video))
        return read_video(Path(video)), fps or info.fps, info.frames, str(video)
    if fps is None:
        raise PerseError("frames given one by one need fps, the number of frames a second")
    return iter(video), fps, len(video) if isinstance(video, Sized) else 0, "the video"


def _follow(
    frames: Iterator[np.ndarray], fps: float, total: int, what: str, progress: Progress | None
) -> _Landmarks:
    """Landmarks of every frame."""
    points: list[np.ndarray] = []
    found: list[bool] = []
    covered: list[float] = []
    look_every = max(1, round(fps / _LOOKS_A_SECOND))
    size = (0, 0)
    with FaceFollower() as follow:
        for index, frame in enumerate(frames):
            rgb = as_rgb8(frame)
            if index and rgb.shape[:2] != size:
                raise PerseError(f"{what}: frame {index} has another size than the first")
            size = (rgb.shape[0], rgb.shape[1])
            face = follow(rgb, round(index * 1000 / fps))
            if face is None:
                points.append(np.zeros((478, 2)))
                covered.append(1.0)
            else:
                points.append(face.landmarks[:, :2].double().numpy())
                covered.append(hidden_share(rgb, points[-1]) if index % look_every == 0 else -1.0)
            found.append(face is not None)
            if progress is not None:
                progress(index + 1, total)
    if not any(found):
        raise PerseError(f"{what}: no face found; use a video of one face seen from the front")
    share = torch.from_numpy(_between_looks(np.array(covered)))
    return _Landmarks(torch.from_numpy(np.stack(points)), torch.tensor(found), share, size[1], size[0])


def _between_looks(covered: np.ndarray) -> np.ndarray:
    """Frames not looked at (-1) take the larger value of the looks before and after them."""
    looked = np.flatnonzero(covered >= 0)
    if not len(looked):
        return np.zeros_like(covered)
    after = np.searchsorted(looked, np.arange(len(covered))).clip(max=len(looked) - 1)
    before = (np.searchsorted(looked, np.arange(len(covered)), side="right") - 1).clip(min=0)
    return np.maximum(covered[looked[before]], covered[looked[after]])


def _shared_shape(
    model: LandmarkModel, seen: _Landmarks, focal: float, centre: tuple[float, float]
) -> Tensor:
    """Mean shape of frames spread over the video. [100]"""
    clear = seen.found & (seen.covered <= _COVERED)
    rows = (clear if bool(clear.any()) else seen.found).nonzero().flatten()
    chosen = rows[torch.linspace(0, len(rows) - 1, min(_SHAPE_FRAMES, len(rows))).round().long()]
    return mean_shape(model, seen.points[chosen], focal, centre)


def mean_shape(model: LandmarkModel, points: Tensor, focal: float, centre: tuple[float, float]) -> Tensor:
    """Mean shape [100] of fits to frames' landmarks [T, 478, 2], weighted towards the better ones.

    A single frame mistakes a long chin for an open jaw. Frames with closed lips tell by how much: the jaw of all
    frames is shut by that, and the shape makes up for it.
    """
    touch = [lips_touch(row) for row in points]
    if all(touch):
        fits = [fit_landmarks(model, row, focal, centre, jaw=0.0) for row in points]
    else:
        fits = [fit_landmarks(model, row, focal, centre) for row in points]
    shut = [float(fit.pose[JAW]) for fit, touches in zip(fits, touch, strict=True) if touches]
    if shut and not all(touch):
        jaws = [max(0.0, float(fit.pose[JAW]) - float(np.median(shut))) for fit in fits]
        fits = [
            fit_landmarks(model, row, focal, centre, jaw=jaw) for row, jaw in zip(points, jaws, strict=True)
        ]
    weights = torch.tensor([1 / fit.error**2 for fit in fits], dtype=torch.float64)
    shapes = torch.stack([fit.betas for fit in fits])
    return (weights / weights.sum()) @ shapes


def shut_jaw(solver: FrameSolver, states: FrameStates, points: Tensor) -> FrameStates:
    """The states solved again with the jaw shut where lips touch, and less open by as much in all other frames."""
    shut = torch.tensor([lips_touch(frame) for frame in points])
    if not bool(shut.any()):
        return states
    opening = states.pose[:, JAW]
    jaw = (opening - opening[shut].median()).clamp_min(0)
    return solver.solve(points, _JAW_STEPS, states.x, jaw)


def _spread(states: FrameStates, found: Tensor) -> tuple[FrameStates, Tensor]:
    """States [found] to states [T], and the error [T] with infinity where no face was found."""
    x = torch.zeros(len(found), states.x.shape[1], dtype=states.x.dtype)
    error = torch.full((len(found),), math.inf, dtype=states.x.dtype)
    x[found], error[found] = states.x, states.error
    return FrameStates(x, error), error


def _bad_frames(states: FrameStates, error: Tensor, fps: float) -> Tensor:
    """Frames that cannot be right: no face, a fit far worse than usual, or a jump. Neighbours included. [T] bool"""
    good = error.isfinite()
    bad = ~good | (error > BAD_ERROR * error[good].median())
    turn = torch.linalg.vector_norm(states.rotation.diff(dim=0), dim=-1) * 180 / math.pi * fps
    jump = torch.zeros_like(bad)
    jump[1:] = turn > MAX_TURN_SPEED
    jump &= ~bad
    jump[:-1] |= jump[1:].clone()
    bad |= jump
    reach = max(1, round(fps / 12))
    grown = torch.nn.functional.max_pool1d(bad[None, None].float(), 2 * reach + 1, 1, reach)[0, 0]
    return grown > 0 if bool((grown == 0).any()) else bad


def _repaired(states: FrameStates, bad: Tensor, bad_expr: Tensor, fps: float, what: str) -> FrameStates:
    """Repaired and smoothed. Frames `bad` are repaired whole, `bad_expr` in the face alone."""
    values = states.x.numpy().copy()
    times = np.arange(len(bad))
    for column in range(values.shape[1]):
        keep = ~(bad if column < RIGID_SIZE else bad_expr).numpy()
        values[~keep, column] = np.interp(times[~keep], times[keep], values[keep, column])
    longest = _longest_run(bad_expr.numpy())
    if longest > fps:
        warn(f"{what}: no usable face for {longest / fps:.1f} seconds; the motion there is interpolated")
    window = 2 * max(1, round(_SMOOTH_SECONDS * fps / 2)) + 1
    if len(values) > window:
        from scipy.signal import savgol_filter  # a second to import, and only videos need it

        values = savgol_filter(values, window, min(2, window - 1), axis=0, mode="nearest")
    return FrameStates(torch.from_numpy(values), states.error)


def _longest_run(flags: np.ndarray) -> int:
    best = current = 0
    for flag in flags:
        current = current + 1 if flag else 0
        best = max(best, current)
    return best
