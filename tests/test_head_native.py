"""Native skinning: the numbers and gradients of the definition, for every instruction set, shape and thread count."""

from __future__ import annotations

import itertools

import pytest
import torch

from perse import _kernels
from perse.head import Binding, _native_skinning, open_head, pose_transforms, skin, skin_runs
from perse.head.skinning import pose_transforms_torch, skin_runs_torch

ISAS = _kernels.instruction_sets()
TOLERANCE = 5e-6


def relative_error(value, truth):
    return float((value.detach().double() - truth).norm() / truth.norm().clamp_min(1e-30))


def scene(sizes=(37, 90), frames=2, seed=0, expressions=50, dtype=torch.float32):
    """Points of a head's size with dense random E, P and mixed W, in runs; expr, pose, joints; quats of any length."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    count = sum(sizes)
    runs = []
    for n in sizes:
        W = torch.rand(n, 5, generator=g, dtype=torch.float64) ** 4
        runs += [2e-3 * draw(n, 3, expressions), 2e-3 * draw(n, 3, 36), W / W.sum(-1, keepdim=True)]
    joints = torch.tensor(
        [[0.0, -0.1, 0], [0, 0, 0], [0, -0.03, 0.02], [0.03, 0.02, 0.06], [-0.03, 0.02, 0.06]]
    )
    tensors = [
        0.1 * draw(count, 3),
        draw(count, 4),
        draw(frames, expressions),
        0.5 * draw(frames, 15),
        joints,
        *runs,
    ]
    return [t.to(torch.float32).to(dtype).requires_grad_() for t in tensors]


def bindings_of(flat):
    return [Binding(*flat[k : k + 3]) for k in range(0, len(flat), 3)]


def run(tensors, isa=None, reference=False, grads=None):
    """Outputs and gradients of everything. All outputs get gradients unless told otherwise."""
    points, quats, expr, pose, joints, *flat = tensors
    if reference:
        outputs = skin_runs_torch(points, bindings_of(flat), joints, expr, pose, quats)
    else:
        motion = pose_transforms(joints, pose)
        outputs = _native_skinning.skin_runs(points, quats, bindings_of(flat), expr, motion, isa)
    if grads is None:
        g = torch.Generator().manual_seed(9)
        grads = [torch.randn(out.shape, generator=g) for out in outputs]
    wanted = [t for t in tensors if t.requires_grad]
    pairs = [
        (out, grad.to(out.dtype))
        for out, grad in zip(outputs, grads, strict=True)
        if grad is not None and out.requires_grad
    ]
    used, given = zip(*pairs, strict=True)
    found = torch.autograd.grad(used, wanted, given, allow_unused=True)
    return [out.detach() for out in outputs], found


NAMES = ["points", "quats", "expr", "pose", "joints", *(f"{n}{k}" for k in (1, 2) for n in "EPW")]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("sizes", "frames"), [((37, 90), 2), ((1,), 1), ((15, 1), 3), ((17, 16), 1), ((600, 520), 1), ((40,), 9)]
)
def test_matches_the_definition(isa, sizes, frames):
    """Fails if an instruction set moves points, or learns, otherwise than the paper's equations in float64 say."""
    outputs, grads = run(scene(sizes, frames), isa)
    true_outputs, true_grads = run(scene(sizes, frames, dtype=torch.float64), reference=True)
    for name, value, truth in zip(("posed", "turned", "bent"), outputs, true_outputs, strict=True):
        assert relative_error(value, truth) < TOLERANCE, name
    for name, value, truth in zip(NAMES, grads, true_grads, strict=False):
        assert relative_error(value, truth) < TOLERANCE, name


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_output_alone(isa, which):
    """A loss on positions only (tracking), rotations only, or offsets only must not read missing gradients."""
    tensors, doubles = scene((33,)), scene((33,), dtype=torch.float64)
    shapes = [(2, 33, 3), (2, 33, 4), (2, 33, 3)]
    grads = [torch.ones(shape) if k == which else None for k, shape in enumerate(shapes)]
    _, found = run(tensors, isa, grads=grads)
    _, truth = run(doubles, reference=True, grads=grads)
    for name, value, true_value in zip(NAMES, found, truth, strict=False):
        true_value = torch.zeros_like(value) if true_value is None else true_value
        assert float((value - true_value).norm()) <= TOLERANCE * float(true_value.norm()) + 1e-7, name


@pytest.mark.parametrize(
    "learned",
    [("points", "quats"), ("E1",), ("W2", "P1"), ("expr",), ("pose",), ("points", "joints")],
    ids="+".join,
)
def test_gradients_that_are_not_wanted_are_left_out(learned):
    """Training learns points with and without E, P, W, tracking only psi and theta: any mixture must be right."""
    tensors, doubles = scene(), scene(dtype=torch.float64)
    for name, single, double in zip(NAMES, tensors, doubles, strict=True):
        single.requires_grad_(name in learned)
        double.requires_grad_(name in learned)
    _, found = run(tensors)
    _, truth = run(doubles, reference=True)
    for name, value, true_value in zip(filter(learned.__contains__, NAMES), found, truth, strict=True):
        assert relative_error(value, true_value) < TOLERANCE, name


