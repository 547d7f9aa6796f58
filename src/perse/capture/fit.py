"""Fit head and camera to the landmarks of one photo by damped, regularised least squares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from perse.capture.model import FitResult, LandmarkModel

_IRIS = list(range(468, 478))
_LIDS = [33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7,
         263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249]  # fmt: skip
_LIPS = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146,
         78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95]  # fmt: skip
_OUTER_EYE_CORNERS = (33, 263)
_STEP = 1e-6  # by which parameters are differenced; float64 leaves nine digits
_LIP_PAIRS = ((13, 14), (82, 87), (312, 317))  # upper and lower inner lip
_TOUCH = 0.015  # of the interocular distance: lips closer than this are closed


@dataclass(frozen=True)
class FitWeights:
    """How strongly a fit is held to usual heads. Landmark residuals are in 2 % of the interocular distance."""

    betas: float = 0.45
    """Per unit of shape coefficient."""
    expr: float = 0.6
    """Per unit of expression coefficient."""
    jaw: tuple[float, float, float] = (2.0, 12.0, 12.0)
    """Per radian of jaw turn about x (opening), y, z."""
    jaw_closed: float = 25.0
    """Per radian by which the jaw is turned shut beyond its rest."""
    jaw_known: float = 150.0
    """Per radian between the jaw's opening and a known one."""
    gaze: float = 2.0
    """Per radian of eye turn."""
    vergence: float = 20.0
    """Per radian by which the eyes differ."""
    iris: float = 1.5
    """Weight of the ten iris landmarks against one for most others."""
    lids: float = 3.0
    """Weight of the landmarks on the rims of the lids: closed eyes must close."""
    lips: float = 2.0
    """Weight of the landmarks on the rims of the lips."""
    steps: int = 30
    """Most Gauss-Newton steps."""


def landmark_weights(weights: FitWeights) -> Tensor:
    """[478, 1]"""
    result = torch.ones(478, 1, dtype=torch.float64)
    result[_IRIS], result[_LIDS], result[_LIPS] = weights.iris, weights.lids, weights.lips
    return result


# layout of the parameter vector
_ROTATION, _TRANSLATION = slice(0, 3), slice(3, 6)
_BETAS, _EXPR = slice(6, 106), slice(106, 156)
_JAW, _GAZE = slice(156, 159), slice(159, 163)
_SIZE = 163


def pose_vector(jaw: Tensor, gaze: Tensor, neck: Tensor | None = None) -> Tensor:
    """theta [..., 15] from jaw [..., 3], gaze [..., 4] (x, y turn of the left, then the right eye), neck [..., 3]."""
    zero = torch.zeros_like(jaw)
    rest = torch.zeros_like(gaze[..., :1])
    neck = zero if neck is None else neck
    return torch.cat([zero, neck, jaw, gaze[..., :2], rest, gaze[..., 2:], rest], -1)


def interocular(landmarks: Tensor) -> float:
    """Distance of the outer eye corners, pixels."""
    first, second = _OUTER_EYE_CORNERS
    return float(torch.linalg.vector_norm(landmarks[first, :2] - landmarks[second, :2]))


def fit_landmarks(
    model: LandmarkModel,
    landmarks: Tensor,
    focal: float,
    centre: tuple[float, float],
    weights: FitWeights | None = None,
    *,
    jaw: float | None = None,
) -> FitResult:
    """Camera, shape, expression, jaw and gaze that put the head's landmarks onto `landmarks` [478, 2+] (pixels).

    First the rigid pose alone, then everything together. Takes about a second. One picture hardly tells a long chin
    from an open jaw: `jaw` gives the opening in radians where it is known.
    """
    weights = weights or FitWeights()
    target = landmarks[:, :2].double()
    distance = interocular(target)
    residual = _residual_function(model, target, focal, centre, distance, weights, jaw)
    start = torch.zeros(_SIZE, dtype=torch.float64)
    depth = focal * _head_interocular(model) / distance
    middle = target.mean(0)
    start[3] = (middle[0] - centre[0]) * depth / focal
    start[4] = (middle[1] - centre[1]) * depth / focal
    start[5] = depth

    def rigid(x: Tensor) -> Tensor:
        return residual(torch.cat([x, start[6:]]))

    x = torch.cat([minimise(rigid, start[:6], 15), start[6:]])
    x = minimise(residual, x, weights.steps)
    predicted = _project(model, x, focal, centre)
    error = float(torch.linalg.vector_norm(predicted - target, dim=-1).mean()) / distance * 100
    pose = pose_vector(x[_JAW], x[_GAZE])
    return FitResult(x[_ROTATION], x[_TRANSLATION], x[_BETAS], x[_EXPR], pose, error)


