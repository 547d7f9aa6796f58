"""One look as 3DGS files: a pose, a sequence of poses, and other splat formats through gaussforge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from perse._files import write_atomic
from perse.avatar import Avatar, Look
from perse.dataset import Motion
from perse.errors import PerseError
from perse.splat import Gaussians, save_ply

FAINTEST = 1 / 255
"""Gaussians below this opacity are never drawn, and left out."""
AT_ONCE = 8


def posed(avatar: Avatar, look: Look, motion: Motion) -> Iterator[Gaussians]:
    """The Gaussians of every frame of a motion, on the CPU, without those that are not drawn."""
    baked = avatar.bake(look)
    for start in range(0, len(motion), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        batch = baked.pose(motion.expr[part], motion.pose[part]).detach().to("cpu")
        for frame in range(len(motion.expr[part])):
            one = Gaussians(
                batch.means[frame],
                batch.quats[frame],
                *(
                    t[frame] if t.dim() > plain else t
                    for t, plain in ((batch.scales, 2), (batch.opacities, 1), (batch.colors, 2))
                ),
            )
            yield one


def drawn(gaussians: Gaussians) -> Gaussians:
    """Those that are drawn at all."""
    return gaussians[gaussians.opacities > FAINTEST]


def write_ply(
    avatar: Avatar,
    look: Look,
    path: str | Path,
    expr: torch.Tensor | None = None,
    pose: torch.Tensor | None = None,
    *,
    sh_degree: int = 0,
    y_down: bool = True,
) -> Path:
    """One look in one pose as a 3DGS .ply (`perse.splat.save_ply`): expr [50], pose [15]; the rest by default."""
    expr = avatar.rest[0] if expr is None else expr
    pose = avatar.rest[1] if pose is None else pose
    still = Motion(expr[None], pose[None], torch.ones(1, dtype=torch.bool))
    save_ply(path, drawn(next(posed(avatar, look, still))), sh_degree=sh_degree, y_down=y_down)
    return Path(path)


def write_ply_sequence(
    avatar: Avatar,
    look: Look,
    folder: str | Path,
    motion: Motion,
    *,
    sh_degree: int = 0,
    y_down: bool = True,
) -> Path:
    """A motion as `frame_00000.ply` and so on, the same Gaussians in the same order in every file."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number, gaussians in enumerate(posed(avatar, look, motion)):
        save_ply(folder / f"frame_{number:05d}.ply", gaussians, sh_degree=sh_degree, y_down=y_down)
    return folder


def write_converted(avatar: Avatar, look: Look, path: str | Path, kind: str) -> Path:
    """One look at rest as .splat or .sog, for web players.

    Raises:
        PerseError: gaussforge is not installed, or cannot write it.
    """
    import tempfile

    try:
        import gaussforge
    except ImportError as error:
        raise PerseError(
            f"--format {kind} needs gaussforge: pip install 'perse[export]'. Or write --format ply, which most "
            "players read"
        ) from error
    path = Path(path)
    with tempfile.TemporaryDirectory() as folder:
        plain = write_ply(avatar, look, Path(folder) / "look.ply")
        result = gaussforge.GaussForge().convert(plain.read_bytes(), "ply", kind)
    if "error" in result:
        raise PerseError(f"{path}: gaussforge could not write {kind}: {result['error']}")
    content = bytes(result["data"])
    write_atomic(path, lambda file: file.write(content))
    return path
