"""Expression space: 50 face units turned into 50 directions ordered by how much they move the face."""

from __future__ import annotations

import numpy as np

NOT_EXPRESSIONS = ("jawOpen", "tongueOut", "mouthClose")
"""Face units that are joint rotations (or the tongue, or only make sense on top of jawOpen)."""

EXTRA_UNITS = (
    "mouth-elevation", "mouth-eversion", "mouth-parling", "nose-compression", "nose-depression",
    "nose-left-dilatation", "nose-right-dilatation", "neck-platysma", "mouth-part-later",
)  # fmt: skip
"""MakeHuman expression units that fill up the 41 ARKit ones to 50."""


def expression_units(
    face_units: dict[str, np.ndarray], extra: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The 50 units the expression space is made of."""
    kept = {
        name: delta
        for name, delta in face_units.items()
        if name not in NOT_EXPRESSIONS and not name.startswith("eyeLook")
    }
    return {**kept, **extra}


def sample_activations(names: list[str], count: int, rng: np.random.Generator) -> np.ndarray:
    """Random sparse activations in [0, 1], left and right mostly together: [count, units]."""
    active = rng.random((count, len(names))) < 0.35
    amount = np.clip(rng.exponential(0.36, (count, len(names))) * active, 0, 1)
    for i, name in enumerate(names):
        other = name.removesuffix("Left") + "Right"
        if name.endswith("Left") and other in names and name not in ("mouthLeft", "jawLeft"):
            j = names.index(other)
            amount[:, j] = np.where(rng.random(count) < 0.7, amount[:, i], amount[:, j])
    return amount


def build_expression_space(
    units: dict[str, np.ndarray], count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal directions of random mixtures of the units.

    Args:
        units: name -> displacements in metres [V, 3].
        count: mixtures to sample.
        rng: the random source.

    Returns:
        expdirs [V, 3, 50] (one standard deviation of the mixtures each), unit_to_expr [50, 50] (exact coefficients
        of each unit at 1), explained [50] (cumulative).
    """
    deltas = np.stack(list(units.values())).astype(np.float64)  # [U, V, 3]
    flat = deltas.reshape(len(deltas), -1)
    activation = sample_activations(list(units), count, rng)
    centred = activation - activation.mean(0)
    gram = flat @ flat.T
    values, vectors = np.linalg.eigh(gram)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inverse_root = (vectors / np.sqrt(np.maximum(values, values.max() * 1e-12))) @ vectors.T
    variance, axes = np.linalg.eigh(root @ (centred.T @ centred / count) @ root)
    variance, axes = variance[::-1][:50], axes[:, ::-1][:, :50]
    basis = (inverse_root @ axes).T @ flat  # [50, V * 3], orthonormal
    deviation = np.sqrt(variance)
    expdirs = (basis * deviation[:, None]).reshape(50, -1, 3).transpose(1, 2, 0)
    unit_to_expr = flat @ basis.T / deviation
    return expdirs, unit_to_expr, np.cumsum(variance) / variance.sum()
