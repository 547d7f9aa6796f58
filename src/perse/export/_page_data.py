"""What the page needs of an avatar: layers, looks, bases and a motion, in one block that `web/src/avatar.ts` reads."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from perse.avatar import Avatar, Codes, LinearField, Look, linear_field
from perse.avatar.start import OFFSET, WEIGHTS
from perse.dataset import ABSENTABLE, CATEGORIES, Motion, camera_to_json
from perse.errors import PerseError
from perse.export._bases import drivers, fewer_columns
from perse.export._container import Container
from perse.head import Head, arkit_names, arkit_to_motion

Quality = Literal["small", "normal", "fine"]
COARSENESS = {"small": 2.5, "normal": 1.0, "fine": 0.25}
"""Factors of the rounding steps below."""
STEPS = np.array([0.02] + [0.01] * 3 + [0.006] * 4 + [0.012] * 3 + [5e-5] * 3 + [2e-3] * 5)
"""Rounding steps of a value: opacity logit, log scale, quaternion, colour logits, offset in metres."""
YIELD_STEPS = [0, 11, 12, 13]
"""Of `STEPS`, those of a yield's values."""
POINT_STEP, CODE_STEP, WEIGHT_STEP, COLUMN_STEP = 2e-5, 4e-3, 2e-3, 2e-5
"""Rounding steps of points (metres), numbers of MLP_pose a point, skinning weights, columns of E and P (metres)."""
COLUMN_TOLERANCE = 3e-5
"""Metres by which fewer columns may move a point wrongly, root mean square."""
BOLDEST, FAINTEST = 0.5, 1 / 255
"""MLP_pose raises an opacity logit by this at most; an opacity below is never drawn."""
THUMBNAIL = 112
MAX_CODE, MAX_WIDTH, MAX_DEPTH = 4, 64, 4
"""What the page's shader takes of MLP_pose: numbers a point, width, hidden layers."""
IDLE_SECONDS, IDLE_JOIN = 7.0, 10
"""Length of the idle motion, and frames over which its end is led back to its beginning."""


class LeftOutWarning(UserWarning):
    """Looks that a page cannot show."""


@dataclass(frozen=True)
class Option:
    """One look of one category."""

    label: str
    coefficients: Tensor
    """[K]"""
    presence: float
    look: Look
    """The reference wearing it, for its picture."""
    kind: Literal["photo", "none", "look"] = "look"


