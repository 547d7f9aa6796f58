"""What rasterize() means, whichever backend draws."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perse.errors import PerseError
from perse.splat import Camera, Gaussians, _reference, rasterize
from splat_scenes import camera, leaves, one_gaussian, random_gaussians, straight_camera


@pytest.fixture
def draw(splat_backend):
    """rasterize() with one backend; takes and gives CPU tensors."""
    return splat_backend.rasterize


def test_one_round_gaussian_is_the_textbook_formula(draw):
    """alpha = opacity exp(-r^2 / 2 (f s / z)^2 + 0.3): projection, blur, pixel centres and threshold in one."""
    image, alpha = draw(one_gaussian(), straight_camera())
    steps = torch.arange(33) - 16.0  # the middle of pixel 16 is the principal point
    squared = steps[:, None] ** 2 + steps[None, :] ** 2
    expected = 0.8 * torch.exp(-0.5 * squared / ((60 * 0.1 / 2) ** 2 + 0.3))
    expected = torch.where(expected < 1 / 255, 0.0, expected)
    torch.testing.assert_close(alpha, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        image, expected[..., None] * torch.tensor([1.0, 0.5, 0.25]), atol=1e-6, rtol=1e-5
    )


def test_a_turned_needle_points_where_its_quaternion_says(draw):
    """90 degrees about z (wxyz) turns a needle along x into one along y. Fails if the order of quats is wrong."""
    needle = torch.tensor([[0.2, 0.01, 0.01]])
    half = math.sqrt(0.5)
    along_x = draw(one_gaussian(scales=needle), straight_camera())[1]
    along_y = draw(one_gaussian(scales=needle, quats=torch.tensor([[half, 0, 0, half]])), straight_camera())[
        1
    ]
    assert float(along_x[16, 26]) > 0.1 > float(along_x[26, 16])
    torch.testing.assert_close(along_y, along_x.T, atol=1e-5, rtol=0)


def test_nearer_hides_farther_and_alpha_is_clamped(draw):
    """Two opaque discs: front weight 0.999, back 0.999 x 0.001, background what is left."""
    pair = Gaussians.cat(
        [
            one_gaussian(means=torch.tensor([[0.0, 0.0, 3.0]]), colors=torch.tensor([[0.0, 1.0, 0.0]])),
            one_gaussian(colors=torch.tensor([[1.0, 0.0, 0.0]])),
        ]
    )
    pair.opacities[:] = 1.0
    image, alpha = draw(pair, straight_camera(), torch.tensor([0.0, 0.0, 1.0]))
    # 0.001 x 0.001 would fall below 1e-4: the pixel is finished before the second disc
    torch.testing.assert_close(image[16, 16], torch.tensor([0.999, 0.0, 0.001]), atol=1e-6, rtol=0)
    pair.opacities[:] = 0.9
    image, alpha = draw(pair, straight_camera(), torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(image[16, 16], torch.tensor([0.9, 0.09, 0.01]), atol=1e-6, rtol=0)
    assert float(alpha[16, 16]) == pytest.approx(0.99, abs=1e-6)


def test_near_plane(draw):
    """Gaussians nearer than 1 cm are not drawn."""
    tiny = torch.full((1, 3), 1e-4)
    for depth, seen in [(0.0101, True), (0.0099, False), (-2.0, False)]:
        alpha = draw(one_gaussian(means=torch.tensor([[0.0, 0.0, depth]]), scales=tiny), straight_camera())[1]
        assert bool(alpha.any()) is seen


def test_order_of_input_does_not_matter(draw):
    gaussians, view = random_gaussians(500, 8), camera(48, 48)
    shuffled = gaussians[torch.randperm(500, generator=torch.Generator().manual_seed(0))]
    for value, other in zip(draw(gaussians, view), draw(shuffled, view), strict=True):
        torch.testing.assert_close(value, other, atol=1e-6, rtol=0)


@given(
    seed=st.integers(0, 99),
    first=st.tuples(*[st.floats(0, 1)] * 3),
    second=st.tuples(*[st.floats(0, 1)] * 3),
)
@settings(max_examples=15, deadline=None)
def test_background_enters_linearly(seed, first, second):
    """image(b) = foreground + (1 - alpha) b, for any b."""
    gaussians, view = random_gaussians(100, seed, scale=3.0), camera(24, 24)
    a, b = torch.tensor(first), torch.tensor(second)
    black, alpha = rasterize(gaussians, view)
    for background in (a, b, a - 2 * b):
        image, _ = rasterize(gaussians, view, background)
        torch.testing.assert_close(image, black + (1 - alpha)[..., None] * background, atol=1e-6, rtol=0)


@given(seed=st.integers(0, 99), angle=st.floats(-3, 3), shift=st.tuples(*[st.floats(-2, 2)] * 3))
@settings(max_examples=15, deadline=None)
def test_moving_world_and_camera_together_changes_nothing(seed, angle, shift):
    """Fails if anything depends on where the world's origin is. In float64, where no threshold is near rounding."""
    gaussians, view = (
        random_gaussians(60, seed, scale=4.0).to(torch.float64),
        camera(20, 20).to(torch.float64),
    )
    c, s = math.cos(angle), math.sin(angle)
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3] = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    motion[:3, 3] = torch.tensor(shift, dtype=torch.float64)
    half = torch.tensor([math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)], dtype=torch.float64)
    moved = Gaussians(
        gaussians.means @ motion[:3, :3].T + motion[:3, 3],
        quaternion_product(half, gaussians.quats),
        gaussians.scales,
        gaussians.opacities,
        gaussians.colors,
    )
    moved_view = Camera(view.viewmat @ torch.linalg.inv(motion), view.K, view.width, view.height)
    still, _ = rasterize(gaussians, view, backend="torch")
    image, _ = rasterize(moved, moved_view, backend="torch")
    torch.testing.assert_close(image, still, atol=1e-9, rtol=0)
    near, _ = rasterize(moved, moved_view, backend="native")
    assert float(((near - still).abs().amax(-1) > 1e-4).float().mean()) < 0.02


