"""Gaussian splatting: cameras, sets of Gaussians, a differentiable rasterizer, 3DGS files."""

from perse.splat.camera import Camera
from perse.splat.gaussians import Gaussians
from perse.splat.options import RenderOptions
from perse.splat.ply import load_ply, load_ply_properties, save_ply
from perse.splat.rasterize import rasterize
from perse.splat.rendering import Rendering, render

__all__ = [
    "Camera",
    "Gaussians",
    "RenderOptions",
    "Rendering",
    "load_ply",
    "load_ply_properties",
    "rasterize",
    "render",
    "save_ply",
]
