"""Solve expression and pose of many frames at once, the shape being known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perse.capture.fit import FitWeights, landmark_weights, pose_vector
from perse.capture.model import LandmarkModel
from perse.head import rotation_matrices

RIGID_SIZE = 6  # the first parameters of a frame: rotation, translation
# layout of one frame's parameters
_ROTATION, _TRANSLATION = slice(0, 3), slice(3, 6)
_EXPR, _JAW, _GAZE = slice(6, 56), slice(56, 59), slice(59, 63)
_ANGLES = (6, 7, 8, 9, 10, 12, 13)  # where theta holds the last seven
_SIZE = 63
_RIGID_STEPS = 4
_CHUNK = 16  # frames solved together; bounds memory
_ANGLE_STEP = 1e-5  # radians; float64 leaves ten digits
_OUTER_EYE_CORNERS = (33, 263)
_HUBER = 2.5  # residuals (in 2 % of the interocular distance) beyond this count linearly


@dataclass(frozen=True)
class FrameStates:
    """What was solved for T frames."""

    x: Tensor
    """[T, 63] rotation, translation, expression, jaw, gaze."""
    error: Tensor
    """[T] mean landmark error, % of the interocular distance."""

    @property
    def rotation(self) -> Tensor:
        """[T, 3] axis-angle of the head, zero when facing the camera."""
        return self.x[:, _ROTATION]

    @property
    def expr(self) -> Tensor:
        """[T, 50]"""
        return self.x[:, _EXPR]

    @property
    def pose(self) -> Tensor:
        """[T, 15] with the head's turn in the neck joint."""
        zero = torch.zeros_like(self.x[:, :3])
        rest = zero[:, :1]
        left, right = self.x[:, 59:61], self.x[:, 61:63]
        return torch.cat([zero, self.rotation, self.x[:, _JAW], left, rest, right, rest], -1)


