"""What RenderOptions mean, on every backend and instruction set."""

import math

import pytest
import torch

from perse import _kernels
from perse.splat import Gaussians, RenderOptions, _reference, render
from splat_scenes import camera, leaves, one_gaussian, random_gaussians, relative_error, straight_camera

OPTIONS = {
    "antialiased": RenderOptions(antialiased=True),
    "planes": RenderOptions(near_plane=0.95, far_plane=1.05),
    "radii": RenderOptions(radius_clip=2, max_radius=3.5),
    "no blur": RenderOptions(eps2d=0.0),
    "more blur, antialiased": RenderOptions(eps2d=2.0, antialiased=True),
    "no needles": RenderOptions(max_anisotropy=2.0),
}


def drawn_with_gradients(who, options: RenderOptions, dtype: torch.dtype):
    """Image, alpha, radii, and the gradients of all inputs, for a scene of small Gaussians and needles."""
    gaussians, view = random_gaussians(500, 4, scale=1.2), camera(37, 35)
    inputs = leaves(gaussians, gaussians.colors, view, dtype)
    leaf_view = type(view)(inputs[5], inputs[6], 37, 35)
    drawn = who(Gaussians(*inputs[:5]), leaf_view, torch.ones(3, dtype=dtype), options=options)
    generator = torch.Generator().manual_seed(0)
    layers = [drawn.image, drawn.alpha]
    grads = [torch.randn(layer.shape, generator=generator).to(layer) for layer in layers]
    torch.autograd.backward(layers, grads)
    values = [layer.detach().cpu() for layer in layers]
    return values, drawn.radii.cpu(), [tensor.grad for tensor in inputs] + [drawn.means2d.grad.cpu()]


def assert_matches_reference(who, options: RenderOptions) -> None:
    values, radii, gradients = drawn_with_gradients(who, options, torch.float32)
    truth, true_radii, true_gradients = drawn_with_gradients(_reference_render, options, torch.float64)
    assert float(truth[1].max()) > 0.3, "the scene must show something"
    assert torch.equal(radii, true_radii)
    for value, true_value in zip(values, truth, strict=True):
        assert relative_error(value, true_value) < 5e-6
    names = ("means", "quats", "scales", "opacities", "colors", "viewmat", "K", "means2d")
    for name, gradient, true_gradient in zip(names, gradients, true_gradients, strict=True):
        assert relative_error(gradient, true_gradient) < (5e-5 if name in ("viewmat", "K") else 2e-5), name


def _reference_render(*inputs, **asked):
    return render(*inputs, backend="torch", **asked)


@pytest.mark.parametrize("name", OPTIONS)
def test_options_match_the_reference(splat_backend, name):
    """Image and every gradient, camera included, under each option."""
    assert_matches_reference(splat_backend.render, OPTIONS[name])


@pytest.mark.parametrize("isa", _kernels.instruction_sets())
@pytest.mark.parametrize("name", ["antialiased", "radii"])
def test_options_in_every_instruction_set(isa, name, monkeypatch):
    monkeypatch.setenv(_kernels.SIMD_VARIABLE, isa)
    assert_matches_reference(
        lambda *inputs, **asked: render(*inputs, backend="native", **asked), OPTIONS[name]
    )


def test_antialiased_reference_gradients_are_exact():
    """Finite differences of the compensated opacity; everything else is held to the reference."""
    gaussians, view = random_gaussians(5, 2, scale=6.0), camera(6, 5)
    gaussians.opacities.mul_(0.6).add_(0.3)
    inputs = leaves(gaussians, torch.rand(5, 3), view, torch.float64)
    background = torch.zeros(3, dtype=torch.float64)

    def draw(*tensors):
        return _reference.render(*tensors, 6, 5, background, options=RenderOptions(antialiased=True))

    assert torch.autograd.gradcheck(draw, inputs, atol=1e-5, rtol=1e-4)


