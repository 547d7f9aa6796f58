"""The studio's puppet and lift: bindings that hold, a face that opens and closes, a photo that comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from perse.capture import capture
from perse.dataset import LABELS, Attribute, Edited, Motion, Portrait, default_motion
from perse.errors import PerseError
from perse.evaluation.puppets import follow_face, front_psnr, identity_when_turned, label_agreement
from perse.head import PARTS, Binding, open_head, pose_transforms
from perse.head.skinning import skin_runs_torch
from perse.splat import Camera
from perse.studio import Puppet, Rooted, Skinned, StudioAnimator, StudioEditor, SurfaceDiscs, label_code
from perse.studio import makers as makers_module
from perse.studio._crown import SKULL, Outline
from perse.studio._geometry import (
    matrix_to_quat,
    quat_multiply,
    quat_to_matrix,
    subdivision,
    tangent_discs,
    triangle_discs,
    triangle_frames,
)
from perse.studio._image import guided_filter, read_photo
from perse.studio._light import SurfaceGraph, fit_light, harmonics
from perse.studio._refine import foreground_psnr
from perse.studio._view import View
from perse.studio.binding import head_weights, two_joint_weights, unpose
from perse.studio.lift import lift

LIPS, NECK_PITCH, JAW = LABELS.index("lips"), 3, 6


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    from skimage import data

    with pytest.warns(UserWarning, match="small"):
        return capture(data.astronaut())


@pytest.fixture(scope="module")
def puppet(portrait: Portrait) -> Puppet:
    return lift(portrait)


def rotations(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return quat_to_matrix(torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1))


def pose_of(**joints: float) -> Tensor:
    """theta with single angles in degrees."""
    index = {"pitch": NECK_PITCH, "yaw": 4, "jaw": JAW}
    pose = torch.zeros(15)
    for name, degrees in joints.items():
        pose[index[name]] = np.radians(degrees)
    return pose


# ---- geometry


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_quaternions_and_matrices_agree(seed: int) -> None:
    """If this fails every disc on the head is turned the wrong way."""
    matrices = rotations(16, seed)
    quats = matrix_to_quat(matrices)
    torch.testing.assert_close(quat_to_matrix(quats), matrices, atol=2e-6, rtol=0)
    product = quat_to_matrix(quat_multiply(quats[:8], quats[8:]))
    torch.testing.assert_close(product, matrices[:8] @ matrices[8:], atol=3e-6, rtol=0)


def test_half_turns_survive_the_quaternion() -> None:
    """Rotations by 180 degrees have no scalar part: the naive formula divides by zero there."""
    half_turns = torch.diag_embed(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]]))
    torch.testing.assert_close(quat_to_matrix(matrix_to_quat(half_turns)), half_turns)


def test_triangle_discs_have_the_triangle_s_covariance() -> None:
    """A stretched triangle must stretch its disc exactly, or an opening mouth tears the skin."""
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    faces = torch.arange(12).reshape(4, 3)
    quats, sigmas = triangle_discs(vertices, faces)
    axes = quat_to_matrix(quats)
    scales = torch.cat([sigmas, torch.zeros(4, 1, dtype=torch.float64)], 1)
    covariance = axes @ torch.diag_embed(scales**2) @ axes.transpose(1, 2)
    centred = vertices[faces] - vertices[faces].mean(1, keepdim=True)
    torch.testing.assert_close(covariance, centred.transpose(1, 2) @ centred / 12, atol=1e-6, rtol=1e-6)


def test_tangent_discs_span_their_cell() -> None:
    """Sigma is the stated share of the cell along both tangents; else reliefs get holes or blur."""
    du, dv = torch.tensor([[0.002, 0.0, 0.0]]), torch.tensor([[0.0, 0.001, 0.0]])
    quats, scales = tangent_discs(du, dv, spread=0.5)
    torch.testing.assert_close(scales[0, :2], torch.tensor([0.001, 0.0005]), atol=1e-7, rtol=0)
    assert abs(float(quat_to_matrix(quats)[0, 2, 2])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5, 14])
def test_subdivision_covers_a_triangle_evenly(k: int) -> None:
    """k*k pieces whose centres are inside and whose mean is the centroid; else the skin has bare strips."""
    bary = subdivision(k)
    assert bary.shape == (k * k, 3)
    assert float(bary.min()) > 0
    torch.testing.assert_close(bary.mean(0), torch.full((3,), 1 / 3), atol=1e-5, rtol=0)


# ---- bindings


def small_puppet(portrait: Portrait, base: Puppet) -> Puppet:
    """The rig of a puppet without its groups."""
    return replace(base, groups={}, portrait=portrait)


def test_rooted_gaussians_come_back_where_they_were_planted(portrait: Portrait, puppet: Puppet) -> None:
    """A beard planted at rest must be at rest where it was planted; else every hair sits off its root."""
    bare = small_puppet(portrait, puppet)
    generator = torch.Generator().manual_seed(1)
    face = torch.randint(0, 4000, (50,), generator=generator)
    bary = torch.full((50, 3), 1 / 3)
    means = bare.surface_points(face, bary) + 0.004 * torch.randn(50, 3, generator=generator)
    quats = torch.nn.functional.normalize(torch.randn(50, 4, generator=generator), dim=1)
    more = {"opacities": torch.ones(50), "colors": torch.ones(50, 3), "labels": torch.full((50,), 5).byte()}
    bare.add("hairs", bare.root(face, bary, means, quats, torch.full((50, 3), 1e-3), **more))
    gaussians, _ = bare.posed(torch.zeros(50), torch.zeros(15))
    torch.testing.assert_close(gaussians.means, means, atol=2e-6, rtol=0)
    torch.testing.assert_close(quat_to_matrix(gaussians.quats), quat_to_matrix(quats), atol=1e-4, rtol=0)


def test_rooted_gaussians_ride_on_the_jaw(portrait: Portrait, puppet: Puppet) -> None:
    """Their place in the frame of their triangle must not change as the mouth opens."""
    bare = small_puppet(portrait, puppet)
    face = puppet.head.landmark_faces[[152, 17]]
    bary = torch.full((2, 3), 1 / 3)
    offset = torch.tensor([[0.001, 0.002, 0.003]]).expand(2, 3)
    unit = torch.tensor([[1.0, 0, 0, 0]]).expand(2, 4)
    hairs = Rooted(
        face=face, bary=bary, offsets=offset, quats=unit, scales=torch.full((2, 3), 1e-3),
        opacities=torch.ones(2), colors=torch.ones(2, 3), labels=torch.zeros(2).byte(),
    )  # fmt: skip
    bare.add("hairs", hairs)
    expr, pose = torch.zeros(50), pose_of(jaw=20, yaw=15)
    moved = bare.posed(expr, pose)[0].means
    vertices = bare.posed_vertices(expr, pose)
    frames = triangle_frames(vertices, bare.faces)[face]
    local = (frames.transpose(1, 2) @ (moved - vertices[bare.faces[face]].mean(1))[..., None])[..., 0]
    torch.testing.assert_close(local, offset, atol=1e-6, rtol=0)
    assert float((moved - bare.posed(expr, torch.zeros(15))[0].means).norm(dim=1).min()) > 0.005


def test_unpose_undoes_posing(portrait: Portrait, puppet: Puppet) -> None:
    """Hair lifted from a tilted head must come to rest upright: posing it again gives the photo's place."""
    generator = torch.Generator().manual_seed(2)
    means = torch.randn(40, 3, generator=generator) * 0.1
    quats = torch.nn.functional.normalize(torch.randn(40, 4, generator=generator), dim=1)
    weights = two_joint_weights(torch.rand(40, generator=generator))
    pose = pose_of(yaw=20, pitch=-10)
    transforms, joint_quats, _ = pose_transforms(puppet.joints(), pose)
    rest, rest_quats = unpose(means, quats, weights, transforms, joint_quats)
    group = Skinned(
        means=rest, quats=rest_quats, scales=torch.full((40, 3), 1e-3), weights=weights,
        opacities=torch.ones(40), colors=torch.ones(40, 3), labels=torch.zeros(40).byte(),
    )  # fmt: skip
    posed, posed_quats = group.pose(transforms, joint_quats)
    torch.testing.assert_close(posed, means, atol=1e-5, rtol=0)
    torch.testing.assert_close(quat_to_matrix(posed_quats), quat_to_matrix(quats), atol=1e-4, rtol=0)