def test_without_quats_and_through_skin():
    """`skin` gives the rotation itself, for any leading dimensions, and says the same as the definition."""
    points, _, expr, pose, joints, *flat = scene((50,), frames=6)
    batch_expr, batch_pose = expr.reshape(2, 3, 50), pose.reshape(2, 3, 15)[:, :1]
    posed, turned = skin(points, *flat, joints, batch_expr, batch_pose)
    doubles = [t.detach().double() for t in (points, *flat, joints, batch_expr, batch_pose)]
    true_posed, true_turned = skin(*doubles)
    assert posed.shape == (2, 3, 50, 3)
    assert true_posed.dtype == torch.float64
    assert relative_error(posed, true_posed) < TOLERANCE
    assert relative_error(turned, true_turned) < TOLERANCE
    one, _ = skin(points, *flat, joints, expr[0], pose[0])
    assert torch.equal(one, skin(points, *flat, joints, expr[:1], pose[:1])[0][0])


@pytest.mark.parametrize(("count", "frames"), [(0, 2), (5, 0), (0, 0)])
def test_nothing_to_pose(count, frames):
    """An empty layer or an empty batch is no error, and its gradients are empty or zero."""
    (posed, turned, bent), grads = run(scene((count,), frames))
    assert posed.shape == bent.shape == (frames, count, 3)
    assert turned.shape == (frames, count, 4)
    for grad in grads:
        assert not grad.any()


def test_layouts_of_memory_do_not_matter():
    """Views that torch's operations leave behind (transposed, strided, expanded) must be read as what they are."""
    plain = [t.detach() for t in scene((40,), frames=3)]
    points, quats, expr, pose, joints, E, P, W = plain
    strided = [torch.stack([t, t], 1)[:, 0] for t in (points, quats, expr, pose)]
    turned = [t.transpose(0, -1).contiguous().transpose(0, -1) for t in (joints, E, P, W)]
    for value, truth in zip(
        skin_runs(strided[0], [Binding(*turned[1:])], turned[0], *strided[2:], strided[1]),
        skin_runs(points, [Binding(E, P, W)], joints, expr, pose, quats),
        strict=True,
    ):
        assert torch.equal(value, truth)
    expanded = points.clone().requires_grad_()
    posed, _, _ = skin_runs(expanded, [Binding(E, P, W)], joints, expr, pose)
    posed.sum().backward()  # an expanded gradient
    assert torch.isfinite(expanded.grad).all()


def test_threads_change_nothing():
    """Fails if a thread's share is lost or counted twice: the same bits are due for any number of threads."""
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(list(itertools.chain(*run(scene((700, 1900))))))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for value, first in zip(other, results[0], strict=True):
            assert torch.equal(value, first)


def test_second_derivatives_are_refused():
    """The native kernels have none; a silent zero would be worse than an error."""
    points, quats, expr, pose, joints, *flat = scene((20,), frames=1)
    posed, _, _ = skin_runs(points, bindings_of(flat), joints, expr, pose, quats)
    (grad,) = torch.autograd.grad(posed.square().sum(), points, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_other_numbers_take_the_definition():
    """float64 and few expression units are for the torch code; its second derivatives are there."""
    points, quats, expr, pose, joints, *flat = scene((20,), dtype=torch.float64)
    posed, _, _ = skin_runs(points, bindings_of(flat), joints, expr, pose, quats)
    (grad,) = torch.autograd.grad(posed.square().sum(), points, create_graph=True)
    grad.sum().backward()
    few = scene((20,), expressions=4)
    assert skin_runs(few[0], bindings_of(few[5:]), few[4], few[2], few[3])[0].shape == (2, 20, 3)


def test_wrong_sizes_are_refused():
    """A layer that lost a point must not be posed with its neighbour's weights."""
    points, _, expr, pose, joints, E, P, W = (t.detach() for t in scene((20,)))
    with pytest.raises(ValueError, match="are for 20 points"):
        skin_runs(torch.zeros(21, 3), [Binding(E, P, W)], joints, expr, pose)
    with pytest.raises(ValueError, match="row for each point"):
        skin_runs(points, [Binding(E[:-1], P, W)], joints, expr, pose)
    with pytest.raises(ValueError, match="coefficient"):
        skin_runs(points, [Binding(E, P, W)], joints, expr[:, :-1], pose)


def test_joints_in_double_precision():
    """Forward kinematics without gradients is native; near zero, far, and batched as the definition says."""
    joints = open_head().joints()
    for scale in (0.0, 1e-8, 1e-5, 0.3, 3.0):
        pose = scale * torch.randn(2, 3, 15, generator=torch.Generator().manual_seed(1))
        found = pose_transforms(joints, pose)
        truth = pose_transforms_torch(joints.double(), pose.double())
        for value, true_value in zip(found, truth, strict=True):
            assert value.shape == true_value.shape
            assert float((value - true_value).abs().max()) < 1e-6
    assert pose_transforms(joints, pose.requires_grad_())[0].requires_grad