def test_antialiasing_lowers_the_peak_of_a_round_gaussian(splat_backend):
    """sqrt(det(S) / det(S + 0.3 I)) is v / (v + 0.3) for a round one of variance v."""
    gaussians = one_gaussian(scales=torch.full((1, 3), 0.02))
    alpha = splat_backend.render(gaussians, straight_camera(), options=RenderOptions(antialiased=True)).alpha
    variance = (60 * 0.02 / 2) ** 2
    assert float(alpha[16, 16]) == pytest.approx(0.8 * variance / (variance + 0.3), rel=1e-5)


def test_antialiasing_keeps_the_light_when_the_image_shrinks():
    """A distant Gaussian covers the same share of the view at any resolution; blurred, it grows as pixels do."""
    gaussians, view = one_gaussian(scales=torch.full((1, 3), 0.02)), straight_camera(64, 120.0)

    def share(antialiased: bool, size: int) -> float:
        return float(
            render(
                gaussians, view.resized(size, size), options=RenderOptions(antialiased=antialiased)
            ).alpha.mean()
        )

    assert share(True, 16) == pytest.approx(share(True, 64), rel=0.15)
    assert share(False, 16) > 2 * share(False, 64)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (RenderOptions(), [0, 1, 2, 3]),
        (RenderOptions(near_plane=1.5), [1, 2, 3]),
        (RenderOptions(far_plane=3.0), [0, 1]),
        (RenderOptions(near_plane=2.0, far_plane=4.0), [1, 2]),  # both ends belong to the range
        (RenderOptions(radius_clip=5.0), [0, 1]),
        (RenderOptions(max_radius=9.0), [1, 2, 3]),
    ],
    ids=repr,
)
def test_which_gaussians_are_drawn(splat_backend, options, kept):
    """Four alike at 1, 2, 4 and 8 metres: radii 17, 9, 5 and 3 pixels."""
    depths = torch.tensor([1.0, 2.0, 4.0, 8.0])
    gaussians = Gaussians.cat(
        [one_gaussian(means=torch.tensor([[0.0, 0.0, z]]), scales=torch.full((1, 3), 0.085)) for z in depths]
    )
    assert splat_backend.render(gaussians, straight_camera()).radii.tolist() == [17, 9, 5, 3]
    drawn = splat_backend.render(gaussians, straight_camera(), options=options)
    assert torch.nonzero(drawn.radii).flatten().tolist() == kept
    expected = splat_backend.render(gaussians[kept], straight_camera())
    torch.testing.assert_close(drawn.image, expected.image)


def test_a_needle_is_drawn_no_thinner_than_allowed(splat_backend):
    """Axes of 20, 1 and 4 cm at a limit of 4 are drawn as 20, 5 and 5; the axes that were raised have no gradient."""
    needle = one_gaussian(scales=torch.tensor([[0.2, -0.01, 0.04]], requires_grad=True))
    allowed = one_gaussian(scales=torch.tensor([[0.2, 0.05, 0.05]]))
    drawn = splat_backend.render(needle, straight_camera(), options=RenderOptions(max_anisotropy=4.0))
    expected = splat_backend.render(allowed, straight_camera())
    torch.testing.assert_close(drawn.image.detach(), expected.image)
    drawn.image.sum().backward()
    assert (needle.scales.grad != 0).tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"near_plane": 0.0}, "near"),
        ({"near_plane": 2.0, "far_plane": 1.0}, "near"),
        ({"near_plane": math.nan}, "near"),
        ({"eps2d": -0.1}, "eps2d"),
        ({"eps2d": math.inf}, "eps2d"),
        ({"eps2d": math.nan}, "eps2d"),
        ({"radius_clip": -1.0}, "radius_clip"),
        ({"radius_clip": 5.0, "max_radius": 5.0}, "radius_clip"),
        ({"max_radius": math.nan}, "radius_clip"),
        ({"max_anisotropy": 0.5}, "max_anisotropy"),
        ({"max_anisotropy": math.nan}, "max_anisotropy"),
    ],
    ids=str,
)
def test_impossible_options_are_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        RenderOptions(**arguments)
