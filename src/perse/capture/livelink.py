"""Takes of face capture apps as motions, and motions as takes: the CSV of Live Link Face, or any table of ARKit values.

One column a blendshape (ARKit's name in any case), one row a frame; Live Link Face adds time code and head's turn.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from perse._files import require_file, write_text
from perse.dataset import Motion, default_motion
from perse.errors import PerseError
from perse.head import UNSUPPORTED, Head, arkit_names, arkit_to_motion, motion_to_arkit, open_head

MAX_BYTES, MAX_ROWS = 128 << 20, 100_000
DEFAULT_FPS = 60.0
"""What Live Link Face records at."""
COLUMNS = (
    "EyeBlinkLeft", "EyeLookDownLeft", "EyeLookInLeft", "EyeLookOutLeft", "EyeLookUpLeft", "EyeSquintLeft",
    "EyeWideLeft", "EyeBlinkRight", "EyeLookDownRight", "EyeLookInRight", "EyeLookOutRight", "EyeLookUpRight",
    "EyeSquintRight", "EyeWideRight", "JawForward", "JawRight", "JawLeft", "JawOpen", "MouthClose", "MouthFunnel",
    "MouthPucker", "MouthRight", "MouthLeft", "MouthSmileLeft", "MouthSmileRight", "MouthFrownLeft",
    "MouthFrownRight", "MouthDimpleLeft", "MouthDimpleRight", "MouthStretchLeft", "MouthStretchRight",
    "MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper", "MouthPressLeft", "MouthPressRight",
    "MouthLowerDownLeft", "MouthLowerDownRight", "MouthUpperUpLeft", "MouthUpperUpRight", "BrowDownLeft",
    "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight", "CheekPuff", "CheekSquintLeft",
    "CheekSquintRight", "NoseSneerLeft", "NoseSneerRight", "TongueOut",
)  # fmt: skip
"""Live Link Face's 52 blendshapes, in its order."""
TURNS = ("HeadYaw", "HeadPitch", "HeadRoll")
"""Radians about y (positive: to the person's left), x (down) and z, applied in this order."""
_EYES = ("LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll")
_NECK = slice(3, 6)
_TIME = re.compile(r"(\d{1,3}):(\d{1,2}):(\d{1,2})[:;](\d{1,3}(?:\.\d+)?)")


def read_take(path: str | Path, fps: float | None = None, head: Head | None = None) -> Motion:
    """A CSV of ARKit blendshape values as a motion, on top of the bundled motion's neutral face.

    Args:
        fps: frames a second of a table without time codes, and of the frame numbers in them; None: 60, or 30 where no
            time code counts further than 29.

    Raises:
        PerseError: no such table, or a cell in it that is no number; the message names row and column.
    """
    path, head = Path(path), head or open_head()
    header, rows = _table(path)
    known = {name.lower(): name for name in (*arkit_names(head), *UNSUPPORTED)}
    shapes = {i: known[cell.lower()] for i, cell in enumerate(header) if cell.lower() in known}
    if not shapes:
        raise PerseError(f"{path}: no column is a blendshape of ARKit (EyeBlinkLeft, JawOpen, ...)")
    values = _numbers(path, header, rows, [*shapes, *(i for i, cell in enumerate(header) if cell in TURNS)])
    rest = default_motion()
    expr, pose = rest.expr[:1].repeat(len(rows), 1), rest.pose[:1].repeat(len(rows), 1)
    for t in range(len(rows)):
        psi, theta = arkit_to_motion(head, {name: float(values[i][t]) for i, name in shapes.items()})
        expr[t] += psi
        pose[t] += theta
    turns = [values[header.index(name)] if name in header else np.zeros(len(rows)) for name in TURNS]
    turned = Rotation.from_euler("YXZ", np.stack(turns, 1)).as_rotvec()
    pose[:, _NECK] += torch.from_numpy(turned).float()
    times, rate = _times(path, header, rows, fps)
    return _evenly(expr, pose, times, rate, f"take {path.name}")


