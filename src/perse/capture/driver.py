"""A face drives an avatar, frame by frame: landmarks, then expression and pose, without looking ahead.

`track` fits a whole video at once; here every frame is answered before the next one comes. What a driver looks like
stays behind: shape is fitted once and dropped, and what the face does is measured against the driver's neutral face.
"""

from __future__ import annotations

import time as clock
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perse.capture.fit import pose_vector
from perse.capture.following import FaceFollower
from perse.capture.frames import FrameSolver, FrameStates
from perse.capture.model import LandmarkModel
from perse.capture.one_euro import OneEuro
from perse.capture.tracking import BAD_ERROR, FOCAL_SHARE, MAX_TURN_SPEED, mean_shape
from perse.dataset import Motion, default_motion
from perse.errors import PerseError
from perse.head import Head, open_head
from perse.perception import Face, as_rgb8, landmarks

NEUTRAL_FRAMES = 5
"""Calmest frames of a calibration that the neutral face is the mean of."""
SHAPE_FRAMES = 3
"""Calmest frames that the shape is fitted to."""
_LOOKING = ("eyeLook", "browDown")  # scores that say nothing about how calm a face is
_JAW = slice(6, 9)  # where theta holds it
_STEPS = 2  # Gauss-Newton steps a frame, from the frame before
_FRESH_STEPS = 12
_HOLD_SECONDS = 0.5  # a face that is lost stays as it was for so long
_RELAX_SECONDS = 0.4  # and then relaxes, by 1/e in each of these
_MOST_NEUTRAL = 0.35  # of a face unit that a neutral face may hold
_PARTING = "mouth-parling"  # the face unit that only parts the lips
_JAW_SHARE = 0.7  # of what lips are too close: the jaw opens so far, lips part by the rest
_JAW_STEP = 0.05  # radians over which the lips' gap is taken to be linear in the jaw
_WIDEST_JAW = 0.6  # radians
_GOOD_ERROR = 3.0  # % of the interocular distance: a fit that is never doubted
_ERRORS = 120  # frames whose median error says what a usual fit is


@dataclass(frozen=True)
class Calibration:
    """What a driver looks like at rest."""

    betas: Tensor
    """[100] shape; used to fit the driver, never handed on."""
    expr: Tensor
    """[50] psi of the neutral face: what is peculiar to this driver."""
    jaw: Tensor
    """[3] jaw of the neutral face."""
    width: int
    """Size of the frames it was made for."""
    height: int


@dataclass(frozen=True)
class DriverFrame:
    """What one frame of the driver asks the avatar to do."""

    expr: Tensor
    """psi [50] of the avatar."""
    pose: Tensor
    """theta [15] of the avatar, the head's turn in the neck."""
    face: Face | None
    """What was seen; None where no face could be trusted and the last one is held."""
    seconds: float
    """Time it took, picture in to motion out."""


