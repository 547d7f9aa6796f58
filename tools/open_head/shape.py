"""Shape space: sample phenotypes and local face parameters, keep the 100 directions that explain them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .raw import DECIMETRES, ETHNICITIES, RawData

LOCAL_FOLDERS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")
AGES = ("child", "young", "old")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")

OPPOSITES = {
    "incr": "decr", "up": "down", "in": "out", "forward": "backward", "convex": "concave",
    "compress": "uncompress", "square": "round",
}  # fmt: skip
"""Last words of target names that are the two ends of one slider."""

SPREAD = 0.24
"""Standard deviation of a local slider (its ends are -1 and 1)."""

QUIETER = {
    "head-trans": 0, "neck-trans": 0.3, "head-angle": 0.3, "head-age": 0.35, "diamond": 0.5, "square": 0.5,
    "rectangular": 0.5, "triangular": 0.5, "neck-scale-vert": 0.5, "measure-neck-height": 0.5, "ear": 0.5,
    "nubian": 0.4, "head-fat": 0.5, "bones": 0.6, "head-scale": 0.6, "epicanthus": 0.6,
}  # fmt: skip
"""Sliders (by a part of their name) whose ends are far outside what people look like: their spread is scaled."""


@dataclass(frozen=True)
class ShapeSpace:
    """Mean and directions in metres."""

    mean: np.ndarray  # [V, 3]
    directions: np.ndarray  # [V, 3, 100], one standard deviation of the sampled population each
    samples: np.ndarray  # [S, V, 3] a subset of the population
    sample_joints: np.ndarray  # [S, 5, 3]
    explained: np.ndarray  # [100] cumulative


def macro_coefficients(
    ethnicity: np.ndarray, gender: float, age: float, muscle: float, weight: float
) -> dict:
    """Weights of the macro targets for one phenotype.

    ethnicity [3] sums to 1; gender 0 female to 1 male; age -1 child, 0 young, 1 old; muscle and weight 0 to 1.
    """
    genders = {"female": 1 - gender, "male": gender}
    ages = dict(zip(AGES, (max(0.0, -age), 1 - abs(age), max(0.0, age))))
    muscles = dict(zip(MUSCLES, _tent(muscle)))
    weights = dict(zip(WEIGHTS, _tent(weight)))
    out = {}
    for g, g_weight in genders.items():
        for a, a_weight in ages.items():
            for e, e_weight in zip(ETHNICITIES, ethnicity):
                out[f"{e}-{g}-{a}"] = g_weight * a_weight * e_weight
            for m, m_weight in muscles.items():
                for w, w_weight in weights.items():
                    out[f"universal-{g}-{a}-{m}-{w}"] = g_weight * a_weight * m_weight * w_weight
    return out


def _tent(x: float) -> tuple[float, float, float]:
    return max(0.0, 1 - 2 * x), 1 - abs(2 * x - 1), max(0.0, 2 * x - 1)


def mean_phenotype() -> dict:
    """The neutral phenotype on which the mesh is cut."""
    return macro_coefficients(np.full(3, 1 / 3), 0.5, 0.0, 0.5, 0.5)


def sliders(names: list[str]) -> dict[str, list[tuple[str, str | None]]]:
    """Group local target names: symmetric slider -> its (positive, negative) ends, left and right together."""
    both_ways = {**OPPOSITES, **{v: k for k, v in OPPOSITES.items()}}
    grouped: dict[str, list[tuple[str, str | None]]] = {}
    used: set[str] = set()
    for name in names:
        if name in used:
            continue
        stem, _, last = name.rpartition("-")
        other = f"{stem}-{both_ways[last]}" if last in both_ways else None
        other = other if other in names else None
        used |= {name, other} if other else {name}
        key = name[2:] if name[:2] in ("l-", "r-") else name
        grouped.setdefault(key, []).append((name, other))
    return grouped


def sample_coefficients(
    names: list[str], local: list[str], count: int, rng: np.random.Generator
) -> np.ndarray:
    """Target weights of `count` random people: [count, len(names)]."""
    column = {name: i for i, name in enumerate(names)}
    grouped = sliders(local)
    out = np.zeros((count, len(names)), np.float32)
    for row in out:
        phenotype = macro_coefficients(
            rng.dirichlet([0.5] * 3),
            float(np.clip(rng.normal(rng.integers(0, 2), 0.25), 0, 1)),
            float(np.clip(rng.normal(0.15, 0.3), -0.3, 1)),
            float(np.clip(rng.normal(0.5, 0.2), 0, 1)),
            float(np.clip(rng.normal(0.5, 0.22), 0, 1)),
        )
        for name, weight in phenotype.items():
            row[column[name]] = weight
        for key, ends in grouped.items():
            quiet = float(np.prod([scale for part, scale in QUIETER.items() if part in key]))
            shared = rng.normal(0, SPREAD * quiet)
            for positive, negative in ends:
                value = float(
                    np.clip(shared + rng.normal(0, 0.12 * quiet), -1, 1)
                )  # faces are a little asymmetric
                if value >= 0:
                    row[column[positive]] = value
                elif negative:
                    row[column[negative]] = -value
    return out


def build_shape_space(
    data: RawData,
    place: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    base: np.ndarray,
    vertex_weight: np.ndarray,
    count: int,
    rng: np.random.Generator,
    scale: float,
) -> ShapeSpace:
    """Sample people and take the leading directions.

    Args:
        data: the raw files.
        place: linear map of raw positions or displacements [19158, 3] to head vertices [V, 3] and joints [5, 3],
            before the origin is moved.
        base: raw base mesh [19158, 3].
        vertex_weight: how much each vertex counts in choosing directions [V].
        count: people to sample.
        rng: the random source.
        scale: factor on the directions; below 1, N(0, 1) coefficients give milder faces than the sampled ones.
    """
    local = data.local_targets(LOCAL_FOLDERS)
    macro_names = list(mean_phenotype())
    names = macro_names + list(local)
    targets = [data.macro(n) for n in macro_names] + list(local.values())
    placed = [place(t) for t in [base, *targets]]
    vertices = np.stack([p[0] for p in placed]).astype(np.float64) * DECIMETRES  # [1 + K, V, 3]
    joints = np.stack([p[1] for p in placed]) * DECIMETRES  # [1 + K, 5, 3]
    vertices -= joints[:, 1:2]  # the origin is the skull base, of everybody
    joints -= joints[:, 1:2].copy()
    weights = sample_coefficients(names, list(local), count, rng)
    mixing = np.concatenate([np.ones((count, 1)), weights], 1)  # [S, 1 + K]
    flat = vertices.reshape(len(vertices), -1)
    mean = mixing.mean(0) @ flat

    # Weighted PCA without forming the population: everything lives in the span of the targets.
    centred = mixing - mixing.mean(0)
    importance = np.repeat(vertex_weight, 3)
    gram = (flat * importance) @ flat.T  # [1 + K, 1 + K]
    covariance = centred.T @ centred / count
    root = _square_root(gram)
    values, vectors = np.linalg.eigh(root @ covariance @ root)
    values, vectors = values[::-1], vectors[:, ::-1]
    scores = centred @ root @ vectors[:, :100] / np.sqrt(values[:100])  # [S, 100], unit variance
    directions = (scores.T @ centred / count) @ flat  # [100, V * 3]: regression of every vertex on the scores
    signs = np.sign(directions[np.arange(100), np.abs(directions).argmax(1)])
    directions = (directions * signs[:, None]).reshape(100, -1, 3).transpose(1, 2, 0) * scale
    subset = mixing[:600]
    return ShapeSpace(
        mean.reshape(-1, 3),
        directions,
        (subset @ flat).reshape(len(subset), -1, 3),
        np.einsum("sk,kjc->sjc", subset, joints),
        np.cumsum(values[:100]) / values.sum(),
    )


def _square_root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
