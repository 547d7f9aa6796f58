"""How long drawing takes: every instruction set of this processor, and the torch reference.

    python benchmarks/rasterizer.py --threads 1 2 --counts 25000 130000 --sizes 256 512

Prints medians in milliseconds of a forward call, and of a forward and a backward call with all gradients of the
Gaussians. The scene is a shell of the size of a head that fills the image.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch

from perse import _kernels
from perse.splat import Camera, _native_backend, _reference


def head_shell(count: int, size: int) -> tuple[list[torch.Tensor], Camera]:
    """Means, quats, scales, opacities, colours as leaves, and a camera one metre off."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    thickness = 1 + 0.03 * torch.randn(count, 1, generator=generator)
    gaussians = [
        directions * torch.tensor([0.11, 0.15, 0.12]) * thickness,
        torch.randn(count, 4, generator=generator),
        0.002 + 0.002 * torch.rand(count, 3, generator=generator),
        0.1 + 0.89 * torch.rand(count, generator=generator),
        torch.rand(count, 3, generator=generator),
    ]
    viewmat = torch.eye(4)
    viewmat[2, 3] = 1.0
    K = torch.tensor([[2.5 * size, 0, size / 2], [0, 2.5 * size, size / 2], [0, 0, 1]])
    return [tensor.requires_grad_() for tensor in gaussians], Camera(viewmat, K, size, size)


def milliseconds(render: Callable, count: int, size: int, repeats: int) -> tuple[float, float]:
    """Median times of forward, and of forward with backward."""
    gaussians, camera = head_shell(count, size)
    arguments = (camera.viewmat, camera.K, size, size, torch.ones(3))
    generator = torch.Generator().manual_seed(1)
    gradients = [
        torch.randn(size, size, 3, generator=generator),
        torch.randn(size, size, generator=generator),
    ]
    forward, both = [], []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        with torch.no_grad():
            render(*gaussians, *arguments)
        middle = time.perf_counter()
        torch.autograd.backward(render(*gaussians, *arguments), gradients)
        forward.append(middle - start)
        both.append(time.perf_counter() - middle)
        for tensor in gaussians:
            tensor.grad = None
    return 1e3 * statistics.median(forward[1:]), 1e3 * statistics.median(both[1:])


def native(isa: str) -> Callable:
    return lambda *arguments: _native_backend.render(*arguments, isa=isa)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--counts", type=int, nargs="+", default=[25_000, 130_000], help="numbers of Gaussians"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="image sides in pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="torch.set_num_threads")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--reference", action="store_true", help="also time the torch reference (minutes)")
    options = parser.parse_args()

    backends = {isa: native(isa) for isa in _kernels.instruction_sets()}
    if options.reference:
        backends["torch"] = _reference.render
    print(
        f"{'threads':>7} {'Gaussians':>9} {'pixels':>6} {'backend':>8} {'forward':>9} {'+ backward':>10}  (ms)"
    )
    for threads, count, size in itertools.product(options.threads, options.counts, options.sizes):
        torch.set_num_threads(threads)
        for name, render in backends.items():
            repeats = 1 if name == "torch" else options.repeats
            forward, both = milliseconds(render, count, size, repeats)
            print(f"{threads:7} {count:9} {size:6} {name:>8} {forward:9.2f} {both:10.2f}", flush=True)


if __name__ == "__main__":
    main()
