"""Skinning: one function moves mesh vertices and free points, and says how each was rotated."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch.func import jacrev

from perse.head import (
    blend_rotations,
    open_head,
    pose_transforms,
    quaternion_multiply,
    quaternion_to_matrix,
    rotation_matrices,
    skin,
)
from perse.head.skinning import axis_angle_to_quaternion

angles = st.lists(st.floats(-1.2, 1.2), min_size=3, max_size=3).map(torch.tensor)


@pytest.fixture(scope="module")
def head():
    return open_head()


@pytest.fixture(scope="module")
def mesh_binding(head):
    """The mesh's own E, P, W, as points would carry them."""
    return head.expdirs, head.posedirs.unflatten(-1, (-1, 3)).permute(1, 2, 0).contiguous(), head.lbs_weights


def random_state(seed, spread=0.3):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda n, s: s * torch.randn(n, generator=generator)  # noqa: E731
    return draw(100, 0.7), draw(50, 0.7), draw(15, spread)


def test_skin_moves_mesh_vertices_as_the_head_does(head, mesh_binding):
    """Otherwise avatar points slide over the head they are bound to."""
    betas, expr, pose = random_state(1)
    posed, _ = skin(head.rest_vertices(betas), *mesh_binding, head.joints(betas), expr, pose)
    torch.testing.assert_close(posed, head.vertices(betas, expr, pose), atol=1e-6, rtol=0)


def test_batches_equal_single_frames(head, mesh_binding):
    """Otherwise a training batch trains on other poses than those rendered."""
    states = [random_state(seed) for seed in range(3)]
    betas = states[0][0]
    expr, pose = torch.stack([s[1] for s in states]), torch.stack([s[2] for s in states])
    rest, joints = head.rest_vertices(betas), head.joints(betas)
    posed, quats = skin(rest, *mesh_binding, joints, expr, pose)
    assert posed.shape == (3, len(head), 3)
    assert quats.shape == (3, len(head), 4)
    for k in range(3):
        one_posed, one_quats = skin(rest, *mesh_binding, joints, expr[k], pose[k])
        torch.testing.assert_close(posed[k], one_posed, atol=1e-6, rtol=0)
        torch.testing.assert_close(quats[k], one_quats, atol=1e-5, rtol=0)
    batched = head.vertices(betas.expand(3, -1), expr, pose)
    torch.testing.assert_close(batched, posed, atol=1e-6, rtol=0)


def test_zero_pose_is_the_identity(head, mesh_binding):
    """Otherwise the canonical points are not where the avatar says they are."""
    rest = head.v_template
    posed, quats = skin(rest, *mesh_binding, head.joints(), torch.zeros(50), torch.zeros(15))
    torch.testing.assert_close(posed, rest, atol=1e-7, rtol=0)
    torch.testing.assert_close(quats, torch.tensor([1.0, 0, 0, 0]).expand(len(rest), 4), atol=1e-7, rtol=0)


@settings(max_examples=15, deadline=None)
@given(root=angles, seed=st.integers(0, 1000))
def test_root_rotation_turns_everything_rigidly(root, seed):
    """Pose correctives must not answer to the root, and the chain must carry its rotation to every joint."""
    head = open_head()
    betas, expr, pose = random_state(seed)
    pose[:3] = 0
    turned = pose.clone()
    turned[:3] = root
    still, moved = head.vertices(betas, expr, pose), head.vertices(betas, expr, turned)
    pivot = head.joints(betas)[0]
    expected = (still - pivot) @ rotation_matrices(root).T + pivot
    torch.testing.assert_close(moved, expected, atol=2e-6, rtol=0)


@settings(max_examples=25, deadline=None)
@given(root=angles, neck=angles, jaw=angles, eye=angles)
def test_rotations_compose_along_the_chain(root, neck, jaw, eye):
    """The jaw turns with neck and root; matrices and quaternions must say the same, and joints must stay attached."""
    joints = open_head().joints().double()
    pose = torch.cat([root, neck, jaw, eye, eye]).double()
    transforms, quats, feature = pose_transforms(joints, pose)
    local = [rotation_matrices(x.double()) for x in (root, neck, jaw, eye)]
    torch.testing.assert_close(transforms[2, :, :3], local[0] @ local[1] @ local[2])
    torch.testing.assert_close(transforms[4, :, :3], local[0] @ local[1] @ local[3])
    torch.testing.assert_close(quaternion_to_matrix(quats), transforms[..., :3])
    for child, parent in ((1, 0), (2, 1), (3, 1), (4, 1)):  # a joint lands where its parent carries it
        by = [transforms[j, :, :3] @ joints[child] + transforms[j, :, 3] for j in (child, parent)]
        torch.testing.assert_close(by[0], by[1])
    torch.testing.assert_close(feature.reshape(4, 3, 3)[1], local[2] - torch.eye(3).double())


