"""Figures as pictures: bars by category and curves over time, as SVG that any browser shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

PANELS = (
    ("psnr", "PSNR (dB)", 1),
    ("ssim", "SSIM", 3),
    ("lpips", "LPIPS", 3),
    ("identity", "identity distance", 2),
    ("leakage", "leakage", 4),
    ("ppl", "path length (PPL)", 3),
)
COLORS = ("#3b6fb6", "#d1662b", "#4a9a5b", "#8a5aa8", "#777777")
ROW, BAR, NAME, VALUE = 18, 190, 92, 62
"""Height of a row; widths of the longest bar, of a row's name and of its number."""
GAP, TITLE = 24, 26


def metrics_plot(metrics: Mapping[str, Any]) -> str:
    """Bars of every figure, overall and by category (what `evaluate` returned, or evaluation.json), as SVG."""
    rows = _rows(metrics)
    panels = []
    for key, title, digits in PANELS:
        values = {name: row[key] for name, row in rows.items() if row.get(key) is not None}
        if values:
            panels.append((title, values, digits))
    columns = min(3, max(1, len(panels)))
    width = columns * (NAME + BAR + VALUE + GAP)
    height = TITLE + ROW * len(rows) + GAP
    parts = []
    for k, (title, values, digits) in enumerate(panels):
        left, top = (k % columns) * (NAME + BAR + VALUE + GAP), (k // columns) * height
        parts += _bars(title, values, digits, left, top)
    return _svg(width, height * max(1, math.ceil(len(panels) / columns)), parts)


def _rows(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Figures of all and of each category, those of the looks between among them."""
    between = metrics.get("interpolation", {})
    leakage = metrics.get("leakage")
    rows = {"all": {**metrics, "ppl": between.get("ppl")}}
    rows["all"]["leakage"] = leakage.get("mean") if isinstance(leakage, Mapping) else None
    for name, row in metrics.get("per_category", {}).items():
        rows[name] = {**row, "ppl": between.get("per_category", {}).get(name, {}).get("ppl")}
    return rows


def _bars(title: str, values: Mapping[str, float], digits: int, left: float, top: float) -> list[str]:
    longest = max(abs(v) for v in values.values()) or 1.0
    parts = [_text(left, top + 16, title, weight="bold")]
    for k, (name, value) in enumerate(values.items()):
        y = top + TITLE + k * ROW
        length = max(0.0, value) / longest * BAR
        color = COLORS[1] if name == "all" else COLORS[0]
        parts.append(_text(left + NAME - 6, y + 12, name, anchor="end"))
        parts.append(
            f'<rect x="{left + NAME:.1f}" y="{y + 2:.1f}" width="{length:.1f}" height="{ROW - 5}" fill="{color}"/>'
        )
        parts.append(_text(left + NAME + length + 5, y + 12, f"{value:.{digits}f}"))
    return parts


def curves_plot(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_name: str,
    y_name: str,
    width: int = 560,
    height: int = 340,
) -> str:
    """Curves of points (x, y), one a name, with axes from the data, as SVG. ValueError without a point."""
    points = [p for curve in series.values() for p in curve]
    if not points:
        raise ValueError("there is nothing to plot")
    (x_low, x_high), (y_low, y_high) = (_range([p[i] for p in points]) for i in (0, 1))
    left, right, bottom = 56, width - 16, height - 46
    top = 36 + ROW * len(series)  # names stand above the curves

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x = left + (point[0] - x_low) / (x_high - x_low) * (right - left)
        return x, bottom - (point[1] - y_low) / (y_high - y_low) * (bottom - top)

    parts = [_text(left, 20, title, weight="bold")]
    for value in _ticks(y_low, y_high):
        _, y = at((x_low, value))
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(_text(left - 6, y + 4, f"{value:g}", anchor="end"))
    for value in _ticks(x_low, x_high):
        x, _ = at((value, y_low))
        parts.append(_text(x, bottom + 16, f"{value:g}", anchor="middle"))
    parts.append(_text((left + right) / 2, height - 10, x_name, anchor="middle"))
    parts.append(_text(6, top - 8, y_name))
    for k, (name, curve) in enumerate(series.items()):
        color = COLORS[k % len(COLORS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, curve))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        y = 40 + ROW * k
        parts.append(f'<rect x="{left}" y="{y - 7}" width="12" height="4" fill="{color}"/>')
        parts.append(_text(left + 18, y, name))
    return _svg(width, height, parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5
    return (0.0 if 0 <= low < 0.3 * high else low - room), high + room


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers inside a range, some five of them."""
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _text(x: float, y: float, content: str, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(content)}</text>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    style = 'font-family="sans-serif" font-size="12" fill="#222222"'
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    return "\n".join(
        [
            head,
            f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
            f"<g {style}>",
            *parts,
            "</g>",
            "</svg>",
            "",
        ]
    )
