"""Baked looks: the packed table plays what posing in torch says, with every instruction set."""

from __future__ import annotations

import pytest
import torch

from perse import _kernels
from perse.avatar import BakedLook, Canonical, _native_pose_mlp
from perse.avatar._pose_table import PoseTable
from perse.avatar.posing import PoseMLP, pose_canonical
from perse.head import Binding
from perse.splat import Camera, rasterize

ISAS = _kernels.instruction_sets()
FIELDS = ("means", "quats", "scales", "opacities", "colors")


def canonical(count: int, code: int = 4, seed: int = 0) -> Canonical:
    """Points in two runs; the first block's E and P answer to three coefficients only."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    E, P, W = 2e-3 * draw(count, 3, 50), 2e-3 * draw(count, 3, 36), torch.rand(count, 5, generator=g)
    E[:16, :, 3:], P[:16] = 0.0, 0.0
    W = W / W.sum(1, keepdim=True)
    half = count // 2
    return Canonical(
        means=0.1 * draw(count, 3),
        quats=draw(count, 4),
        log_scales=draw(count, 3) * 0.3 - 5.0,
        opacity=draw(count) + 2.0,
        colors=draw(count, 3),
        presence=torch.rand(count, generator=g),
        bindings=[Binding(E[:half], P[:half], W[:half]), Binding(E[half:], P[half:], W[half:])],
        labels=torch.zeros(count, dtype=torch.uint8),
        pose_code=draw(count, code) if code else None,
        z=draw(6),
    )


def network(width: int, depth: int, code: int, latent: int, seed: int = 1) -> PoseMLP:
    g = torch.Generator().manual_seed(seed)
    mlp = PoseMLP(latent, width, depth, code).requires_grad_(False)
    mlp.net.initialize(g, 0.3)
    for layer in (mlp.net.first, *mlp.net.hidden):
        layer.bias.copy_(0.3 * torch.randn(layer.bias.shape, generator=g))
    return mlp


def motion(frames: int, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Joints, expr, pose."""
    g = torch.Generator().manual_seed(seed)
    joints = 0.05 * torch.randn(5, 3, generator=g)
    return joints, torch.randn(frames, 50, generator=g), 0.3 * torch.randn(frames, 15, generator=g)


def view(size: int) -> Camera:
    viewmat = torch.eye(4)
    viewmat[2, 3] = 1.0
    return Camera(
        viewmat, torch.tensor([[2.0 * size, 0, size / 2], [0, 2.0 * size, size / 2], [0, 0, 1]]), size, size
    )


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    """Every instruction set in turn, as PERSE_SIMD would choose it."""
    monkeypatch.setenv(_kernels.SIMD_VARIABLE, request.param)
    return request.param


def assert_same(found, truth, means=1e-7, others=2e-6):
    for name in FIELDS:
        value, true_value = getattr(found, name), getattr(truth, name)
        assert value.shape == true_value.shape, name
        if value.numel():
            assert float((value - true_value).abs().max()) < (means if name == "means" else others), name


@pytest.mark.parametrize("count", [0, 1, 15, 17, 700])
@pytest.mark.parametrize("frames", [0, 1, 5])
def test_plays_what_torch_poses(isa, count, frames):
    """Fails if a packed point lost a column, sits in the wrong lane, or padding leaks into the last block."""
    points, (joints, expr, pose) = canonical(count), motion(frames)
    baked = BakedLook(points, joints, None, compact=False)
    assert baked._table is not None
    assert_same(baked.pose(expr, pose), pose_canonical(points, joints, expr, pose))


@pytest.mark.parametrize(
    ("width", "depth", "code", "latent"), [(32, 2, 4, 0), (20, 1, 0, 6), (8, 3, 1, 0), (256, 2, 4, 6)]
)
def test_plays_mlp_pose(isa, width, depth, code, latent):
    """MLP_pose runs in the kernel with its constant parts folded away; whatever its size, it must say the same."""
    points, (joints, expr, pose) = canonical(75, code), motion(2)
    mlp = network(width, depth, code, latent)
    with torch.no_grad():
        truth = pose_canonical(points, joints, expr, pose, mlp)
    plain = pose_canonical(points, joints, expr, pose)
    assert float((truth.colors - plain.colors).abs().max()) > 0.05, "the network must change something"
    assert_same(BakedLook(points, joints, mlp, compact=False).pose(expr, pose), truth, others=1e-5)


