"""`perse transfer`: a part of another photo becomes a look of an avatar (paper section 4.4, A.4)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perse._files import read_json, write_json
from perse.errors import PerseError

if TYPE_CHECKING:
    from torch import Tensor

    from perse.avatar import Avatar
    from perse.dataset import Dataset, Portrait

FOLDER = "transfers"
"""Beside the avatar: the animated edit, the training's checkpoint and a picture of every transfer."""
LOOK = "001-look"


@dataclass(frozen=True)
class TransferOptions:
    """What ``perse transfer`` teaches an avatar, and from what."""

    build: Path
    """Folder of a build (runs/me)."""
    photo: Path | None = None
    """The other photo: one face, from the front, that shows the part."""
    category: str | None = None
    """What to take from it: beard, clothes, earrings, eyebrows, hair, hat, headphones, mouth or nose."""
    name: str | None = None
    """What the look is called from then on; by default "CATEGORY of PHOTO"."""
    remove: str | None = None
    """Forget the look of this name instead."""
    epochs: float = 5.0
    """Passes over the training frames."""
    seed: int = 0
    """Seed of every random choice."""
    face: int | None = None
    """Which face to take when the photo shows several, counted from the left, 0 first."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to learn."""


def transfer(options: TransferOptions) -> dict[str, Any] | None:
    """Do it, measure it, say where it lies. Repeated after an interruption, it goes on where it stopped.

    Raises:
        PerseError: the folder holds no build, the photo cannot be used or does not show the part, or the name is taken.
    """
    from perse.avatar import delete_adapter, folder_name

    if not (options.build / "avatar" / "avatar.json").is_file():
        raise PerseError(f"{options.build} holds no finished build; make one with perse build")
    if options.remove is not None:
        if options.photo is not None:
            raise PerseError("give either a photo or --remove, not both")
        delete_adapter(options.build / "avatar", options.remove)
        shutil.rmtree(options.build / FOLDER / folder_name(options.remove), ignore_errors=True)
        print(f'"{options.remove}" is removed')
        return None
    if options.photo is None or options.category is None:
        raise PerseError(
            "give a photo and what to take from it: perse transfer runs/me other.jpg --category hair"
        )
    return _teach(options, options.photo, options.category)


def _teach(options: TransferOptions, photo: Path, category: str) -> dict[str, Any]:
    from perse._build_folder import sha256
    from perse.avatar import Avatar, folder_name, save_adapter
    from perse.capture import capture
    from perse.dataset import Dataset, check_category
    from perse.evaluation import evaluate_transfer
    from perse.pipeline import pick_device
    from perse.training import TransferConfig
    from perse.training import transfer as learn
    from perse.viewer import save_image

    check_category(category)
    if not photo.is_file():
        raise PerseError(f"there is no photo at {photo}")
    name = options.name or f"{category} of {photo.stem}"
    place = options.build / FOLDER / folder_name(name)
    avatar = Avatar.load(options.build / "avatar", device=pick_device(options.device))
    if name in avatar.transferred:
        raise PerseError(
            f'the avatar has a look called "{name}"; choose another --name, or --remove it first'
        )
    if name in avatar.learned(category):
        raise PerseError(f'the avatar has learned "{name}" already; choose another --name')
    _claim(place, {"name": name, "category": category, "photo": sha256(photo), "seed": options.seed})
    other = capture(photo, face=options.face)
    base = Dataset.open(options.build / "dataset")
    look = make_look(avatar, base, other, category, place / "dataset", options.seed)
    config = TransferConfig(epochs=options.epochs, seed=options.seed)
    adapter = learn(avatar, look, name, category, place / "training", config)
    avatar.add(adapter)
    figures = evaluate_transfer(avatar, base, look, name, category)
    save_adapter(adapter, avatar.model, options.build / "avatar")
    write_json(place / "figures.json", figures)
    save_image(place / "look.jpg", look_picture(avatar, look, other.image, name, category))
    print(
        f"part {figures['part_psnr']:.1f} dB (learned looks of {category}: {_decibels(figures['part_psnr_learned'])}), "
        f"change elsewhere {figures['elsewhere']:.4f}"
    )
    print(f"  look   {place / 'look.jpg'}")
    print(f'  use    perse render {options.build / "avatar"} --set {category}="{name}" --out me.mp4')
    return figures


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"


def _claim(place: Path, settings: dict[str, Any]) -> None:
    """Note what a folder is for; refuse one that is for something else."""
    record = place / "transfer.json"
    if record.is_file():
        if read_json(record, "a transfer's record") != settings:
            raise PerseError(
                f"{place} holds an unfinished transfer from another photo or with another seed; delete it, or "
                "choose another --name"
            )
        return
    place.mkdir(parents=True, exist_ok=True)
    write_json(record, settings)


def make_look(
    avatar: Avatar, base: Dataset, other: Portrait, category: str, out: Path, seed: int = 0
) -> Dataset:
    """The person with the part of another portrait, animated as the avatar's dataset is: a dataset of two subjects,
    the reference and the look. Subjects that are there already are kept.

    Raises:
        PerseError: the other portrait does not show the part, or the dataset's maker cannot carry parts over.
    """
    from tqdm import tqdm

    from perse.dataset import Dataset, DatasetWriter, load_maker
    from perse.generate import write_subject

    maker = {"editor": "studio", "animator": "studio", "encoder": avatar.encoder or "efficientnet+minilm"}
    editor, animator, encoder = (load_maker(kind, name) for kind, name in maker.items())
    writer = DatasetWriter.create(
        out, base.portrait, base.motion, base.size, maker, seed, order=["000-reference", LOOK]
    )
    with tqdm(total=2, unit="subject", desc="animate", disable=None) as bar:
        for subject_id in ("000-reference", LOOK):
            if not writer.has(subject_id):
                if subject_id == LOOK:
                    edited = editor.carry(base.portrait, other, category)
                else:
                    edited = editor.edit(base.portrait, (), seed)
                with writer.subject(subject_id, edited.attributes, seed) as subject:
                    write_subject(subject, writer, edited, edited.attributes, (animator, encoder))
            bar.update()
    writer.finish()
    return Dataset.open(out)


def look_picture(avatar: Avatar, look: Dataset, photo: Tensor, name: str, category: str) -> Tensor:
    """The photo and the studio's edit; the avatar's look in the same frames; blends towards it: [3 H, 4 W, 3]."""
    import torch
    from torch.nn import functional as F

    from perse.dataset import from_uint8

    size = look.size
    frames = look.heldout_indices
    turned = frames[look.motion.pose[frames, 4].abs().argsort()]
    chosen = turned[[0, len(turned) // 2, -1]]
    motion = look.motion.select(chosen)
    camera = motion.camera(look.camera)
    worn = avatar.look(**{category: name})
    drawn = avatar.render(worn, motion.expr, motion.pose, camera).cpu()
    truth = from_uint8(look.load_frames(look.subjects[1], chosen)[0])
    expr, pose = avatar.rest[0][None], avatar.rest[1][None]
    blends = [
        avatar.render(avatar.mix(avatar.reference, worn, w, category), expr, pose).cpu()[0]
        for w in (0.0, 0.25, 0.5, 0.75)
    ]
    shrunk = F.interpolate(photo.permute(2, 0, 1)[None], (size, size), mode="area")[0].permute(1, 2, 0)
    top = torch.cat([shrunk, *truth], 1)
    return torch.cat([top, torch.cat([torch.ones_like(shrunk), *drawn], 1), torch.cat(blends, 1)], 0)
