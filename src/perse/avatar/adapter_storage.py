"""Adapters on disk: one folder a look in the avatar's `adapters/`, written whole, checked before it is believed.

adapter.json         name, category, sizes, fingerprint of the avatar it was learned on
weights.safetensors  its weights and code
"""

from __future__ import annotations

import re
import shutil
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from perse._files import check_format, read_json, require_file, write_json
from perse.avatar.adapters import MAX_NAME, Adapter, AdapterShape, adapter_kind, fingerprint, make_adapter
from perse.avatar.model import AvatarModel
from perse.dataset import CATEGORIES
from perse.errors import PerseError

FORMAT, VERSION = "perse adapter", 1
FOLDER = "adapters"
MAX_BYTES = 2 << 30
MAX_ADAPTERS, MAX_OWN, MAX_RANK = 1000, 1_000_000, 1024


def folder_name(name: str) -> str:
    """The folder of a look. PerseError for a name that cannot be one."""
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise PerseError(f"a look's name must be 1 to {MAX_NAME} printable characters, not {name!r}")
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not slug:
        raise PerseError(f"a look's name needs a letter or a digit, which {name!r} has not")
    return slug


def save_adapter(adapter: Adapter, model: AvatarModel, avatar: Path) -> Path:
    """Write an adapter into an avatar's folder: aside, then renamed. One of the same name is replaced."""
    place = avatar / FOLDER / folder_name(adapter.shape.name)
    place.parent.mkdir(exist_ok=True)
    if place.exists() and _name_in(place) != adapter.shape.name:
        raise PerseError(f'the name "{adapter.shape.name}" is too like another look\'s; choose another')
    aside = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        aside.mkdir()
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in adapter.state_dict().items()}
        save_file(state, aside / "weights.safetensors")
        write_json(
            aside / "adapter.json",
            {
                "format": FORMAT,
                "version": VERSION,
                "shape": asdict(adapter.shape),
                "base": fingerprint(model.state_dict(), model.field.layout),
            },
        )
        _take_away(place)
        aside.rename(place)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return place


def delete_adapter(avatar: Path, name: str) -> None:
    """Delete an adapter's folder; others stay. PerseError if there is none of that name."""
    place = avatar / FOLDER / folder_name(name)
    if not place.is_dir() or place.is_symlink() or _name_in(place) != name:
        raise PerseError(f'{avatar}: no look called "{name}" was transferred to this avatar')
    _take_away(place)


def load_adapters(avatar: Path, model: AvatarModel) -> list[Adapter]:
    """Every adapter in an avatar's folder, by name. PerseError names the file that is damaged, foreign or too large."""
    folder = avatar / FOLDER
    if not folder.exists():
        return []
    if folder.is_symlink() or not folder.is_dir():
        raise PerseError(f"{folder} must be a folder")
    places = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    if len(places) > MAX_ADAPTERS:
        raise PerseError(f"{folder} holds more than {MAX_ADAPTERS} looks")
    base = fingerprint(model.state_dict(), model.field.layout) if places else ""
    return [_load(place, model, base) for place in places]


def _load(place: Path, model: AvatarModel, base: str) -> Adapter:
    from perse.avatar.storage import read_tensors

    if place.is_symlink():
        raise PerseError(f"{place} is a symbolic link; links are not followed")
    file = place / "adapter.json"
    info = read_json(file, "a look's description")
    check_format(file, info, FORMAT, VERSION)
    try:
        shape = _shape(info.get("shape"), model)
    except PerseError as error:
        raise PerseError(f"{file}: {error}") from error
    if folder_name(shape.name) != place.name:
        raise PerseError(f"{file}: the look's name is not that of its folder")
    if info.get("base") != base:
        raise PerseError(
            f'{place}: the look "{shape.name}" was learned on another state of the avatar; delete that folder and '
            "transfer it again"
        )
    with torch.device("meta"):
        adapter = make_adapter(shape, model.config.field, dict(model.field.named_parameters()))
    weights = require_file(place / "weights.safetensors", "a look's weights", MAX_BYTES)
    expected = adapter.state_dict()
    tensors = read_tensors(
        weights, {n: tuple(t.shape) for n, t in expected.items()}, {n: t.dtype for n, t in expected.items()}
    )
    limits = {"base_index": model.field.layout.base, "seat": shape.layer}
    for name, limit in limits.items():
        index = tensors.get(name)
        if index is not None and index.numel() and (int(index.min()) < 0 or int(index.max()) >= limit):
            raise PerseError(f"{weights}: {name} points outside the avatar")
    adapter = make_adapter(shape, model.config.field, dict(model.field.named_parameters()))
    adapter.load_state_dict(tensors)
    return adapter


def _shape(value: Any, model: AvatarModel) -> AdapterShape:
    """Sizes out of untrusted JSON: they must be those of this avatar."""
    names = set(AdapterShape.__dataclass_fields__)
    if not isinstance(value, dict) or set(value) != names:
        raise PerseError("the look's sizes are missing or unknown")
    if not isinstance(value["name"], str) or value["category"] not in CATEGORIES:
        raise PerseError("the look has no name, or no category")
    press = value["press"]
    layout = model.field.layout
    if not isinstance(press, dict) or any(layout.layers.get(name) != n for name, n in press.items()):
        raise PerseError("the look makes room in layers that the avatar does not have")
    limits = {"rank": MAX_RANK, "base": layout.base, "own": MAX_OWN, "layer": MAX_OWN, "dim": MAX_RANK}
    for key, limit in limits.items():
        number = value[key]
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= limit:
            raise PerseError(f"{key} must be a whole number from 0 to {limit}")
    fits = value["kind"] == adapter_kind(model.config.field) and value["dim"] == model.config.latent.dim
    if value["kind"] == "points":
        fits = fits and value["layer"] == layout.layers.get(value["category"], 0)
    if not fits:
        raise PerseError("the look was learned on an avatar of another kind or size")
    return AdapterShape(**value)


def _name_in(place: Path) -> str | None:
    shape = read_json(place / "adapter.json", "a look's description").get("shape")
    return shape.get("name") if isinstance(shape, dict) else None


def _take_away(place: Path) -> None:
    """Rename, then delete: what is interrupted leaves no half of it."""
    if place.exists():
        old = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.old")
        place.rename(old)
        shutil.rmtree(old)
