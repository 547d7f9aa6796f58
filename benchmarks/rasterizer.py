"""How fast drawing is, what it is made of, and how far it is from what the processor could do.

    python benchmarks/rasterizer.py                                # all of it: some minutes
    python benchmarks/rasterizer.py --only speed --threads 2       # of: speed, reference, stages, avatars, busy

Times are medians in milliseconds, and what is compared is measured in turns: on a machine that does nothing else. The
scene is a shell of the size of a head that fills the image, with RGB colours; gradients are those of all inputs but the
camera's.

speed      forward, and forward + backward, on every instruction set of this processor
reference  the same of a small scene, beside the torch definition
stages     what the time goes to, counted work, and the limit: what the blocks of pixels that have to be computed would
           take if there were nothing else to do (as for a few Gaussians that cover the whole image)
avatars    posing and drawing of baked avatars, frames a second (posing.py measures it)
busy       a process spins on the other core: how much slower two threads get than one thread alone, which is what
           losing that core costs anyone
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import posing
from perse import _kernels
from perse.splat import Camera, _native_backend, _reference

Scene = tuple[list[torch.Tensor], Camera]
FORWARD_STAGES = ("project", "sort", "bin", "blend")
BACKWARD_STAGES = ("order_rows", "gradients", "unproject")


def head_shell(count: int, size: int) -> Scene:
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
    return [tensor.requires_grad_() for tensor in gaussians], front_camera(size)


def fog(size: int, count: int = 200) -> Scene:
    """Thin Gaussians that each cover the whole image: nothing but blocks of pixels to compute."""
    generator = torch.Generator().manual_seed(0)
    gaussians = [
        0.01 * torch.randn(count, 3, generator=generator),
        torch.randn(count, 4, generator=generator),
        torch.full((count, 3), 0.5),
        torch.full((count,), 0.02),
        torch.rand(count, 3, generator=generator),
    ]
    return [tensor.requires_grad_() for tensor in gaussians], front_camera(size)


def front_camera(size: int) -> Camera:
    viewmat = torch.eye(4)
    viewmat[2, 3] = 1.0
    K = torch.tensor([[2.5 * size, 0, size / 2], [0, 2.5 * size, size / 2], [0, 0, 1]])
    return Camera(viewmat, K, size, size)


def jobs(render: Callable, scene: Scene) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    """Forward, and forward + backward; the latter returns the image."""
    gaussians, camera = scene
    arguments = (camera.viewmat, camera.K, camera.width, camera.height, torch.ones(3))
    generator = torch.Generator().manual_seed(1)
    shape = (camera.height, camera.width)
    gradients = [torch.randn(*shape, 3, generator=generator), torch.randn(*shape, generator=generator)]

    @torch.no_grad()
    def forward(_: int) -> None:
        render(*gaussians, *arguments)

    def both(_: int) -> torch.Tensor:
        for tensor in gaussians:
            tensor.grad = None
        drawn = render(*gaussians, *arguments)
        torch.autograd.backward(drawn, gradients)
        return drawn[0]

    return forward, both


def native(isa: str) -> Callable:
    return lambda *arguments: _native_backend.render(*arguments, isa=isa)


def profiles(isa: str, scene: Scene, repeats: int) -> dict[str, float]:
    """Medians of the kernel's own times [ms], and its counts."""
    _, both = jobs(native(isa), scene)
    collected: list[dict[str, float]] = []
    for k in range(repeats + 2):
        node: Any = both(k).grad_fn  # keeps the state of the call
        collected.append(_kernels.module().profile(node.state))
    collected = collected[2:]
    return {key: sorted(c[key] for c in collected)[len(collected) // 2] for key in collected[0]}


def speed(options: argparse.Namespace) -> list[dict]:
    rows = []
    for threads, count, size in itertools.product(options.threads, options.counts, options.sizes):
        torch.set_num_threads(threads)
        pairs = {isa: jobs(native(isa), head_shell(count, size)) for isa in _kernels.instruction_sets()}
        forward = posing.medians({isa: pair[0] for isa, pair in pairs.items()}, options.repeats)
        both = posing.medians({isa: pair[1] for isa, pair in pairs.items()}, options.repeats)
        for isa in pairs:
            row = {"threads": threads, "gaussians": count, "size": size, "isa": isa}
            rows.append(row | {"forward": forward[isa], "both": both[isa]})
        text = "   ".join(f"{isa} {forward[isa]:.2f} / {both[isa]:.2f}" for isa in pairs)
        print(f"{threads} threads, {count} Gaussians, {size} px:  {text}", flush=True)
    return rows


def reference(options: argparse.Namespace) -> list[dict]:
    torch.set_num_threads(max(options.threads))
    renders = {"native": native(""), "torch": _reference.render}
    pairs = {name: jobs(render, head_shell(5000, 128)) for name, render in renders.items()}
    images = [pair[1](0).detach() for pair in pairs.values()]
    forward = posing.medians({name: pair[0] for name, pair in pairs.items()}, 3)
    both = posing.medians({name: pair[1] for name, pair in pairs.items()}, 3)
    for name in pairs:
        print(f"5000 Gaussians, 128 px, {name}:  {forward[name]:.2f} / {both[name]:.2f}", flush=True)
    print(f"largest difference of the two images: {float((images[0] - images[1]).abs().max()):.1e}")
    return [{"name": name, "forward": forward[name], "both": both[name]} for name in pairs]


def stages(options: argparse.Namespace) -> list[dict]:
    rows = []
    for threads, isa in itertools.product(options.threads, _kernels.instruction_sets()):
        torch.set_num_threads(threads)
        free = profiles(isa, fog(256), options.repeats)
        for count, size in itertools.product(options.counts, options.sizes):
            row = profiles(isa, head_shell(count, size), options.repeats)
            limits = [
                row["tested_blocks"] * free[f"{stage}_ms"] / free["tested_blocks"]
                for stage in ("blend", "gradients")
            ]
            whole = [sum(row[f"{s}_ms"] for s in names) for names in (FORWARD_STAGES, BACKWARD_STAGES)]
            rows.append({"threads": threads, "isa": isa, "gaussians": count, "size": size, **row}
                        | {"forward_limit_ms": limits[0], "backward_limit_ms": limits[1]})  # fmt: skip
            print(f"{threads} threads, {isa}, {count} Gaussians, {size} px:")
            for names, total, limit in zip((FORWARD_STAGES, BACKWARD_STAGES), whole, limits):
                parts = "  ".join(f"{name} {row[f'{name}_ms']:.2f}" for name in names)
                print(f"    {parts}  | {total:.2f} ms, {total / limit:.2f} times the limit of {limit:.2f}")
            used, tested = (
                row["drawn_pixels"] / row["tested_blocks"] / row["block_pixels"],
                row["tested_blocks"],
            )
            print(
                f"    tile entries {row['entries']}, visited {row['visited_entries']}, drawn {row['drawn_entries']}; "
                f"blocks of {row['block_pixels']} pixels computed {tested}, {100 * used:.0f} % of their pixels blended",
                flush=True,
            )
    return rows


def avatars(options: argparse.Namespace) -> list[dict]:
    rows = []
    for threads, count, size in itertools.product(
        options.threads, (20_000, 50_000, 130_000), (256, 512, 1024)
    ):
        torch.set_num_threads(threads)
        times = posing.measure(count, size, options.repeats)
        rows.append({"threads": threads, "gaussians": count, "size": size, **times})
        rates = "   ".join(f"{name} {1e3 / times[name]:.0f}" for name in ("frame", "frame, MLP"))
        print(f"{threads} threads, {count} Gaussians, {size} px, frames a second:  {rates}", flush=True)
    return rows


@contextmanager
def spinner(core: int) -> Iterator[None]:
    """A process that keeps one core busy."""
    code = f"import os; os.sched_setaffinity(0, [{core}]); print(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        process.wait()


def busy(options: argparse.Namespace) -> list[dict]:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        print("left out: needs two cores, and a system that can pin processes to them")
        return []
    rows = []
    for count, size in itertools.product(options.counts, options.sizes):
        times: dict[str, list[float]] = {"alone": [], "beside": [], "one thread": []}
        _, both = jobs(native(""), head_shell(count, size))
        for _ in range(
            5
        ):  # in turns; a change of the number of threads costs something, so each has a run of its own
            for name, threads in (("one thread", 1), ("alone", 2), ("beside", 2)):
                torch.set_num_threads(threads)
                if name == "beside":
                    with spinner(cores[1]):
                        times[name].append(posing.medians({name: both}, options.repeats)[name])
                else:
                    times[name].append(posing.medians({name: both}, options.repeats)[name])
        middle = {name: sorted(values)[2] for name, values in times.items()}
        rows.append({"gaussians": count, "size": size, **middle})
        print(
            f"{count} Gaussians, {size} px: one thread {middle['one thread']:.2f}, two {middle['alone']:.2f}, "
            f"two beside a busy core {middle['beside']:.2f}, which is {middle['beside'] / middle['one thread']:.2f} "
            f"times one thread",
            flush=True,
        )
    return rows


PARTS = {"speed": speed, "reference": reference, "stages": stages, "avatars": avatars, "busy": busy}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument(
        "--counts", type=int, nargs="+", default=[25_000, 130_000], help="numbers of Gaussians"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="image sides in pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="torch.set_num_threads")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--json", type=Path, help="also write the figures here (tools/speed_picture.py draws them)"
    )
    options = parser.parse_args()
    results = {}
    for name in options.only:
        print(
            f"== {name}: forward / forward + backward [ms]"
            if name in ("speed", "reference")
            else f"== {name}"
        )
        results[name] = PARTS[name](options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
