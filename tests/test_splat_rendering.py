"""What render() tells of a picture, on every backend."""

import math

import pytest
import torch

from perse import _kernels
from perse.splat import Camera, Gaussians, Rendering, _native_backend, rasterize, render
from splat_scenes import camera, one_gaussian, random_gaussians, relative_error, straight_camera

ASKED = {"depth": True, "median": True, "normals": True, "seen": True}
DRAWN = ("image", "alpha", "depth", "median_depth", "normals", "means2d")  # floating point
EXACT = ("median_id", "radii", "seen", "labels")
LABELS = torch.arange(700) % 5


def stack(*depths_and_opacities: tuple[float, float]) -> Gaussians:
    """Round Gaussians one behind another on the optical axis."""
    return Gaussians.cat(
        [
            one_gaussian(means=torch.tensor([[0.0, 0.0, z]]), opacities=torch.tensor([opacity]))
            for z, opacity in depths_and_opacities
        ]
    )


def differentiable(
    gaussians: Gaussians, view: Camera, dtype: torch.dtype = torch.float32
) -> tuple[Gaussians, Camera]:
    """The same as leaves that take gradients."""

    def leaf(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().to(dtype).requires_grad_()

    return gaussians.map(leaf), Camera(leaf(view.viewmat), leaf(view.K), view.width, view.height)


def weighted_loss(drawn: Rendering, names: tuple[str, ...]) -> torch.Tensor:
    """A sum with fixed random weights: every pixel of every layer counts."""
    generator = torch.Generator().manual_seed(0)
    layers = [getattr(drawn, name).cpu().double() for name in names]
    return sum(
        (layer * torch.randn(layer.shape, generator=generator, dtype=torch.float64)).sum() for layer in layers
    )


def test_depths_of_three_layers(splat_backend):
    """Weights 0.4, 0.6 x 0.3, 0.42 x 0.5; transmittance 0.6, 0.42: the second is the median, not the third."""
    drawn = splat_backend.render(
        stack((3.0, 0.3), (2.0, 0.4), (4.0, 0.5)), straight_camera(), median=True, depth=True
    )
    weights = torch.tensor([0.4, 0.6 * 0.3, 0.42 * 0.5])
    expected = float((weights * torch.tensor([2.0, 3.0, 4.0])).sum() / weights.sum())
    assert float(drawn.depth[16, 16]) == pytest.approx(expected, rel=1e-5)
    assert int(drawn.median_id[16, 16]) == 0  # the first in the set, the second from the camera
    assert float(drawn.median_depth[16, 16]) == pytest.approx(3.0)


def test_no_median_where_more_than_half_shines_through(splat_backend):
    """And no depth where there is nothing at all."""
    drawn = splat_backend.render(stack((2.0, 0.4)), straight_camera(), median=True, depth=True)
    assert (drawn.median_id == -1).all()
    assert not drawn.median_depth.any()
    assert float(drawn.depth[16, 16]) == pytest.approx(2.0, rel=1e-5)
    assert float(drawn.alpha[0, 0]) == 0
    assert float(drawn.depth[0, 0]) == 0


def test_everything_matches_the_reference(splat_backend):
    """All layers, all per-Gaussian results and all gradients through them, against float64."""
    count = 700
    results = []
    for who, dtype in ((splat_backend.render, torch.float32), (reference, torch.float64)):
        gaussians, view = differentiable(random_gaussians(count, 1, scale=1.5), camera(40, 35), dtype)
        drawn = who(gaussians, view, torch.ones(3, dtype=dtype), labels=LABELS, **ASKED)
        weighted_loss(drawn, DRAWN[:-1]).backward()
        results.append((drawn, gaussians, view))
    (drawn, gaussians, view), (truth, true_gaussians, true_view) = results
    assert 100 < int(truth.seen.sum()) < int(truth.visible.sum()) <= count, "the scene must hide some"
    assert 10 < int((truth.median_id >= 0).sum()) < truth.median_id.numel()
    for name in DRAWN:
        assert relative_error(getattr(drawn, name).detach().cpu(), getattr(truth, name).detach()) < 5e-6, name
    for name in EXACT:
        assert torch.equal(getattr(drawn, name).cpu(), getattr(truth, name)), name
    assert relative_error(drawn.means2d.grad.cpu(), truth.means2d.grad) < 2e-5
    for name in ("means", "quats", "scales", "opacities", "colors"):
        assert relative_error(getattr(gaussians, name).grad, getattr(true_gaussians, name).grad) < 2e-5, name
    for name in ("viewmat", "K"):
        assert relative_error(getattr(view, name).grad, getattr(true_view, name).grad) < 5e-5, name


def reference(*inputs, **asked):
    return render(*inputs, backend="torch", **asked)


@pytest.mark.parametrize("isa", _kernels.instruction_sets())
def test_every_instruction_set_sees_the_same(isa, monkeypatch):
    """Medians and what is seen come from a walk of their own, compiled for each instruction set."""
    gaussians, view = random_gaussians(700, 1, scale=1.5), camera(45, 35)
    truth = reference(gaussians.to(torch.float64), view.to(torch.float64), labels=LABELS, **ASKED)
    monkeypatch.setenv(_kernels.SIMD_VARIABLE, isa)
    drawn = render(gaussians, view, labels=LABELS, **ASKED)
    for name in EXACT:
        assert torch.equal(getattr(drawn, name), getattr(truth, name)), name


def test_normals_are_the_flat_sides_that_face_the_camera(splat_backend):
    """A disc across the optical axis faces back along it, from either side, and its normal is a unit vector."""
    disc = one_gaussian(scales=torch.tensor([[0.1, 0.1, 0.001]]))
    front = splat_backend.render(disc, straight_camera(), normals=True).normals.cpu()
    torch.testing.assert_close(front[16, 16], torch.tensor([0.0, 0.0, -1.0]), atol=1e-6, rtol=0)
    assert not front[0, 0].any()
    behind = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))  # half a turn about y,
    behind[2, 3] = 4.0  # two metres behind the disc
    view = straight_camera()
    back = splat_backend.render(disc, Camera(behind, view.K, 33, 33), normals=True).normals.cpu()
    torch.testing.assert_close(back[16, 16], torch.tensor([0.0, 0.0, 1.0]), atol=1e-6, rtol=0)
    mixed = splat_backend.render(random_gaussians(300, 1, scale=2.0), camera(30, 30), normals=True)
    lengths = mixed.normals.norm(dim=-1)[mixed.alpha > 0.01]
    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-5, rtol=0)


