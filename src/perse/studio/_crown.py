"""What covers the skull where the photo does not see it: hair or a hat, as thick as its outline in the photo says.

The outline around the head, seen from the front, gives a thickness over the skull for every angle. Sides and back
take the thickness of the outline at the same height, as a body of revolution would have it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree

from perse.head import Head, vertex_normals
from perse.studio._geometry import subdivision
from perse.studio._image import Array
from perse.studio._skin import SKIN
from perse.studio._view import View

SKULL = np.array([0.0, 0.05, -0.012])
"""Middle of the skull in the head frame."""
BINS = 180
THINNEST, THICKEST = 0.002, 0.09
UNCOVERED = 0.005
"""Metres of cover at most, where the outline shows none."""
PIECE = 0.0035
"""Metres a side of the pieces that the skull is cut into."""


@dataclass(frozen=True)
class Outline:
    """How far a silhouette reaches from the middle of the skull, by angle in the picture (0 right, pi/2 up)."""

    centre: Array  # [2] pixels
    radius: Array  # [BINS] pixels
    thickness: Array  # [BINS] metres over the bare skull
    covered: Array  # [BINS] 0..1: the outline is that of hair or a hat, and not of skin

    @staticmethod
    def of(silhouette: Array, cover: Array, bare: Array, view: View) -> Outline:
        """From masks [H, W] bool: the person's silhouette, what covers the skull, and the bare head model.

        Where the outline shows no cover (ears, jaw, neck) it is thin.
        """
        centre = view.project(SKULL[None])[0]
        pixel = view.metres_per_pixel(float(centre[2]))
        outer, inner = (_reach(mask, centre[:2]) for mask in (silhouette, bare))
        thickness = np.clip((outer - inner) * pixel, THINNEST, THICKEST)
        outline = Outline(centre[:2], outer, thickness, np.zeros(BINS))
        angles = (np.arange(BINS) + 0.5) * 2 * np.pi / BINS
        rim = [
            outline.pixels(angles, share).astype(int).clip(0, np.array(cover.shape) - 1)
            for share in (0.97, 0.93)
        ]
        covered = np.any([cover[tuple(pixels.T)] for pixels in rim], axis=0)
        if covered.any():
            nearest = (
                ndimage.distance_transform_edt(
                    ~np.tile(covered, 3), return_distances=False, return_indices=True
                )[0][BINS : 2 * BINS]
                % BINS
            )
            known = thickness[nearest]
            thin = np.minimum(0.4 * known, UNCOVERED)
            thickness = np.where(covered, known, thin)
        else:
            thickness = np.full(BINS, THINNEST)
        smooth = ndimage.gaussian_filter1d(ndimage.median_filter(thickness, 7, mode="wrap"), 2, mode="wrap")
        presence = ndimage.gaussian_filter1d(covered.astype(float), 2, mode="wrap")
        return Outline(centre[:2], outer, smooth, presence)

    def at(self, values: Array, angle: Array) -> Array:
        """``values`` [BINS] at angles [N]."""
        return np.interp(
            angle % (2 * np.pi), (np.arange(BINS) + 0.5) * 2 * np.pi / BINS, values, period=2 * np.pi
        )

    def pixels(self, angle: Array, share: Array | float) -> Array:
        """Row and column [N, 2] at a share of the way from the centre to the outline."""
        reach = self.at(self.radius, angle) * share
        return np.stack([self.centre[1] - np.sin(angle) * reach, self.centre[0] + np.cos(angle) * reach], 1)


def _reach(mask: Array, centre: Array) -> Array:
    """[BINS] pixels from the centre to the first gap of the mask."""
    angles = (np.arange(BINS) + 0.5) * 2 * np.pi / BINS
    radii = np.arange(1, max(mask.shape))
    column = (centre[0] + np.cos(angles)[:, None] * radii).astype(int)
    row = (centre[1] - np.sin(angles)[:, None] * radii).astype(int)
    inside = (column >= 0) & (column < mask.shape[1]) & (row >= 0) & (row < mask.shape[0])
    held = inside & mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(column, 0, mask.shape[1] - 1)]
    return np.where(held.all(1), len(radii), held.argmin(1)).astype(float)


@dataclass(frozen=True)
class Crown:
    """Points all over a part of the skull, and where they lie in an :class:`Outline`."""

    points: Array  # [N, 3] on the skin, in the photo's pose
    normals: Array  # [N, 3]
    size: Array  # [N] metres a side of the piece of skin
    template: Array  # [N, 3]
    weight: Array  # [N] how much of the part is here (0..1), e.g. scalp
    towards: Array  # [N] cosine between the way out of the skull and the way to the camera
    angle: Array  # [N, 2] the outline's angles at this height: to the picture's right, to its left
    right: Array  # [N] how much the right one counts

    @staticmethod
    def of(head: Head, vertices: Array, mask: Array, view: View) -> Crown:
        """Cut the skin where ``mask`` [V] > 0; vertices [V, 3] in the photo's pose."""
        faces = head.faces.numpy()
        chosen = np.flatnonzero((head.face_part == SKIN).numpy() & (mask[faces].max(1) > 0.05))
        corners = vertices[faces[chosen]]
        area = (
            np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
        )
        cuts = np.clip(np.ceil(np.sqrt(area) / PIECE), 1, 8).astype(int)
        face = np.concatenate([np.repeat(chosen[cuts == k], k * k) for k in np.unique(cuts)])
        bary = np.concatenate(
            [np.tile(subdivision(int(k)).double().numpy(), ((cuts == k).sum(), 1)) for k in np.unique(cuts)]
        )
        size = np.concatenate([np.repeat(np.sqrt(area[cuts == k]) / k, k * k) for k in np.unique(cuts)])

        def at(values: Array) -> Array:
            return np.einsum("nk,nk...->n...", bary, values[faces[face]])

        points = at(vertices)
        normals = at(vertex_normals(torch.from_numpy(vertices), head.faces).numpy())
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        out = (points - SKULL) @ view.rotation.T  # x right, y down, z away from the camera
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        up = np.arcsin(np.clip(-out[:, 1], -1, 1))
        level = np.hypot(out[:, 0], out[:, 2]) + 1e-6
        return Crown(
            points=points,
            normals=normals,
            size=size,
            template=at(head.v_template.double().numpy()),
            weight=at(mask),
            towards=-out[:, 2],
            angle=np.stack([up, np.pi - up], 1),
            right=0.5 + 0.5 * out[:, 0] / level,
        )

    def take(self, index: Array) -> Crown:
        """The chosen rows."""
        return Crown(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def read(self, outline: Outline, values: Array) -> Array:
        """[N] the outline's ``values`` [BINS] at the points' heights, mixed of both sides."""
        right, left = (outline.at(values, self.angle[:, side]) for side in (0, 1))
        return right * self.right + left * (1 - self.right)

    def source(self, outline: Outline, share: Array, rng: np.random.Generator) -> Array:
        """Row and column [N, 2] of the photo whose colour stands for the point: the nearer side, same height."""
        side = (rng.random(len(self.right)) > np.clip(3 * self.right - 1, 0, 1)).astype(int)
        return outline.pixels(self.angle[np.arange(len(side)), side], share)


class Shell:
    """The surface ``thickness`` metres off a crown: walk along it."""

    def __init__(self, crown: Crown, thickness: Array) -> None:
        self.points = crown.points + crown.normals * thickness[:, None]
        self.normals = crown.normals
        self._tree = cKDTree(self.points)

    def settle(self, points: Array, normals: Array) -> tuple[Array, Array, Array]:
        """Put points [N, 3] onto the surface: points, normals, and how far [N] from it they had strayed sideways."""
        distance, near = self._tree.query(points, 4)
        weight = 1 / (distance + 1e-3)
        weight /= weight.sum(1, keepdims=True)
        normal = (self.normals[near] * weight[..., None]).sum(1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        base = (self.points[near] * weight[..., None]).sum(1)
        height = ((points - base) * normal).sum(1, keepdims=True)
        settled = points - height * normal
        return settled, normal, np.linalg.norm(settled - base, axis=1)


def fill_image(image: Array, solid: Array) -> Array:
    """Colours of solid pixels carried everywhere, a little smoothed. image [H, W, 3], solid [H, W] bool"""
    nearest = ndimage.distance_transform_edt(~solid, return_distances=False, return_indices=True)
    return cv2.GaussianBlur(image[nearest[0], nearest[1]], (0, 0), 1.2)
