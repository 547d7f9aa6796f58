"""The native kernels against the float64 reference, and the promises of docs/splat.md about repeatability."""

import multiprocessing
import threading

import pytest
import torch

from perse import _kernels
from perse.errors import PerseError
from perse.splat import Camera, Gaussians, _native_backend, _reference, rasterize
from splat_scenes import NAMES, camera, leaves, random_gaussians, relative_error

ISAS = _kernels.instruction_sets()
THREADS = (1, 2, 3)

# Count, width, height, channels, size of the Gaussians. Counts that no vector width divides, images that no tile
# divides, and every way in which channels are split into passes (3, 4, 8, and 8 + 8 + 1).
CASES = [
    (401, 64, 48, 3, 1.0),
    (1503, 97, 83, 4, 1.0),
    (601, 33, 61, 7, 4.0),
    (257, 40, 40, 17, 3.0),
    (30, 5, 1, 1, 6.0),
]


@pytest.fixture(params=["openmp threads", "own threads"])
def thread_count(request):
    """Sets torch's number of threads, which the native backend follows, for either kind of threads it can use."""
    native = _kernels.module()
    before = torch.get_num_threads()
    native.use_own_threads(request.param == "own threads")
    if native.uses_own_threads() != (request.param == "own threads"):
        pytest.skip("torch brings no OpenMP threads here")
    yield torch.set_num_threads
    native.use_own_threads(False)
    torch.set_num_threads(before)


def draw_with_gradients(render, inputs, background, view, grads, **options):
    image, alpha = render(*inputs, view.width, view.height, background, **options)
    torch.autograd.backward([image, alpha], [grad.to(image.dtype) for grad in grads])
    return image.detach(), alpha.detach(), [tensor.grad for tensor in (*inputs, background)]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}x{case[3]}ch")
def test_matches_the_reference(isa, case):
    """Fails if an instruction set draws, or differentiates, something else than the definition does.

    Float32 rounding of about 1e-7 grows a little along the blend: 2e-6 relative is what we promise. The camera's
    gradients are sums over all Gaussians that mostly cancel (in the third scene to a hundredth), so they get 5e-6. No
    pixel of these scenes lies within rounding of a threshold (test_thresholds_flip_few_pixels is about those that do).
    """
    count, width, height, channel_count, scale = case
    torch.manual_seed(3)
    view = camera(width, height)
    gaussians = random_gaussians(count, seed=1, scale=scale)
    channels = torch.rand(count, channel_count)
    background = torch.rand(channel_count)
    grads = (torch.randn(height, width, channel_count), torch.randn(height, width))

    single = leaves(gaussians, channels, view, torch.float32)
    double = leaves(gaussians, channels, view, torch.float64)
    image, alpha, gradients = draw_with_gradients(
        _native_backend.render, single, background.clone().requires_grad_(), view, grads, isa=isa
    )
    true_image, true_alpha, true_gradients = draw_with_gradients(
        _reference.render, double, background.double().requires_grad_(), view, grads
    )
    assert float(true_alpha.max()) > 0.3, "the scene must show something"
    assert relative_error(image, true_image) < 1e-6
    assert relative_error(alpha, true_alpha) < 1e-6
    for name, gradient, truth in zip((*NAMES, "background"), gradients, true_gradients, strict=True):
        tolerance = 5e-6 if name in ("viewmat", "K") else 2e-6
        assert relative_error(gradient, truth) < tolerance, name


@pytest.mark.parametrize("isa", ISAS)
def test_thresholds_flip_few_pixels(isa):
    """On a dense scene float32 may fall on the other side of a threshold: rarely, and by no more than it weighs."""
    view = camera(160, 160)
    gaussians = random_gaussians(20000, seed=5)
    inputs = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.colors)
    arguments = (view.viewmat, view.K)
    background = torch.ones(3)
    with torch.no_grad():
        image, _ = _native_backend.render(*inputs, *arguments, 160, 160, background, isa=isa)
        truth, _ = _reference.render(
            *(t.double() for t in (*inputs, *arguments)), 160, 160, background.double()
        )
    error = (image - truth).abs().amax(-1)
    assert float((error > 2e-5).double().mean()) < 2e-3
    assert float(error.max()) < 1.1 / 255  # one contribution of the smallest alpha


