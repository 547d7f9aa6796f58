"""``perse export``: an avatar as a file or a folder that other programs open (docs/export.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perse.errors import PerseError

if TYPE_CHECKING:
    from perse.avatar import Avatar
    from perse.dataset import Motion

Format = Literal["html", "ply", "ply-sequence", "splat", "sog", "gaussian-avatars", "images", "glb"]
SUFFIXES = {"html": ".html", "ply": ".ply", "splat": ".splat", "sog": ".sog", "glb": ".glb"}
"""Formats that are one file; the others are folders."""


@dataclass(frozen=True)
class ExportConfig:
    """What ``perse export`` writes."""

    avatar: Path
    """An avatar (runs/me/avatar) or a build (runs/me)."""
    format: Format = "html"
    """html: one page with all looks that opens in any browser, with sliders. ply: 3D Gaussians of one look.
    ply-sequence: the same for every frame of the motion. splat, sog: for web players (needs gaussforge).
    gaussian-avatars: Gaussians bound to the head's triangles, and its parameters. images: pictures, masks and cameras
    (transforms.json). glb: the head's mesh with ARKit's blendshapes."""
    looks: dict[str, str | None] = field(default_factory=dict)
    """Prompt per category; None takes the part off."""
    out: Path | None = None
    """File or folder to write; by default the avatar's name with the format's ending, in the working folder."""
    motion: Path | None = None
    """Motion file (.npz) that is played (html: of which the idle motion is a piece); the bundled one by default."""
    frames: int = 100
    """ply-sequence, gaussian-avatars, images: how many frames of the motion."""
    size: int = 512
    """images: picture size in pixels."""
    title: str | None = None
    """html: the heading; by default the name of the avatar's folder."""
    quality: Literal["small", "normal", "fine"] = "normal"
    """html: how finely numbers are rounded. It decides the size of the page."""
    points: int | None = None
    """html: keep at most so many Gaussians, those whose loss would change pictures most; all by default."""
    pose_detail: bool = True
    """html: run MLP_pose, which changes colours and shapes a little as the face moves."""
    sh_degree: int = 0
    """ply, ply-sequence: pad spherical harmonics up to this degree, for engines that insist on 3."""
    y_up: bool = False
    """ply, ply-sequence: keep PERSE's axes. Viewers of .ply files expect y down, so files are turned by default."""


def export(config: ExportConfig) -> Path:
    """Write an avatar in another format, and say where it lies.

    Raises:
        PerseError: there is no avatar, the format cannot hold it, or an option makes no sense.
    """
    from perse.avatar import Avatar
    from perse.dataset import Motion, default_motion

    folder = (
        config.avatar / "avatar" if (config.avatar / "avatar" / "avatar.json").is_file() else config.avatar
    )
    if not 0 <= config.sh_degree <= 3:
        raise PerseError(f"--sh-degree {config.sh_degree}: 0 to 3")
    if config.frames < 1 or not 16 <= config.size <= 4096:
        raise PerseError("--frames must be at least 1 and --size between 16 and 4096")
    name = _name(folder)
    out = config.out or Path(name + SUFFIXES.get(config.format, f"-{config.format}"))
    _check_out(out, config.format)
    avatar = Avatar.load(folder)
    motion = Motion.load(config.motion) if config.motion else default_motion()
    out.parent.mkdir(parents=True, exist_ok=True)
    return _write(config, avatar, motion, out, config.title or name)


def _write(config: ExportConfig, avatar: Avatar, motion: Motion, out: Path, title: str) -> Path:
    from perse import export as formats

    kind = config.format
    if kind == "html":
        options = formats.PageOptions(
            title=title,
            wearing=config.looks,
            quality=config.quality,
            points=config.points,
            pose_detail=config.pose_detail,
        )
        return formats.write_page(
            avatar, out, motion, options, progress=lambda what: print(f"{what} ...", flush=True)
        )
    look = avatar.look(**config.looks)
    part = motion.select(range(min(config.frames, len(motion))))
    axes = {"sh_degree": config.sh_degree, "y_down": not config.y_up}
    if kind == "ply":
        return formats.write_ply(avatar, look, out, **axes)  # type: ignore[arg-type]
    if kind == "ply-sequence":
        return formats.write_ply_sequence(avatar, look, out, part, **axes)  # type: ignore[arg-type]
    if kind in ("splat", "sog"):
        return formats.write_converted(avatar, look, out, kind)
    if kind == "gaussian-avatars":
        return formats.write_bound(avatar, look, out, part)
    if kind == "glb":
        return formats.write_glb(avatar, look, out)
    from tqdm import tqdm

    with tqdm(total=len(part), unit="frame", desc="drawing", disable=None) as bar:
        return formats.write_images(avatar, look, out, part, config.size, bar.update)


def _name(folder: Path) -> str:
    """The name of a build's folder, or of an avatar's that lies elsewhere."""
    whole = folder.resolve()
    return (whole.parent.name if whole.name == "avatar" else whole.name) or "avatar"


def _check_out(out: Path, kind: str) -> None:
    """Refuse what would surprise: another ending, a folder for a file, files of something else in a folder."""
    suffix = SUFFIXES.get(kind)
    if suffix is not None:
        if out.suffix.lower() != suffix or out.is_dir():
            raise PerseError(f"--out {out}: --format {kind} writes a file that ends in {suffix}")
    elif out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise PerseError(f"--out {out}: --format {kind} writes a folder, and this one is not empty")