def test_labels_are_what_most_of_a_pixel_shows(splat_backend):
    """Shares decide, not the nearest: 0.4 of one label before 0.3 + 0.2 of another; and the background may win."""
    gaussians = stack((2.0, 0.4), (3.0, 0.5), (4.0, 0.7))
    labels = torch.tensor([7, 200, 200], dtype=torch.uint8)
    shown = splat_backend.render(gaussians, straight_camera(), labels=labels).labels
    assert shown.dtype == torch.uint8
    assert int(shown[16, 16]) == 200
    assert int(shown[0, 0]) == 0
    assert (
        int(splat_backend.render(stack((2.0, 0.4)), straight_camera(), labels=labels[:1]).labels[16, 16]) == 0
    )


@pytest.mark.parametrize("count", [1, 16, 40])
def test_label_maps_are_those_of_blended_one_hot_channels(splat_backend, count):
    """However many labels there are; and asking for them changes nothing else."""
    gaussians, view = random_gaussians(300, 2, scale=3.0), camera(37, 30)
    labels = 3 + 5 * (torch.arange(300) % count)
    drawn = splat_backend.render(gaussians, view, labels=labels)
    codes = labels.unique()
    blended, alpha = rasterize(gaussians, view, extra=(labels[:, None] == codes).float(), backend="torch")
    shares = torch.cat([1 - alpha[..., None], blended[..., 3:]], dim=-1)
    expected = torch.cat([torch.zeros(1, dtype=torch.int64), codes])[shares.argmax(dim=-1)]
    first, second = shares.topk(2, dim=-1).values.unbind(-1)
    decided = first - second > 1e-4
    assert float(decided.double().mean()) > 0.9
    assert torch.equal(drawn.labels.cpu()[decided].long(), expected[decided])
    torch.testing.assert_close(drawn.image, splat_backend.render(gaussians, view).image)


