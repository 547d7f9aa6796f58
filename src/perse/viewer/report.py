"""The report of a build: one long picture, and a page around it that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from perse.avatar import Avatar, Look
from perse.dataset import CATEGORIES, Dataset, Subject
from perse.viewer._report_page import Cell, Section, Step, write_report_page
from perse.viewer.media import save_image
from perse.viewer.sheet import Caption, captioned, flow, heading, hstack, resize, short, table, vstack

WIDTH = 1600
SIDE = 394
CELL = 128

PAPER = {"psnr": 23.84, "ssim": 0.8852, "lpips": 0.1458}
"""The paper's Table 1, on its own data: other people, other videos; for orientation only."""


def write_report(avatar: Avatar, dataset: Dataset, out: Path, metrics: dict[str, Any]) -> None:
    """Write ``report.png`` and ``report.html`` into ``out``.

    The page plays ``avatar.mp4`` and holds ``avatar.html`` (the avatar to play with) where they lie beside it.

    Args:
        metrics: what ``metrics.json`` will hold.
    """
    painter = _Painter(avatar, dataset, out)
    sections = [
        Section(
            "Photo and avatar",
            "The photo, the head fitted to it, its parts, and the avatar at the photo's own pose and expression.",
            painter.portrait(),
            270,
        ),
        Section(
            "Turning and speaking",
            "The avatar as in the photo, its head turned from -25 to +25 degrees, and five expressions.",
            painter.motion(),
            220,
        ),
        Section(
            "Every subject",
            "At rest and in two poses never trained on. Above: the frame of the dataset; below: the avatar.",
            painter.subjects(),
            384,
        ),
        Section(
            "In between",
            "Each row blends two looks of one category (section 4.3 of the paper).",
            painter.blends(),
            700,
        ),
        Section(
            "Combined",
            "Looks of several categories at once. No subject of the dataset has them together.",
            painter.combinations(),
            388,
        ),
    ]
    rows = figures(metrics)
    sheet = [vstack([heading(s.title, WIDTH, s.note), _flowing(s)], 6) for s in sections]
    sheet.append(vstack([heading("Figures", WIDTH), table(rows, (420, 240, 420))], 6))
    save_image(out / "report.png", _framed(vstack(sheet, 10)))
    name = dataset.portrait.name
    write_report_page(out, f"The avatar of {name}", painter.story(metrics), sections, rows)


def _flowing(section: Section) -> np.ndarray:
    """The cells of a section in rows; cells of other sizes in rows of their own."""
    if not section.cells:
        return Caption("nothing to show").draw(WIDTH)
    rows: list[list[np.ndarray]] = []
    for cell in section.cells:
        drawn = captioned(cell.picture, cell.caption, 14)
        if rows and rows[-1][0].shape == drawn.shape:
            rows[-1].append(drawn)
        else:
            rows.append([drawn])
    return vstack([flow(row, WIDTH, gap=8) for row in rows], 8)