@settings(max_examples=30, deadline=None)
@given(a=angles, b=angles)
def test_rotation_helpers_agree_with_scipy(a, b):
    """An error here would bend every Gaussian of every avatar."""
    matrix = rotation_matrices(a.double())
    torch.testing.assert_close(matrix, torch.from_numpy(Rotation.from_rotvec(a.double().numpy()).as_matrix()))
    quats = quaternion_multiply(axis_angle_to_quaternion(a.double()), axis_angle_to_quaternion(b.double()))
    torch.testing.assert_close(quaternion_to_matrix(quats), matrix @ rotation_matrices(b.double()))


def test_rotation_gradients_are_finite_at_zero():
    """Tracking starts at the zero pose; a NaN there ends it."""
    x = torch.zeros(3, requires_grad=True)
    (rotation_matrices(x).sum() + axis_angle_to_quaternion(x).sum()).backward()
    assert torch.isfinite(x.grad).all()


def test_rotation_is_the_jacobian_where_skinning_is_rigid(head, mesh_binding):
    """Eq. 29: on the skull (one joint) the quaternion must equal the Jacobian of posed by rest position."""
    betas, expr, pose = random_state(4)
    vertex = int(head.v_template[:, 1].argmax())
    E, P, W = (x[vertex : vertex + 1] for x in mesh_binding)
    assert W[0, 1] > 0.999
    joints, point = head.joints(betas), head.rest_vertices(betas)[vertex]
    jacobian = jacrev(lambda x: skin(x[None], E, P, W, joints, expr, pose)[0][0])(point)
    _, quats = skin(point[None], E, P, W, joints, expr, pose)
    torch.testing.assert_close(quaternion_to_matrix(quats[0]), jacobian, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("degrees", "bound"), [(20.0, 0.06), (45.0, 0.6)])
def test_blended_rotation_stays_near_the_polar_one(degrees, bound):
    """The documented error of blending quaternions instead of the polar decomposition of blended matrices."""
    axis = torch.nn.functional.normalize(torch.tensor([1.0, 0.4, -0.3]), dim=0).double()
    pose = torch.zeros(15).double()
    pose[6:9] = math.radians(degrees) * axis
    joints = open_head().joints().double()
    transforms, quats, _ = pose_transforms(joints, pose)
    share = torch.linspace(0, 1, 101).double()
    weights = torch.zeros(101, 5).double()
    weights[:, 1], weights[:, 2] = 1 - share, share
    blended = quaternion_to_matrix(blend_rotations(weights, quats))
    u, _, vt = torch.linalg.svd((weights @ transforms[..., :3].flatten(-2)).unflatten(-1, (3, 3)))
    cosine = ((blended.mT @ (u @ vt)).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    worst = torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).max()
    assert worst < bound


def test_quaternion_signs_do_not_cancel():
    """A joint turned beyond 180 degrees has the opposite sign; blending must not pass through zero."""
    quats = axis_angle_to_quaternion(
        torch.tensor([[0.0, 0, 0], [0, 0.1, 0], [0, 0.2, 0], [0, 0, 0], [0, 0, 0]])
    )
    flipped = quats * torch.tensor([1.0, 1, -1, 1, -1])[:, None]
    weights = torch.tensor([[0.0, 0.5, 0.5, 0, 0]])
    torch.testing.assert_close(blend_rotations(weights, quats), blend_rotations(weights, flipped))


def test_skin_is_differentiable_in_everything():
    """Training moves points, E, P, W, joints; tracking moves expression and pose."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.double).requires_grad_()

    arguments = (draw(2, 3), draw(2, 3, 4), draw(2, 3, 36), draw(2, 5), draw(5, 3), draw(4), draw(15))
    assert torch.autograd.gradcheck(skin, arguments, atol=1e-5)
