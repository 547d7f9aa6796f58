"""Losses against plain references, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perse.head import Binding
from perse.training import losses
from synthetic import small_model


def plain_ssim(x: torch.Tensor, y: torch.Tensor) -> float:
    """SSIM by an honest 2D convolution with zero padding."""
    taps = torch.arange(11, dtype=torch.float64) - 5
    kernel = torch.exp(-taps.square() / (2 * 1.5**2))
    kernel = kernel / kernel.sum()
    window = (kernel[:, None] * kernel[None])[None, None]

    def blur(planes: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(planes[:, None], window, padding=5)[:, 0]

    x, y = x.movedim(-1, 0).double(), y.movedim(-1, 0).double()
    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    value = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx * mx + my * my + 1e-4) * (vx + vy + 9e-4))
    return float(value.mean())


@pytest.mark.parametrize("shape", [(4, 16), (16, 16), (70, 33), (256, 200)])
def test_ssim_equals_convolution(shape: tuple[int, int]) -> None:
    """Also of pictures smaller than the window."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(*shape, 3, generator=generator)
    y = (x + 0.1 * torch.randn(*shape, 3, generator=generator)).clamp(0, 1)
    assert float(losses.ssim(x[None], y[None])) == pytest.approx(plain_ssim(x, y), abs=2e-5)
    assert float(losses.ssim_map(x[None], y[None]).mean()) == pytest.approx(plain_ssim(x, y), abs=2e-5)
    assert float(losses.ssim(x[None], x[None])) == pytest.approx(1.0, abs=1e-6)


def test_ssim_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 12, 14, 1, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.rand(1, 12, 14, 1, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda image: losses.ssim(image, y), (x,), atol=1e-5, rtol=1e-3)


@given(st.floats(0, 1), st.floats(0, 1))
def test_l1_mask_counts_only_what_it_shows(a: float, b: float) -> None:
    image, target = torch.full((1, 4, 4, 3), a), torch.full((1, 4, 4, 3), b)
    mask = torch.zeros(1, 4, 4)
    mask[0, :2] = 1
    image[0, 3] = 9.0  # outside the mask
    assert float(losses.l1(image, target, mask)) == pytest.approx(abs(a - b), abs=1e-5)
    assert float(losses.l1(image, target, mask * 0)) == 0.0


def test_label_loss() -> None:
    labels = torch.zeros(1, 2, 2, dtype=torch.uint8)
    labels[0, 0] = 4
    share = torch.zeros(1, 2, 2)
    assert float(losses.label_loss(share, labels, 4)) == pytest.approx(0.5)
    assert float(losses.label_loss((labels == 4).float(), labels, 4)) == 0.0
    unsure = torch.ones(1, 2, 2)
    assert float(losses.label_loss(share, labels, 4, unsure)) == 0.0, (
        "painted skin must not be blamed on the layer"
    )


def test_flame_loss_is_the_mean_norm_and_has_a_gradient() -> None:
    """Eq. 31 at a known distance, and pulling back from it (at the target itself it must be zero, not NaN)."""
    model, _ = small_model("basis")
    canonical = model.canonical(model.latent.codes())
    targets = model.field.flame_targets(canonical)
    assert float(losses.flame_loss(canonical, targets, 1, 1, 1)) == pytest.approx(0.0, abs=1e-4)
    moved = [Binding(t.E + 0.1, t.P, t.W) for t in targets]
    expected = 0.1 * math.sqrt(150)
    assert float(losses.flame_loss(canonical, moved, 1, 1, 1)) == pytest.approx(expected, rel=1e-3)
    for binding in canonical.bindings:
        binding.E.requires_grad_(True)
    try:
        losses.flame_loss(canonical, moved, 1, 1, 1).backward()
        assert all(float(b.E.grad.abs().min()) > 0 for b in canonical.bindings)
    finally:
        for binding in canonical.bindings:
            binding.E.grad = None
            binding.E.requires_grad_(False)
