"""Other formats: what is written is read back by programs that are not ours, and means the same there."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from perse.cli import main
from perse.dataset import default_motion, read_tracked_video
from perse.errors import PerseError
from perse.export import (
    bind,
    read_bound,
    write_bound,
    write_converted,
    write_glb,
    write_images,
    write_ply,
    write_ply_sequence,
)
from perse.head import arkit_names, arkit_to_motion
from perse.splat import load_ply, rasterize
from synthetic import motion, small_avatar

C0 = 0.28209479177387814


def frames_of(count: int):
    return default_motion().select(range(0, 30 * count, 30))


# --- 3D Gaussians


def test_another_program_reads_the_same_gaussians(tmp_path):
    """Fails when viewers would show other places, sizes or colours than PERSE."""
    avatar = small_avatar()
    look = avatar.look(hair="long curly red")
    truth = avatar.gaussians(look, avatar.rest[0][None], avatar.rest[1][None])
    shown = truth.opacities.reshape(-1) > 1 / 255
    means = truth.means.reshape(-1, 3)[shown].numpy()
    path = write_ply(avatar, look, tmp_path / "look.ply", sh_degree=3)
    table = trimesh.load(path).metadata["_ply_raw"]["vertex"]["data"]
    read = lambda *names: np.stack([np.asarray(table[n]).reshape(-1) for n in names], 1)  # noqa: E731
    down = np.array([1.0, -1.0, -1.0])
    assert np.abs(read("x", "y", "z") - means * down).max() < 1e-6
    colors = 0.5 + C0 * read("f_dc_0", "f_dc_1", "f_dc_2")
    assert np.abs(colors - truth.colors.reshape(-1, 3)[shown].numpy()).max() < 1e-5
    opacity = 1 / (1 + np.exp(-read("opacity")[:, 0]))
    assert np.abs(opacity - truth.opacities.reshape(-1)[shown].numpy()).max() < 1e-5
    scales = np.exp(read("scale_0", "scale_1", "scale_2"))
    turns = Rotation.from_quat(read("rot_1", "rot_2", "rot_3", "rot_0")).as_matrix()
    covariance = turns @ (scales[:, :, None] ** 2 * turns.transpose(0, 2, 1))
    own = Rotation.from_quat(truth.quats.reshape(-1, 4)[shown].numpy()[:, [1, 2, 3, 0]]).as_matrix()
    own = np.diag(down) @ own
    sizes = truth.scales.reshape(-1, 3)[shown].numpy()
    assert np.abs(covariance - own @ (sizes[:, :, None] ** 2 * own.transpose(0, 2, 1))).max() < 1e-8
    assert all(not np.asarray(table[f"f_rest_{k}"]).any() for k in range(45))


def test_a_second_program_agrees_and_writes_other_formats(tmp_path):
    """Fails when .ply, .splat or .sog hold something else for gaussforge."""
    gaussforge = pytest.importorskip("gaussforge")
    avatar = small_avatar()
    plain = write_ply(avatar, avatar.reference, tmp_path / "a.ply")
    ours = load_ply(plain, y_down=False)
    splat = write_converted(avatar, avatar.reference, tmp_path / "a.splat", "splat").read_bytes()
    record = np.dtype([("place", "<f4", 3), ("scale", "<f4", 3), ("color", "u1", 4), ("turn", "u1", 4)])
    theirs = np.frombuffer(splat, record)  # gaussforge sorts them
    order = np.lexsort(theirs["place"].T)
    mine = np.lexsort(ours.means.numpy().T)
    assert np.abs(theirs["place"][order] - ours.means.numpy()[mine]).max() < 1e-6
    assert np.abs(theirs["scale"][order] / ours.scales.numpy()[mine] - 1).max() < 1e-5
    colors = np.concatenate([ours.colors.numpy(), ours.opacities.numpy()[:, None]], 1)[mine]
    assert np.abs(theirs["color"][order] / 255.0 - colors).max() < 1.01 / 255
    sog = write_converted(avatar, avatar.reference, tmp_path / "a.sog", "sog")
    back = gaussforge.GaussForge().convert(sog.read_bytes(), "sog", "ply")
    (tmp_path / "back.ply").write_bytes(back["data"])
    again = load_ply(tmp_path / "back.ply", y_down=False)
    assert len(again) == len(ours)
    assert float((again.means.sort(0).values - ours.means.sort(0).values).abs().max()) < 1e-4


def test_without_gaussforge_the_message_says_what_to_do(tmp_path, monkeypatch):
    """Fails when a missing extra is a traceback."""
    monkeypatch.setitem(__import__("sys").modules, "gaussforge", None)
    with pytest.raises(PerseError, match=r"perse\[export\]"):
        write_converted(small_avatar(), small_avatar().reference, tmp_path / "a.sog", "sog")


def test_a_sequence_has_the_same_gaussians_in_every_file(tmp_path):
    """Fails when a player cannot interpolate between files, or they are not the motion's frames."""
    avatar, moves = small_avatar(), frames_of(3)
    folder = write_ply_sequence(avatar, avatar.reference, tmp_path / "s", moves, y_down=False)
    files = sorted(folder.iterdir())
    assert [f.name for f in files] == ["frame_00000.ply", "frame_00001.ply", "frame_00002.ply"]
    sets = [load_ply(f, y_down=False) for f in files]
    assert len({len(s) for s in sets}) == 1
    drawn = rasterize(sets[2], avatar.camera, torch.ones(3))[0]
    truth = avatar.render(avatar.reference, moves.expr[2:3], moves.pose[2:3])[0]
    assert float((drawn - truth).abs().mean()) < 2 / 255


