"""Draw docs/images/speed.svg from figures of the benchmark:

python benchmarks/rasterizer.py --json speed.json && python tools/speed_picture.py speed.json docs/images/speed.svg
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

GAUSSIANS, SIZE, THREADS = 130_000, 512, 2
STAGES = {  # colours are those of the bars
    "project": "#4c6fb1", "sort": "#7d9ad1", "bin": "#b3c5e8", "blend": "#e8a33d",
    "order_rows": "#f6dcae", "gradients": "#c8553d", "unproject": "#8a3324",
}  # fmt: skip
NAMES = {
    "avx512": "AVX-512",
    "avx2": "AVX2",
    "sse4": "SSE4.1",
    "generic": "generic",
    "order_rows": "order rows",
}
LINES = {20_000: "#4c6fb1", 50_000: "#e8a33d", 130_000: "#c8553d"}


def text(x: float, y: float, content: str, **style: str) -> str:
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{content}</text>'


def line(x1: float, y1: float, x2: float, y2: float, color: str, width: float = 1) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{color}" stroke-width="{width}"/>'


def bars(rows: list[dict], left: float, width: float, top: float) -> list[str]:
    """One bar for each instruction set, cut into stages, with its limit as a black line."""
    longest = max(sum(row[f"{stage}_ms"] for stage in STAGES) for row in rows)
    scale = (width - 110) / longest
    out = [
        text(
            left,
            top,
            f"{GAUSSIANS:,} Gaussians, {SIZE} px, {THREADS} threads, with gradients [ms]",
            font_weight="bold",
        )
    ]
    for k, row in enumerate(rows):
        x, y = left + 62, top + 18 + 40 * k
        out.append(text(left, y + 17, NAMES[row["isa"]]))
        for stage, color in STAGES.items():
            length = row[f"{stage}_ms"] * scale
            out.append(f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="26" fill="{color}"/>')
            x += length
        out.append(text(x + 6, y + 17, f"{(x - left - 62) / scale:.1f}"))
        limit = left + 62 + scale * (row["forward_limit_ms"] + row["backward_limit_ms"])
        out.append(line(limit, y - 4, limit, y + 30, "#000", 2))
    x, y = left, top + 24 + 40 * len(rows)
    for stage, color in STAGES.items():
        label = NAMES.get(stage, stage)
        out.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{color}"/>')
        out.append(text(x + 14, y + 9, label, font_size="11"))
        x += 24 + 6.2 * len(label)
    out.append(
        text(
            left,
            y + 28,
            "black line: the blocks of pixels alone, as if nothing else had to be done",
            font_size="11",
        )
    )
    return out


def rates(rows: list[dict], left: float, width: float, top: float, height: float) -> list[str]:
    """Frames a second over the image's side, both by doubling steps."""
    sizes = sorted({row["size"] for row in rows})
    steps = [2**k for k in range(4, 10)]

    def x_of(size: int) -> float:
        return left + 40 + sizes.index(size) / (len(sizes) - 1) * (width - 80)

    def y_of(rate: float) -> float:
        return top + 18 + height * (1 - math.log(rate / steps[0]) / math.log(steps[-1] / steps[0]))

    out = [text(left, top, "avatars, posed and drawn [frames a second]", font_weight="bold")]
    for step in steps:
        out.append(line(left + 40, y_of(step), left + width - 40, y_of(step), "#ddd"))
        out.append(text(left + 34, y_of(step) + 4, str(step), font_size="11", text_anchor="end"))
    for count, color in LINES.items():
        points = [
            (x_of(size), y_of(1e3 / row["frame"]))
            for size in sizes
            for row in rows
            if row["size"] == size and row["gaussians"] == count
        ]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        out.append(f'<path d="{path}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in points]
        out.append(text(points[0][0] + 6, points[0][1] - 7, f"{count:,}", fill=color, font_size="12"))
    for size in sizes:
        out.append(text(x_of(size), top + 36 + height, f"{size} px", font_size="11", text_anchor="middle"))
    return out


def main(figures: str, picture: str) -> None:
    results = json.loads(Path(figures).read_text())
    wanted = {"gaussians": GAUSSIANS, "size": SIZE, "threads": THREADS}
    stages = [row for row in results["stages"] if wanted.items() <= row.items()]
    avatars = [row for row in results["avatars"] if row["threads"] == THREADS]
    width, height = 860, 262
    parts = bars(stages, 12, 460, 24) + rates(avatars, 508, 366, 24, 180)
    Path(picture).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="13">\n<rect width="{width}" height="{height}" fill="#fff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
