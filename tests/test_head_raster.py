"""The mesh z-buffer."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perse.head import open_head, rasterize_mesh


def brute_force(points, faces, height, width):
    """Every pixel against every triangle, parallel projection."""
    tri = np.full((height, width), -1)
    depth = np.full((height, width), np.inf)
    for t, (a, b, c) in enumerate(points[faces]):
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-9:
            continue
        y, x = np.mgrid[:height, :width] + 0.5
        v = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        w = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        z = (1 - v - w) * a[2] + v * b[2] + w * c[2]
        nearer = (v >= 0) & (w >= 0) & (v + w <= 1) & (z < depth)
        tri[nearer], depth[nearer] = t, z[nearer]
    return tri, depth


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_agrees_with_brute_force(seed):
    """Wrong owners or depths would put colours of the far side on the near one."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.uniform(-8, 40, (24, 2)), rng.uniform(0.5, 2, (24, 1))], 1)
    faces = rng.integers(0, 24, (20, 3))
    tri, bary, depth = rasterize_mesh(points, faces, 32, 30, perspective=False)
    expected, expected_depth = brute_force(points, faces, 32, 30)
    disagree = (tri != expected) & ~np.isclose(depth, expected_depth, atol=1e-9)
    assert disagree.sum() <= 2  # centres exactly on an edge
    seen = tri >= 0
    np.testing.assert_allclose(bary[seen].sum(-1), 1)
    assert (bary[~seen] == 0).all()
    assert np.isinf(depth[~seen]).all()


def test_no_cracks_between_neighbours():
    """A fan of triangles must cover its disc without a hole."""
    angle = np.linspace(0, 2 * np.pi, 37, endpoint=False)
    ring = np.stack([50 + 40 * np.cos(angle), 50 + 40 * np.sin(angle), np.ones(37)], 1)
    points = np.concatenate([[[50.3, 49.7, 1]], ring])
    faces = np.stack([np.zeros(37), 1 + np.arange(37), 1 + (np.arange(37) + 1) % 37], 1).astype(int)
    tri, _, _ = rasterize_mesh(points, faces, 100, 100)
    y, x = np.mgrid[:100, :100] + 0.5
    assert (tri[np.hypot(x - 50, y - 50) < 39.5] >= 0).all()
    assert (tri[np.hypot(x - 50, y - 50) > 40.5] < 0).all()


def test_barycentric_coordinates_are_perspective_correct():
    """Without the correction colours slide towards the near corner of a slanted triangle."""
    corners = np.array([[-0.4, -0.3, 1.0], [0.5, -0.2, 2.5], [0.0, 0.6, 1.4]])
    pixels = np.concatenate([32 + 40 * corners[:, :2] / corners[:, 2:], corners[:, 2:]], 1)
    tri, bary, depth = rasterize_mesh(pixels, np.array([[0, 1, 2]]), 64, 64)
    rows, columns = np.nonzero(tri == 0)
    point = bary[rows, columns] @ corners
    projected = 32 + 40 * point[:, :2] / point[:, 2:]
    np.testing.assert_allclose(projected, np.stack([columns, rows], 1) + 0.5, atol=1e-9)
    np.testing.assert_allclose(depth[rows, columns], point[:, 2])


def test_behind_the_camera_and_empty_are_left_out():
    """A vertex behind the camera must not smear over the picture."""
    points = torch.tensor([[5.0, 5, -1], [20, 5, 1], [5, 20, 1]])
    tri, bary, depth = rasterize_mesh(points, torch.tensor([[0, 1, 2]]), 32, 32)
    assert (tri == -1).all()
    assert tri.dtype == torch.int64
    assert bary.dtype == depth.dtype == torch.float32
    tri, _, _ = rasterize_mesh(points.numpy(), np.zeros((0, 3), int), 32, 32)
    assert (tri == -1).all()


def test_head_hides_its_own_back():
    """Seen from the front no pixel may show the back of the skull."""
    head = open_head()
    v = head.v_template.double()
    pixels = torch.stack(
        [64 + 280 * v[:, 0] / (1 - v[:, 2]), 64 - 280 * v[:, 1] / (1 - v[:, 2]), 1 - v[:, 2]], 1
    )
    tri, bary, _ = rasterize_mesh(pixels, head.faces, 128, 128)
    seen = tri >= 0
    shown = (v[head.faces[tri[seen]]] * bary[seen][..., None]).sum(1)
    assert 0.2 < seen.double().mean() < 0.8
    assert shown[shown[:, 1] > 0][:, 2].min() > -0.06