def test_radii_and_centres_of_a_known_gaussian(splat_backend):
    """The radius at which 0.8 exp(-r^2 / 2 v) falls to 1/255, rounded up; the centre where the pinhole puts it."""
    at = torch.tensor([[0.1, -0.05, 2.0]])
    drawn = splat_backend.render(one_gaussian(means=at), straight_camera())
    variance = (60 * 0.1 / 2) ** 2 + 0.3
    # Seen at an angle, an ellipsoid is a little longer: 1 + slope^2.
    along_x = (variance - 0.3) * (1 + 0.05**2) + 0.3
    assert drawn.radii.tolist() == [math.ceil(math.sqrt(2 * along_x * math.log(0.8 * 255)))]
    assert drawn.radii.dtype == torch.int32
    torch.testing.assert_close(drawn.means2d.cpu(), torch.tensor([[16.5 + 3.0, 16.5 - 1.5]]))


def test_hidden_is_visible_but_not_seen_and_outside_is_neither(splat_backend):
    wall = stack((2.0, 1.0), (2.5, 1.0), (3.0, 1.0))
    # The second finishes every pixel, and is not drawn itself.
    wall.scales[:2] = torch.tensor([20.0, 20.0, 0.01])
    outside = one_gaussian(means=torch.tensor([[9.0, 0.0, 2.0]]))
    behind = one_gaussian(means=torch.tensor([[0.0, 0.0, -2.0]]))
    drawn = splat_backend.render(Gaussians.cat([wall, outside, behind]), straight_camera(), seen=True)
    assert drawn.visible.tolist() == [True, True, True, False, False]
    assert drawn.seen.tolist() == [True, False, False, False, False]
    assert not drawn.means2d[3:].any()


def test_gradients_of_the_centres_add_up_to_that_of_the_principal_point(splat_backend):
    """Moving the principal point moves every centre alike. Fails if any Gaussian's is left out, or counted twice."""
    gaussians, view = differentiable(random_gaussians(400, 2, scale=2.0), camera(33, 30))
    drawn = splat_backend.render(gaussians, view, torch.ones(3))
    assert not drawn.means2d.grad
    weighted_loss(drawn, ("image", "alpha")).backward()
    torch.testing.assert_close(drawn.means2d.grad.sum(0).cpu(), view.K.grad[:2, 2], rtol=1e-4, atol=1e-4)
    assert not drawn.means2d.grad[~drawn.visible].any()


def test_gradients_of_the_centres_accumulate(splat_backend):
    """Over backward passes; and a batch of frames gives each frame's own: what density control adds up."""
    base = random_gaussians(150, 3, scale=2.0)
    views = [camera(24, 20, yaw=angle) for angle in (-0.4, 0.3)]
    batch = Camera(torch.stack([view.viewmat for view in views]), views[0].K, 24, 20)
    gaussians, _ = differentiable(base, batch)
    drawn = splat_backend.render(gaussians, batch)
    drawn.image.square().sum().backward(retain_graph=True)
    once = drawn.means2d.grad.clone()
    drawn.image.square().sum().backward()
    torch.testing.assert_close(drawn.means2d.grad, 2 * once)
    for f, view in enumerate(views):
        single = splat_backend.render(differentiable(base, view)[0], view)
        single.image.square().sum().backward()
        torch.testing.assert_close(once[f], single.means2d.grad, rtol=1e-4, atol=1e-5)
        assert torch.equal(drawn.radii[f], single.radii)


