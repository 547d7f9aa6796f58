"""Five joints: where they are, what they move, and the correctives that ride on their rotations."""

from __future__ import annotations

import numpy as np

from .mesh import LEFT_EYE, LOWER_TEETH, RIGHT_EYE, SKIN, TONGUE, UPPER_TEETH
from .raw import RAW_VERTICES, RawData, RawMesh

JOINT_GROUPS = ("joint-neck", "joint-head", "joint-mouth", "joint-l-eye", "joint-r-eye")
"""Marker cubes of the raw mesh whose centres are root, neck, jaw, left eye, right eye."""

ROOT, NECK, JAW, EYE_L, EYE_R = range(5)

BONE_JOINTS = {
    "jaw": {JAW: 1.0}, "eye.L": {EYE_L: 1.0}, "eye.R": {EYE_R: 1.0}, "head": {NECK: 1.0},
    "neck03": {NECK: 0.75, ROOT: 0.25}, "neck02": {NECK: 0.4, ROOT: 0.6}, "neck01": {NECK: 0.12, ROOT: 0.88},
}  # fmt: skip
"""How the bones of the raw rig (and all that hang on them) share their weights among our joints."""

PART_JOINT = {LEFT_EYE: EYE_L, RIGHT_EYE: EYE_R, UPPER_TEETH: NECK, LOWER_TEETH: JAW, TONGUE: JAW}


def joint_matrix(mesh: RawMesh) -> np.ndarray:
    """[5, 19158]: the mean of each marker cube."""
    matrix = np.zeros((5, RAW_VERTICES))
    for joint, group in enumerate(JOINT_GROUPS):
        used = mesh.group_vertices(group)
        matrix[joint, used] = 1 / len(used)
    return matrix


def skinning_weights(data: RawData, lift, vertex_part: np.ndarray) -> np.ndarray:
    """[V, 5], rows sum to 1. Eyeballs, teeth and tongue are rigid; nothing else hangs on an eye joint."""
    parents = data.bone_parents()
    raw = np.zeros((RAW_VERTICES, 5))
    for bone, pairs in data.bone_weights().items():
        if not pairs:
            continue
        ancestor = bone
        while ancestor and ancestor not in BONE_JOINTS:
            ancestor = parents[ancestor]
        array = np.array(pairs)
        for joint, share in BONE_JOINTS.get(ancestor, {ROOT: 1.0}).items():
            np.add.at(raw[:, joint], array[:, 0].astype(int), array[:, 1] * share)
    weights = lift @ raw
    not_eye = (vertex_part != LEFT_EYE) & (vertex_part != RIGHT_EYE)
    weights[not_eye, NECK] += (
        weights[not_eye, EYE_L] + weights[not_eye, EYE_R]
    )  # stray weight on lids and lashes
    weights[np.ix_(not_eye, [EYE_L, EYE_R])] = 0
    weights[weights.sum(1) < 1e-6] = np.eye(5)[NECK]
    weights /= weights.sum(1, keepdims=True)
    for part, joint in PART_JOINT.items():
        weights[vertex_part == part] = np.eye(5)[joint]
    return weights


def joint_regressor(
    samples: np.ndarray, joints: np.ndarray, mean: np.ndarray, vertex_part: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression of the joints on near skin vertices; eye joints are eyeball centres.

    Args:
        samples: people [S, V, 3].
        joints: their joints [S, 5, 3].
        mean: mean mesh [V, 3].
        vertex_part: [V].

    Returns:
        J_regressor [5, V] with rows that sum to 1, and the mean error of each joint in metres [5].
    """
    regressor = np.zeros((5, len(mean)))
    centre = joints.mean(0)
    for joint in range(5):
        if joint >= EYE_L:
            eye = vertex_part == (LEFT_EYE if joint == EYE_L else RIGHT_EYE)
            regressor[joint, eye] = 1 / eye.sum()
            continue
        distance = np.linalg.norm(mean - centre[joint], axis=1) + 9 * (vertex_part != SKIN)
        near = np.argsort(distance)[:160]
        rows = samples[:, near].transpose(0, 2, 1).reshape(-1, len(near))
        ridge = 0.15
        system = np.vstack([rows, np.full((1, len(near)), 100.0), np.eye(len(near)) * ridge])
        right = np.concatenate([joints[:, joint].reshape(-1), [100.0], np.full(len(near), ridge / len(near))])
        regressor[joint, near] = np.linalg.lstsq(system, right, rcond=None)[0]
        regressor[joint] /= regressor[joint].sum()
    error = np.linalg.norm(np.einsum("jv,svc->sjc", regressor, samples) - joints, axis=-1).mean(0)
    return regressor, error


def rotation_about_x(angle: float) -> np.ndarray:
    """[3, 3]; a positive angle turns +z (out of the face) down."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotation_angle_about_x(rest: np.ndarray, moved: np.ndarray) -> float:
    """Angle about x of the best rigid motion between two point sets [N, 3] (orthogonal Procrustes)."""
    u, _, vt = np.linalg.svd((rest - rest.mean(0)).T @ (moved - moved.mean(0)))
    rotation = vt.T @ np.diag([1, 1, np.linalg.det(vt.T @ u.T)]) @ u.T
    return float(np.arctan2(rotation[2, 1], rotation[2, 2]))


class Correctives:
    """Collects posedirs: displacements proportional to the sine of one joint's rotation about x."""

    def __init__(self, n_vertices: int):
        self.posedirs = np.zeros((n_vertices, 3, 36))

    def add(self, joint: int, sine: float, displacement: np.ndarray) -> None:
        """Reach `displacement` [V, 3] where the joint's rotation about x has the given sine.

        ``R - I`` holds the sine twice (entry 7, and negated in entry 5), so half is given to each.
        """
        first = (joint - 1) * 9
        self.posedirs[:, :, first + 7] += 0.5 * displacement / sine
        self.posedirs[:, :, first + 5] -= 0.5 * displacement / sine


def before_skinning(
    vertices: np.ndarray, target: np.ndarray, weights: np.ndarray, joint: np.ndarray, rotation: np.ndarray
) -> np.ndarray:
    """Displacement before skinning after which one rotated joint lands the mesh on ``vertices + target``.

    weights [V] is that joint's share, joint [3] its position; the other joints are at rest.
    """
    share = weights[:, None, None]
    blended = share * rotation + (1 - share) * np.eye(3)
    translation = weights[:, None] * (joint - rotation @ joint)
    return np.linalg.solve(blended, (vertices + target - translation)[..., None])[..., 0] - vertices