def quaternion_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """wxyz [4] times wxyz [N, 4]."""
    w, v = a[0] * b[:, 0] - b[:, 1:] @ a[1:], a[0] * b[:, 1:] + b[:, :1] * a[1:]
    return torch.cat([w[:, None], v + torch.linalg.cross(a[1:].expand_as(b[:, 1:]), b[:, 1:])], dim=-1)


def test_reference_gradients_are_exact():
    """Finite differences in float64. Everything else is held to the reference, so this must hold first."""
    gaussians, view = random_gaussians(6, 2, scale=8.0), camera(7, 6)
    gaussians.opacities.mul_(0.8).add_(0.1)
    inputs = leaves(gaussians, torch.rand(6, 4), view, torch.float64)
    background = torch.rand(4, dtype=torch.float64, requires_grad=True)

    def render(*tensors):
        return _reference.render(*tensors[:-1], view.width, view.height, tensors[-1])

    assert torch.autograd.gradcheck(render, (*inputs, background), atol=1e-5, rtol=1e-4)


def test_reference_has_second_derivatives():
    """What docs/splat.md offers to those who need them."""
    gaussians, view = random_gaussians(3, 2, scale=8.0), camera(4, 3)
    means = gaussians.means.double().requires_grad_()
    others = [t.double() for t in (gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.colors)]

    def render(means):
        return rasterize(Gaussians(means, *others), view.to(torch.float64), backend="torch")[0]

    assert torch.autograd.gradgradcheck(render, means, atol=1e-3, rtol=1e-3)


def test_extra_channels_blend_as_colours_do(draw):
    gaussians, view = random_gaussians(200, 1, scale=2.0), camera(30, 26)
    extra = torch.cat([gaussians.colors.flip(-1), torch.ones(200, 10)], dim=-1)
    image, alpha = draw(gaussians, view, torch.ones(3), extra)
    black, _ = draw(gaussians, view)
    assert image.shape == (26, 30, 16)
    torch.testing.assert_close(image[..., 3:6], black.flip(-1), atol=1e-6, rtol=0)
    torch.testing.assert_close(image[..., 6:], alpha[..., None].expand(26, 30, 10), atol=1e-6, rtol=0)
    with_background, _ = draw(gaussians, view, torch.arange(16.0), extra)
    expected = black[..., :1] + (1 - alpha)[..., None] * 5.0
    torch.testing.assert_close(with_background[..., 5:6], expected, atol=1e-5, rtol=0)


