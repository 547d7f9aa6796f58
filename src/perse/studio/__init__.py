"""The embedded maker of data: a photo becomes a puppet of Gaussians, edits change it, a motion moves it."""

from perse.studio.groups import Group, Rooted, Skinned, SurfaceDiscs
from perse.studio.puppet import Light, Puppet

__all__ = ["Group", "Light", "Puppet", "Rooted", "Skinned", "SurfaceDiscs"]
