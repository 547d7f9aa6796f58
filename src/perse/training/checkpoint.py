"""One file per checkpoint: weights, Adam's moments, step. Written aside and renamed, so one is always whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from perse._files import written_whole
from perse.avatar import Start
from perse.avatar.start import ActionStart, Known, LayerStart, Points, YieldStart
from perse.errors import PerseError

MAX_BYTES = 64 << 30
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def write_tensors(path: Path, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
    """Write tensors and a JSON note as one safetensors file, atomically."""
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    try:
        with written_whole(path) as aside:
            save_file(plain, aside, metadata={"info": json.dumps(info)})
    except OSError as error:
        raise PerseError(
            f"{path} could not be written: {error.strerror or error}; earlier ones are whole"
        ) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Inverse of `write_tensors`. PerseError if the file is damaged."""
    if path.stat().st_size > MAX_BYTES:
        raise PerseError(f"{path} is larger than any checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            info = json.loads((file.metadata() or {}).get("info", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise PerseError(f"{path} is damaged ({error}); delete it to start the training anew") from error
    if not isinstance(info, dict):
        raise PerseError(f"{path} is no checkpoint of perse; delete it to start the training anew")
    return tensors, info


# ---- model and optimizer ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory."""

    path: Path
    step: int
    """The step to go on with."""
    tensors: dict[str, Tensor]

    @staticmethod
    def read(path: Path, identity: dict[str, Any]) -> Checkpoint:
        """Read one.

        Raises:
            PerseError: damaged, or made with other settings or other data.
        """
        tensors, info = read_tensors(path)
        for key, value in identity.items():
            if info.get(key) != value:
                raise PerseError(
                    f"{path.parent} holds a training with another {key}; choose another folder, or delete it to "
                    "start anew"
                )
        return Checkpoint(path, int(info["step"]), tensors)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """All tensors whose names begin with `prefix` and a dot, without it."""
        start = f"{prefix}."
        return {k.removeprefix(start): t for k, t in self.tensors.items() if k.startswith(start)}

    def fill(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put weights and moments into a model and optimizer of the right sizes."""
        try:
            model.load_state_dict(self.part("model"))
        except RuntimeError as error:
            raise PerseError(
                f"{self.path} does not fit this model; delete {self.path.parent} to start anew"
            ) from error
        for name, parameter in model.named_parameters():
            found = {
                m: self.tensors[f"adam.{m}.{name}"] for m in MOMENTS if f"adam.{m}.{name}" in self.tensors
            }
            if found:
                # The step count stays a float tensor where torch put it; moments go to the parameter's device.
                optimizer.state[parameter] = {m: t.to(parameter.device) for m, t in found.items()}


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    identity: dict[str, Any],
    parts: dict[str, dict[str, Tensor]],
) -> None:
    """Everything that the next step depends on. (Random numbers are functions of seed and step.)

    Args:
        parts: further state, by the prefix that `Checkpoint.part` takes.
    """
    tensors = {f"model.{name}": t for name, t in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"adam.{moment}.{name}"] = torch.as_tensor(value)
    for prefix, part in parts.items():
        tensors |= {f"{prefix}.{name}": t for name, t in part.items()}
    write_tensors(path, tensors, {"step": step, **identity})


# ---- starts -----------------------------------------------------------------------------------------------


def save_start(path: Path, start: Start, identity: dict[str, Any]) -> None:
    """Keep a start: it takes long to make, and E, P, W of Eq. 31 come from it."""
    tensors: dict[str, Tensor] = {}
    subjects: dict[str, list[int]] = {}

    def put_points(prefix: str, points: Points) -> None:
        for f in fields(Points):
            tensors[f"{prefix}.{f.name}"] = getattr(points, f.name)

    def put_known(prefix: str, known: Known) -> None:
        tensors[f"{prefix}.values"] = known.values
        subjects[prefix] = [-1 if s is None else s for s in known.subjects]

    put_points("base", start.base)
    for name, layer in start.layers.items():
        put_points(f"layer.{name}", layer.points)
        put_known(f"layer.{name}", layer.known)
        if layer.strands is not None:
            tensors[f"layer.{name}.strands"] = layer.strands
    for name, action in start.actions.items():
        tensors[f"action.{name}.index"] = action.index
        put_known(f"action.{name}", action.known)
    for (name, other), y in start.yields.items():
        put_known(f"yield.{name}.{other}", y.known)
        tensors |= {f"yield.{name}.{other}.low": y.low, f"yield.{name}.{other}.high": y.high}
    write_tensors(path, tensors, {"name": start.name, "subjects": subjects, **identity})


def load_start(path: Path, identity: dict[str, Any]) -> Start:
    """Inverse of `save_start`. PerseError if it was made for another training."""
    tensors, info = read_tensors(path)
    if any(info.get(key) != value for key, value in identity.items()):
        raise PerseError(
            f"{path.parent} holds a training with other settings or data; choose another folder, or delete it"
        )

    def points(prefix: str) -> Points:
        return Points(**{f.name: tensors[f"{prefix}.{f.name}"] for f in fields(Points)})

    def known(prefix: str) -> Known:
        return Known([None if s < 0 else s for s in info["subjects"][prefix]], tensors[f"{prefix}.values"])

    start = Start(points("base"), name=info["name"])
    for prefix in info["subjects"]:
        kind, *names = prefix.split(".")
        if kind == "layer":
            start.layers[names[0]] = LayerStart(
                points(prefix), known(prefix), tensors.get(f"{prefix}.strands")
            )
        elif kind == "action":
            start.actions[names[0]] = ActionStart(tensors[f"{prefix}.index"], known(prefix))
        else:
            low, high = tensors[f"{prefix}.low"], tensors[f"{prefix}.high"]
            start.yields[names[0], names[1]] = YieldStart(known(prefix), low, high)
    return start