class FaceDriver:
    """Turns frames of one face into expression and pose, each before the next. Use as a context manager."""

    def __init__(self, head: Head | None = None, rest: tuple[Tensor, Tensor] | None = None) -> None:
        """`rest`: psi [50] and theta [15] of the avatar's neutral face; None: the bundled motion's first frame."""
        self._head = head or open_head()
        self._model, self._units = LandmarkModel(self._head), _Units(self._head)
        self._own_lips = _Lips(self._model, torch.zeros(100, dtype=torch.float64))
        self._lips: _Lips | None = None
        self._parting = self._units.direction(_PARTING)
        motion = default_motion()
        self._rest = rest or (motion.expr[0], motion.pose[0])
        self._closed = self._own_lips.gap(self._rest[0].double(), self._rest[1][_JAW].double())
        self._follow = FaceFollower()
        self._errors: deque[float] = deque(maxlen=_ERRORS)
        self._calibration: Calibration | None = None
        self._solver: FrameSolver | None = None
        self._state: Tensor | None = None
        self._seen: float | None = None
        self._smooth = (OneEuro(2.5, 0.5), OneEuro(2.0, 6.0))
        self._shown = self._rest

    def __enter__(self) -> FaceDriver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the networks."""
        self._follow.close()

    @property
    def calibration(self) -> Calibration | None:
        """The driver's neutral face, once it is known."""
        return self._calibration

    def calibrate(self, frames: Iterable[np.ndarray]) -> Calibration:
        """Learn the driver's shape and neutral face from the calmest of some frames uint8 [H, W, 3] of one size.

        Raises:
            PerseError: none of them shows a face.
        """
        found: list[tuple[float, Tensor]] = []
        size = (0, 0)
        for frame in frames:
            rgb = as_rgb8(frame)
            size = (rgb.shape[1], rgb.shape[0])
            faces = landmarks(rgb, max_faces=1)
            if faces:
                found.append((restlessness(faces[0]), faces[0].landmarks[:, :2].double()))
        if not found:
            raise PerseError(
                "no face to calibrate on; look into the camera with a relaxed face, lit from the front"
            )
        found.sort(key=lambda pair: pair[0])
        return self.calibrate_on(torch.stack([place for _, place in found[:NEUTRAL_FRAMES]]), *size)

    def calibrate_on(self, points: Tensor, width: int, height: int) -> Calibration:
        """As :meth:`calibrate`, from the landmarks of calm faces [T, 478, 2] in pixels of frames of that size."""
        focal, centre = _optics(width, height)
        betas = mean_shape(self._model, points[:SHAPE_FRAMES], focal, centre)
        self._solver = FrameSolver(self._model, betas, focal, centre)
        states = self._solver.solve(points)
        jaw = states.pose[:, _JAW].mean(0)
        neutral = self._units.believable(states.expr.mean(0))
        self._lips = _Lips(self._model, betas)
        self._calibration = Calibration(betas, neutral, jaw, width, height)
        self._state = None
        self._errors.clear()
        return self._calibration

    def __call__(self, frame: np.ndarray, time: float) -> DriverFrame:
        """The next frame uint8 [H, W, 3], seen at `time` seconds (growing).

        Raises:
            PerseError: not calibrated, or frames of another size than the calibration's.
        """
        start = clock.perf_counter()
        calibration = self._known()
        rgb = as_rgb8(frame)
        if rgb.shape[:2] != (calibration.height, calibration.width):
            raise PerseError(
                f"the driver was calibrated on {calibration.width} x {calibration.height} pixels, this frame has "
                f"{rgb.shape[1]} x {rgb.shape[0]}: calibrate anew"
            )
        face = self._follow(rgb, round(time * 1000))
        expr, pose, trusted = self.answer(None if face is None else face.landmarks[:, :2], time)
        return DriverFrame(expr, pose, face if trusted else None, clock.perf_counter() - start)

    def answer(self, points: Tensor | None, time: float) -> tuple[Tensor, Tensor, bool]:
        """psi [50], theta [15] for landmarks [478, 2] seen at `time`; False where they are held, as for None."""
        calibration = self._known()
        state = None if points is None else self._solve(points[None], time)
        if state is None:
            return *self._held(time), False
        self._state, self._seen = state.x, time
        expr, pose = self._retargeted(state, calibration)
        self._shown = self._smooth[0](expr, time), self._smooth[1](pose, time)
        return *self._shown, True

    def _known(self) -> Calibration:
        if self._calibration is None:
            raise PerseError("calibrate the driver first, on frames of a relaxed face")
        return self._calibration

    def _solve(self, points: Tensor, time: float) -> FrameStates | None:
        """Expression and pose of landmarks [1, 478, 2]; None where they cannot be right."""
        assert self._solver is not None
        lost = self._state is None or self._seen is None or time - self._seen > _HOLD_SECONDS
        near = None if lost else self._state
        state = self._solver.solve(points, _FRESH_STEPS if lost else _STEPS, near)
        error = float(state.error)
        if self._errors and error > max(BAD_ERROR * float(np.median(self._errors)), _GOOD_ERROR):
            return None
        if near is not None and self._seen is not None:
            turn = float(torch.linalg.vector_norm(state.rotation[0] - near[0, :3]).rad2deg())
            if turn > MAX_TURN_SPEED * max(time - self._seen, 1 / 120):
                return None
        self._errors.append(error)
        return state

    def _retargeted(self, state: FrameStates, calibration: Calibration) -> tuple[Tensor, Tensor]:
        """What the face does beyond the driver's neutral, on top of the avatar's own."""
        seen, jaw = state.pose[0], state.pose[0, _JAW]
        expr = self._rest[0].double() + self._units.beyond(state.expr[0], calibration.expr)
        pose = seen.clone()
        pose[_JAW] = self._rest[1][_JAW].double() + jaw - calibration.jaw
        pose[_JAW.start].clamp_(min=0)
        if self._lips is not None:
            apart = self._closed + self._lips.gap(state.expr[0], jaw).clamp(min=0)
            expr, pose = self._parted(expr, pose, apart)
        return expr.float(), pose.float()

    def _parted(self, expr: Tensor, pose: Tensor, apart: Tensor) -> tuple[Tensor, Tensor]:
        """psi [50] and theta [15] whose lips are `apart`, by the jaw for the most part.

        Lips that touch still have a gap at their rims (`_closed`), and a short chin parts them less for the same turn
        of the jaw: lips alone would make an open mouth of a shut jaw.
        """
        wider = pose.clone()
        for _ in range(2):  # the gap is nearly linear in the jaw
            wider[_JAW.start] = pose[_JAW.start] + _JAW_STEP
            now, more = (self._own_lips.gap(expr, theta[_JAW]) for theta in (pose, wider))
            turn = _JAW_SHARE * _JAW_STEP * (apart - torch.maximum(now, self._closed)) / (more - now)
            pose[_JAW.start] = (pose[_JAW.start] + turn.clamp(min=0)).clamp(max=_WIDEST_JAW)
        if self._parting is not None:
            now = self._own_lips.gap(expr, pose[_JAW])
            more = self._own_lips.gap(expr + self._parting, pose[_JAW])
            expr = expr + self._parting * ((apart - now) / (more - now)).clamp(-1, 1)
        return expr, pose

    def _held(self, time: float) -> tuple[Tensor, Tensor]:
        """The last face, relaxing once it has been away for a while."""
        away = 0.0 if self._seen is None else time - self._seen - _HOLD_SECONDS
        if away <= 0:
            return self._shown
        for smooth in self._smooth:
            smooth.reset()
        share = float(np.exp(-away / _RELAX_SECONDS))
        expr, pose = (rest + share * (shown - rest) for rest, shown in zip(self._rest, self._shown))
        return expr, pose