def lips_touch(landmarks: Tensor) -> bool:
    """Whether landmarks [478, 2+] show a closed mouth; the jaw is then (nearly) shut."""
    gaps = [torch.linalg.vector_norm(landmarks[a, :2] - landmarks[b, :2]) for a, b in _LIP_PAIRS]
    return float(torch.stack(gaps).mean()) < _TOUCH * interocular(landmarks)


def _head_interocular(model: LandmarkModel) -> float:
    first, second = _OUTER_EYE_CORNERS
    return float(torch.linalg.vector_norm(model.template[first] - model.template[second]))


def _project(model: LandmarkModel, x: Tensor, focal: float, centre: tuple[float, float]) -> Tensor:
    points = model.points(x[_BETAS], x[_EXPR], pose_vector(x[_JAW], x[_GAZE]))
    return model.project(x[_ROTATION], x[_TRANSLATION], points, focal, centre)


def _residual_function(
    model: LandmarkModel,
    target: Tensor,
    focal: float,
    centre: tuple[float, float],
    distance: float,
    weights: FitWeights,
    jaw: float | None,
) -> Callable[[Tensor], Tensor]:
    """All residuals of the fit as one vector: landmarks, then priors."""
    per_point = landmark_weights(weights)
    jaw_weight = torch.tensor(weights.jaw, dtype=torch.float64)
    jaw_known = torch.zeros(3, dtype=torch.float64)
    if jaw is not None:
        jaw_known[0], jaw_weight[0] = jaw, weights.jaw_known

    def residual(x: Tensor) -> Tensor:
        offset = (_project(model, x, focal, centre) - target) * per_point / (0.02 * distance)
        gaze = x[_GAZE]
        priors = [
            x[_BETAS] * weights.betas,
            x[_EXPR] * weights.expr,
            (x[_JAW] - jaw_known) * jaw_weight,
            x[_JAW][:1].clamp_max(0) * weights.jaw_closed,
            gaze * weights.gaze,
            (gaze[:2] - gaze[2:]) * weights.vergence,
        ]
        return torch.cat([offset.flatten(), *priors])

    return residual


def minimise(residual: Callable[[Tensor], Tensor], x: Tensor, steps: int, tolerance: float = 1e-4) -> Tensor:
    """Levenberg-Marquardt on a vector of residuals (float64)."""
    value = residual(x)
    cost = float(value.square().sum())
    damping = 1e-3
    for _ in range(steps):
        J = _differenced(residual, x)
        normal, gradient = J.T @ J, J.T @ value
        for _ in range(8):
            scaled = normal + damping * torch.diag(normal.diagonal() + 1e-9)
            candidate = x - torch.linalg.solve(scaled, gradient)
            candidate_value = residual(candidate)
            candidate_cost = float(candidate_value.square().sum())
            if candidate_cost < cost:
                break
            damping *= 4
        else:
            return x
        gain = (cost - candidate_cost) / cost
        x, value, cost = candidate, candidate_value, candidate_cost
        damping = max(damping / 5, 1e-9)
        if gain < tolerance:
            return x
    return x


def _differenced(residual: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """d residual / d x [R, N] by central differences, all at once. (Forward-mode derivatives would be exact, but the
    first one makes torch import its compiler, which takes longer than the whole fit.)"""
    steps = torch.diag(torch.full_like(x, _STEP))
    both = torch.func.vmap(residual)(x + torch.cat([steps, -steps]))  # [2 N, R]
    there, back = both.chunk(2)
    return ((there - back) / (2 * _STEP)).T
