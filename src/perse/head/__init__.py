"""The parametric head: shape, expression and pose of a mesh and of any points bound to it."""

from ._native_skinning import takes as native_takes
from .arkit import UNSUPPORTED, arkit_names, arkit_to_motion, motion_to_arkit
from .flame import load_flame
from .model import PARTS, Head
from .raster import rasterize_mesh
from .skinning import (
    JOINT_NAMES,
    PARENTS,
    Binding,
    axis_angle_to_quaternion,
    blend_rotations,
    pose_transforms,
    quaternion_multiply,
    quaternion_to_matrix,
    rotation_matrices,
    skin,
    skin_runs,
)
from .storage import open_head
from .surface import closest_point, vertex_normals

__all__ = [
    "JOINT_NAMES",
    "PARENTS",
    "PARTS",
    "UNSUPPORTED",
    "Binding",
    "Head",
    "arkit_names",
    "arkit_to_motion",
    "axis_angle_to_quaternion",
    "blend_rotations",
    "closest_point",
    "load_flame",
    "motion_to_arkit",
    "native_takes",
    "open_head",
    "pose_transforms",
    "quaternion_multiply",
    "quaternion_to_matrix",
    "rasterize_mesh",
    "rotation_matrices",
    "skin",
    "skin_runs",
    "vertex_normals",
]
