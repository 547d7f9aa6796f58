"""Figures as a table to read."""

from typing import Any

_COLUMNS = (
    ("psnr", "PSNR", 2),
    ("psnr_foreground", "PSNR person", 2),
    ("ssim", "SSIM", 4),
    ("lpips", "LPIPS", 4),
    ("identity", "identity", 3),
    ("identity_motion", "identity in motion", 3),
    ("identity_dataset", "identity of data", 3),
    ("leakage", "leakage", 4),
    ("leakage_dataset", "leakage of data", 4),
    ("leakage_area", "measured on", 2),
)


def table(metrics: dict[str, Any]) -> str:
    """Markdown: one row for all, one for each category (what `evaluate` returned, or metrics.json)."""
    lines = [
        "| | subjects | " + " | ".join(title for _, title, _ in _COLUMNS) + " |",
        "|---|---:" + "|---:" * len(_COLUMNS) + "|",
    ]
    leakage = ("leakage", "leakage_dataset", "leakage_area")
    whole = {**metrics, **{name: metrics[name]["mean"] for name in leakage}}
    for name, row in (("all", whole), *metrics["per_category"].items()):
        cells = [format_figure(row.get(key), digits) for key, _, digits in _COLUMNS]
        lines.append(f"| {name} | {row['subjects']} | " + " | ".join(cells) + " |")
    note = f"{metrics['frames_heldout']} held-out frames a subject."
    if metrics.get("faces_missing"):
        note += f" No face was found in {metrics['faces_missing']} pictures."
    return "\n".join([*lines, "", note])


def format_figure(value: float | None, digits: int) -> str:
    """A number, or a dash where nothing could be measured."""
    return "-" if value is None else f"{value:.{digits}f}"