@pytest.mark.parametrize("with_mlp", [False, True])
def test_sixteen_bits_move_points_by_micrometres(isa, with_mlp):
    """E and P in 16-bit integers, harsher here than trained ones; a pixel of a portrait is near a millimetre wide."""
    points, (joints, expr, pose) = canonical(500), motion(4)
    mlp = network(32, 2, 4, 0) if with_mlp else None
    with torch.no_grad():
        truth = pose_canonical(points, joints, expr, pose, mlp)
    compact = BakedLook(points, joints, mlp).pose(expr, pose)
    assert_same(compact, truth, means=2e-6, others=1e-4)


def test_sixteen_bits_do_not_show():
    """Under 1/255 everywhere but where two points at one depth change places, which float32 makes happen as well."""
    points, (joints, expr, pose) = canonical(4000), motion(3)
    pose = 0.3 * pose
    baked, white = BakedLook(points, joints, None), torch.ones(3)
    truth = rasterize(pose_canonical(points, joints, expr, pose), view(128), white)[0].clamp(0, 1)
    error = (baked.render(expr, pose, view(128)) - truth).abs().amax(-1) * 255
    assert float(error.max()) > 0, "two ways of storage cannot agree in every bit"
    assert float((error > 0.5).double().mean()) < 2e-4
    assert float(error.square().mean().sqrt()) < 0.05


def test_threads_change_nothing():
    """Fails if a thread's share is lost or shared."""
    points, (joints, expr, pose) = canonical(3000), motion(2)
    baked, before = BakedLook(points, joints, network(32, 2, 4, 0)), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(baked.pose(expr, pose))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for name in FIELDS:
            assert torch.equal(getattr(other, name), getattr(results[0], name))


def test_frames_do_not_share_memory():
    """`render` reuses buffers, `pose` must not: whoever keeps a posed set keeps its numbers."""
    points, (joints, expr, pose) = canonical(40), motion(20)
    baked = BakedLook(points, joints, None)
    kept = baked.pose(expr[:1], pose[:1])
    copy = kept.means.clone()
    film = baked.render(expr, pose, view(32))
    assert film.shape == (20, 32, 32, 3)
    assert torch.equal(kept.means, copy)
    for k in (0, 7, 8, 19):  # across the pieces that long films are drawn in
        assert torch.equal(film[k], baked.render(expr[k : k + 1], pose[k : k + 1], view(32))[0])


def test_one_camera_for_each_frame():
    """A film with a moving camera longer than what is drawn at once."""
    points, (joints, expr, pose) = canonical(40), motion(11)
    baked, camera = BakedLook(points, joints, None), view(32)
    viewmat = camera.viewmat.repeat(11, 1, 1)
    viewmat[:, 0, 3] = torch.linspace(-0.1, 0.1, 11)
    film = baked.render(expr, pose, Camera(viewmat, camera.K, 32, 32))
    last = baked.render(expr[10:], pose[10:], Camera(viewmat[10], camera.K, 32, 32))
    assert torch.equal(film[10], last[0])


def test_what_the_kernels_cannot_play_is_posed_in_torch():
    """float64 looks and networks too wide for the kernel's buffers still play."""
    points, (joints, expr, pose) = canonical(20), motion(1)
    assert not PoseTable.takes(points, joints.double(), None)
    wide = BakedLook(points, joints, network(300, 2, 4, 0))
    assert wide._table is None
    with torch.no_grad():
        assert_same(wide.pose(expr, pose), pose_canonical(points, joints, expr, pose, wide.pose_mlp))


