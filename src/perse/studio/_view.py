"""The photo's camera as the lift needs it: project, unproject, depth maps of the head. Arrays are numpy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from perse.head import rasterize_mesh
from perse.splat import Camera

Array = np.ndarray


@dataclass(frozen=True)
class View:
    """One pinhole camera with numpy arithmetic."""

    rotation: Array  # [3, 3] world to camera
    translation: Array  # [3]
    focal: Array  # [2] pixels
    centre: Array  # [2] pixels
    width: int
    height: int

    @staticmethod
    def of(camera: Camera) -> View:
        """The view of an unbatched camera."""
        viewmat, intrinsics = camera.viewmat.double().numpy(), camera.K.double().numpy()
        return View(
            rotation=viewmat[:3, :3],
            translation=viewmat[:3, 3],
            focal=np.array([intrinsics[0, 0], intrinsics[1, 1]]),
            centre=intrinsics[:2, 2].copy(),
            width=camera.width,
            height=camera.height,
        )

    def camera_space(self, points: Array) -> Array:
        """World points [N, 3] in the camera's frame (z forward)."""
        return points @ self.rotation.T + self.translation

    def world(self, points: Array) -> Array:
        """Camera-frame points [N, 3] in the world."""
        return (points - self.translation) @ self.rotation

    def project(self, points: Array) -> Array:
        """World points [N, 3] -> pixel x, pixel y, depth [N, 3]."""
        local = self.camera_space(points)
        return np.concatenate([local[:, :2] / local[:, 2:] * self.focal + self.centre, local[:, 2:]], 1)

    def unproject(self, depth: Array) -> Array:
        """A depth map [H, W] -> camera-frame points [H, W, 3] at the pixel centres."""
        return self._rays * depth[..., None]

    @cached_property
    def _rays(self) -> Array:
        v, u = np.mgrid[0 : self.height, 0 : self.width] + 0.5
        x, y = (u - self.centre[0]) / self.focal[0], (v - self.centre[1]) / self.focal[1]
        return np.stack([x, y, np.ones_like(x)], -1)

    def metres_per_pixel(self, depth: float) -> float:
        """Size of a pixel at ``depth`` metres."""
        return depth / float(self.focal.mean())

    def depth_map(self, vertices: Array, faces: Array) -> tuple[Array, Array]:
        """Nearest surface: triangle index [H, W] (-1: none) and depth [H, W] (nan: none)."""
        index, _, depth = rasterize_mesh(self.project(vertices), faces, self.height, self.width)
        return index, np.where(index < 0, np.nan, depth)


def in_image(pixels: Array, view: View, margin: float = 1.0) -> Array:
    """Which of ``pixels`` [N, 2+] lie inside the image by a margin."""
    x, y = pixels[:, 0], pixels[:, 1]
    return (x > margin) & (x < view.width - margin) & (y > margin) & (y < view.height - margin)


def at_pixels(image: Array, pixels: Array) -> Array:
    """Nearest values of ``image`` [H, W, ...] at ``pixels`` [N, 2+]."""
    column = np.clip(pixels[:, 0].astype(int), 0, image.shape[1] - 1)
    row = np.clip(pixels[:, 1].astype(int), 0, image.shape[0] - 1)
    return image[row, column]


def visible(
    pixels: Array, depth: Array, view: View, tolerance: float | Array = 0.004, reach: int = 3
) -> Array:
    """Which projected points [N, 3] are at most ``tolerance`` metres behind all of ``reach`` x ``reach`` pixels."""
    nearest = ndimage.grey_erosion(np.nan_to_num(depth, nan=9.0), reach)
    return in_image(pixels, view) & (pixels[:, 2] < at_pixels(nearest, pixels) + tolerance)