def test_batches_equal_single_calls_in_every_field(splat_backend):
    """[S, F] subjects x frames, labels and cameras shared or not."""
    base = random_gaussians(150, 3, scale=2.0)
    moved = base.means + 0.01 * torch.arange(4.0).reshape(2, 2, 1, 1)
    colors = torch.stack([base.colors, base.colors.flip(-1)])[:, None]  # one set for each subject
    batch = Gaussians(moved, base.quats, base.scales, base.opacities, colors)
    viewmats = torch.stack([camera(24, 20, yaw=angle).viewmat for angle in (-0.4, 0.4)])
    K = camera(24, 20).K
    labels = torch.stack([LABELS[:150], LABELS[:150].flip(0)])[:, None]
    drawn = splat_backend.render(batch, Camera(viewmats, K, 24, 20), labels=labels, **ASKED)
    assert repr(drawn).startswith(
        "Rendering(image [2, 2, 20, 24, 3], alpha [2, 2, 20, 24], means2d [2, 2, 150, 2]"
    )
    for s in range(2):
        for f in range(2):
            one = Gaussians(moved[s, f], base.quats, base.scales, base.opacities, colors[s, 0])
            single = splat_backend.render(one, Camera(viewmats[f], K, 24, 20), labels=labels[s, 0], **ASKED)
            for name in DRAWN:
                torch.testing.assert_close(
                    getattr(drawn, name)[s, f], getattr(single, name), atol=2e-6, rtol=1e-5
                )
            for name in EXACT:
                assert torch.equal(getattr(drawn, name)[s, f], getattr(single, name)), name


def test_what_images_share_is_not_copied(monkeypatch):
    """Twelve frames of one set read the very same memory; only what differs between frames exists twelve times."""
    seen = []
    original = _native_backend.render

    def watch(*inputs, **options):
        seen.append([tensor.data_ptr() for tensor in inputs[:5]])
        return original(*inputs, **options)

    monkeypatch.setattr(_native_backend, "render", watch)
    gaussians, view = random_gaussians(100, 0), camera(8, 8)
    render(gaussians, Camera(view.viewmat.expand(3, 4, 4, 4), view.K, 8, 8), median=True)
    assert len(seen) == 12
    assert all(pointers == seen[0] for pointers in seen)
    assert seen[0][0] == gaussians.means.data_ptr()


def test_fields_are_there_if_asked_for():
    gaussians, view = random_gaussians(20, 0), camera(8, 8)
    drawn = render(gaussians, view, extra=torch.ones(20, 2))
    assert drawn.extra.shape == (8, 8, 2)
    for name, argument in (
        ("depth", "depth"),
        ("median_id", "median"),
        ("labels", "labels"),
        ("seen", "seen"),
    ):
        with pytest.raises(AttributeError, match=rf"render\(..., {argument}="):
            getattr(drawn, name)
    with pytest.raises(AttributeError, match="no field 'colour'"):
        _ = drawn.colour


def test_nothing_is_kept_when_nothing_is_differentiated():
    """The handle of the centres must not drag a graph along where there is none."""
    gaussians, view = random_gaussians(20, 0), camera(8, 8)
    assert not render(gaussians, view).image.requires_grad
    assert not render(gaussians, view).means2d.requires_grad
    gaussians.colors.requires_grad_()
    assert render(gaussians, view).means2d.requires_grad
    with torch.no_grad():
        assert not render(gaussians, view).means2d.requires_grad


def test_depth_follows_the_camera(splat_backend):
    """Moving the camera back by d adds d to every depth; the gradient says so too."""
    gaussians = stack((2.0, 0.9))
    view = straight_camera()
    view = Camera(view.viewmat.clone().requires_grad_(), view.K, 33, 33)
    drawn = splat_backend.render(gaussians, view, depth=True, median=True)
    (by_depth,) = torch.autograd.grad(drawn.depth[16, 16], view.viewmat, retain_graph=True)
    (by_median,) = torch.autograd.grad(drawn.median_depth[16, 16], view.viewmat)
    assert float(by_depth[2, 3]) == pytest.approx(1.0, abs=1e-4)
    assert float(by_median[2, 3]) == pytest.approx(1.0, abs=1e-6)
