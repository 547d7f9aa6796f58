"""Puppets on disk: one safetensors file, no pickle."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from perse._files import written_whole
from perse.dataset import Portrait
from perse.errors import PerseError
from perse.head import Head
from perse.studio.groups import Group, Rooted, Skinned, SurfaceDiscs
from perse.studio.puppet import FaceRig, Light, Puppet

FORMAT = "perse-puppet-2"
KINDS: dict[str, type[Group]] = {kind.__name__: kind for kind in (SurfaceDiscs, Rooted, Skinned)}


def save_puppet(puppet: Puppet, path: Path) -> None:
    """Write everything but head and portrait; the file appears whole or not at all."""
    tensors: dict[str, Tensor] = {"betas": puppet.betas, "offsets": puppet.offsets}
    for record, prefix in ((puppet.light, "light"), (puppet.rig, "rig")):
        tensors |= {f"{prefix}/{item.name}": getattr(record, item.name) for item in fields(record)}
    tensors |= {f"palette/{name}": color for name, color in puppet.palette.items()}
    kinds = {}
    for name, group in puppet.groups.items():
        kinds[name] = type(group).__name__
        for item in fields(group):
            value = getattr(group, item.name)
            if isinstance(value, Tensor):
                tensors[f"group/{name}/{item.name}"] = value
        tensors |= {f"group/{name}/extras/{key}": value for key, value in group.extras.items()}
    # clone: groups may share tensors, which safetensors refuses
    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    with written_whole(path) as aside:
        save_file(whole, aside, metadata={"format": FORMAT, "groups": json.dumps(kinds)})


def load_puppet(path: Path, head: Head, portrait: Portrait) -> Puppet:
    """Read a puppet of ``portrait`` on ``head``.

    Raises:
        PerseError: the file is missing, damaged, or no puppet of this head.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise PerseError(f"{path} is not a puppet file ({FORMAT}).")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        kinds = json.loads(metadata["groups"])
        puppet = Puppet(
            head=head,
            portrait=portrait,
            light=Light(**_under("light/", tensors)),
            rig=FaceRig(**_under("rig/", tensors)),
            palette=_under("palette/", tensors),
            betas=tensors["betas"],
            offsets=tensors["offsets"],
        )
        for name, kind in kinds.items():
            puppet.add(name, _group(KINDS[kind], _under(f"group/{name}/", tensors)))
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise PerseError(
            f"{path} cannot be read as a puppet ({error}). Delete it; it is made again."
        ) from error
    if puppet.offsets.shape != head.v_template.shape:
        raise PerseError(f"{path} was made for another head. Delete it; it is made again.")
    return puppet


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _group(kind: type[Group], values: dict[str, Any]) -> Group:
    extras = _under("extras/", values)
    plain = {name: value for name, value in values.items() if not name.startswith("extras/")}
    return kind(**plain, extras=extras)