def test_single_joint_shortcut_equals_blending(puppet: Puppet) -> None:
    """The fast path for rigid groups must give what blending gives."""
    count = 20
    group = Skinned(
        means=torch.randn(count, 3), quats=torch.eye(4)[:1].expand(count, 4), scales=torch.ones(count, 3),
        weights=head_weights(count), opacities=torch.ones(count), colors=torch.ones(count, 3),
        labels=torch.zeros(count).byte(),
    )  # fmt: skip
    almost = replace(group, weights=two_joint_weights(torch.full((count,), 0.9998)))
    assert (group.single_joint, almost.single_joint) == (1, None)
    transforms, quats, _ = pose_transforms(puppet.joints(), pose_of(yaw=30))
    torch.testing.assert_close(
        group.pose(transforms, quats)[0], almost.pose(transforms, quats)[0], atol=1e-3, rtol=0
    )


def test_blended_joints_are_the_head_s_own_skinning(puppet: Puppet) -> None:
    """Hair between skull and shoulders must bend as the head's skin (and the learned avatar) does."""
    count = 30
    generator = torch.Generator().manual_seed(4)
    weights = torch.rand(count, 5, generator=generator)
    weights = weights / weights.sum(1, keepdim=True)
    group = Skinned(
        means=torch.randn(count, 3, generator=generator), scales=torch.ones(count, 3), weights=weights,
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1),
        opacities=torch.ones(count), colors=torch.ones(count, 3), labels=torch.zeros(count).byte(),
    )  # fmt: skip
    pose = pose_of(yaw=30, pitch=-10, jaw=12)
    binding = Binding(torch.zeros(count, 3, 50), torch.zeros(count, 3, 36), weights)
    means, quats, _ = skin_runs_torch(
        group.means, [binding], puppet.joints(), torch.zeros(1, 50), pose[None], group.quats
    )
    transforms, joint_quats, _ = pose_transforms(puppet.joints(), pose)
    posed, turned = group.pose(transforms, joint_quats)
    torch.testing.assert_close(posed, means[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(quat_to_matrix(turned), quat_to_matrix(quats[0]), atol=1e-5, rtol=0)


def test_maps_agree_with_one_another(puppet: Puppet, portrait: Portrait) -> None:
    """Depth and normals are of what the picture shows: the nose is nearest and faces the camera."""
    expr, camera = portrait.expr, portrait.camera.resized(128, 128)
    drawn = puppet.render_maps(expr, portrait.pose, camera)
    image, alpha, labels = puppet.render(expr, portrait.pose, camera)
    torch.testing.assert_close(drawn.image.clamp(0, 1), image)
    assert torch.equal(drawn.labels, labels)
    person = alpha > 0.9
    assert bool((drawn.depth[person] > 0).all())
    nose = labels == label_code("nose")
    assert float(drawn.depth[nose].median()) < float(drawn.depth[labels == label_code("hair")].median())
    to_camera = -(drawn.normals[nose] @ camera.viewmat[:3, :3].T)[:, 2]
    assert float(to_camera.mean()) > 0.6


# ---- light and filling


def test_light_is_found_again() -> None:
    """Fit on a sphere lit by known coefficients with 10 % of brows and moles in it."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(3000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    truth = np.array([0.7, 0.1, 0.15, 0.1, 0.02, 0, 0, 0.03, 0])
    colors = np.repeat((harmonics(normals) @ truth)[:, None], 3, 1)
    colors[:300] = 0.05
    found = fit_light(normals, colors)
    truth_scaled = truth / np.median(harmonics(normals) @ truth)
    assert np.abs(harmonics(normals) @ (found - truth_scaled)).max() < 0.08


def test_fill_keeps_what_is_seen_and_invents_between() -> None:
    """Known colours stay, unknown ones lie between their neighbours; else bald heads get blotches."""
    points = np.stack([np.linspace(0, 1, 60), np.zeros(60), np.zeros(60)], 1)
    weight = np.zeros(60)
    weight[[0, -1]] = 50
    colors = np.zeros((60, 3))
    colors[-1] = 1
    filled = SurfaceGraph(points, neighbours=2).fill(colors, weight, np.full(3, 0.5), prior_weight=1e-9)
    assert filled[0, 0] < 0.05
    assert filled[-1, 0] > 0.95
    assert (np.diff(filled[:, 0]) > -1e-3).all()


def test_guided_filter_follows_the_guide_s_edge() -> None:
    """A mask that misses the edge by two pixels must snap to it."""
    guide = np.zeros((40, 40, 3), np.float32)
    guide[:, 20:] = 1
    mask = np.zeros((40, 40), np.float32)
    mask[:, 22:] = 1
    snapped = guided_filter(guide, mask, 5, 1e-4)
    assert np.abs(snapped[:, 5:18]).max() < 0.1
    assert snapped[20, 21] > 0.6


# ---- the lifted person


def test_front_view_is_the_photo(puppet: Puppet, portrait: Portrait) -> None:
    """At the photo's own pose the puppet must reproduce it (sketch: 32.6 dB inside the foreground)."""
    assert foreground_psnr(puppet, read_photo(portrait)) > 31


def test_lift_is_deterministic(puppet: Puppet, portrait: Portrait) -> None:
    """A build that is interrupted lifts again and must go on with the very same person."""
    again = lift(portrait)
    assert list(again.groups) == list(puppet.groups)
    for name, group in puppet.groups.items():
        torch.testing.assert_close(again.groups[name].colors, group.colors, atol=0, rtol=0)
        torch.testing.assert_close(again.groups[name].opacities, group.opacities, atol=0, rtol=0)


def test_labels_are_where_the_landmarks_say(puppet: Puppet, portrait: Portrait) -> None:
    """Nose tip, lips, brows, eyes, hair and clothes carry their labels in the front view."""
    _, _, labels = puppet.render(portrait.expr, portrait.pose, portrait.camera)
    marks = portrait.landmarks[:, :2]

    def at(index: int) -> str:
        x, y = marks[index].long().tolist()
        return LABELS[int(labels[y, x])]

    assert at(4) == "nose"
    assert at(17 - 0) in ("lips", "skin")
    assert {LABELS[int(code)] for code in torch.unique(labels)} >= {
        *("background", "skin", "eyes", "hair", "eyebrows", "clothes", "nose", "lips", "mouth_interior"),
    }
    assert LABELS[int(labels[int(marks[10, 1]) - 60, int(marks[10, 0])])] == "hair"
    lips = (labels == LIPS).nonzero().float().mean(0)
    centre = marks[[0, 17]].mean(0)
    assert abs(float(lips[1] - centre[0])) < 6
    assert abs(float(lips[0] - centre[1])) < 8


def test_mouth_opens_onto_teeth_and_dark(puppet: Puppet, portrait: Portrait) -> None:
    """An open jaw shows mouth interior, much darker than the skin, and some teeth; closed it shows next to none."""
    neutral = torch.zeros(50)
    image, _, labels = puppet.render(neutral, pose_of(jaw=20), portrait.camera)
    inside = labels == label_code("mouth_interior")
    assert int(inside.sum()) > 800
    luma = image[inside] @ torch.tensor([0.3, 0.59, 0.11])
    assert float(luma.quantile(0.3)) < 0.2
    assert float(luma.quantile(0.97)) > 0.45
    _, _, shut = puppet.render(neutral, torch.zeros(15), portrait.camera)
    assert int((shut == label_code("mouth_interior")).sum()) < 0.35 * int(inside.sum())


def test_teeth_are_fixed_to_skull_and_jaw(puppet: Puppet, portrait: Portrait) -> None:
    """Upper teeth that moved with the lips could not be learned by linear skinning: they broke up in the avatar."""
    upper = puppet.head.vertex_part == PARTS.index("upper_teeth")
    still = puppet.posed_vertices(torch.zeros(50), torch.zeros(15))[upper]
    for units, jaw in (({}, 20), ({"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0}, 5)):
        moved = puppet.posed_vertices(puppet.head.expr_from_units(units), pose_of(jaw=jaw))[upper]
        torch.testing.assert_close(moved, still, atol=2e-4, rtol=0)


@pytest.mark.parametrize("smile", [0.0, 0.7])
def test_closed_lips_cover_the_teeth(puppet: Puppet, portrait: Portrait, smile: float) -> None:
    """Teeth that poke through closed lips would show as mouth interior."""
    expr = puppet.head.expr_from_units(
        {"mouthSmileLeft": smile, "mouthSmileRight": smile, "mouthPressLeft": 0.5, "mouthPressRight": 0.5}
    )
    _, _, labels = puppet.render(expr, torch.zeros(15), portrait.camera)
    assert int((labels == label_code("mouth_interior")).sum()) < 60


def test_outline_is_thin_where_nothing_covers_it() -> None:
    """Hair 10 mm thick above, bare below: thick over the skull, thin around the ears; else ears get a helmet."""
    camera = Camera(
        torch.diag(torch.tensor([1.0, -1, -1, 1])), torch.tensor([[200.0, 0, 64], [0, 200, 64], [0, 0, 1]]), 128, 128
    )  # fmt: skip
    camera.viewmat[1, 3], camera.viewmat[2, 3] = float(SKULL[1]), 1.0
    view = View.of(camera)
    centre = view.project(SKULL[None])[0]
    row, column = np.mgrid[0:128, 0:128] + 0.5
    radius = np.hypot(row - centre[1], column - centre[0]) * view.metres_per_pixel(float(centre[2]))
    above = row < centre[1]
    outline = Outline.of((radius < 0.1) & above | (radius < 0.09), above, radius < 0.09, view)
    top, bottom = outline.at(outline.thickness, np.array([np.pi / 2, 1.5 * np.pi]))
    assert top == pytest.approx(0.01, abs=0.006)
    assert bottom <= 0.005


def test_worn_things_turn_with_the_head(portrait: Portrait) -> None:
    """Glasses and a hat that the segmentation calls "other" stand before eyes and skull and move with them alone."""
    probabilities = portrait.segmentation.clone()
    marks = portrait.landmarks[:, :2]
    rows, columns = torch.meshgrid(torch.arange(512.0), torch.arange(512.0), indexing="ij")
    eyes = marks[[33, 263]]
    glasses = (
        ((rows - eyes[:, 1].mean()).abs() < 10) & (columns > eyes[0, 0] - 8) & (columns < eyes[1, 0] + 8)
    )
    hat = (rows < marks[10, 1] - 12) & (probabilities[..., 1] > 0.5)
    probabilities[glasses | hat] = torch.eye(6)[5]
    worn = lift(replace(portrait, segmentation=probabilities))
    eyeballs = worn.rest_vertices()[worn.head.vertex_part == PARTS.index("left_eye"), 2].max()
    eyewear = worn.groups["eyewear"]
    assert isinstance(eyewear, Skinned)
    assert float((eyewear.means[:, 2] > eyeballs).float().mean()) > 0.95
    for name in ("eyewear", "eyewear_temples", "worn_hat", "worn_hat_back"):
        group = worn.groups[name]
        assert isinstance(group, Skinned)
        assert group.single_joint == 1, f"{name} must be carried by the neck joint"
    assert foreground_psnr(worn, read_photo(worn.portrait)) > 27


def test_networks_see_the_person(puppet: Puppet) -> None:
    """Figures of the judge: the photo comes back, the face is found and turns as posed, the person stays herself."""
    assert front_psnr(puppet) > 30
    assert max(identity_when_turned(puppet, (0.0, 15.0))) < 0.4
    following = follow_face(puppet, default_motion(), (0, 100, 200, 300))
    assert following.found == 1
    assert following.turn_error < 6
    agreement = label_agreement(puppet, "hair", (0.0,))
    assert agreement is not None
    assert agreement > 0.85
    bald = puppet.copy()
    bald.shave()
    assert label_agreement(bald, "hair", (0.0,)) is None


def test_lids_close(puppet: Puppet, portrait: Portrait) -> None:
    """Both blink units at 1 leave (almost) nothing of the eyeballs to see."""
    blink = puppet.head.expr_from_units({"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0})
    _, _, open_labels = puppet.render(torch.zeros(50), torch.zeros(15), portrait.camera)
    _, _, shut_labels = puppet.render(blink, torch.zeros(15), portrait.camera)
    eyes = label_code("eyes")
    assert int((open_labels == eyes).sum()) > 150
    assert int((shut_labels == eyes).sum()) < 0.1 * int((open_labels == eyes).sum())


@pytest.mark.parametrize("yaw", [-25, 25])
def test_turned_head_has_no_holes(puppet: Puppet, portrait: Portrait, yaw: float) -> None:
    """Inside the silhouette of a turned head nothing of the background shows through."""
    from scipy import ndimage

    _, alpha, _ = puppet.render(torch.zeros(50), pose_of(yaw=yaw), portrait.camera)
    solid = ndimage.binary_fill_holes(alpha.numpy() > 0.5)
    middle = ndimage.binary_erosion(solid, iterations=6)
    assert (alpha.numpy()[middle] < 0.9).mean() < 0.002


def test_shave_leaves_a_bald_head(puppet: Puppet, portrait: Portrait) -> None:
    """Without its hair groups the scalp is skin, not undercoat."""
    bald = puppet.copy()
    bald.shave()
    image, _, labels = bald.render(torch.zeros(50), torch.zeros(15), portrait.camera)
    assert int((labels == label_code("hair")).sum()) == 0
    x, y = portrait.landmarks[10, :2].long().tolist()
    top = image[y - 40, x]
    assert float((top - puppet.palette["skin"]).abs().max()) < 0.25
    assert "hair" in puppet.groups, "shaving a copy must not shave the original"


def test_rest_points_are_the_rest_drawing(puppet: Puppet) -> None:
    """Points for learning: on the rest head, with weights that sum to one and faces for what is on the skin."""
    points = puppet.rest_points()
    gaussians, _ = puppet.posed(torch.zeros(50), torch.zeros(15))
    torch.testing.assert_close(points.means, gaussians.means)
    torch.testing.assert_close(points.weights.sum(1), torch.ones(len(points)), atol=1e-4, rtol=0)
    skinned = sum(len(g) for g in puppet.groups.values() if isinstance(g, Skinned))
    assert int((points.face < 0).sum()) == skinned


def test_saved_puppet_draws_the_same(puppet: Puppet, portrait: Portrait, tmp_path: Path) -> None:
    """Save and load keep every number."""
    path = tmp_path / "puppet.safetensors"
    puppet.save(path)
    loaded = Puppet.load(path, puppet.head, portrait)
    camera = portrait.camera.resized(64, 64)
    before = puppet.render(portrait.expr, pose_of(yaw=10), camera)[0]
    after = loaded.render(portrait.expr, pose_of(yaw=10), camera)[0]
    torch.testing.assert_close(before, after, atol=0, rtol=0)


@pytest.mark.parametrize("content", [b"", b"not a puppet", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_damaged_puppet_is_refused(portrait: Portrait, tmp_path: Path, content: bytes) -> None:
    """A broken file is the user's to delete, with a message that names it."""
    path = tmp_path / "puppet.safetensors"
    path.write_bytes(content)
    with pytest.raises(PerseError, match=r"puppet\.safetensors"):
        Puppet.load(path, open_head(), portrait)


def test_copy_shares_groups_but_not_their_table(puppet: Puppet) -> None:
    """Edits of one subject must not reach another."""
    other = puppet.copy()
    skin = other.groups["skin"]
    assert isinstance(skin, SurfaceDiscs)
    other.add("skin", replace(skin, colors=torch.zeros_like(skin.colors)))
    other.deform(offsets=torch.full_like(other.offsets, 0.01))
    assert float(puppet.groups["skin"].colors.sum()) > 0
    assert float((puppet.rest_vertices() - other.rest_vertices()).abs().max()) == pytest.approx(
        0.01, abs=1e-6
    )


# ---- the protocols


@pytest.fixture
def editor(puppet: Puppet, portrait: Portrait, monkeypatch: pytest.MonkeyPatch) -> StudioEditor:
    """An editor that has its puppet already."""
    monkeypatch.setattr(makers_module, "lift", lambda _: puppet)
    made = StudioEditor()
    made.puppet(portrait)
    return made


def test_reference_edit_changes_nothing(editor: StudioEditor, portrait: Portrait) -> None:
    """No attributes: the person as photographed, with an empty M_edit."""
    edited = editor.edit(portrait, (), seed=0)
    assert not bool(edited.mask.any())
    assert edited.image.shape == (512, 512, 3)


def test_two_attributes_of_one_category_are_refused(editor: StudioEditor, portrait: Portrait) -> None:
    hats = [Attribute("hat", f"a person with a {color} hat", (color,)) for color in ("red", "blue")]
    with pytest.raises(PerseError, match="more than one attribute for hat"):
        editor.edit(portrait, hats, seed=0)


def test_animator_follows_motion_and_cameras(editor: StudioEditor, portrait: Portrait) -> None:
    """One frame a row, at the camera's size; a camera that moves per frame is obeyed."""
    edited = editor.edit(portrait, (), seed=0)
    moved = portrait.camera.viewmat.clone()
    moved[0, 3] += 0.05
    motion = Motion(
        expr=torch.zeros(2, 50), pose=torch.zeros(2, 15), train=torch.tensor([True, False]), fps=24.0,
        viewmats=torch.stack([portrait.camera.viewmat, moved]), source="test",
    )  # fmt: skip
    frames = list(StudioAnimator().animate(edited, motion, portrait.camera.resized(96, 96)))
    assert [frame.rgb.shape for frame in frames] == [(96, 96, 3)] * 2
    assert frames[0].labels.dtype == torch.uint8
    centres = [np.argwhere(np.asarray(frame.labels) == label_code("nose")).mean(0)[1] for frame in frames]
    assert centres[1] - centres[0] > 5
    assert (np.asarray(frames[0].rgb)[np.asarray(frames[0].alpha) == 0] == 255).all(), "composited on white"


def test_points_are_thinned_but_small_parts_stay_whole(editor: StudioEditor, portrait: Portrait) -> None:
    """At most about 60 000 points; the same for the same seed."""
    edited = editor.edit(portrait, (), seed=3)
    points = StudioAnimator().points(edited)
    assert 50_000 < len(points) <= 60_000
    again = StudioAnimator().points(edited)
    torch.testing.assert_close(points.means, again.means, atol=0, rtol=0)
    assert isinstance(edited.handle, Puppet)
    whole = edited.handle.rest_points().labels
    for name in ("eyes", "eyebrows", "lips", "mouth_interior", "nose"):
        kept, all_of_it = (int((labels == label_code(name)).sum()) for labels in (points.labels, whole))
        assert kept >= min(all_of_it, 2500)


def test_animator_refuses_foreign_edits(portrait: Portrait) -> None:
    foreign = Edited(portrait.image, torch.zeros(512, 512, dtype=torch.bool), (), 0, handle=None)
    with pytest.raises(PerseError, match="studio"):
        StudioAnimator().points(foreign)


def test_view_projects_as_the_rasterizer_draws() -> None:
    """A Gaussian lands on the pixel that View.project says; else every colour is taken from its neighbour."""
    from perse.splat import Gaussians, rasterize

    viewmat = torch.eye(4)
    viewmat[1, 1] = viewmat[2, 2] = -1
    viewmat[2, 3] = 1.0
    camera = Camera(viewmat, torch.tensor([[120.0, 0, 32], [0, 120, 32], [0, 0, 1]]), 64, 64)
    point = torch.tensor([[0.05, 0.08, 0.02]])
    dot = Gaussians(
        point, torch.tensor([[1.0, 0, 0, 0]]), torch.full((1, 3), 2e-3), torch.ones(1), torch.ones(1, 3)
    )
    image, _ = rasterize(dot, camera)
    weight = image[..., 0]
    v, u = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    drawn = torch.stack([(weight * u).sum(), (weight * v).sum()]) / weight.sum()
    projected = View.of(camera).project(point.double().numpy())[0, :2]
    np.testing.assert_allclose(drawn.numpy(), projected, atol=0.05)


@pytest.mark.parametrize("segment_class", [None, 0, 1, 3, 4])
def test_lift_survives_any_segmentation(portrait: Portrait, segment_class: int | None) -> None:
    """A bald person, one without visible clothes, or a segmentation that is all one class must not crash."""
    probabilities = portrait.segmentation.clone()
    if segment_class is None:  # neither hair nor clothes
        probabilities[..., 3] += probabilities[..., [1, 4, 5]].sum(-1)
        probabilities[..., [1, 4, 5]] = 0
    else:
        probabilities = torch.zeros_like(probabilities)
        probabilities[..., segment_class] = 1
    odd = lift(replace(portrait, segmentation=probabilities))
    assert all(len(group) for group in odd.groups.values()), "no empty groups"
    image, _, _ = odd.render(portrait.expr, pose_of(yaw=20), portrait.camera.resized(64, 64))
    assert bool(torch.isfinite(image).all())