def write_take(path: str | Path, motion: Motion, head: Head | None = None) -> Path:
    """Write a motion as Live Link Face would have recorded it. ARKit has no name for some of what the head can do:
    reading the file back gives the nearest face that it can say."""
    path, head = Path(path), head or open_head()
    rest = default_motion()
    values = motion_to_arkit(head, motion.expr - rest.expr[0], motion.pose - rest.pose[0])
    by_column = {name.lower(): column for name, column in values.items()}
    zero = torch.zeros(len(motion))
    yaw, pitch, roll = Rotation.from_rotvec(motion.pose[:, _NECK].numpy()).as_euler("YXZ").T
    columns: list[Sequence[float]] = [by_column.get(name.lower(), zero).tolist() for name in COLUMNS]
    columns += [yaw, pitch, roll]
    columns += [motion.pose[:, angle].tolist() for angle in (10, 9, 11, 13, 12, 14)]  # _EYES
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Timecode", "BlendShapeCount", *COLUMNS, *TURNS, *_EYES])
    count = len(COLUMNS) + len(TURNS) + len(_EYES)
    for t, row in enumerate(zip(*columns)):
        writer.writerow([_time_code(t / motion.fps), count, *(f"{value:.6f}" for value in row)])
    write_text(path, text.getvalue())
    return path


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows; rows in which nothing was tracked (Live Link Face leaves them empty) repeat the one before."""
    require_file(path, "the take", MAX_BYTES)
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.reader(io.StringIO(text)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise PerseError(f"{path}: not a CSV file ({error})") from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise PerseError(f"{path}: a take needs a header and at least one frame")
    if len(rows) > MAX_ROWS:
        raise PerseError(f"{path}: {len(rows)} rows, more than {MAX_ROWS}; cut it shorter")
    header = [cell.strip() for cell in rows[0]]
    body: list[list[str]] = []
    for row in rows[1:]:
        empty = len(row) <= 2 or not any(cell.strip() for cell in row[2:])
        if empty and "Timecode" in header:
            if body:
                body.append([row[0], *body[-1][1:]])
            continue
        body.append(row)
    if not body:
        raise PerseError(f"{path}: no face was tracked in this take")
    return header, body


def _numbers(
    path: Path, header: list[str], rows: list[list[str]], columns: list[int]
) -> dict[int, np.ndarray]:
    result = {}
    for column in columns:
        values = []
        for index, row in enumerate(rows):
            try:
                value = float(row[column])
            except (ValueError, IndexError):
                value = math.nan
            if not math.isfinite(value) or abs(value) > 100:
                cell = row[column] if column < len(row) else "nothing"
                raise PerseError(
                    f"{path}: frame {index + 1}, column {header[column]}: {cell[:40]!r} is no blendshape value"
                )
            values.append(value)
        result[column] = np.array(values)
    return result


def _times(
    path: Path, header: list[str], rows: list[list[str]], fps: float | None
) -> tuple[np.ndarray, float]:
    """Seconds of every row, from 0, and frames a second."""
    if "Timecode" not in header:
        rate = fps or DEFAULT_FPS
        return np.arange(len(rows)) / rate, rate
    column, found = header.index("Timecode"), []
    for index, row in enumerate(rows):
        match = _TIME.fullmatch(row[column].strip())
        if match is None:
            raise PerseError(
                f"{path}: frame {index + 1}: {row[column][:40]!r} is no time code (HH:MM:SS:FF.FFF)"
            )
        found.append([float(group) for group in match.groups()])
    hours, minutes, seconds, frames = np.array(found).T
    rate = fps or (DEFAULT_FPS if frames.max() >= 30 else 30.0)
    times = hours * 3600 + minutes * 60 + seconds + frames / rate
    times = times - times[0]
    if np.any(np.diff(times) < 0):
        raise PerseError(f"{path}: time codes go back; cut the take at midnight, or leave the column out")
    return times, rate


def _evenly(expr: torch.Tensor, pose: torch.Tensor, times: np.ndarray, fps: float, source: str) -> Motion:
    """Rows at even times: apps leave frames out."""
    count = min(round(times[-1] * fps) + 1, MAX_ROWS)
    grid = np.arange(count) / fps
    both = torch.cat([expr, pose], 1).double().numpy()
    even = np.stack([np.interp(grid, times, column) for column in both.T], 1)
    values = torch.from_numpy(even).float()
    return Motion(values[:, :50], values[:, 50:], torch.ones(count, dtype=torch.bool), fps, None, source)


def _time_code(seconds: float) -> str:
    whole = int(seconds)
    frames = (seconds - whole) * DEFAULT_FPS
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{frames:06.3f}"
