"""Solve expression and pose of many frames at once, the shape being known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perse.capture.fit import FitWeights, landmark_weights, pose_vector
from perse.capture.model import LandmarkModel

RIGID_SIZE = 6  # the first parameters of a frame: rotation, translation
# layout of one frame's parameters
_ROTATION, _TRANSLATION = slice(0, 3), slice(3, 6)
_EXPR, _JAW, _GAZE = slice(6, 56), slice(56, 59), slice(59, 63)
_SIZE = 63
_RIGID_STEPS = 4
_CHUNK = 16  # frames solved together; bounds memory
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
        self._model, self._betas, self._focal, self._centre = model, betas, focal, centre
        weights = weights or FitWeights()
        self._weights = weights
        self._per_point = landmark_weights(weights)
        prior = torch.zeros(_SIZE, dtype=torch.float64)
        prior[_EXPR] = weights.expr
        prior[_JAW] = torch.tensor(weights.jaw, dtype=torch.float64)
        prior[_GAZE] = weights.gaze
        self._prior = prior

    def solve(self, points: Tensor, steps: int = 12) -> FrameStates:
        """Parameters of frames whose landmarks are `points` [T, 478, 2] (pixels)."""
        chunks = [self._solve_chunk(part.double(), steps) for part in points.split(_CHUNK)]
        x = torch.cat([x for x, _ in chunks])
        return FrameStates(x, torch.cat([error for _, error in chunks]))

    def _points(self, expr: Tensor, jaw_gaze: Tensor) -> Tensor:
        """Landmarks in the head frame [478, 3] of one frame."""
        return self._model.points(self._betas, expr, pose_vector(jaw_gaze[:3], jaw_gaze[3:]))

    def _pixels(self, points: Tensor, rigid: Tensor) -> Tensor:
        """Pixels [478, 2] of one frame."""
        return self._model.project(rigid[_ROTATION], rigid[_TRANSLATION], points, self._focal, self._centre)

    def _predict(self, x: Tensor) -> Tensor:
        return self._pixels(self._points(x[_EXPR], x[56:]), x[:6])

    def _residual(self, x: Tensor, target: Tensor, distance: Tensor) -> Tensor:
        """Landmark offsets, then priors, of one frame. [956 + 63 + 2 + 1]"""
        offset = (self._predict(x) - target) * self._per_point / (0.02 * distance)
        return torch.cat([offset.flatten(), self._priors(x)])

    def _priors(self, x: Tensor) -> Tensor:
        gaze = x[_GAZE]
        vergence = (gaze[:2] - gaze[2:]) * self._weights.vergence
        closed_jaw = x[56:57].clamp_max(0) * self._weights.jaw_closed
        return torch.cat([x * self._prior, vergence, closed_jaw])

    def _jacobian(self, x: Tensor, distance: Tensor, rigid_only: bool) -> Tensor:
        """d residual / d x of one frame: [R, 63], or [R, 6] for rotation and translation alone.

        Expression enters linearly: its column is the skinning matrix of each landmark times its directions. Only
        the 13 other parameters are differentiated, forward.
        """
        points = self._points(x[_EXPR], x[56:])
        by_rigid = torch.func.jacfwd(self._pixels, 1)(points, x[:6])  # [478, 2, 6]
        scale = self._per_point / (0.02 * distance)
        if rigid_only:
            data = (by_rigid * scale[..., None]).flatten(0, 1)
            return torch.cat([data, torch.func.jacfwd(self._priors)(x)[:, :6]])
        by_point = self._pixel_by_point(points, x[:6])  # [478, 2, 3]
        linear = self._model.skinning_matrices(self._betas, pose_vector(x[_JAW], x[_GAZE]))  # [478, 3, 3]
        by_expr = (by_point @ linear) @ self._model.E  # [478, 2, 50]
        by_pose = by_point @ torch.func.jacfwd(self._points, 1)(x[_EXPR], x[56:])  # [478, 2, 7]
        data = (torch.cat([by_rigid, by_expr, by_pose], -1) * scale[..., None]).flatten(0, 1)
        return torch.cat([data, torch.func.jacfwd(self._priors)(x)])

    def _pixel_by_point(self, points: Tensor, rigid: Tensor) -> Tensor:
        """d pixel / d point of every landmark, [478, 2, 3]."""

        def one(point: Tensor) -> Tensor:
            return self._pixels(point[None], rigid)[0]

        return torch.func.vmap(torch.func.jacfwd(one))(points)

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

    def _solve_chunk(self, target: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        first, second = _OUTER_EYE_CORNERS
        distance = torch.linalg.vector_norm(target[:, first] - target[:, second], dim=-1)
        residual = torch.func.vmap(self._residual)
        x = self._start(target, distance)
        damping = torch.full((len(x),), 1e-2, dtype=torch.float64)
        value = residual(x, target, distance)  # [T, R]
        for step in range(steps):
            rigid_only = step < _RIGID_STEPS
            free = RIGID_SIZE if rigid_only else _SIZE
            J = torch.func.vmap(self._jacobian, in_dims=(0, 0, None))(x, distance, rigid_only)  # [T, R, free]
            weighted = J * _huber_weight(value)[..., None]
            normal = weighted.transpose(1, 2) @ J
            gradient = (weighted.transpose(1, 2) @ value[..., None])[..., 0]
            diagonal = torch.diagonal(normal, dim1=-2, dim2=-1) + 1e-9
            scaled = normal + torch.diag_embed(diagonal * damping[:, None])
            candidate = x.clone()
            candidate[:, :free] -= torch.linalg.solve(scaled, gradient)
            candidate_value = residual(candidate, target, distance)
            better = _huber_cost(candidate_value) < _huber_cost(value)
            x = torch.where(better[:, None], candidate, x)
            value = torch.where(better[:, None], candidate_value, value)
            damping = torch.where(better, damping / 10, damping * 6).clamp(1e-8, 1e4)
        offset = torch.func.vmap(self._predict)(x) - target
        error = torch.linalg.vector_norm(offset, dim=-1).mean(-1) / distance * 100
        return x, error


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