def test_damaged_tables_are_refused():
    """The kernel reads where the table says: what does not fit must be refused, or it would read foreign memory."""
    good = dict(
        count=17,
        coefficient_count=86,
        columns=torch.zeros(3, 3, 16),
        units=torch.ones(3),
        which=torch.tensor([0, 5, 85], dtype=torch.uint8),
        first=torch.tensor([0, 1, 3], dtype=torch.int32),
        constants=torch.zeros(2, 12, 16),
        joints=torch.zeros(5, 3),
        widths=[],
        mlp_weights=torch.empty(0),
        bounds=[],
        min_log_scale=-9.0,
        max_log_scale=-3.0,
    )
    table = _kernels.module().PoseTable
    table(**good)
    for bad in (
        {"which": torch.tensor([0, 5, 86], dtype=torch.uint8)},
        {"first": torch.tensor([0, 4, 3], dtype=torch.int32)},
        {"first": torch.tensor([0, 1, 2], dtype=torch.int32)},
        {"units": torch.ones(2)},
        {"count": 33},
        {"constants": torch.zeros(2, 11, 16)},
        {"widths": [10, 32, 16]},
        {"widths": [10, 32, 16], "constants": torch.zeros(2, 35, 16)},
        {"columns": torch.zeros(3, 3, 16).half()},
        {"columns": torch.zeros(3 * 48 + 1)[1:].view(3, 3, 16)},
    ):
        with pytest.raises(ValueError, match=r"\w"):
            table(**{**good, **bad})
    points, (joints, expr, pose) = canonical(40), motion(2)
    with pytest.raises(ValueError, match="expr"):
        BakedLook(points, joints, None).pose(expr[:, :10], pose)
    with pytest.raises(ValueError, match="expr"):
        BakedLook(points, joints, None).pose(expr[:1], pose)


# ---- MLP_pose in training


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("width", "depth", "code", "latent", "count", "frames"),
    [
        (32, 2, 4, 0, 130, 2),
        (20, 1, 0, 6, 1, 1),
        (8, 3, 1, 0, 64, 3),
        (72, 2, 4, 6, 1100, 1),
        (32, 2, 4, 0, 0, 1),
    ],
)
def test_mlp_pose_and_its_gradients(isa, width, depth, code, latent, count, frames):
    """Training runs MLP_pose natively: outputs and every gradient must be those of the network in float64."""
    g = torch.Generator().manual_seed(3)
    moved, bent = (
        0.05 * torch.randn(frames, count, 3, generator=g),
        3e-3 * torch.randn(frames, count, 3, generator=g),
    )
    codes = torch.randn(count, code, generator=g) if code else None
    z, grad = torch.randn(6, generator=g), torch.randn(frames, count, 11, generator=g)

    def run(dtype, native):
        mlp = network(width, depth, code, latent).to(dtype).requires_grad_()
        leaves = [t.to(dtype).requires_grad_() for t in (moved, bent, *([z] if latent else []))]
        own = None if codes is None else codes.to(dtype).requires_grad_()
        given = leaves[2] if latent else None
        if native:
            weights, biases = mlp.layers(given)
            numbers = (mlp.MOVED_SCALE, mlp.BENT_SCALE, *mlp.BOUNDS)
            still = torch.zeros(count, 0) if own is None else own
            out = _native_pose_mlp.changes(*leaves[:2], still, weights, biases, numbers, isa)
        else:
            out = mlp.changes_torch(*leaves[:2], own, given)
        wanted = [*leaves, *([] if own is None else [own]), *mlp.parameters()]
        return out.detach(), torch.autograd.grad(out, wanted, grad.to(dtype))

    out, grads = run(torch.float32, True)
    truth, true_grads = run(torch.float64, False)
    for value, true_value in zip((out, *grads), (truth, *true_grads), strict=True):
        assert value.shape == true_value.shape
        assert float((value - true_value).norm()) <= 5e-6 * float(true_value.norm())


def test_training_threads_change_nothing():
    """An interrupted training goes on with the same bits only if sums do not depend on who was faster."""
    points, (joints, expr, pose) = canonical(3000), motion(2)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            mlp = network(32, 2, 4, 0).requires_grad_()
            gaussians = pose_canonical(points, joints, expr, pose, mlp)
            loss = gaussians.colors.square().sum() + gaussians.scales.sum() + gaussians.quats.square().sum()
            loss.backward()
            results.append([p.grad for p in mlp.parameters()])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for value, first in zip(other, results[0], strict=True):
            assert torch.equal(value, first)