# --- Gaussians bound to triangles


def test_bound_gaussians_come_back_and_follow_the_mesh(tmp_path):
    """Fails when a GaussianAvatars player would put Gaussians elsewhere than the avatar has them."""
    avatar, moves = small_avatar(), frames_of(4)
    folder = write_bound(avatar, avatar.reference, tmp_path / "bound", moves)
    bound, parameters = read_bound(folder)
    head = avatar.head
    still = avatar.gaussians(avatar.reference, torch.zeros(1, 50), torch.zeros(1, 15))
    shown = still.opacities.reshape(-1) > 1 / 255
    again = bound.on(head.rest_vertices(avatar.betas))
    assert float((again.means - still.means.reshape(-1, 3)[shown]).norm(dim=1).max()) < 1e-5
    picture = rasterize(again, avatar.camera, torch.ones(3))[0]
    truth = avatar.render(avatar.reference, torch.zeros(1, 50), torch.zeros(1, 15))[0]
    assert float((picture - truth).abs().mean()) < 0.5 / 255
    pose = np.concatenate([parameters[n] for n in ("rotation", "neck_pose", "jaw_pose", "eyes_pose")], 1)
    assert np.abs(pose - moves.pose.numpy()).max() < 1e-6
    posed = head.vertices(avatar.betas, moves.expr[3], moves.pose[3])
    picture = rasterize(bound.on(posed), avatar.camera, torch.ones(3))[0]
    truth = avatar.render(avatar.reference, moves.expr[3:4], moves.pose[3:4])[0]
    assert float((picture - truth).abs().mean()) < 6 / 255, "triangles only approximate skinning"
    table = trimesh.load(folder / "point_cloud.ply").metadata["_ply_raw"]["vertex"]["data"]
    assert np.array_equal(np.asarray(table["binding_0"]).reshape(-1).astype(int), bound.triangle.numpy())


def test_binding_survives_any_turn_of_the_mesh():
    """Fails when frames of triangles do not turn and grow with them."""
    avatar = small_avatar()
    head = avatar.head
    rest = head.rest_vertices(avatar.betas)
    still = avatar.gaussians(avatar.reference, torch.zeros(1, 50), torch.zeros(1, 15))
    flat = type(still)(
        *(t.reshape(-1, t.shape[-1]) if t.shape[-1] in (3, 4) else t.reshape(-1) for t in still._tensors())
    )
    bound = bind(flat, rest, head.faces)
    turn = torch.from_numpy(Rotation.from_rotvec([0.3, -0.8, 0.2]).as_matrix()).float()
    moved = bound.on(2.0 * rest @ turn.T + torch.tensor([0.1, 0.2, 0.3]))
    assert torch.allclose(moved.means, 2.0 * flat.means @ turn.T + torch.tensor([0.1, 0.2, 0.3]), atol=1e-5)
    assert torch.allclose(moved.scales, 2.0 * flat.scales, rtol=1e-4)


