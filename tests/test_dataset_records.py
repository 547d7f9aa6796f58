"""Records that rooms hand one another: they must come back from the disk as they went, and refuse nonsense."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from perse.dataset import (
    CATEGORIES,
    CATEGORY_LABEL,
    LABEL_COLORS,
    LABELS,
    Attribute,
    Motion,
    Portrait,
    camera_from_json,
    camera_to_json,
    category_code,
    color_labels,
    default_motion,
    load_maker,
    register_maker,
)
from perse.errors import PerseError
from perse.splat import Camera


def make_portrait(side: int = 32, seed: int = 0) -> Portrait:
    """A portrait of noise; every field differs from every other."""
    rng = torch.Generator().manual_seed(seed)
    K = torch.tensor([[90.0, 0, side / 2], [0, 90, side / 2 - 1], [0, 0, 1]])
    viewmat = torch.eye(4)
    viewmat[2, 3] = 1.25
    return Portrait(
        image=torch.rand(side, side, 3, generator=rng),
        alpha=torch.rand(side, side, generator=rng),
        segmentation=torch.softmax(torch.randn(side, side, 6, generator=rng), -1),
        landmarks=torch.rand(478, 3, generator=rng) * side,
        camera=Camera(viewmat, K, side, side),
        betas=torch.randn(100, generator=rng),
        expr=torch.randn(50, generator=rng),
        pose=torch.randn(15, generator=rng),
        name="nøise",
    )


def test_labels_cover_the_categories():
    """A category without a label could be neither drawn nor measured."""
    assert len(CATEGORIES) == 9
    assert len(LABELS) == len(set(LABELS)) == len(LABEL_COLORS) == 13
    assert {CATEGORY_LABEL[c] for c in CATEGORIES} <= set(LABELS)
    assert LABELS[category_code("mouth")] == "lips"
    with pytest.raises(PerseError, match=r"shoes.*beard"):
        category_code("shoes")
    with pytest.raises(PerseError, match="shoes"):
        Attribute("shoes", "a person with red shoes")


@given(npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=3, max_side=6)))
def test_painted_labels_can_be_told_apart(codes):
    """Two labels of one colour would make parts.png lie; codes outside the table must not crash."""
    painted = color_labels(codes)
    assert painted.shape == (*codes.shape, 3)
    known = codes < len(LABELS)
    assert (painted[known] == LABEL_COLORS[codes[known]]).all()
    assert len({tuple(color) for color in LABEL_COLORS.tolist()}) == len(LABELS)


def test_portrait_survives_the_disk(tmp_path):
    """Images may lose less than half a grey level; numbers nothing; a second trip changes nothing at all."""
    portrait = make_portrait()
    once = Portrait.load(portrait.save(tmp_path / "a"))
    assert (once.image - portrait.image).abs().max() <= 0.5 / 255 + 1e-6
    assert (once.alpha - portrait.alpha).abs().max() <= 0.5 / 255 + 1e-6
    assert (once.segmentation - portrait.segmentation).abs().max() < 1e-3
    for name in ("landmarks", "betas", "expr", "pose"):
        assert torch.equal(getattr(once, name), getattr(portrait, name)), name
    assert torch.equal(once.camera.viewmat, portrait.camera.viewmat)
    assert torch.equal(once.camera.K, portrait.camera.K)
    assert once.name == "nøise"
    twice = Portrait.load(once.save(tmp_path / "b"))
    for name in ("photo.png", "alpha.png", "parts.png", "portrait.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert torch.equal(twice.segmentation, once.segmentation)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda v: v.update(version=99), "version 99"),
        (lambda v: v.update(format="holiday"), "holiday"),
        (lambda v: v.update(betas=[0.0] * 7), r"betas.*\[100\], not \[7\]"),
        (lambda v: v.update(expr="smile"), "expr"),
        (lambda v: v["pose"].__setitem__(0, 1e999), "finite"),
        (lambda v: v["camera"].update(width=10**9), "width and height"),
        (lambda v: v.pop("camera"), "camera is missing"),
    ],
)
def test_damaged_portrait_is_refused(tmp_path, damage, message):
    """Every field comes from a file a user may have edited: a wrong one must be named, not crash later."""
    make_portrait().save(tmp_path)
    path = tmp_path / "portrait.json"
    value = json.loads(path.read_text())
    damage(value)
    path.write_text(json.dumps(value))
    with pytest.raises(PerseError, match=message) as error:
        Portrait.load(tmp_path)
    assert "portrait.json" in str(error.value)


def test_unreadable_portrait_files_are_named(tmp_path):
    """Broken JSON, a picture that is none, a pickle in the npz, a link out of the folder."""
    make_portrait().save(tmp_path)
    photo = (tmp_path / "photo.png").read_bytes()
    (tmp_path / "photo.png").write_bytes(photo[: len(photo) // 2])
    with pytest.raises(PerseError, match=r"photo.png"):
        Portrait.load(tmp_path)
    (tmp_path / "photo.png").unlink()
    with pytest.raises(PerseError, match=r"photo.png.*missing"):
        Portrait.load(tmp_path)
    (tmp_path / "elsewhere.png").write_bytes(photo)
    (tmp_path / "photo.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(PerseError, match=r"photo.png.*link"):
        Portrait.load(tmp_path)
    (tmp_path / "photo.png").unlink()
    (tmp_path / "photo.png").write_bytes(photo)
    np.savez(tmp_path / "segmentation.npz", segmentation=np.array([{"a": 1}], dtype=object))
    with pytest.raises(PerseError, match=r"segmentation.npz"):
        Portrait.load(tmp_path)
    (tmp_path / "portrait.json").write_text("{")
    with pytest.raises(PerseError, match=r"portrait.json.*JSON"):
        Portrait.load(tmp_path)


def finite(*shape: int) -> st.SearchStrategy[np.ndarray]:
    """Arrays of ordinary numbers."""
    return npst.arrays(np.float32, shape, elements=st.floats(-4, 4, width=32))


@settings(deadline=None, max_examples=25)
@given(data=st.data(), count=st.integers(0, 5), source=st.text(max_size=20), fps=st.floats(1, 240))
def test_motion_survives_the_disk(tmp_path_factory, data, count, source, fps):
    """What drives the training must be bit for bit what was tracked."""
    with_cameras = data.draw(st.booleans())
    motion = Motion(
        expr=torch.from_numpy(data.draw(finite(count, 50))),
        pose=torch.from_numpy(data.draw(finite(count, 15))),
        train=torch.from_numpy(data.draw(npst.arrays(bool, count))),
        fps=fps,
        viewmats=torch.from_numpy(data.draw(finite(count, 4, 4))) if with_cameras else None,
        source=source,
    )
    loaded = Motion.load(motion.save(tmp_path_factory.mktemp("motion") / "m.npz"))
    for name in ("expr", "pose", "train"):
        assert torch.equal(getattr(loaded, name), getattr(motion, name))
    assert (loaded.viewmats is None) == (motion.viewmats is None)
    if with_cameras:
        assert torch.equal(loaded.viewmats, motion.viewmats)
    assert (loaded.fps, loaded.source, len(loaded)) == (fps, source, count)


def test_motion_selects_rows_by_number_and_by_mask():
    """A frame selection that reordered or lost train flags would leak held-out frames into training."""
    motion = Motion(
        torch.arange(4.0)[:, None].expand(4, 50), torch.zeros(4, 15), torch.tensor([1, 0, 1, 0]).bool()
    )
    picked = motion.select([3, 0])
    assert picked.expr[:, 0].tolist() == [3, 0]
    assert picked.train.tolist() == [False, True]
    assert motion.select(~motion.train).expr[:, 0].tolist() == [1, 3]


def test_the_bundled_motion_is_the_papers_split():
    """513 frames, 400 to learn from; it must move the head, the jaw and the face, and hold no nonsense."""
    motion = default_motion()
    assert len(motion) == 513
    assert int(motion.train.sum()) == 400
    assert motion.source
    assert motion.pose.abs().max() < 1.6, "radians: nobody turns further"
    degrees = torch.rad2deg(motion.pose[:, 3:6] + motion.pose[:, 0:3])
    assert (degrees[:, 1].max() - degrees[:, 1].min()) > 10, "the head turns"
    assert motion.pose[:, 6].max() > 0.05, "the mouth opens"
    assert motion.expr.std(0).max() > 0.05, "the face moves"
    assert default_motion() is motion


def test_wrong_motions_are_refused(tmp_path):
    """Shapes, numbers that are none, foreign files and pickles."""
    with pytest.raises(PerseError, match=r"expr must have shape \[3, 50\]"):
        Motion(torch.zeros(3, 49), torch.zeros(3, 15), torch.ones(3).bool())
    with pytest.raises(PerseError, match="finite"):
        Motion(torch.full((1, 50), float("nan")), torch.zeros(1, 15), torch.ones(1).bool())
    with pytest.raises(PerseError, match="fps"):
        Motion(torch.zeros(1, 50), torch.zeros(1, 15), torch.ones(1).bool(), fps=0)
    np.savez(tmp_path / "a.npz", expr=np.zeros(3))
    with pytest.raises(PerseError, match=r"a\.npz.*lacks.*pose"):
        Motion.load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", expr=np.array([None], dtype=object))
    with pytest.raises(PerseError, match=r"b\.npz"):
        Motion.load(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(PerseError, match=r"c\.npz"):
        Motion.load(tmp_path / "c.npz")


def test_camera_survives_json():
    """A camera off by rounding would shift every frame."""
    camera = make_portrait().camera
    loaded = camera_from_json(json.loads(json.dumps(camera_to_json(camera))))
    assert torch.equal(loaded.viewmat, camera.viewmat)
    assert torch.equal(loaded.K, camera.K)
    assert (loaded.width, loaded.height) == (32, 32)


def test_makers_are_found_by_name():
    """An unknown maker must name the known ones; a maker is imported when chosen and not before."""
    with pytest.raises(PerseError, match=r"unknown editor 'paint'.*studio"):
        load_maker("editor", "paint")
    with pytest.raises(PerseError, match="unknown kind"):
        load_maker("sculptor", "studio")
    register_maker("encoder", "test-absent", "perse_no_such_package:Encoder")
    with pytest.raises(PerseError, match="perse_no_such_package"):
        load_maker("encoder", "test-absent")
    register_maker("encoder", "test-counter", "collections:Counter")
    assert load_maker("encoder", "test-counter", a=2) == {"a": 2}
    with pytest.raises(PerseError, match=r"package.module:Class"):
        register_maker("encoder", "test-wrong", "collections.Counter")