def page_data(
    avatar: Avatar,
    motion: Motion,
    *,
    title: str,
    wearing: Mapping[str, str | None] | None = None,
    quality: Quality = "normal",
    points: int | None = None,
    pose_detail: bool = True,
    thumbnails: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> bytes:
    """Pack an avatar.

    Args:
        wearing: what it wears at first, as in `Avatar.look`.
        points: keep at most so many Gaussians, those that show most in any look.
        pose_detail: include MLP_pose.

    Raises:
        PerseError: the avatar has no basis field, or an MLP_pose that a page cannot run.
    """
    field = linear_field(avatar)
    coarse = COARSENESS[quality]
    box = Container()
    worn = avatar.look(**(wearing or {}))
    _check_transferred(avatar, worn)
    options = {category: _options(avatar, field, category, worn) for category in CATEGORIES}
    wears = {
        category: _number(options[category], worn, field.slots.index(category)) for category in wearing or {}
    }
    progress("choosing points")
    field = _shown(field, options, points)
    progress("packing points")
    header: dict[str, Any] = {
        "title": title,
        "camera": camera_to_json(avatar.camera),
        "joints": avatar.model.joints.cpu().flatten().tolist(),
        "rest": {"expr": avatar.rest[0].tolist(), "pose": avatar.rest[1].tolist()},
        "looks": _add_layers(box, field, options, coarse),
        "wears": wears,
        "face": _face(avatar.head),
    }
    header["layers"] = [{"name": layer.name, "count": len(layer.points)} for layer in field.layers]
    header["columns"] = _add_bases(box, field, drivers(avatar.head, motion, avatar.rest), coarse)
    if pose_detail:
        header["network"] = _add_network(box, avatar, field, coarse)
    header["idle"] = _add_idle(box, motion)
    if thumbnails:
        progress("drawing small pictures")
        for category in CATEGORIES:
            for number, option in enumerate(options[category]):
                box.add_bytes(f"picture.{category}.{number}", _thumbnail(avatar, option.look))
    return box.pack(header)


# ---- looks --------------------------------------------------------------------------------------------------


def _check_transferred(avatar: Avatar, worn: Look) -> None:
    """Looks from other photos are changes beside the field that a page does not know."""
    if worn.codes.worn:
        raise PerseError(
            f"a page cannot show {next(iter(worn.codes.worn))!r}, which was learned from another photo; "
            "--format ply and the others can"
        )
    if avatar.transferred:
        names = ", ".join(avatar.transferred)
        warnings.warn(
            f"looks learned from other photos are not in the page: {names}", LeftOutWarning, stacklevel=3
        )


def _options(avatar: Avatar, field: LinearField, category: str, worn: Look) -> list[Option]:
    """As in the photo, none where the photo has one and could be without, then everything learned.

    A look that is worn and comes from words alone is an option too.
    """
    slot = field.slots.index(category)

    def option(label: str, look: Look, kind: Literal["photo", "none", "look"]) -> Option:
        codes: Codes = look.codes.to("cpu")
        k = field.coefficients(codes, category) if category in field.maps else torch.zeros(0)
        return Option(label, k, float(codes.presence[slot]), look, kind)

    photo = option("as in the photo", avatar.reference, "photo")
    found = [photo]
    if category in ABSENTABLE:
        if photo.presence == 0:
            found = [replace(photo, label="none", kind="none")]
        else:
            found.append(option("none", avatar.look(**{category: None}), "none"))
    prompts = [prompt for prompt in avatar.learned(category) if prompt not in avatar.transferred]
    labels = [short_label(prompt, category) for prompt in prompts]
    for prompt, label in zip(prompts, labels):
        clear = labels.count(label) == 1 and label not in ("none", photo.label)
        found.append(option(label if clear else prompt, avatar.look(**{category: prompt}), "look"))
    if category in worn.from_words:
        prompt = str(worn.attributes[category])
        found.append(option(short_label(prompt, category), avatar.look(**{category: prompt}), "look"))
    return found


def _number(options: list[Option], worn: Look, slot: int) -> int:
    """Which option a look wears in the category of that slot."""

    def same(option: Look) -> bool:
        codes = option.codes
        return torch.equal(codes.z[slot], worn.codes.z[slot]) and bool(
            codes.presence[slot] == worn.codes.presence[slot]
        )

    return next(number for number, option in enumerate(options) if same(option.look))


def short_label(prompt: str, category: str) -> str:
    """ "a person with long curly red hair" as "long curly red"."""
    text = prompt.strip()
    for start in ("a person ", "with ", "wearing ", "a pair of ", "an ", "a "):
        text = text.removeprefix(start)
    return text.removesuffix(f" {category}").strip() or prompt


# ---- points -------------------------------------------------------------------------------------------------


def _shown(field: LinearField, options: dict[str, list[Option]], limit: int | None) -> LinearField:
    """Without points that no look shows (blends of looks neither), and with at most `limit`, the largest."""
    keep, weights = [], []
    for layer in field.layers:
        worn = [o.coefficients for o in options.get(layer.name, []) if o.presence > 0]
        values = [layer.own + torch.tensordot(k, layer.directions, 1) for k in worn] or [layer.own]
        most = torch.stack([v[:, 0] for v in values]).amax(0)  # [n] logits
        for other in (y for y in field.yields if y.layer == layer.name):
            raised = [
                o.presence * other.at(layer.points + v[:, OFFSET], o.coefficients)[:, 0]
                for o in options[other.other]
                for v in values
            ]
            most = most + torch.stack(raised).amax(0).clamp_min(0)
        if layer.name == "base":
            for action in field.actions:
                raised = [
                    action.shift[:, 0] + o.coefficients @ action.directions[..., 0]
                    for o in options[action.category]
                ]
                most = most.index_add(0, action.index, torch.stack(raised).amax(0).clamp_min(0))
        area = torch.stack([v[:, 1:4].topk(2, dim=1).values.sum(1) for v in values]).amax(0).exp()
        keep.append((most + BOLDEST).sigmoid() > FAINTEST)
        weights.append(most.sigmoid() * area)
    if limit is not None:
        if limit < 100:
            raise PerseError(f"--points {limit}: a page needs at least 100 Gaussians")
        all_weights = torch.cat([w.masked_fill(~k, 0) for w, k in zip(weights, keep)])
        if int(torch.cat(keep).sum()) > limit:
            least = all_weights.topk(limit).values[-1]
            keep = [k & (w >= least) for k, w in zip(keep, weights)]
    return _select(field, {layer.name: k for layer, k in zip(field.layers, keep)})


def _select(field: LinearField, keep: dict[str, Tensor]) -> LinearField:
    """Only the points that are kept [n] of every layer."""
    layers = []
    for layer in field.layers:
        k = keep[layer.name]
        binding = type(layer.binding)(*(t[k] for t in layer.binding))
        layers.append(
            replace(
                layer,
                points=layer.points[k],
                own=layer.own[k],
                directions=layer.directions[:, k],
                binding=binding,
                pose_code=layer.pose_code[k],
            )
        )
    position = keep["base"].long().cumsum(0) - 1
    actions = []
    for action in field.actions:
        k = keep["base"][action.index]
        index = position[action.index[k]]
        actions.append(
            replace(action, index=index, shift=action.shift[k], directions=action.directions[:, k])
        )
    return replace(field, layers=tuple(layers), actions=tuple(actions))


def _add_layers(
    box: Container, field: LinearField, options: dict[str, list[Option]], coarse: float
) -> dict[str, Any]:
    """Points, values and directions; every category's looks in the coefficients of those directions.

    The K directions are turned so that as few as the looks span are kept, each with a largest coefficient of 1.
    """
    steps = STEPS * coarse
    looks: dict[str, Any] = {}
    turns: dict[str, Tensor] = {}
    for category, found in options.items():
        coefficients = torch.stack([o.coefficients for o in found]).double()  # [L, K]
        _, sizes, vectors = torch.linalg.svd(coefficients, full_matrices=False)
        rank = int((sizes > 1e-5 * sizes.amax().clamp_min(1e-12)).sum()) if sizes.numel() else 0
        turned = coefficients @ vectors[:rank].T  # [L, r]
        largest = turned.abs().amax(0).clamp_min(1e-12)
        turns[category] = (
            vectors[:rank] * largest[:, None]
        ).float()  # [r, K]: new directions out of old ones
        numbers = (turned / largest).float()
        looks[category] = {
            "absentable": category in ABSENTABLE,
            "options": [
                {
                    "label": o.label,
                    "kind": o.kind,
                    "presence": o.presence,
                    "coefficients": numbers[i].tolist(),
                }
                for i, o in enumerate(found)
            ],
        }
    for layer in field.layers:
        box.add(f"{layer.name}.points", layer.points.numpy(), POINT_STEP)
        box.add(f"{layer.name}.own", layer.own[:, :11].numpy(), steps[:11])
        box.add(f"{layer.name}.weights", layer.own[:, WEIGHTS].numpy(), WEIGHT_STEP)
        if layer.name in turns:
            box.add(f"{layer.name}.directions", *_directions(layer.directions, turns[layer.name], steps))
    kinds = []
    for number, action in enumerate(field.actions):
        box.add_indices(f"action.{number}.index", action.index.numpy())
        box.add(f"action.{number}.shift", action.shift.numpy(), steps)
        box.add(f"action.{number}.directions", *_directions(action.directions, turns[action.category], steps))
        kinds.append({"category": action.category, "byPresence": action.by_presence})
    pairs = []
    for number, y in enumerate(field.yields):
        # [Z * Y * X, 4] and [K, Z * Y * X, 4]: cells take the place of points.
        grid, grids = y.shift.flatten(1).T, y.directions.flatten(2).transpose(1, 2)
        box.add(f"yield.{number}.shift", grid.numpy(), steps[YIELD_STEPS])
        box.add(f"yield.{number}.directions", *_directions(grids, turns[y.other], steps[YIELD_STEPS]))
        pairs.append(
            {
                "layer": y.layer,
                "other": y.other,
                "low": y.low.tolist(),
                "high": y.high.tolist(),
                "cells": list(y.shift.shape[:0:-1]),
            }
        )
    return {"categories": looks, "actions": kinds, "yields": pairs}


def _directions(directions: Tensor, turn: Tensor, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turned directions [K, n, v] as columns [n, r * v], and a rounding step for each."""
    turned = torch.einsum("rk,knv->nrv", turn, directions)
    return turned.flatten(1).numpy(), np.tile(steps, len(turn))


# ---- motion -------------------------------------------------------------------------------------------------


def _add_bases(box: Container, field: LinearField, samples: Tensor, coarse: float) -> dict[str, Any]:
    bases = torch.cat([torch.cat([layer.binding.E, layer.binding.P], -1) for layer in field.layers])
    columns, mix = fewer_columns(bases, samples, COLUMN_TOLERANCE * coarse)
    box.add("columns", columns.transpose(1, 2).flatten(1).numpy(), COLUMN_STEP * coarse)  # [N, R * 3]
    box.add("mix", mix.numpy())
    return {"rank": len(mix)}


def _add_network(box: Container, avatar: Avatar, field: LinearField, coarse: float) -> dict[str, Any]:
    """MLP_pose: weights [inputs, outputs] and biases of every layer, in one list."""
    mlp = avatar.model.pose_mlp
    code = field.layers[0].pose_code.shape[1]
    if avatar.model.config.pose_takes_code or code > MAX_CODE:
        raise PerseError("a page cannot run the MLP_pose of this avatar; leave it out with --no-pose-detail")
    weights, biases = mlp.layers(None)
    widths = [w.shape[0] for w in weights]
    if max(widths) > MAX_WIDTH or len(widths) - 1 > MAX_DEPTH:
        raise PerseError(
            f"MLP_pose of this avatar has {len(widths) - 1} hidden layers of {max(widths)}; a page runs at most "
            f"{MAX_DEPTH} of {MAX_WIDTH}. Leave it out with --no-pose-detail"
        )
    scale = torch.tensor([mlp.MOVED_SCALE] * 3 + [mlp.BENT_SCALE] * 3 + [1.0] * code)
    flat = []
    for number, (weight, bias) in enumerate(zip(weights, biases)):
        own = weight.cpu() * scale if number == 0 else weight.cpu()
        flat += [own.T.flatten(), bias.cpu()]
    box.add("network", torch.cat(flat).numpy())
    if code:
        box.add("codes", torch.cat([layer.pose_code for layer in field.layers]).numpy(), CODE_STEP * coarse)
    return {"inputs": 6 + code, "widths": widths, "bounds": list(mlp.BOUNDS)}


def _face(head: Head) -> dict[str, Any]:
    """psi and theta of every ARKit name at 1: both are linear in the values."""
    names = arkit_names(head)
    rows = [arkit_to_motion(head, {name: 1.0}) for name in names]
    return {
        "names": list(names),
        "expr": [[round(v, 6) for v in expr.tolist()] for expr, _ in rows],
        "pose": [[round(v, 6) for v in pose.tolist()] for _, pose in rows],
    }


def _add_idle(box: Container, motion: Motion) -> dict[str, Any]:
    """The stretch of a motion that ends most like it begins, its end led over into its beginning."""
    rows = torch.cat([motion.expr, motion.pose], 1)  # [T, 65]
    length = min(len(rows), max(2, round(IDLE_SECONDS * motion.fps)))
    join = min(IDLE_JOIN, length // 3)
    last = len(rows) - length - join
    if last >= 0:
        starts = range(0, last + 1)
        weight = torch.cat([torch.ones(50), torch.full((15,), 20.0)])  # a radian weighs as much as 20 of psi
        gaps = [((rows[s] - rows[s + length]) * weight).square().sum() for s in starts]
        start = int(torch.stack(gaps).argmin())
        loop = rows[start : start + length].clone()
        share = torch.linspace(0, 1, join + 1)[1:, None]
        loop[:join] = share * loop[:join] + (1 - share) * rows[start + length : start + length + join]
    else:
        loop = torch.cat([rows, rows.flip(0)[1:-1]])  # too short for a loop: there and back
    box.add("idle", loop.numpy(), 1e-3)
    return {"fps": motion.fps}


# ---- pictures -----------------------------------------------------------------------------------------------


def _thumbnail(avatar: Avatar, look: Look) -> bytes:
    camera = avatar.camera.resized(2 * THUMBNAIL, 2 * THUMBNAIL)
    picture = avatar.render(look, avatar.rest[0][None], avatar.rest[1][None], camera)[0].cpu()
    image = Image.fromarray((picture * 255 + 0.5).to(torch.uint8).numpy())
    image = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=78, optimize=True)
    return content.getvalue()