def test_a_binding_to_nothing_is_refused(tmp_path):
    """Fails when a broken folder reads memory that is not there."""
    avatar = small_avatar()
    folder = write_bound(avatar, avatar.reference, tmp_path / "b", frames_of(1))
    with np.load(folder / "head.npz") as arrays:
        broken = {**arrays, "faces": arrays["faces"][:5]}
    np.savez(folder / "head.npz", **broken)
    with pytest.raises(PerseError, match="bound to a triangle"):
        read_bound(folder)
    (folder / "flame_param.npz").unlink()
    with pytest.raises(PerseError, match=r"flame_param\.npz"):
        read_bound(folder)


# --- pictures with cameras


def test_pictures_and_cameras_come_back(tmp_path):
    """Fails when a tracked video that was written is not the one that is read."""
    avatar, moves = small_avatar(), frames_of(3)
    viewmats = avatar.camera.viewmat.repeat(3, 1, 1)
    viewmats[1, :3, 3] += torch.tensor([0.01, 0.0, 0.02])
    moves = replace(moves, viewmats=viewmats, train=torch.tensor([True, False, True]))
    folder = write_images(avatar, avatar.reference, tmp_path / "v", moves, 48)
    video = read_tracked_video(folder)
    assert torch.allclose(video.motion.viewmats, viewmats, atol=1e-5)
    assert torch.equal(video.motion.expr, moves.expr)
    assert torch.equal(video.motion.pose, moves.pose)
    assert video.motion.train.tolist() == [True, False, True]
    assert torch.allclose(video.camera.K, avatar.camera.resized(48, 48).K, atol=1e-4)
    rgb, alpha = video.picture(1)
    view = replace(avatar.camera.resized(48, 48), viewmat=viewmats[1])
    truth = avatar.render(avatar.reference, moves.expr[1:2], moves.pose[1:2], view)[0]
    assert float((rgb / 255 - truth).abs().max()) < 0.01
    assert alpha is not None
    assert 0.1 < float(alpha.float().mean()) / 255 < 0.9


def test_a_nerf_program_finds_the_head_where_the_pictures_show_it(tmp_path):
    """Fails when cameras are mirrored, upside down or off for programs that follow the OpenGL convention."""
    avatar = small_avatar()
    folder = write_images(avatar, avatar.reference, tmp_path / "v", motion(1, 0), 64)
    info = json.loads((folder / "transforms.json").read_text())
    frame = info["frames"][0]
    mask = np.asarray(Image.open(folder / frame["fg_mask_path"])) > 128
    points = avatar.head.rest_vertices(avatar.betas).numpy()
    to_camera = np.linalg.inv(np.array(frame["transform_matrix"]))
    seen = points @ to_camera[:3, :3].T + to_camera[:3, 3]
    assert (seen[:, 2] < 0).all(), "OpenGL cameras look along -z"
    x = frame["cx"] + frame["fl_x"] * seen[:, 0] / -seen[:, 2]
    y = frame["cy"] - frame["fl_y"] * seen[:, 1] / -seen[:, 2]
    inside = (x > 0) & (x < 64) & (y > 0) & (y < 64)
    assert mask[y[inside].astype(int), x[inside].astype(int)].mean() > 0.95
    assert math.isclose(frame["camera_angle_x"], 2 * math.atan(32 / frame["fl_x"]))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("file_path", "../../secret.png", "leads out"),
        ("file_path", "/etc/passwd", "leads out"),
        ("flame_param_path", "C:\\x.npz", "leads out"),
        ("fg_mask_path", "missing.png", "missing"),
        ("transform_matrix", [[0.0] * 4] * 4, "invertible"),
        ("transform_matrix", "x", "invertible"),
        ("w", 10**9, "1 to"),
        ("fl_x", "wide", "numbers"),
        ("timestep_index", None, "whole numbers"),
    ],
)
def test_hostile_folders_are_refused(tmp_path, field, value, said):
    """Fails when a folder from a stranger reads other files, or ends in a traceback."""
    avatar = small_avatar()
    folder = write_images(avatar, avatar.reference, tmp_path / "v", motion(1, 0), 16)
    info = json.loads((folder / "transforms.json").read_text())
    info["frames"][0][field] = value
    (folder / "transforms.json").write_text(json.dumps(info))
    with pytest.raises(PerseError, match=said):
        read_tracked_video(folder)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    """Fails when a picture may be any file of the machine."""
    avatar = small_avatar()
    folder = write_images(avatar, avatar.reference, tmp_path / "v", motion(1, 0), 16)
    picture = folder / "images" / "00000_00.png"
    picture.rename(tmp_path / "elsewhere.png")
    picture.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(PerseError, match=r"leads out|symbolic link"):
        read_tracked_video(folder)