@pytest.mark.parametrize("threads", THREADS)
def test_repeats_bit_by_bit_for_a_thread_count(thread_count, threads):
    """Fails if the order of summation depends on which thread was faster: training would not repeat."""
    thread_count(threads)
    runs = [gradients_of_a_scene(seed=2) for _ in range(4)]
    for run in runs[1:]:
        for value, first in zip(run, runs[0], strict=True):
            assert torch.equal(value, first)


def test_thread_counts_agree(thread_count):
    """Fails if any sum depends on the number of threads: a training run must not change with the machine it is on."""
    results = []
    for threads in THREADS:
        thread_count(threads)
        results.append(gradients_of_a_scene(seed=2))
    for other in results[1:]:
        for value, first in zip(other, results[0], strict=True):
            assert torch.equal(value, first)


def gradients_of_a_scene(seed: int, size: int = 90) -> list[torch.Tensor]:
    """Image, and gradients of means, opacities, colors and viewmat."""
    gaussians = random_gaussians(3000, seed)
    view = camera(size, size)
    inputs = leaves(gaussians, gaussians.colors, view, torch.float32)
    image, alpha = _native_backend.render(*inputs, size, size, torch.zeros(3))
    (image.square().sum() + alpha.sum()).backward()
    return [image.detach(), *(inputs[k].grad for k in (0, 3, 4, 5))]


@pytest.mark.parametrize("last_first", [False, True])
@pytest.mark.parametrize("extra_channels", [0, 13])
def test_forward_calls_do_not_disturb_one_another(last_first, extra_channels):
    """Two forwards, then two backwards in either order: each must get its own gradients."""

    def forward(seed):
        gaussians = random_gaussians(500, seed)
        gaussians.means.requires_grad_()
        extra = torch.rand(500, extra_channels, generator=torch.Generator().manual_seed(seed))
        image, _ = rasterize(gaussians, camera(50 + 7 * seed, 40), extra=extra)
        return gaussians.means, image

    alone = []
    for seed in (1, 2):
        means, image = forward(seed)
        image.square().sum().backward()
        alone.append(means.grad)
    together = [forward(1), forward(2)]
    rasterize(random_gaussians(900, 3), camera(64, 64))
    for _, image in reversed(together) if last_first else together:
        image.square().sum().backward(retain_graph=True)
    for (means, _), truth in zip(together, alone, strict=True):
        assert torch.equal(means.grad, truth)
    means, image = together[0]
    means.grad = None
    image.square().sum().backward()  # the retained graph, a second time
    assert torch.equal(means.grad, alone[0])


def test_python_threads_may_draw_at_the_same_time(thread_count):
    """Fails if calls share anything they write."""
    thread_count(2)
    truth = [gradients_of_a_scene(seed) for seed in range(4)]
    results: dict[int, list[torch.Tensor]] = {}

    def work(seed):
        for _ in range(5):
            results[seed] = gradients_of_a_scene(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    for seed in range(4):
        for value, expected in zip(results[seed], truth[seed], strict=True):
            assert torch.equal(value, expected)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_draws_after_fork(thread_count):
    """A forked data loader has none of its parent's threads: it must neither hang nor draw something else."""
    thread_count(2)
    image, _ = rasterize(random_gaussians(300, 1), camera(64, 64))
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_draw_and_compare, args=(image,))
    child.start()
    child.join(timeout=30)
    assert child.exitcode == 0