class FrameSolver:
    """Batched, robust, damped Gauss-Newton with the head's shape held fixed."""

    def __init__(
        self,
        model: LandmarkModel,
        betas: Tensor,
        focal: float,
        centre: tuple[float, float],
        weights: FitWeights | None = None,
    ) -> None:
        self._model, self._shaped, self._focal, self._centre = model, model.shaped(betas), focal, centre
        weights = weights or FitWeights()
        self._weights = weights
        self._per_point = landmark_weights(weights)
        prior = torch.zeros(_SIZE, dtype=torch.float64)
        prior[_EXPR] = weights.expr
        prior[_JAW] = torch.tensor(weights.jaw, dtype=torch.float64)
        prior[_GAZE] = weights.gaze
        self._prior = prior

    def solve(
        self, points: Tensor, steps: int = 12, start: Tensor | None = None, jaw: Tensor | None = None
    ) -> FrameStates:
        """Parameters of frames whose landmarks are `points` [T, 478, 2] (pixels).

        Args:
            start: [T, 63] parameters near the solution, such as those of the frame before: a few `steps` do then.
            jaw: [T] radians that the jaw is open, where that is known; needs `start`.
        """
        if jaw is not None and start is not None:
            start = start.clone()
            start[:, _JAW.start] = jaw
        starts = [None] * len(points) if start is None else list(start.double().split(_CHUNK))
        parts = zip(points.double().split(_CHUNK), starts)
        chunks = [self._solve_chunk(part, steps, near, jaw is not None) for part, near in parts]
        x = torch.cat([x for x, _ in chunks])
        return FrameStates(x, torch.cat([error for _, error in chunks]))

    def _predict(self, x: Tensor) -> Tensor:
        """Pixels [T, 478, 2]."""
        points = self._shaped.points(x[:, _EXPR], _theta(x))
        turn, place = x[:, _ROTATION], x[:, _TRANSLATION]
        return self._model.project(turn, place, points, self._focal, self._centre)

    def _residual(self, x: Tensor, target: Tensor, distance: Tensor) -> Tensor:
        """Landmark offsets, then priors. [T, 956 + 63 + 2 + 1]"""
        offset = (self._predict(x) - target) * self._per_point / (0.02 * distance[:, None, None])
        return torch.cat([offset.flatten(1), self._priors(x)], -1)

    def _priors(self, x: Tensor) -> Tensor:
        gaze = x[:, _GAZE]
        vergence = (gaze[:, :2] - gaze[:, 2:]) * self._weights.vergence
        closed_jaw = x[:, _JAW][:, :1].clamp_max(0) * self._weights.jaw_closed
        return torch.cat([x * self._prior, vergence, closed_jaw], -1)

    def _jacobian(self, x: Tensor, distance: Tensor, rigid_only: bool) -> Tensor:
        """d residual / d x: [T, R, 63], or [T, R, 6] for rotation and translation alone.

        In closed form for place and expression, which enters linearly: its columns are the skinning matrix of each
        landmark times its directions. The ten angles are differenced.
        """
        free = RIGID_SIZE if rigid_only else _SIZE
        points, by_expr, by_angle = self._shaped.linearized(x[:, _EXPR], _theta(x), _ANGLES)
        turn = rotation_matrices(x[:, _ROTATION])  # [T, 3, 3]
        by_turned, by_place = self._pixel_derivatives(points @ turn.mT, x[:, _TRANSLATION])  # [T, 478, 2, 3]
        by_rotation = torch.einsum(
            "tncd,tade,tne->tnca", by_turned, _turn_derivatives(x[:, _ROTATION]), points
        )
        columns = [by_rotation, by_place]
        if not rigid_only:
            by_point = by_turned @ turn[:, None]
            columns += [by_point @ by_expr, by_point @ by_angle]
        scale = self._per_point[..., None] / (0.02 * distance[:, None, None, None])
        data = (torch.cat(columns, -1) * scale).flatten(1, 2)
        return torch.cat([data, self._prior_derivatives(x)[..., :free]], 1)

    def _pixel_derivatives(self, turned: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """d pixel / d turned point and d pixel / d translation, each [T, 478, 2, 3]."""
        X = turned[..., 0] + place[:, None, 0]
        Y = -turned[..., 1] + place[:, None, 1]
        Z = -turned[..., 2] + place[:, None, 2]
        zero, f = torch.zeros_like(Z), self._focal / Z
        by_place = torch.stack([f, zero, -f * X / Z, zero, f, -f * Y / Z], -1).unflatten(-1, (2, 3))
        return by_place * by_place.new_tensor([1.0, -1.0, -1.0]), by_place

    def _prior_derivatives(self, x: Tensor) -> Tensor:
        """d priors / d x, [T, 63 + 2 + 1, 63]."""
        rows = torch.zeros(len(x), _SIZE + 3, _SIZE, dtype=x.dtype)
        rows[:, range(_SIZE), range(_SIZE)] = self._prior
        for axis in range(2):
            rows[:, _SIZE + axis, _GAZE.start + axis] = self._weights.vergence
            rows[:, _SIZE + axis, _GAZE.start + 2 + axis] = -self._weights.vergence
        rows[:, -1, _JAW.start] = (x[:, _JAW.start] < 0).to(x) * self._weights.jaw_closed
        return rows

    def _start(self, target: Tensor, distance: Tensor) -> Tensor:
        first, second = _OUTER_EYE_CORNERS
        width = torch.linalg.vector_norm(self._model.template[first] - self._model.template[second])
        depth = self._focal * width / distance  # [T]
        middle = target.mean(1)
        x = torch.zeros(len(target), _SIZE, dtype=torch.float64)
        x[:, 3] = (middle[:, 0] - self._centre[0]) * depth / self._focal
        x[:, 4] = (middle[:, 1] - self._centre[1]) * depth / self._focal
        x[:, 5] = depth
        return x

    def _solve_chunk(
        self, target: Tensor, steps: int, near: Tensor | None, hold_jaw: bool
    ) -> tuple[Tensor, Tensor]:
        first, second = _OUTER_EYE_CORNERS
        distance = torch.linalg.vector_norm(target[:, first] - target[:, second], dim=-1)
        x = self._start(target, distance) if near is None else near
        damping = torch.full((len(x),), 1e-2, dtype=torch.float64)
        value = self._residual(x, target, distance)  # [T, R]
        for step in range(steps):
            rigid_only = near is None and step < _RIGID_STEPS
            free = RIGID_SIZE if rigid_only else _SIZE
            J = self._jacobian(x, distance, rigid_only)  # [T, R, free]
            if hold_jaw:
                J[..., _JAW.start] = 0
            weighted = J * _huber_weight(value)[..., None]
            normal = weighted.mT @ J
            gradient = (weighted.mT @ value[..., None])[..., 0]
            diagonal = torch.diagonal(normal, dim1=-2, dim2=-1) + 1e-9
            scaled = normal + torch.diag_embed(diagonal * damping[:, None])
            candidate = x.clone()
            candidate[:, :free] -= torch.linalg.solve(scaled, gradient)
            candidate_value = self._residual(candidate, target, distance)
            better = _huber_cost(candidate_value) < _huber_cost(value)
            x = torch.where(better[:, None], candidate, x)
            value = torch.where(better[:, None], candidate_value, value)
            damping = torch.where(better, damping / 10, damping * 6).clamp(1e-8, 1e4)
        offset = self._predict(x) - target
        error = torch.linalg.vector_norm(offset, dim=-1).mean(-1) / distance * 100
        return x, error


def _theta(x: Tensor) -> Tensor:
    """theta [T, 15] with root and neck at rest: the turn is the camera's."""
    return pose_vector(x[:, _JAW], x[:, _GAZE])


def _turn_derivatives(rotation: Tensor) -> Tensor:
    """d rotation matrix / d axis-angle: [T, 3] -> [T, 3, 3, 3]."""
    step = torch.eye(3, dtype=rotation.dtype) * _ANGLE_STEP
    there, back = rotation_matrices(rotation[:, None] + step), rotation_matrices(rotation[:, None] - step)
    return (there - back) / (2 * _ANGLE_STEP)


def _huber_weight(value: Tensor) -> Tensor:
    """1 for small residuals, falling for landmarks that are far off; priors keep 1. [T, R]"""
    weight = (_HUBER / value.abs().clamp_min(_HUBER)).clone()
    weight[:, 956:] = 1
    return weight


def _huber_cost(value: Tensor) -> Tensor:
    """[T]"""
    data, prior = value[:, :956].abs(), value[:, 956:]
    small = data.clamp_max(_HUBER)
    return (small * (2 * data - small)).sum(-1) + prior.square().sum(-1)
