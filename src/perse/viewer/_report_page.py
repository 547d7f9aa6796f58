"""The report as a web page that needs no network: pictures inside it, readable on a phone."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from perse._files import write_text
from perse.viewer.media import to_uint8

VIDEO, PLAYER = "avatar.mp4", "avatar.html"
"""Files beside the report that it shows where they are there."""
JPEG_QUALITY = 88


@dataclass(frozen=True)
class Cell:
    """A picture with its caption."""

    picture: np.ndarray
    """uint8 [H, W, 3]."""
    caption: str


@dataclass(frozen=True)
class Section:
    """Pictures under one heading."""

    title: str
    note: str
    cells: list[Cell]
    width: int
    """CSS pixels that a cell wants at least; on a narrower screen it takes the whole width."""


@dataclass(frozen=True)
class Step:
    """A stage of the build."""

    title: str
    words: str
    picture: np.ndarray
    seconds: float | None
    """How long it took; None where that says nothing."""


def write_report_page(
    out: Path,
    title: str,
    story: Sequence[Step],
    sections: Sequence[Section],
    figures: Sequence[Sequence[str]],
) -> None:
    """Write ``report.html`` into `out`. The first row of `figures` is their head."""
    links = "".join(f'<a href="#{_anchor(s.title)}">{html.escape(s.title)}</a>' for s in sections)
    body = [
        f"<header><h1>{html.escape(title)}</h1><p>From one photo, with what it learned to wear, and how close it comes."
        f'</p></header><nav>{links}<a href="#figures">Figures</a></nav>',
        _hero(out, story[0].picture),
        f'<ol class="story">{"".join(_step(step) for step in story)}</ol>',
        *(_section(section) for section in sections),
        _table(figures),
        "<footer>Made by PERSE. Every picture is drawn by the renderer that ships with it.</footer>",
    ]
    write_text(out / "report.html", PAGE.format(title=html.escape(title), style=STYLE, body="\n".join(body)))


def _hero(out: Path, photo: np.ndarray) -> str:
    """The photo, the avatar to play with, and the showreel, as far as they are there."""
    parts = []
    if (out / PLAYER).is_file():
        parts.append(
            f'<figure class="player"><iframe src="{PLAYER}" title="the avatar" loading="lazy"></iframe>'
            f'<figcaption>Drag to turn it, blend its looks. <a href="{PLAYER}">On a page of its own</a></figcaption>'
            "</figure>"
        )
    if (out / VIDEO).is_file():
        parts.append(
            f'<figure><video src="{VIDEO}" controls loop muted autoplay playsinline></video>'
            "<figcaption>It speaks and turns while one part after another changes.</figcaption></figure>"
        )
    if len(parts) < 2:
        parts.insert(
            0, f"<figure>{_embedded(photo, 'the photo')}<figcaption>The photo.</figcaption></figure>"
        )
    return f'<div class="hero">{"".join(parts)}</div>'


def _step(step: Step) -> str:
    spent = "" if step.seconds is None else f"<small>{_duration(step.seconds)}</small>"
    return (
        f"<li>{_embedded(step.picture, step.title)}<h3>{html.escape(step.title)} {spent}</h3>"
        f"<p>{html.escape(step.words)}</p></li>"
    )


def _section(section: Section) -> str:
    cells = "".join(
        f"<figure>{_embedded(cell.picture, cell.caption)}<figcaption>{html.escape(cell.caption)}</figcaption></figure>"
        for cell in section.cells
    )
    return (
        f'<section id="{_anchor(section.title)}"><h2>{html.escape(section.title)}</h2>'
        f"<p>{html.escape(section.note)}</p>"
        f'<div class="grid" style="--cell:{section.width}px">{cells or "Nothing to show."}</div></section>'
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows[1:])
    return (
        '<section id="figures"><h2>Figures</h2><p>Held-out frames, which the avatar never saw. The paper measured '
        'on other people and other videos: its column is for orientation.</p><div class="wide"><table>'
        f"<tr>{head}</tr>{body}</table></div></section>"
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _embedded(picture: np.ndarray, alt: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(picture)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    height, width = picture.shape[:2]
    return (
        f'<img alt="{html.escape(alt)}" width="{width}" height="{height}" decoding="async" '
        f'src="data:image/jpeg;base64,{data}">'
    )


STYLE = """
:root { --ink: #1d2027; --faint: #6b7079; --line: #e3e5ea; --accent: #3355cc; color-scheme: light; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; margin: 0 auto;
  max-width: 1320px; padding: 0 clamp(.8rem, 3vw, 2.5rem) 4rem; }
header { padding: 2.5rem 0 .5rem; }
h1 { font-size: clamp(1.6rem, 4vw, 2.6rem); line-height: 1.15; margin: 0; letter-spacing: -.02em; }
h2 { font-size: 1.35rem; margin: 0; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: .6rem 0 .1rem; }
p, figcaption, footer { color: var(--faint); margin: .2rem 0 .8rem; }
small { color: var(--accent); font-weight: 600; white-space: nowrap; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
nav { position: sticky; top: 0; z-index: 1; background: #fff; border-bottom: 1px solid var(--line);
  padding: .6rem 0; display: flex; gap: 1.2rem; overflow-x: auto; white-space: nowrap; font-size: .92rem; }
section { padding-top: 2.6rem; scroll-margin-top: 1.5rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .88rem; margin: .3rem 0 0; overflow-wrap: anywhere; }
img, video { display: block; width: 100%; height: auto; border-radius: 8px; }
.hero { display: grid; gap: 1.2rem; padding-top: 1.4rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.hero figure { max-width: 620px; }
.hero iframe { width: 100%; aspect-ratio: 1; min-height: 520px; border: 1px solid var(--line); border-radius: 8px; }
.story { list-style: none; counter-reset: step; display: grid; gap: 1.2rem; padding: 1.6rem 0 0; margin: 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 190px), 1fr)); }
.story li { counter-increment: step; }
.story h3::before { content: counter(step) ". "; color: var(--faint); }
.story p { font-size: .9rem; }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--cell)), 1fr)); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; min-width: 560px; font-variant-numeric: tabular-nums; }
td, th { text-align: left; padding: .35rem 2rem .35rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 500; }
footer { margin-top: 3rem; font-size: .88rem; }
@media (max-width: 620px) { .story { grid-template-columns: 1fr; }
  .story li { display: grid; grid-template-columns: 40% 1fr; column-gap: .9rem; align-items: start; }
  .story img { grid-row: span 2; } .story h3 { margin-top: 0; } }
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style></head>
<body>
{body}
</body></html>
"""
