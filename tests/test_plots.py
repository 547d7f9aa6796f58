"""Pictures of figures: what they draw must be what was measured."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from perse.evaluation import curves_plot, metrics_plot

SVG = "{http://www.w3.org/2000/svg}"
METRICS = {
    "psnr": 30.0,
    "ssim": 0.9,
    "lpips": None,
    "leakage": {"hair": 0.001, "mean": 0.0012},
    "per_category": {"hair": {"psnr": 15.0, "ssim": 0.9, "leakage": 0.001}, "<nose>": {"psnr": 30.0}},
    "interpolation": {"ppl": 0.2, "per_category": {"hair": {"ppl": 0.1}}},
}


def test_bars_are_as_long_as_their_figures() -> None:
    """Half the figure must be half the bar; what was not measured has no bar; names are escaped."""
    tree = ElementTree.fromstring(metrics_plot(METRICS))
    bars = [float(r.attrib["width"]) for r in tree.iter(f"{SVG}rect") if r.attrib["fill"] != "white"]
    texts = [t.text for t in tree.iter(f"{SVG}text")]
    assert bars[1] == pytest.approx(bars[0] / 2)
    assert bars[2] == pytest.approx(bars[0])
    assert len(bars) == 3 + 2 + 2 + 2, "psnr of three, ssim, leakage and ppl of two each"
    assert "<nose>" in texts
    assert "LPIPS" not in texts
    assert "15.0" in texts


def test_curves_lie_where_their_points_say() -> None:
    """A higher value must be drawn higher, later further right, all inside the picture."""
    svg = curves_plot("t", {"a": [(0, 10), (5, 20), (10, 40)], "b": [(0, 10), (10, 12)]}, "s", "dB")
    tree = ElementTree.fromstring(svg)
    lines = [re.split("[ ,]", p.attrib["points"]) for p in tree.iter(f"{SVG}polyline")]
    xs, ys = ([float(v) for v in lines[0][k::2]] for k in (0, 1))
    assert xs[0] < xs[1] < xs[2]
    assert ys[0] > ys[1] > ys[2]
    assert ys[0] - ys[1] == pytest.approx((ys[1] - ys[2]) / 2, abs=0.2)
    assert all(0 <= x <= 560 for x in xs)
    assert all(0 <= y <= 340 for y in ys)
    with pytest.raises(ValueError, match="nothing to plot"):
        curves_plot("t", {}, "x", "y")
