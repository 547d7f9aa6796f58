"""The avatar model M_Theta and what one does with it: dress, blend, pose, draw, keep (paper sections 4.1, A.1)."""

from perse.avatar.avatar import Avatar, Rendering
from perse.avatar.baked import BakedLook
from perse.avatar.codes import Codes, Look
from perse.avatar.fields import FieldConfig, Layout, Moved
from perse.avatar.latent import LatentConfig, LatentSpace
from perse.avatar.model import AvatarModel, ModelConfig
from perse.avatar.posing import Canonical, pose_canonical
from perse.avatar.start import Start
from perse.avatar.subjects import LearnedSubject

__all__ = [
    "Avatar",
    "AvatarModel",
    "BakedLook",
    "Canonical",
    "Codes",
    "FieldConfig",
    "LatentConfig",
    "LatentSpace",
    "Layout",
    "LearnedSubject",
    "Look",
    "ModelConfig",
    "Moved",
    "Rendering",
    "Start",
    "pose_canonical",
]
