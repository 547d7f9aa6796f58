"""What the page needs of an avatar: layers, looks, bases and a motion, in one block that `web/src/avatar.ts` reads."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from perse.avatar import Avatar, LinearField, LinearLayer, Look, linear_field
from perse.avatar.start import WEIGHTS
from perse.dataset import ABSENTABLE, CATEGORIES, Motion, camera_to_json
from perse.errors import PerseError
from perse.export._bases import drivers, fewer_columns
from perse.export._container import Container
from perse.export._page_between import reduced
from perse.export._page_looks import Choice, choices_of, number_worn, reached
from perse.export._page_options import PageOptions
from perse.export._page_points import shown, worthiest
from perse.export._page_worth import worth
from perse.head import Head, arkit_names, arkit_to_motion

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
THUMBNAIL = 112
MAX_CODE, MAX_WIDTH, MAX_DEPTH = 4, 64, 4
"""What the page's shader takes of MLP_pose: numbers a point, width, hidden layers."""
IDLE_SECONDS, IDLE_JOIN = 7.0, 10
"""Length of the idle motion, and frames over which its end is led back to its beginning."""


def page_data(
    avatar: Avatar,
    motion: Motion,
    options: PageOptions,
    progress: Callable[[str], None] = lambda _: None,
) -> bytes:
    """Pack an avatar.

    Raises:
        PerseError: the avatar has no basis field, or an MLP_pose that a page cannot run.
    """
    field = linear_field(avatar)
    coarse = COARSENESS[options.quality]
    steps = STEPS * coarse
    box = Container()
    worn = avatar.look(**options.wearing)
    choices = {category: choices_of(avatar, field, category, worn) for category in CATEGORIES}
    wears = {category: number_worn(choices[category], field, worn, category) for category in options.wearing}
    progress("choosing points")
    looks = {category: reached(found, field, category) for category, found in choices.items()}
    if options.points is not None:
        every = [avatar.reference, *(choice.look for found in choices.values() for choice in found[1:])]
        field = worthiest(field, options.points, lambda: worth(avatar, every))
    field, axes = reduced(shown(field, looks), looks, torch.from_numpy(steps).float())
    progress("packing points")
    turns = {category: _turned(category, found) for category, found in choices.items()}
    header: dict[str, Any] = {
        "title": options.title,
        "camera": camera_to_json(avatar.camera),
        "joints": avatar.model.joints.cpu().flatten().tolist(),
        "rest": {"expr": avatar.rest[0].tolist(), "pose": avatar.rest[1].tolist()},
        "layers": [_add_layer(box, layer, turns.get(layer.name), steps) for layer in field.layers],
        "looks": {
            "categories": {
                category: _looks(category, found, turns[category], axes.get(category))
                for category, found in choices.items()
            },
            "actions": _add_actions(box, field, turns, steps),
            "yields": _add_yields(box, field, turns, steps[YIELD_STEPS]),
            "transfers": _add_transfers(box, field, steps),
        },
        "wears": wears,
        "face": _face(avatar.head),
    }
    header["columns"] = _add_bases(box, field, drivers(avatar.head, motion, avatar.rest), coarse)
    if options.pose_detail:
        header["network"] = _add_network(box, avatar, field, coarse)
    header["idle"] = _add_idle(box, motion)
    if options.thumbnails:
        progress("drawing small pictures")
        for category in CATEGORIES:
            for number, choice in enumerate(choices[category]):
                box.add_bytes(f"picture.{category}.{number}", _thumbnail(avatar, choice.look))
    return box.pack(header)


# ---- looks and points ---------------------------------------------------------------------------------------


def _turned(category: str, choices: Sequence[Choice]) -> tuple[Tensor, Tensor]:
    """Coefficients of a category's looks in as few directions as they span, each with a largest coefficient of 1.

    Returns:
        the coefficients [L, r], and the new directions out of the old ones [r, K].
    """
    # A part that is taken off draws nothing and acts on nothing, whatever its numbers.
    off = category in ABSENTABLE
    kept = [float(choice.worn.presence > 0 or not off) * choice.worn.coefficients for choice in choices]
    coefficients = torch.stack(kept).double()  # [L, K]
    _, sizes, vectors = torch.linalg.svd(coefficients, full_matrices=False)
    rank = int((sizes > 1e-5 * sizes.amax().clamp_min(1e-12)).sum()) if sizes.numel() else 0
    turned = coefficients @ vectors[:rank].T
    largest = turned.abs().amax(0).clamp_min(1e-12)
    return (turned / largest).float(), (vectors[:rank] * largest[:, None]).float()