# --- a mesh


def test_the_mesh_is_the_head_and_its_targets_are_arkits(tmp_path):
    """Fails when a game engine would get another shape, or smiles with the wrong muscle."""
    avatar = small_avatar()
    head = avatar.head
    path = write_glb(avatar, avatar.reference, tmp_path / "head.glb")
    mesh = trimesh.load(path, process=False).geometry["head"]
    rest = head.rest_vertices(avatar.betas)
    assert len(mesh.faces) == len(head.faces)
    corners = mesh.vertices[mesh.faces].reshape(-1, 3)
    assert np.abs(corners - rest[head.faces].reshape(-1, 3).numpy()).max() < 1e-6
    pygltflib = pytest.importorskip("pygltflib")
    document = pygltflib.GLTF2().load(path)
    primitive = document.meshes[0].primitives[0]
    names = document.meshes[0].extras["targetNames"]
    assert tuple(names) == arkit_names(head)
    accessor = document.accessors[primitive.targets[names.index("jawOpen")]["POSITION"]]
    view = document.bufferViews[accessor.bufferView]
    blob = document.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    target = np.frombuffer(blob, "<f4").reshape(-1, 3)
    expr, pose = arkit_to_motion(head, {"jawOpen": 1.0})
    moved = (head.vertices(avatar.betas, expr, pose) - rest)[head.faces].reshape(-1, 3).numpy()
    assert np.abs(target[mesh.faces].reshape(-1, 3) - moved).max() < 1e-6


# --- the command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "ply", "--out", "x.html"], "ends in .ply"),
        (["--format", "images", "--out", "full"], "not empty"),
        (["--format", "ply", "--sh-degree", "7"], "0 to 3"),
        (["--format", "ply", "--set", "hair=purple mohawk"], "learned"),
        (["--frames", "0"], "at least 1"),
    ],
)
def test_the_command_refuses_what_would_surprise(tmp_path, monkeypatch, capsys, arguments, said):
    """Fails when files are written over, or a wish is quietly ignored."""
    small_avatar().save(tmp_path / "avatar")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.iterdir())
    assert main(["export", "avatar", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_an_odd_folder_is_no_avatar(tmp_path, capsys):
    """Fails when exporting a wrong or broken folder ends in a traceback."""
    assert main(["export", str(tmp_path)]) == 2
    assert "avatar.json" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["ply", "gaussian-avatars", "glb"])
def test_the_command_writes_every_kind(tmp_path, monkeypatch, capsys, kind):
    """Fails when a format is not reached from the command line."""
    small_avatar().save(tmp_path / "anna" / "avatar")
    monkeypatch.chdir(tmp_path)
    assert main(["export", "anna/avatar", "--format", kind, "--frames", "2"]) == 0
    written = tmp_path / capsys.readouterr().out.strip()
    assert written.name == ("anna-gaussian-avatars" if kind == "gaussian-avatars" else f"anna.{kind}")
    assert written.exists()
