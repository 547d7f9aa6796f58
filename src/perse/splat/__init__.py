"""Gaussian splatting: cameras, sets of Gaussians, a differentiable rasterizer, 3DGS files."""

from perse.splat.camera import Camera
from perse.splat.gaussians import Gaussians
from perse.splat.rasterize import rasterize

__all__ = ["Camera", "Gaussians", "rasterize"]