def test_processes_do_not_disturb_one_another():
    """Two processes that draw at once keep all cores busy: the bits of images and gradients must not depend on it."""
    expected = _hash_of_drawings(1)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_hash_of_drawings, [40, 40], chunksize=1) == [expected, expected]


def _hash_of_drawings(repeats: int) -> set[bytes]:
    """The distinct results of drawing a scene with its gradients on two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen = set()
    for _ in range(repeats):
        view = camera(96, 80)
        gaussians = random_gaussians(2000, 5)
        inputs = leaves(gaussians, gaussians.colors, view, torch.float32)
        image, alpha = _native_backend.render(*inputs, 96, 80, torch.ones(3))
        (image.square().sum() + alpha.sum()).backward()
        seen.add(b"".join(t.detach().numpy().tobytes() for t in (image, alpha, *(i.grad for i in inputs))))
    torch.set_num_threads(before)
    return seen


def _draw_and_compare(expected: torch.Tensor) -> None:
    with torch.no_grad():
        image, _ = rasterize(random_gaussians(300, 1), camera(64, 64))
    raise SystemExit(0 if torch.equal(image, expected) else 1)


@pytest.mark.parametrize("isa", ISAS)
def test_broken_gaussians_are_dropped(isa):
    """A NaN or an infinity anywhere must cost that Gaussian only, in the image and in the gradients."""
    view = camera(64, 48)
    gaussians = random_gaussians(200, 4, scale=3.0)
    channels = gaussians.colors.repeat(1, 4)  # 12 channels: two passes
    inputs = leaves(gaussians, channels, view, torch.float32)
    broken = torch.arange(0, 200, 7)
    with torch.no_grad():
        for place, (index, value) in enumerate(
            (int(b), v) for b in broken for v in [float("nan"), float("inf")]
        ):
            target = inputs[place % 5][index]
            target.view(-1)[place % target.numel()] = value
    good = torch.ones(200, dtype=torch.bool)
    good[broken] = False
    image, _ = _native_backend.render(*inputs, 64, 48, torch.zeros(12), isa=isa)
    image.square().sum().backward()
    clean = leaves(gaussians[good], channels[good], view, torch.float32)
    clean_image, _ = _native_backend.render(*clean, 64, 48, torch.zeros(12), isa=isa)
    clean_image.square().sum().backward()
    assert torch.equal(image, clean_image)
    for name, tensor, truth in zip(NAMES, inputs, clean, strict=True):
        if name in ("viewmat", "K"):
            assert relative_error(tensor.grad, truth.grad) < 5e-6
        else:
            assert torch.equal(tensor.grad[good], truth.grad), name
            assert not tensor.grad[~good].any(), name


@pytest.mark.parametrize("isa", ISAS)
def test_extreme_gaussians_do_not_crash(isa):
    """Far, near, huge, tiny, behind the camera, on its plane: finite images and finite gradients."""
    count = 300
    generator = torch.Generator().manual_seed(0)
    magnitude = 10 ** torch.empty(count, 1).uniform_(-6, 6, generator=generator)
    gaussians = Gaussians(
        means=torch.randn(count, 3, generator=generator) * magnitude,
        quats=torch.randn(count, 4, generator=generator) * magnitude,
        scales=10 ** torch.empty(count, 3).uniform_(-8, 3, generator=generator),
        opacities=torch.rand(count, generator=generator),
        colors=torch.rand(count, 3, generator=generator),
    )
    gaussians.quats[0] = 0
    view = camera(70, 50, yaw=0.0)
    inputs = leaves(gaussians, gaussians.colors, view, torch.float32)
    image, alpha = _native_backend.render(*inputs, 70, 50, torch.ones(3), isa=isa)
    (image.sum() + alpha.sum()).backward()
    assert torch.isfinite(image).all()
    assert 0 <= float(alpha.detach().min()) <= float(alpha.detach().max()) <= 1
    for name, tensor in zip(NAMES, inputs, strict=True):
        assert torch.isfinite(tensor.grad).all(), name


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 40), (17, 1), (16, 16), (15, 33)])
def test_any_image_size(width, height):
    view = camera(width, height)
    gaussians = random_gaussians(100, 6, scale=8.0)
    image, alpha = rasterize(gaussians, view)
    truth, true_alpha = rasterize(gaussians, view, backend="torch")
    assert image.shape == (height, width, 3)
    assert alpha.shape == (height, width)
    torch.testing.assert_close(image, truth, atol=2e-5, rtol=0)
    torch.testing.assert_close(alpha, true_alpha, atol=2e-5, rtol=0)


def test_nothing_to_draw():
    """No Gaussians, and none in view, give the background and zero gradients."""
    view = camera(20, 20)
    background = torch.tensor([0.1, 0.2, 0.3])
    empty, alpha = rasterize(random_gaussians(0, 0), view, background)
    assert torch.equal(empty, background.expand(20, 20, 3))
    assert not alpha.any()
    behind = random_gaussians(50, 0)
    behind.means[:, 2] -= 5
    behind.means.requires_grad_()
    image, _ = rasterize(behind, camera(20, 20, yaw=0.0), background)
    image.sum().backward()
    assert torch.equal(image.detach(), background.expand(20, 20, 3))
    assert not behind.means.grad.any()


def test_double_backward_is_refused():
    """The kernel has first derivatives only; a wrong second derivative must not pass silently."""
    gaussians = random_gaussians(20, 0)
    gaussians.means.requires_grad_()
    image, _ = rasterize(gaussians, camera(16, 16))
    (gradient,) = torch.autograd.grad(image.square().sum(), gaussians.means, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        gradient.sum().backward()


def test_changing_an_input_before_backward_is_refused():
    gaussians = random_gaussians(20, 0)
    means = gaussians.means.clone().requires_grad_()
    moved = means * 1.0
    image, _ = rasterize(
        Gaussians(moved, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.colors),
        camera(16, 16),
    )
    moved.add_(1.0)
    with pytest.raises(RuntimeError, match="inplace"):
        image.sum().backward()


def test_other_layouts_and_precisions():
    """Strided and float64 tensors are converted, and their gradients come back in their own type."""
    gaussians = random_gaussians(100, 3, scale=3.0)
    view = camera(32, 32)
    image, _ = rasterize(gaussians, view)
    strided = gaussians.map(lambda t: t.double().repeat_interleave(2, dim=0)[::2])
    strided.means.requires_grad_()
    converted, _ = rasterize(strided, Camera(view.viewmat.double(), view.K.double(), 32, 32))
    converted.sum().backward()
    assert torch.equal(image, converted.detach())
    assert strided.means.grad.dtype == torch.float64


def test_an_unknown_instruction_set_is_refused(monkeypatch):
    monkeypatch.setenv(_kernels.SIMD_VARIABLE, "mmx")
    with pytest.raises(ValueError, match=r"mmx.*there are.*generic"):
        rasterize(random_gaussians(3, 0), camera(16, 16))


def test_the_environment_chooses_the_instruction_set(monkeypatch):
    gaussians, view = random_gaussians(300, 1), camera(48, 48)
    inputs = leaves(gaussians, gaussians.colors, view, torch.float32)
    expected, _ = _native_backend.render(*inputs, 48, 48, torch.zeros(3), isa="generic")
    monkeypatch.setenv(_kernels.SIMD_VARIABLE, "generic")
    assert torch.equal(rasterize(gaussians, view)[0], expected.detach())


def test_an_unbuilt_checkout_says_what_to_do(monkeypatch):
    monkeypatch.setattr(_kernels, "_native", None)
    monkeypatch.setattr(_kernels, "_import_error", ImportError("No module named '_native'"))
    with pytest.raises(PerseError, match="make native"):
        rasterize(random_gaussians(3, 0), camera(16, 16))
