"""The report of a build: one long picture, and a page around it that needs no network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from perse._files import write_text
from perse.avatar import Avatar, Look
from perse.dataset import CATEGORIES, Dataset, Subject
from perse.viewer.media import save_image, to_uint8
from perse.viewer.sheet import Caption, captioned, flow, heading, hstack, resize, short, table, vstack

WIDTH = 1600
CELL = 128

PAPER = {"psnr": 23.84, "ssim": 0.8852, "lpips": 0.1458}
"""The paper's Table 1, on its own data: other people, other videos; for orientation only."""


def write_report(avatar: Avatar, dataset: Dataset, out: Path, metrics: dict[str, Any]) -> None:
    """Write ``report.png`` and ``report.html`` into ``out``.

    Args:
        metrics: what ``metrics.json`` will hold.
    """
    painter = _Painter(avatar, dataset, out)
    sections = [
        (
            "The portrait",
            "photo, fitted head, parts, and the avatar at the photo's own pose",
            painter.portrait(),
        ),
        (
            "Turning and speaking",
            "the reference avatar, yaw -25 to +25 degrees, and five expressions",
            painter.motion(),
        ),
        (
            "Every subject",
            "each block: at rest and in two poses never trained on; above the dataset's frame, below the avatar",
            painter.subjects(),
        ),
        ("In between", "each row blends two looks of one category (section 4.3)", painter.blends()),
        (
            "Combined",
            "several categories at once; no subject of the dataset has them together",
            painter.combinations(),
        ),
        ("Figures", "", _figures(metrics)),
    ]
    sheet = vstack(
        [vstack([heading(title, WIDTH, note), picture], 6) for title, note, picture in sections], 10
    )
    save_image(out / "report.png", _framed(sheet))
    _write_page(out / "report.html", sections, metrics)


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

    def portrait(self) -> np.ndarray:
        portrait = self._dataset.portrait
        half = (WIDTH - 8) // 2
        avatar = self._draw(self._avatar.reference, portrait.expr[None], portrait.pose[None], half // 2)[0]
        rows = [
            hstack(
                [captioned(resize(portrait.image, half // 2), "the photo"), captioned(avatar, "the avatar")],
                8,
            )
        ]
        for name, file in (("fitted head", "fit.jpg"), ("parts", "parts_overlay.jpg")):
            path = self._out / "portrait" / file
            if path.is_file():
                picture = Image.open(path).convert("RGB")
                height = round(half * picture.height / picture.width)
                rows.append(
                    captioned(np.asarray(picture.resize((half, height), Image.Resampling.LANCZOS)), name)
                )
        return hstack([rows[0], vstack(rows[1:], 6)], 8) if len(rows) > 1 else rows[0]

    def motion(self) -> np.ndarray:
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
        first = self._draw(reference, expr.repeat(len(yaws), 1), turned, 314)
        second = self._draw(reference, psi, theta, 314)
        names = [f"{yaw:+d}°" for yaw in yaws]
        return vstack(
            [
                hstack([captioned(p, name) for p, name in zip(first, names)], 7),
                hstack([captioned(p, name) for p, name in zip(second, faces)], 7),
            ],
            6,
        )

    def _unseen(self) -> list[int]:
        """The held-out frames with the head turned most to either side."""
        heldout = self._dataset.heldout_indices.tolist()
        yaw = self._dataset.motion.pose[:, 4]
        return [min(heldout, key=lambda t: float(yaw[t])), max(heldout, key=lambda t: float(yaw[t]))]

    def subjects(self) -> np.ndarray:
        rest = int(self._dataset.train_indices[0])
        frames = [rest, *self._unseen()]
        return flow([self._subject(subject, frames) for subject in self._dataset.subjects], WIDTH, gap=12)

    def _subject(self, subject: Subject, frames: Sequence[int]) -> np.ndarray:
        motion = self._dataset.motion
        truth = [resize(self._dataset.frame(subject, t).rgb, CELL) for t in frames]
        look = self._avatar.look_of(subject.id)
        drawn = self._draw(look, motion.expr[list(frames)], motion.pose[list(frames)], CELL)
        prompt = (
            "; ".join(f"{a.category}: {' '.join(a.adjectives)}" for a in subject.attributes)
            or "the reference"
        )
        return captioned(vstack([hstack(truth), hstack(drawn)]), prompt)

    def blends(self, steps: int = 7) -> np.ndarray:
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
            rows.append(captioned(self._strip(first, second, steps), title))
        return flow(rows, WIDTH, gap=12)

    def _strip(self, a: Look, b: Look, steps: int) -> np.ndarray:
        expr, pose = self._rest()
        looks = [self._avatar.mix(a, b, step / (steps - 1)) for step in range(steps)]
        return hstack([self._draw(look, expr, pose, 112)[0] for look in looks])

    def combinations(self) -> np.ndarray:
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
            cells.append(captioned(hstack(drawn), " + ".join(short(p) for p in picked.values()), 13))
        return flow(cells, WIDTH, gap=12) if cells else Caption("nothing to combine").draw(WIDTH)


def _rows(metrics: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of figures."""
    rows = [["held-out frames, all subjects", "this avatar", "the paper's Table 1 (its own data)"]]
    digits = {"psnr": 2, "ssim": 4, "lpips": 4}
    for key, count in digits.items():
        rows.append([key.upper(), f"{metrics[key]:.{count}f}", f"{PAPER[key]:.{count}f}"])
    leakage = metrics["leakage"]
    mean = leakage["mean"] if isinstance(leakage, dict) else leakage
    rows.append(["identity distance to the photo", _figure(metrics["identity"], 3), "-"])
    rows.append(["the same, with the motion's expressions", _figure(metrics["identity_motion"], 3), "-"])
    rows.append(["leakage outside the part", _figure(mean, 4), "-"])
    rows.append(["subjects / categories", f"{metrics['subjects']} / {metrics['categories']}", "957 / 9"])
    rows.append(["held-out frames a subject", str(metrics["frames_heldout"]), "113"])
    rows.append(["minutes", f"{metrics['seconds_total'] / 60:.1f}", "about 2 days on 8 GPUs"])
    rows.append(["memory at most", f"{metrics['peak_rss_mb'] / 1024:.1f} GiB", "-"])
    return rows


def _figure(value: float | None, digits: int) -> str:
    """A number, or a dash where nothing could be measured (no face found, no subject with one attribute)."""
    return "-" if value is None else f"{value:.{digits}f}"


def _figures(metrics: dict[str, Any]) -> np.ndarray:
    return table(_rows(metrics), (420, 240, 420))


def _framed(sheet: np.ndarray, margin: int = 24) -> np.ndarray:
    return np.pad(sheet, ((margin, margin), (margin, margin), (0, 0)), constant_values=255)


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>PERSE: {name}</title>
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 1640px; margin: 2rem auto; padding: 0 1rem;
  color: #20222a; }}
 h2 {{ margin: 2.5rem 0 .2rem; }}
 p {{ margin: .2rem 0 .8rem; color: #6a6e78; }}
 img {{ max-width: 100%; display: block; }}
 table {{ border-collapse: collapse; }}
 td, th {{ text-align: left; padding: .25rem 2rem .25rem 0; border-bottom: 1px solid #e4e5ea; }}
 video {{ max-width: 512px; width: 100%; border-radius: 6px; background: #fff; }}
</style>
<h1>{name}</h1>
<p>One photo, one avatar: what was made, and how close it comes.</p>
<video src="avatar.mp4" controls loop muted autoplay playsinline></video>
{sections}
</html>
"""


def _write_page(path: Path, sections: Sequence[tuple[str, str, np.ndarray]], metrics: dict[str, Any]) -> None:
    parts = []
    for title, note, picture in sections[:-1]:
        parts.append(f"<h2>{html.escape(title)}</h2><p>{html.escape(note)}</p>{_embedded(picture, title)}")
    rows = _rows(metrics)
    cells = ["<tr>" + "".join(f"<th>{html.escape(c)}</th>" for c in rows[0]) + "</tr>"]
    cells += ["<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows[1:]]
    parts.append(f"<h2>{html.escape(sections[-1][0])}</h2><table>{''.join(cells)}</table>")
    write_text(path, PAGE.format(name="A PERSE avatar", sections="\n".join(parts)))


def _embedded(picture: np.ndarray, title: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(picture)).save(buffer, "JPEG", quality=90)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(title)}" src="data:image/jpeg;base64,{data}">'
