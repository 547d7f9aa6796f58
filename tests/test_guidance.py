"""Guidance maps and the coverage of motions, against what is known of the head they are drawn from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from perse.dataset import Motion, default_motion, guidance_frames, head_guidance, motion_coverage
from perse.dataset.guidance import BODY_NAMES
from perse.head import open_head
from perse.splat import Camera
from synthetic import portrait as synthetic_portrait

SIZE = 96


@pytest.fixture(scope="module")
def camera() -> Camera:
    """One metre before the face, looking at it."""
    viewmat = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    viewmat[2, 3] = 1.0
    K = torch.tensor([[SIZE * 1.6, 0, SIZE / 2], [0, SIZE * 1.6, SIZE / 2], [0, 0, 1]])
    return Camera(viewmat, K, SIZE, SIZE)


def turned(yaw: float) -> torch.Tensor:
    pose = torch.zeros(15)
    pose[4] = math.radians(yaw)
    return pose


def test_maps_agree_with_the_head(camera: Camera) -> None:
    """Fails when depth is not metres from the camera, or normals are in another frame than stated."""
    head = open_head()
    maps = head_guidance(torch.zeros(100), torch.zeros(50), torch.zeros(15), camera)
    nose = head.landmarks(head.vertices())[1]
    x, y = maps.body[BODY_NAMES.index("nose")].floor().long().tolist()
    assert float(maps.depth[y, x]) == pytest.approx(1 - float(nose[2]), abs=2e-3)
    assert float(maps.normals[y, x, 2]) > 0.8, "the tip of the nose faces the camera"
    seen = maps.normals[maps.cover]
    assert torch.allclose(seen.norm(dim=-1), torch.ones(len(seen)), atol=1e-4)
    assert not bool(maps.normals[~maps.cover].any())
    columns = torch.arange(SIZE)[None].expand(SIZE, SIZE)
    face_rows = slice(int(maps.face[:, 1].min()), int(maps.face[:, 1].max()))
    left = (columns < SIZE / 2)[face_rows] & maps.cover[face_rows]
    right = (columns > SIZE / 2)[face_rows] & maps.cover[face_rows]
    assert (
        float(maps.normals[face_rows][left][:, 0].mean())
        < -0.1
        < 0.1
        < maps.normals[face_rows][right][:, 0].mean()
    )


def test_keypoints_move_with_the_head(camera: Camera) -> None:
    """Fails when points are left behind, sides are swapped, or a hidden ear is still drawn."""
    rest = torch.zeros(50)
    front = head_guidance(torch.zeros(100), rest, turned(0), camera)
    to_left = head_guidance(torch.zeros(100), rest, turned(35), camera)
    row = {name: BODY_NAMES.index(name) for name in BODY_NAMES}
    assert front.body[row["right_eye"], 0] < front.body[row["left_eye"], 0], (
        "the person's right is on the left"
    )
    assert bool(front.body.isfinite().all())
    assert to_left.body[row["nose"], 0] > front.body[row["nose"], 0] + 3
    assert bool(to_left.body[row["left_ear"]].isnan().all())
    assert bool(to_left.body[row["right_ear"]].isfinite().all())
    shoulders = [row["left_shoulder"], row["right_shoulder"]]
    assert torch.allclose(front.body[shoulders], to_left.body[shoulders], atol=1.0), (
        "the neck turned, not the body"
    )
    jaw_open = torch.zeros(15)
    jaw_open[6] = math.radians(15)
    opened = head_guidance(torch.zeros(100), rest, jaw_open, camera)
    lips = slice(60, 68)
    assert float(opened.face[lips, 1].std()) > 1.5 * float(front.face[lips, 1].std())


def test_pictures_show_what_the_maps_hold(camera: Camera) -> None:
    """Fails when a picture is empty, or drawn where the head is not."""
    maps = head_guidance(torch.zeros(100), torch.zeros(50), turned(10), camera)
    cover = maps.cover.numpy()
    for picture in (maps.depth_image(), maps.normal_image()):
        assert picture.shape == (SIZE, SIZE, 3)
        assert picture.dtype == np.uint8
        assert not picture[~cover].any()
        assert picture[cover].any(-1).all()
    near = maps.depth_image()[..., 0][cover]
    assert near.max() == 255
    assert near.min() > 40
    points = maps.keypoint_image()
    for x, y in maps.face.long().tolist():
        assert points[y, x].max() > 60


def test_one_guidance_a_frame_of_a_motion() -> None:
    """Fails when frames are dropped or the portrait's own camera is not used."""
    portrait = synthetic_portrait()
    small = portrait.camera.resized(64, 64)
    frames = list(guidance_frames(portrait, default_motion().select([0, 40]), small))
    assert [tuple(frame.depth.shape) for frame in frames] == [(64, 64)] * 2
    assert not torch.equal(frames[0].face, frames[1].face)


def test_the_default_motion_covers_the_space() -> None:
    """Fails when a rebuilt default motion no longer reaches what avatars are asked to do."""
    reach = motion_coverage(default_motion())
    for name, least in {"yaw": 20, "pitch": 12, "roll": 7, "gaze across": 12, "gaze down": 7}.items():
        low, high = reach[name]
        assert low < -least, name
        assert high > least, name
    assert reach["jaw"][1] > 15
    main = (
        "eyeBlinkLeft",
        "eyeBlinkRight",
        "mouthSmileLeft",
        "mouthSmileRight",
        "browInnerUp",
        "mouthPucker",
    )
    for unit in main:
        assert reach[unit][1] > 0.8, unit


def test_coverage_reads_units_back() -> None:
    """Fails when coefficients are not turned back into the amounts they were made from."""
    head = open_head()
    expr = torch.stack([torch.zeros(50), head.expr_from_units({"mouthFunnel": 0.6, "cheekPuff": -0.2})])
    motion = Motion(expr, torch.zeros(2, 15), torch.ones(2, dtype=torch.bool))
    reach = motion_coverage(motion)
    assert reach["mouthFunnel"] == pytest.approx((0, 0.6), abs=1e-4)
    assert reach["cheekPuff"] == pytest.approx((-0.2, 0), abs=1e-4)
    assert reach["browInnerUp"] == pytest.approx((0, 0), abs=1e-4)
    assert reach["yaw"] == (0, 0)
