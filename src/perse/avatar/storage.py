"""An avatar on disk: a folder without pickles, checked before it is believed.

avatar.json         version, sizes, camera, head
weights.safetensors every weight (and the features f_I, f_T of every learned attribute)
subjects.json       the subjects: ids, attributes, prompts, latent codes
head.safetensors    joints and shape of the head
preview.png         the reference at rest
adapters/           looks learned later, one folder each (`adapter_storage`); only where there are any
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from perse._files import check_format, read_json, require_file, write_json
from perse.avatar.adapter_storage import load_adapters, save_adapter
from perse.avatar.fields import FieldConfig, Layout
from perse.avatar.latent import LatentConfig
from perse.avatar.model import AvatarModel, ModelConfig
from perse.avatar.subjects import MAX_SUBJECTS, LearnedSubject
from perse.dataset import CATEGORIES, camera_from_json, camera_to_json, to_uint8
from perse.errors import PerseError

if TYPE_CHECKING:
    from perse.avatar.avatar import Avatar

FORMAT, VERSION = "perse avatar", 2
MAX_BYTES = 8 << 30
MAX_POINTS, MAX_WIDTH, MAX_FEATURES = 4_000_000, 4096, 16384
BUNDLED_ENCODER, BUNDLED_SIZES = "efficientnet+minilm", (1280, 384)
FILES = ("avatar.json", "subjects.json", "weights.safetensors", "head.safetensors")


def save_avatar(avatar: Avatar, folder: Path) -> Path:
    """Write to a folder aside, then rename it into place."""
    if folder.exists() and not (folder / "avatar.json").is_file() and any(folder.iterdir()):
        raise PerseError(f"{folder} holds something that is not an avatar; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        aside.mkdir()
        _write(avatar, aside)
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.old")
            folder.rename(old)
            aside.rename(folder)
            shutil.rmtree(old)
        else:
            aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return folder


def _write(avatar: Avatar, folder: Path) -> None:
    from PIL import Image

    model = avatar.model
    latent = model.latent
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "weights.safetensors")
    head = {
        "joints": model.joints.cpu().contiguous(),
        "betas": avatar.betas.contiguous(),
        "rest_expr": avatar.rest[0].cpu().contiguous(),
        "rest_pose": avatar.rest[1].cpu().contiguous(),
    }
    save_file(head, folder / "head.safetensors")
    write_json(
        folder / "avatar.json",
        {
            "format": FORMAT,
            "version": VERSION,
            "model": asdict(model.config),
            "layout": model.field.layout.to_json(),
            "entries": len(latent.features),
            "features": list(latent.split),
            "categories": list(latent.categories),
            "camera": camera_to_json(avatar.camera),
            "head": avatar.head_name,
            "encoder": avatar.encoder,
        },
    )
    write_json(folder / "subjects.json", {"subjects": [_subject_json(avatar, s) for s in avatar.subjects]})
    picture = avatar.render(avatar.reference, avatar.rest[0][None], avatar.rest[1][None])[0]
    Image.fromarray(to_uint8(picture).numpy()).save(folder / "preview.png")
    for adapter in model.adapters.values():
        save_adapter(adapter, model, folder)


def _subject_json(avatar: Avatar, subject: LearnedSubject) -> dict[str, Any]:
    """A subject with its codes as plain numbers, for other programs; loading takes codes from the weights."""
    codes = avatar.look_of(subject.id).codes
    rows = {a.category: avatar.model.latent.categories.index(a.category) for a in subject.attributes}
    names = rows or {name: i for i, name in enumerate(avatar.model.latent.categories)}
    return {
        **subject.to_json(),
        "codes": {name: codes.z[i].tolist() for name, i in names.items()},
        "presence": {name: float(codes.presence[i]) for name, i in names.items()},
    }


# ---- loading ----------------------------------------------------------------------------------------------


def load_avatar(folder: Path, device: torch.device | str = "cpu") -> Avatar:
    """Validate and read; see `Avatar.load`."""
    from perse.avatar.avatar import Avatar

    if not folder.is_dir():
        raise PerseError(f"there is no avatar folder at {folder}")
    for name in FILES:
        require_file(folder / name, "part of the avatar", MAX_BYTES)
    info = read_json(folder / "avatar.json", "the avatar's description")
    check_format(folder / "avatar.json", info, FORMAT, VERSION)
    try:
        model = _empty_model(info)
        camera = camera_from_json(info.get("camera"))
        head_name = _text(info.get("head"), "head")
        encoder = _encoder(info, model.latent.split)
    except PerseError as error:
        raise PerseError(f"{folder / 'avatar.json'}: {error}") from error
    _fill(model, folder / "weights.safetensors")
    head = read_tensors(
        folder / "head.safetensors",
        {"joints": (5, 3), "betas": (100,), "rest_expr": (50,), "rest_pose": (15,)},
    )
    subjects = _subjects(folder / "subjects.json", len(model.latent.features))
    rest = (head["rest_expr"], head["rest_pose"])
    adapters = load_adapters(folder, model)
    avatar = Avatar(model.to(device), subjects, camera, head["betas"], rest, head_name, encoder)
    for adapter in adapters:
        avatar.add(adapter)
    return avatar


def _encoder(info: dict[str, Any], sizes: tuple[int, int]) -> str | None:
    """Name of the encoder; avatars that were written before it was told had features of the bundled one."""
    if "encoder" not in info:
        return BUNDLED_ENCODER if sizes == BUNDLED_SIZES else None
    return None if info["encoder"] is None else _text(info["encoder"], "encoder")


def _empty_model(info: dict[str, Any]) -> AvatarModel:
    """A model of the described sizes without memory: sizes are judged before anything is allocated."""
    config = info.get("model")
    if not isinstance(config, dict):
        raise PerseError("the model's sizes are missing")
    field = _config(FieldConfig, config.get("field"), "model.field")
    latent = _config(LatentConfig, config.get("latent"), "model.latent")
    rest = {k: v for k, v in config.items() if k not in ("field", "latent")}
    model_config = _config(ModelConfig, {**rest, "field": field, "latent": latent}, "model")
    for name, value, limit in (
        ("field.rank", field.rank, MAX_WIDTH),
        ("field.width", field.width, MAX_WIDTH),
        ("field.depth", field.depth, 64),
        ("field.frequencies", field.frequencies, 32),
        ("field.pose_code", field.pose_code, MAX_WIDTH),
        ("latent.dim", latent.dim, MAX_WIDTH),
        ("latent.hidden", latent.hidden, MAX_WIDTH),
        ("pose_width", model_config.pose_width, MAX_WIDTH),
        ("pose_depth", model_config.pose_depth, 64),
    ):
        _count(value, limit, name)
    if field.kind not in ("basis", "mlp"):
        raise PerseError(f"unknown field {field.kind!r}")
    features = info.get("features")
    if not isinstance(features, list) or len(features) != 2:
        raise PerseError("features must be two numbers")
    image, text = (_count(f, MAX_FEATURES, "features") for f in features)
    entries = _count(info.get("entries"), MAX_SUBJECTS, "entries")
    with torch.device("meta"):
        return AvatarModel(model_config, _layout(info.get("layout")), entries, image, text)


def _config(kind: type, value: Any, name: str) -> Any:
    """A config dataclass from JSON: known names, plain numbers."""
    if not isinstance(value, dict):
        raise PerseError(f"{name} is missing")
    known = {f.name: f for f in fields(kind)}
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise PerseError(f"{name} has an unknown entry {unknown[0]!r}")
    for key, entry in value.items():
        if entry is not None and not isinstance(entry, (bool, int, float, str, FieldConfig, LatentConfig)):
            raise PerseError(f"{name}.{key} must be a plain value")
        kind_of = str(known[key].type)
        whole = isinstance(entry, int) and not isinstance(entry, bool)
        if "int" in kind_of and not whole and not (entry is None and "None" in kind_of):
            raise PerseError(f"{name}.{key} must be a whole number")
    return kind(**value)


def _layout(value: Any) -> Layout:
    if not isinstance(value, dict) or set(value) != {"base", "layers", "actions", "yields"}:
        raise PerseError("layout must hold base, layers, actions and yields")
    sizes: dict[str, dict[str, int]] = {}
    for part in ("layers", "actions"):
        if not isinstance(value[part], dict) or not set(value[part]) <= set(CATEGORIES):
            raise PerseError(f"layout.{part} must name categories")
        sizes[part] = {k: _count(n, MAX_POINTS, f"layout.{part}.{k}") for k, n in value[part].items()}
    pairs = value["yields"]
    if not isinstance(pairs, list):
        raise PerseError("layout.yields must be a list of pairs")
    for pair in pairs:
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or pair[0] not in sizes["layers"]
            or pair[1] not in CATEGORIES
        ):
            raise PerseError(f"layout.yields: {pair!r} is not a layer and a category")
    base = _count(value["base"], MAX_POINTS, "layout.base")
    return Layout(base, sizes["layers"], sizes["actions"], tuple((a, b) for a, b in pairs))


def _count(value: Any, limit: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
        raise PerseError(f"{name} must be a whole number from 0 to {limit}, not {value!r}")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > 1000:
        raise PerseError(f"{name} must be a short text")
    return value


def _fill(model: AvatarModel, path: Path) -> None:
    """Load weights whose names, shapes and types are exactly those of the empty model."""
    expected = {name: (tuple(t.shape), t.dtype) for name, t in model.state_dict().items()}
    tensors = read_tensors(
        path, {k: s for k, (s, _) in expected.items()}, {k: d for k, (_, d) in expected.items()}
    )
    model.load_state_dict(tensors, assign=True)
    for module in model.modules():  # buffers that are not saved were left without memory
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                module.register_buffer(name, _constant(module, name), persistent=False)
    _check_indices(model, path)


def _constant(module: torch.nn.Module, name: str) -> Tensor:
    """A buffer that is the same in every avatar."""
    from perse.avatar.posing import PoseMLP
    from perse.avatar.start import value_steps

    if isinstance(module, PoseMLP) and name == "bounds":
        return torch.tensor(PoseMLP.BOUNDS)
    config = getattr(module, "config", None)
    if name == "steps" and isinstance(config, FieldConfig):
        return value_steps(config.offset_step)
    raise AssertionError(f"{type(module).__name__}.{name} has no constant")


def _check_indices(model: AvatarModel, path: Path) -> None:
    """Indices that point outside would crash, or worse, later."""
    limits = {"entry_category": len(model.latent.categories), "index": model.field.layout.base}
    for name, tensor in model.state_dict().items():
        limit = limits.get(name.rsplit(".", 1)[-1])
        if limit is not None and tensor.numel() and (int(tensor.min()) < 0 or int(tensor.max()) >= limit):
            raise PerseError(f"{path}: {name} points outside the avatar")


def read_tensors(
    path: Path, shapes: dict[str, tuple[int, ...]], dtypes: dict[str, torch.dtype] | None = None
) -> dict[str, Tensor]:
    """Tensors of exactly these names, shapes and types, with finite numbers."""
    tensors = {}
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            if names != set(shapes):
                odd = sorted(names ^ set(shapes))[0]
                raise PerseError(f"{path}: tensor {odd!r} is {'unknown' if odd in names else 'missing'}")
            for name, shape in shapes.items():
                found = tuple(file.get_slice(name).get_shape())
                if found != shape:
                    raise PerseError(f"{path}: {name} must have shape {list(shape)}, not {list(found)}")
                # Copied to memory of its own: numbers depend, in the last bit, on how a tensor is aligned.
                tensors[name] = file.get_tensor(name).clone()
    except (SafetensorError, OSError, ValueError) as error:
        raise PerseError(f"{path} is not a readable safetensors file ({error}); it may be damaged") from error
    for name, tensor in tensors.items():
        dtype = (dtypes or {}).get(name, torch.float32)
        if tensor.dtype != dtype:
            raise PerseError(f"{path}: {name} must be {dtype}, not {tensor.dtype}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise PerseError(f"{path}: {name} holds numbers that are not finite")
    return tensors


def _subjects(path: Path, entries: int) -> tuple[LearnedSubject, ...]:
    value = read_json(path, "the list of subjects").get("subjects")
    if not isinstance(value, list) or not 0 < len(value) <= MAX_SUBJECTS:
        raise PerseError(f"{path}: holds no list of subjects")
    try:
        return tuple(LearnedSubject.from_json(v, entries) for v in value)
    except PerseError as error:
        raise PerseError(f"{path}: {error}") from error
