"""The avatar model M_Theta and what one does with it: dress, blend, pose, draw, keep (paper sections 4.1, A.1)."""

from perse.avatar.adapter_storage import delete_adapter, folder_name, save_adapter
from perse.avatar.adapters import (
    Adapter,
    AdapterShape,
    LowRankAdapter,
    PointAdapter,
    adapter_kind,
    fingerprint,
    make_adapter,
)
from perse.avatar.avatar import Avatar, Rendering
from perse.avatar.baked import BakedLook
from perse.avatar.codes import Codes, Look
from perse.avatar.fields import FieldConfig, Layout, Moved
from perse.avatar.latent import LatentConfig, LatentSpace
from perse.avatar.linear import (
    LinearBetween,
    LinearField,
    LinearLayer,
    LinearLook,
    LinearTransfer,
    LinearYield,
    linear_field,
)
from perse.avatar.model import AvatarModel, ModelConfig
from perse.avatar.posing import Canonical, pose_canonical
from perse.avatar.start import Start
from perse.avatar.subjects import LearnedSubject

__all__ = [
    "Adapter",
    "AdapterShape",
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
    "LinearBetween",
    "LinearField",
    "LinearLayer",
    "LinearLook",
    "LinearTransfer",
    "LinearYield",
    "Look",
    "LowRankAdapter",
    "ModelConfig",
    "Moved",
    "PointAdapter",
    "Rendering",
    "Start",
    "adapter_kind",
    "delete_adapter",
    "fingerprint",
    "folder_name",
    "linear_field",
    "make_adapter",
    "pose_canonical",
    "save_adapter",
]
