"""The embedded maker of data: a photo becomes a puppet of Gaussians, edits change it, a motion moves it."""

from perse.studio.groups import Group, Rooted, Skinned, SurfaceDiscs
from perse.studio.puppet import PHOTO_CLOTHES, PHOTO_HAIR, Light, Puppet, label_code

__all__ = [
    "PHOTO_CLOTHES",
    "PHOTO_HAIR",
    "Group",
    "Light",
    "Puppet",
    "Rooted",
    "Skinned",
    "SurfaceDiscs",
    "label_code",
]