class _Lips:
    """How far the lips of one shape are apart, in distances between the outer corners of its eyes."""

    def __init__(self, model: LandmarkModel, betas: Tensor) -> None:
        whole = model.shaped(betas)
        self._points = whole.select([13, 14])  # the inner rims: middle of the upper lip, of the lower one
        self._width = torch.linalg.vector_norm(whole.rest[33] - whole.rest[263])

    def gap(self, expr: Tensor, jaw: Tensor) -> Tensor:
        """For psi [50] and the jaw's turn [3]."""
        upper, lower = self._points.points(expr, pose_vector(jaw, jaw.new_zeros(4)))[:, 1]
        return (upper - lower) / self._width


class _Units:
    """Expression as amounts of the head's face units, where it has any."""

    def __init__(self, head: Head) -> None:
        self._to_expr = None if head.unit_to_expr is None else head.unit_to_expr.double()
        self._names = head.unit_names
        self._lids = [i for i, name in enumerate(head.unit_names) if name.startswith("eyeBlink")]
        self._of_expr = None if self._to_expr is None else torch.linalg.inv(self._to_expr)

    def direction(self, name: str) -> Tensor | None:
        """psi [50] of one face unit; None for a head without it."""
        if self._to_expr is None or name not in self._names:
            return None
        return self._to_expr[self._names.index(name)]

    def believable(self, expr: Tensor) -> Tensor:
        """A neutral face [50] without what can hardly be one's neutral: closed eyes, a broad smile."""
        if self._to_expr is None or self._of_expr is None:
            return expr
        return (expr @ self._of_expr).clamp(-_MOST_NEUTRAL, _MOST_NEUTRAL) @ self._to_expr

    def beyond(self, expr: Tensor, neutral: Tensor) -> Tensor:
        """psi - neutral [50]; lids that are closed for the driver are closed for everyone."""
        if self._to_expr is None or self._of_expr is None:
            return expr - neutral
        units, rest = (expr - neutral) @ self._of_expr, neutral @ self._of_expr
        units[self._lids] = units[self._lids] / (1 - rest[self._lids])
        return units @ self._to_expr


def motion_of(frames: Iterable[DriverFrame], fps: float, source: str) -> Motion:
    """Driven frames as a motion that any avatar plays. PerseError if there are none."""
    frames = list(frames)
    if not frames:
        raise PerseError(f"{source}: no frames")
    expr, pose = (torch.stack([getattr(frame, name) for frame in frames]) for name in ("expr", "pose"))
    return Motion(expr, pose, torch.ones(len(frames), dtype=torch.bool), fps, None, source)


def restlessness(face: Face) -> float:
    """How far a face is from relaxed and looking ahead: blendshape scores added up, and its turn."""
    scores = sum(v for name, v in face.blendshapes.items() if not name.startswith(_LOOKING))
    return scores + sum(abs(angle) for angle in face.angles) / 20


def _optics(width: int, height: int) -> tuple[float, tuple[float, float]]:
    """Guessed focal length and centre, in pixels."""
    return FOCAL_SHARE * max(width, height), (width / 2, height / 2)


__all__ = ["Calibration", "DriverFrame", "FaceDriver", "motion_of"]
