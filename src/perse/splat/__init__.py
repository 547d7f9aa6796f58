"""Gaussian splatting: cameras, sets of Gaussians, a differentiable rasterizer, 3DGS files."""

from perse.splat.camera import Camera
from perse.splat.gaussians import Gaussians
from perse.splat.ply import load_ply, save_ply
from perse.splat.rasterize import rasterize

__all__ = ["Camera", "Gaussians", "load_ply", "rasterize", "save_ply"]