def test_batches_equal_single_calls(draw):
    """[S, F] sets x cameras in one call, with whatever does not change left unrepeated, gradients included."""
    base = random_gaussians(150, 3, scale=2.0)
    moves = 0.01 * torch.arange(6.0).reshape(2, 3, 1, 1)
    base.colors.requires_grad_()
    batch = Gaussians(base.means + moves, base.quats, base.scales, base.opacities, base.colors)
    views = [camera(24, 20, yaw=angle) for angle in (-0.4, 0.0, 0.4)]
    viewmats = torch.stack([view.viewmat for view in views])  # [3, 4, 4]
    image, alpha = draw(batch, Camera(viewmats, views[0].K, 24, 20))
    assert image.shape == (2, 3, 20, 24, 3)
    assert alpha.shape == (2, 3, 20, 24)
    (gradient,) = torch.autograd.grad(image.square().sum(), base.colors)
    total = torch.zeros_like(gradient)
    for s in range(2):
        for f in range(3):
            one = Gaussians(base.means + moves[s, f], base.quats, base.scales, base.opacities, base.colors)
            single, single_alpha = draw(one, views[f])
            torch.testing.assert_close(image[s, f], single, atol=1e-6, rtol=0)
            torch.testing.assert_close(alpha[s, f], single_alpha, atol=1e-6, rtol=0)
            total += torch.autograd.grad(single.square().sum(), base.colors)[0]
    torch.testing.assert_close(gradient, total, atol=1e-4, rtol=1e-4)


def test_an_empty_batch_is_an_empty_image():
    gaussians = random_gaussians(10, 0)
    gaussians.means = gaussians.means.expand(0, 10, 3)
    image, alpha = rasterize(gaussians, camera(8, 8))
    assert image.shape == (0, 8, 8, 3)
    assert alpha.shape == (0, 8, 8)


def test_a_resized_camera_sees_the_same(draw):
    """Drawn at twice the size and averaged 2 x 2 it is nearly the same picture; half a pixel of shift is not."""
    gaussians, view = random_gaussians(400, 2, scale=12.0), camera(40, 40)
    small, _ = draw(gaussians, view)
    large, _ = draw(gaussians, view.resized(80, 80))

    def difference(image):
        averaged = image.unflatten(1, (40, 2)).unflatten(0, (40, 2)).mean(dim=(1, 3))
        return float((averaged - small)[1:-1, 1:-1].abs().mean())

    assert difference(large) < 0.01
    assert difference(large) < 0.5 * difference(large.roll(1, dims=0))
    assert difference(large) < 0.5 * difference(large.roll(-1, dims=1))


def wrong_inputs():
    def fresh():
        return random_gaussians(10, 0)

    view = camera(8, 8)
    g = fresh()
    yield "quats", ValueError, (Gaussians(g.means, g.quats[:, :3], g.scales, g.opacities, g.colors), view)
    yield (
        "opacities",
        ValueError,
        (Gaussians(g.means, g.quats, g.scales, g.opacities[:, None], g.colors), view),
    )
    yield "scales", ValueError, (Gaussians(g.means, g.quats, g.scales[:5], g.opacities, g.colors), view)
    yield "means", TypeError, (g.to(torch.int64), view)
    yield "extra", ValueError, (g, view, None, torch.rand(9, 2))
    yield "background", ValueError, (g, view, torch.rand(2))
    yield (
        "do not broadcast",
        ValueError,
        (g, Camera(view.viewmat.expand(2, 4, 4), view.K.expand(3, 3, 3), 8, 8)),
    )
    yield "16384", ValueError, (g, Camera(view.viewmat, view.K, 20000, 8))
    yield "viewmat", ValueError, (g, Camera(view.viewmat * float("nan"), view.K, 8, 8))
    yield "focal", ValueError, (g, Camera(view.viewmat, -view.K, 8, 8))
    yield (
        "skew",
        ValueError,
        (g, Camera(view.viewmat, view.K + torch.tensor([[0, 1.0, 0], [0] * 3, [0] * 3]), 8, 8)),
    )


@pytest.mark.parametrize(
    ("word", "error", "arguments"), list(wrong_inputs()), ids=lambda value: str(value)[:20]
)
def test_wrong_inputs_are_named(word, error, arguments):
    """Before any kernel runs, with the name of the argument."""
    with pytest.raises(error, match=word):
        rasterize(*arguments)


def test_backends_are_chosen_and_refused_by_name():
    gaussians, view = random_gaussians(5, 0), camera(8, 8)
    with pytest.raises(ValueError, match=r"opengl.*native"):
        rasterize(gaussians, view, backend="opengl")
    with pytest.raises((ValueError, PerseError), match="CUDA"):
        rasterize(gaussians, view, backend="gsplat")
    with pytest.raises(ValueError, match="'native' draws CPU tensors"):
        rasterize(gaussians.to("meta"), view.to("meta"), backend="native")


def test_chunked_reference_equals_one_piece(monkeypatch):
    """Tiles are only there to bound memory."""
    gaussians, view = random_gaussians(200, 1, scale=2.0), camera(40, 24)
    chunked, _ = rasterize(gaussians, view, backend="torch")
    monkeypatch.setattr(_reference, "TILE", 64)
    whole, _ = rasterize(gaussians, view, backend="torch")
    torch.testing.assert_close(chunked, whole, atol=1e-6, rtol=0)
