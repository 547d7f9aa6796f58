"""The same picture every time: whatever else runs on the machine, and however many threads draw it."""

import hashlib
import multiprocessing
import subprocess
import sys

import torch

from perse.splat import render
from splat_scenes import camera, random_gaussians, relative_error

ASKED = {"depth": True, "median": True, "normals": True, "seen": True}
FIELDS = ("means", "quats", "scales", "opacities", "colors")
LAYERS = ("image", "alpha", "depth", "median_depth", "normals")


def everything(seed: int) -> dict[str, torch.Tensor]:
    """All that render() tells of a scene, and all gradients."""
    gaussians = random_gaussians(2500, seed).map(torch.Tensor.requires_grad_)
    drawn = render(gaussians, camera(90, 80), labels=torch.arange(2500) % 7, **ASKED)
    sum(getattr(drawn, name).square().sum() for name in LAYERS).backward()
    told = {name: tensor.detach() for name, tensor in vars(drawn).items()}
    gradients = {f"gradient of {name}": getattr(gaussians, name).grad for name in FIELDS}
    return told | gradients | {"gradient of means2d": drawn.means2d.grad}


def fingerprint(seed: int) -> str:
    digest = hashlib.sha256()
    for tensor in everything(seed).values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _draw_often(seed: int, threads: int, expected: str) -> None:
    torch.set_num_threads(threads)
    raise SystemExit(int(any(fingerprint(seed) != expected for _ in range(3))))


def test_other_processes_do_not_change_a_bit():
    """Two processes that draw at once, one that only burns time: each gets what one alone gets, bit by bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    expected = [fingerprint(seed) for seed in range(2)]
    torch.set_num_threads(before)
    context = multiprocessing.get_context("spawn")
    drawing = [context.Process(target=_draw_often, args=(s, 2, expected[s]), daemon=True) for s in range(2)]
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for process in drawing:
            process.start()
        for process in drawing:
            process.join(timeout=60)
    finally:
        busy.kill()
        busy.wait()
    assert [process.exitcode for process in drawing] == [0, 0]


def test_thread_counts_agree_on_everything():
    """What is told of the picture is the very same; gradients are, too, or differ by rounding in their sums."""
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            results.append(everything(4))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for name, value in results[0].items():
            if name.startswith("gradient"):
                assert relative_error(other[name], value) < 1e-5, name
            else:
                assert torch.equal(other[name], value), name


def test_a_call_repeats_itself_bit_by_bit():
    """Fails if memory that calls hand on to one another shows through."""
    first = everything(1)
    everything(2)
    for name, value in everything(1).items():
        assert torch.equal(value, first[name]), name
