"""The embedded maker of data: a photo becomes a puppet of Gaussians, edits change it, a motion moves it."""

from perse.studio.binding import cloth_weights, hanging_weights, head_weights, two_joint_weights
from perse.studio.groups import Group, Rooted, Skinned, SurfaceDiscs
from perse.studio.lift import lift
from perse.studio.makers import StudioAnimator, StudioEditor, StudioMorpher
from perse.studio.puppet import PHOTO_CLOTHES, PHOTO_HAIR, Light, Puppet, label_code

__all__ = [
    "PHOTO_CLOTHES",
    "PHOTO_HAIR",
    "Group",
    "Light",
    "Puppet",
    "Rooted",
    "Skinned",
    "StudioAnimator",
    "StudioEditor",
    "StudioMorpher",
    "SurfaceDiscs",
    "cloth_weights",
    "hanging_weights",
    "head_weights",
    "label_code",
    "lift",
    "two_joint_weights",
]
