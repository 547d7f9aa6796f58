"""Frames a second of a baked avatar: posing and drawing, with and without MLP_pose, native and in torch.

    python benchmarks/posing.py --threads 1 2 --counts 20000 50000 130000 --sizes 256 512 1024

Prints medians in milliseconds of one frame, measured in turns. The avatar is the open head as N Gaussians; E and P
have no zeros, as training leaves them. `torch` poses by the definitions that the tests compare with.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch

from perse.avatar import BakedLook, Canonical
from perse.avatar.posing import PoseMLP, pose_canonical
from perse.head import Binding, open_head
from perse.head.skinning import skin_runs_torch
from perse.splat import Camera, rasterize

NOISE = 1e-5
"""Metres: what training adds everywhere to E and P."""


def look(count: int, seed: int = 0) -> tuple[Canonical, torch.Tensor, PoseMLP]:
    """N Gaussians spread evenly over the open head, its joints, and an MLP_pose of the usual size."""
    g = torch.Generator().manual_seed(seed)
    head = open_head()
    corners = head.v_template[head.faces]  # [F, 3, 3]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1) / 2
    face = torch.multinomial(areas, count, replacement=True, generator=g)
    bary = torch.rand(count, 3, generator=g).log().neg()
    bary = bary / bary.sum(1, keepdim=True)
    E, P, W = head.interpolate(face, bary)
    noise = [NOISE * torch.randn(t.shape, generator=g) for t in (E, P)]
    spacing = float((areas.sum() / count).sqrt())
    canonical = Canonical(
        means=(corners[face] * bary[..., None]).sum(1),
        quats=torch.randn(count, 4, generator=g),
        log_scales=torch.full((count, 3), spacing * 0.7).log(),
        opacity=torch.full((count,), 2.0),
        colors=torch.randn(count, 3, generator=g),
        presence=torch.ones(count),
        bindings=[Binding(E + noise[0], P + noise[1], W)],
        labels=torch.zeros(count, dtype=torch.uint8),
        pose_code=torch.randn(count, 4, generator=g),
    )
    network = PoseMLP(latent=0, width=32, depth=2, pose_code=4).requires_grad_(False)
    network.net.initialize(g, 0.1)
    return canonical, head.joints(), network


def front_camera(size: int) -> Camera:
    """One metre in front of the face; the head fills the picture."""
    viewmat = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    viewmat[2, 3] = 1.0
    return Camera(
        viewmat, torch.tensor([[2.2 * size, 0, size / 2], [0, 2.2 * size, size / 2], [0, 0, 1]]), size, size
    )


def torch_pose(canonical: Canonical, joints: torch.Tensor, expr: torch.Tensor, pose: torch.Tensor) -> None:
    """Positions and rotations by the definitions."""
    skin_runs_torch(canonical.means, canonical.bindings, joints, expr, pose, canonical.quats)


def medians(jobs: dict[str, Callable[[int], object]], repeats: int) -> dict[str, float]:
    """Milliseconds of each job, run in turns; a job is given the number of its frame."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for frame in range(repeats + 2):
        for name, job in jobs.items():
            start = time.perf_counter()
            job(frame)
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values[2:]) for name, values in times.items()}


@torch.no_grad()
def measure(count: int, size: int, repeats: int) -> dict[str, float]:
    """Milliseconds of one frame, by what is done."""
    canonical, joints, network = look(count)
    g = torch.Generator().manual_seed(1)
    expr, pose = 0.5 * torch.randn(64, 1, 50, generator=g), 0.1 * torch.randn(64, 1, 15, generator=g)
    camera, white = front_camera(size), torch.ones(3)
    plain = BakedLook(canonical, joints, None)
    moving = BakedLook(canonical, joints, network)
    posed = plain.pose(expr[0], pose[0])

    def frame(k: int) -> tuple[torch.Tensor, torch.Tensor]:
        return expr[k % 64], pose[k % 64]

    return medians(
        {
            "draw": lambda k: rasterize(posed, camera, white),
            "pose": lambda k: plain.pose(*frame(k)),
            "pose, MLP": lambda k: moving.pose(*frame(k)),
            "frame": lambda k: plain.render(*frame(k), camera),
            "frame, MLP": lambda k: moving.render(*frame(k), camera),
            "torch pose": lambda k: torch_pose(canonical, joints, *frame(k)),
            "torch pose, MLP": lambda k: pose_canonical(canonical, joints, *frame(k), network),
        },
        repeats,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 50_000, 130_000], help="Gaussians")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[256, 512, 1024], help="image sides in pixels"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="torch.set_num_threads")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    print("Milliseconds a frame; the last two columns are frames a second without and with MLP_pose.")
    for threads, count, size in itertools.product(options.threads, options.counts, options.sizes):
        torch.set_num_threads(threads)
        times = measure(count, size, options.repeats)
        row = "  ".join(f"{name} {value:.2f}" for name, value in times.items())
        rates = f"{1e3 / times['frame']:.0f} / {1e3 / times['frame, MLP']:.0f}"
        print(f"{threads} threads, {count} Gaussians, {size} px:  {row}  |  {rates} a second", flush=True)


if __name__ == "__main__":
    main()