def _looks(
    category: str, choices: Sequence[Choice], turned: tuple[Tensor, Tensor], axes: Tensor | None
) -> dict[str, Any]:
    """A category's looks. Codes are told along `axes` [r, d], if its layer reads them."""
    found = []
    for choice, coefficients in zip(choices, turned[0]):
        presence = choice.worn.presence
        code = [] if axes is None else (axes @ choice.worn.code * float(presence > 0)).tolist()
        found.append(
            {
                "label": choice.label,
                "kind": choice.kind,
                "presence": presence,
                "coefficients": coefficients.tolist(),
                "code": code,
                "transfers": choice.worn.transfers.tolist(),
            }
        )
    return {"absentable": category in ABSENTABLE, "options": found}


def _add_layer(
    box: Container, layer: LinearLayer, turned: tuple[Tensor, Tensor] | None, steps: np.ndarray
) -> dict[str, Any]:
    """Points, values and directions."""
    name, between = layer.name, layer.between
    entry: dict[str, Any] = {"name": name, "count": len(layer.points)}
    box.add(f"{name}.points", layer.points.numpy(), POINT_STEP)
    box.add(f"{name}.own", layer.own[:, :11].numpy(), steps[:11])
    box.add(f"{name}.weights", layer.own[:, WEIGHTS].numpy(), WEIGHT_STEP)
    if turned is not None:
        box.add(f"{name}.directions", *_directions(layer.directions, turned[1], steps))
    if between is not None:
        whole = torch.eye(len(between.directions))
        box.add(f"{name}.between.directions", *_directions(between.directions, whole, steps))
        box.add(f"{name}.between.hidden", between.hidden.numpy())
        box.add(f"{name}.between.bias", between.bias.numpy())
        box.add(f"{name}.between.mix", between.mix.numpy())
        entry["between"] = {"closed": between.closed, "fade": between.fade}
    return entry


def _add_actions(
    box: Container, field: LinearField, turns: Mapping[str, tuple[Tensor, Tensor]], steps: np.ndarray
) -> list[dict[str, Any]]:
    """What categories add to base points."""
    found = []
    for number, action in enumerate(field.actions):
        _, turn = turns[action.category]
        box.add_indices(f"action.{number}.index", action.index.numpy())
        box.add(f"action.{number}.shift", action.shift.numpy(), steps)
        box.add(f"action.{number}.directions", *_directions(action.directions, turn, steps))
        found.append({"category": action.category, "byPresence": action.by_presence})
    return found


def _add_yields(
    box: Container, field: LinearField, turns: Mapping[str, tuple[Tensor, Tensor]], steps: np.ndarray
) -> list[dict[str, Any]]:
    """What categories ask of the place that others take."""
    found = []
    for number, y in enumerate(field.yields):
        # [Z * Y * X, 4] and [K, Z * Y * X, 4]: cells take the place of points.
        grid, grids = y.shift.flatten(1).T, y.directions.flatten(2).transpose(1, 2)
        box.add(f"yield.{number}.shift", grid.numpy(), steps)
        box.add(f"yield.{number}.directions", *_directions(grids, turns[y.other][1], steps))
        found.append(
            {
                "layer": y.layer,
                "other": y.other,
                "low": y.low.tolist(),
                "high": y.high.tolist(),
                "cells": list(y.shift.shape[:0:-1]),
            }
        )
    return found


def _add_transfers(box: Container, field: LinearField, steps: np.ndarray) -> list[dict[str, Any]]:
    """What looks from other photos change."""
    found: list[dict[str, Any]] = []
    layers = {layer.name for layer in field.layers}
    for number, transfer in enumerate(field.transfers):
        name = f"transfer.{number}"
        box.add(f"{name}.layer", transfer.layer.numpy(), steps)
        box.add_indices(f"{name}.index", transfer.index.numpy())
        box.add(f"{name}.base", transfer.base.numpy(), steps)
        box.add_indices(f"{name}.seat", transfer.seat.numpy())
        for layer, shift in transfer.press.items():
            box.add(f"{name}.press.{layer}", shift.numpy(), steps[0])
        found.append(
            {
                "category": transfer.category,
                "number": sum(other["category"] == transfer.category for other in found),
                "press": list(transfer.press),
                "own": transfer.own if transfer.own in layers else None,
            }
        )
    return found


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