class _Painter:
    """Draws the sections of the report."""

    def __init__(self, avatar: Avatar, dataset: Dataset, out: Path) -> None:
        self._avatar = avatar
        self._dataset = dataset
        self._out = out

    def _draw(self, look: Look, expr: torch.Tensor, pose: torch.Tensor, size: int) -> list[np.ndarray]:
        """Pictures of a look, drawn at twice the size that is shown."""
        camera = self._avatar.camera.resized(2 * size, 2 * size)
        return [resize(picture, size) for picture in self._avatar.render(look, expr, pose, camera)]

    def _rest(self) -> tuple[torch.Tensor, torch.Tensor]:
        motion = self._dataset.motion
        return motion.expr[:1], motion.pose[:1]

    def portrait(self) -> list[Cell]:
        portrait = self._dataset.portrait
        avatar = self._draw(self._avatar.reference, portrait.expr[None], portrait.pose[None], SIDE)[0]
        cells = [Cell(resize(portrait.image, SIDE), "the photo"), Cell(avatar, "the avatar")]
        for name, file in (("fitted head", "fit.jpg"), ("parts", "parts_overlay.jpg")):
            picture = self._part_of(file, 1)
            if picture is not None:
                cells.insert(-1, Cell(picture, name))
        return cells

    def _part_of(self, file: str, index: int) -> np.ndarray | None:
        """One of the three pictures side by side in a file of the portrait; None if there is none."""
        path = self._out / "portrait" / file
        if not path.is_file():
            return None
        with Image.open(path) as picture:
            third = picture.width // 3
            return resize(
                np.asarray(
                    picture.convert("RGB").crop((index * third, 0, (index + 1) * third, picture.height))
                ),
                SIDE,
            )

    def story(self, metrics: dict[str, Any]) -> list[Step]:
        """The stages of the build in five pictures."""
        portrait, motion = self._dataset.portrait, self._dataset.motion
        seconds = metrics["seconds_by_stage"]
        photo = resize(portrait.image, SIDE)
        fit = self._part_of("fit.jpg", 1)
        edits = self._dataset.subjects[1:5] or self._dataset.subjects
        frames = [int(t) for t in self._dataset.train_indices[: len(edits)]]
        half = [resize(self._dataset.frame(s, t).rgb, SIDE // 2) for s, t in zip(edits, frames)]
        mosaic = vstack([hstack(half[:2]), hstack(half[2:])]) if len(half) == 4 else resize(half[0], SIDE)
        learned = self._draw(self._avatar.reference, motion.expr[:1], motion.pose[:1], SIDE)[0]
        worn = {c: self._avatar.learned(c)[0] for c in ("hair", "beard", "hat") if self._avatar.learned(c)}
        dressed = self._draw(self._avatar.look(**worn), motion.expr[:1], motion.pose[:1], SIDE)[0]
        count, shown = metrics["subjects"], len(self._dataset.train_indices)
        return [
            Step("One photo", "All that is given.", photo, None),
            Step(
                "A portrait",
                "Cropped, cut out, and explained: a parametric head and a camera.",
                photo if fit is None else fit,
                seconds.get("portrait"),
            ),
            Step(
                f"{count} looks",
                f"The photo edited in 3D, one part at a time, each shown in {shown} frames of one motion.",
                mosaic,
                seconds.get("dataset"),
            ),
            Step(
                "One avatar",
                "Gaussians that move with the head, and a code for every part, learned from those videos.",
                learned,
                seconds.get("avatar"),
            ),
            Step("Any look", "Parts are put on, taken off, combined and blended.", dressed, None),
        ]

    def motion(self) -> list[Cell]:
        expr, pose = self._rest()
        yaws = (-25, -12, 0, 12, 25)
        head = self._avatar.head
        turned = pose.repeat(len(yaws), 1)
        turned[:, 4] = torch.deg2rad(torch.tensor(yaws, dtype=torch.float32))
        # units added to the rest frame, jaw in degrees, how much of the rest frame's closed lips stays
        faces: dict[str, tuple[dict[str, float], float, float]] = {
            "mouth open": ({}, 16.0, 0.0),
            "smile": ({"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}, 2.0, 0.5),
            "lids closed": ({"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, 0.0, 1.0),
            "brows up": ({"browInnerUp": 1.0, "browOuterUpLeft": 1.0, "browOuterUpRight": 1.0}, 0.0, 1.0),
            "pucker": ({"mouthPucker": 1.0}, 0.0, 1.0),
        }
        psi = torch.stack([shut * expr[0] + head.expr_from_units(units) for units, _, shut in faces.values()])
        theta = pose.repeat(len(faces), 1)
        theta[:, 6] = torch.deg2rad(torch.tensor([jaw for _, jaw, _ in faces.values()]))
        reference = self._avatar.reference
        turning = self._draw(reference, expr.repeat(len(yaws), 1), turned, 312)
        acting = self._draw(reference, psi, theta, 312)
        names = [*(f"{yaw:+d}°" for yaw in yaws), *faces]
        return [Cell(picture, name) for picture, name in zip([*turning, *acting], names)]

    def _unseen(self) -> list[int]:
        """The held-out frames with the head turned most to either side."""
        heldout = self._dataset.heldout_indices.tolist()
        yaw = self._dataset.motion.pose[:, 4]
        return [min(heldout, key=lambda t: float(yaw[t])), max(heldout, key=lambda t: float(yaw[t]))]

    def subjects(self) -> list[Cell]:
        rest = int(self._dataset.train_indices[0])
        frames = [rest, *self._unseen()]
        return [self._subject(subject, frames) for subject in self._dataset.subjects]

    def _subject(self, subject: Subject, frames: Sequence[int]) -> Cell:
        motion = self._dataset.motion
        truth = [resize(self._dataset.frame(subject, t).rgb, CELL) for t in frames]
        look = self._avatar.look_of(subject.id)
        drawn = self._draw(look, motion.expr[list(frames)], motion.pose[list(frames)], CELL)
        prompt = (
            "; ".join(f"{a.category}: {' '.join(a.adjectives)}" for a in subject.attributes)
            or "the reference"
        )
        return Cell(vstack([hstack(truth), hstack(drawn)]), prompt)

    def blends(self, steps: int = 7) -> list[Cell]:
        rows = []
        for category in CATEGORIES:
            prompts = self._avatar.learned(category)
            if not prompts:
                continue
            first = self._avatar.look(**{category: prompts[0]})
            if len(prompts) > 1:
                second = self._avatar.look(**{category: prompts[1]})
            else:
                second = self._avatar.reference
            title = f"{category}: {' to '.join(short(p) for p in prompts[:2])}"
            rows.append(Cell(self._strip(first, second, steps), title))
        return rows

    def _strip(self, a: Look, b: Look, steps: int) -> np.ndarray:
        expr, pose = self._rest()
        looks = [self._avatar.mix(a, b, step / (steps - 1)) for step in range(steps)]
        return hstack([self._draw(look, expr, pose, 112)[0] for look in looks])

    def combinations(self) -> list[Cell]:
        wanted = (
            {"hat": 0, "hair": 0},
            {"hat": 1, "beard": 0},
            {"headphones": 0, "hair": 1},
            {"headphones": 1, "beard": 1},
            {"hair": -1, "earrings": 0},
            {"eyebrows": 0, "clothes": 0, "beard": -1},
            {"hat": -1, "clothes": 1, "earrings": -1},
            {"hair": 0, "beard": 0, "clothes": -1},
        )
        motion = self._dataset.motion
        frames = [int(self._dataset.train_indices[0]), self._unseen()[1]]
        cells = []
        for choice in wanted:
            learned = {c: self._avatar.learned(c) for c in choice}
            if not all(learned.values()):
                continue
            picked = {
                c: learned[c][max(index, -len(learned[c])) % len(learned[c])] for c, index in choice.items()
            }
            look = self._avatar.look(**picked)
            drawn = self._draw(look, motion.expr[frames], motion.pose[frames], 194)
            cells.append(Cell(hstack(drawn), " + ".join(short(p) for p in picked.values())))
        return cells


def figures(metrics: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of figures."""
    rows = [["held-out frames, all subjects", "this avatar", "the paper's Table 1 (its own data)"]]
    digits = {
        "psnr": (2, "dB, more is better"),
        "ssim": (4, "more is better"),
        "lpips": (4, "less is better"),
    }
    for key, (count, better) in digits.items():
        rows.append([f"{key.upper()} ({better})", f"{metrics[key]:.{count}f}", f"{PAPER[key]:.{count}f}"])
    leakage = metrics["leakage"]
    mean = leakage["mean"] if isinstance(leakage, dict) else leakage
    rows.append(["identity distance to the photo (less is better)", _figure(metrics["identity"], 3), "-"])
    rows.append(["the same, with the motion's expressions", _figure(metrics["identity_motion"], 3), "-"])
    rows.append(["change outside the edited part (less is better)", _figure(mean, 4), "-"])
    rows.append(["subjects / categories", f"{metrics['subjects']} / {metrics['categories']}", "957 / 9"])
    rows.append(["held-out frames a subject", str(metrics["frames_heldout"]), "113"])
    rows.append(["minutes to build", f"{metrics['seconds_total'] / 60:.1f}", "about 2 days on 8 GPUs"])
    rows.append(["memory at most", f"{metrics['peak_rss_mb'] / 1024:.1f} GiB", "-"])
    return rows


def _figure(value: float | None, digits: int) -> str:
    """A number, or a dash where nothing could be measured (no face found, no subject with one attribute)."""
    return "-" if value is None else f"{value:.{digits}f}"


def _framed(sheet: np.ndarray, margin: int = 24) -> np.ndarray:
    return np.pad(sheet, ((margin, margin), (margin, margin), (0, 0)), constant_values=255)
