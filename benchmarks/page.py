"""The exported page of an avatar: its size, how far its pictures are from Python's, and frames a second in a browser.

python benchmarks/page.py runs/demo/avatar [--speed-only]

Compared are, in every category, the first looks as they are and half way from the photo, and a quarter, half and three
quarters of the way between neighbours among all learned looks.

Needs Chromium and playwright. The browser draws with SwiftShader, on the CPU: frames a second are those of a machine
without any GPU.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perse.avatar import Avatar, Look
from perse.dataset import CATEGORIES, default_motion
from perse.export import PageOptions, write_page
from perse.export._page_looks import WEIGHTS, labels_of
from perse.head import arkit_to_motion

ARGUMENTS = [
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]  # fmt: skip
SIZE = 256
SPEED_POINTS, SPEED_SIDE, SPEED_SECONDS = 20_000, 512, 20.0
FEW_POINTS = 12_000
UNITS = {"jawOpen": 0.5, "mouthSmileLeft": 0.6, "eyeBlinkRight": 1.0, "browInnerUp": 0.5}
READ = """([w, h]) => { const { rgba } = perse.picture(w, h); let s = '';
  for (let i = 0; i < rgba.length; i += 8192) s += String.fromCharCode(...rgba.subarray(i, i + 8192));
  return btoa(s); }"""


def picture(tab) -> np.ndarray:
    """What the page shows, [H, W, 3] in grey levels."""
    content = base64.b64decode(tab.evaluate(READ, [SIZE, SIZE]))
    return np.frombuffer(content, np.uint8).reshape(SIZE, SIZE, 4)[..., :3].astype(np.float64)


class Comparison:
    """A page and an avatar with one moving face."""

    def __init__(self, tab, avatar: Avatar) -> None:
        self.tab, self.avatar = tab, avatar
        tab.evaluate("perse.idle(false)")
        expr, pose = arkit_to_motion(avatar.head, UNITS)
        pose[4] += 0.3
        tab.evaluate("units => perse.face(units, { yaw: 0.3 })", UNITS)
        self.expr, self.pose = (avatar.rest[0] + expr)[None], (avatar.rest[1] + pose)[None]

    def pair(
        self, look: Look, category: str, labels: Sequence[str], weight: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """A look as the page draws the blend of two labels and as Python draws it, [H, W, 3] in grey levels."""
        self.tab.evaluate("([c, a, b, w]) => perse.wear(c, a, b, w)", [category, *labels, weight])
        shown = picture(self.tab)
        self.tab.evaluate("c => perse.wear(c, perse.categories()[c][0])", category)
        camera = self.avatar.camera.resized(SIZE, SIZE)
        return shown, self.avatar.render(look, self.expr, self.pose, camera)[0].cpu().numpy() * 255

    def looks(self, category: str, count: int) -> list[float]:
        """Mean differences of the first looks, as they are and half way from the photo."""
        avatar, found = self.avatar, []
        first = self.tab.evaluate("perse.categories()")[category][0]
        for prompt, label in list(labels_of(avatar, category).items())[:count]:
            for weight in (0.5, 1.0):
                look = avatar.mix(avatar.reference, avatar.look(**{category: prompt}), weight, category)
                shown, truth = self.pair(look, category, [first, label], weight)
                found.append(float(np.abs(shown - truth).mean()))
        return found

    def blends(self, category: str) -> list[float]:
        """Mean differences on the way from each look to the next."""
        avatar, found = self.avatar, []
        for pair in itertools.pairwise(labels_of(avatar, category).items()):
            (a, b), labels = zip(*pair)
            ends = [avatar.look(**{category: prompt}) for prompt in (a, b)]
            for weight in WEIGHTS:
                shown, truth = self.pair(avatar.mix(*ends, weight, category), category, labels, weight)
                found.append(float(np.abs(shown - truth).mean()))
        return found


def cpu_seconds() -> float:
    """What this program and all that it started have computed: other users of the machine do not count."""
    parents, spent = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended
        number = int(stat.parent.name)
        parents[number], spent[number] = int(fields[1]), int(fields[11]) + int(fields[12])
    ours = {os.getpid()}
    while more := {n for n, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(spent.get(n, 0) for n in ours) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--looks", type=int, default=1, help="looks compared in every category")
    parser.add_argument("--categories", nargs="*", default=CATEGORIES, help="categories compared")
    parser.add_argument("--variants", nargs="*", help="pages compared; all by default")
    parser.add_argument("--speed-only", action="store_true")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium on this machine")
    avatar, motion = Avatar.load(options.avatar), default_motion()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS, timeout=300_000)

        def opened(name: str, side: int = SIZE, **settings):
            path = write_page(avatar, Path(folder) / f"{name}.html", motion, PageOptions(**settings))
            tab = browser.new_page(viewport={"width": side + 372, "height": side})
            tab.set_default_timeout(300_000)
            start = time.perf_counter()
            tab.goto(path.as_uri())
            tab.evaluate("perse.ready")
            return tab, path.stat().st_size / 1e6, time.perf_counter() - start

        variants: dict[str, dict] = {name: {"quality": name} for name in ("small", "normal", "fine")}
        variants["normal, without MLP_pose"] = {"pose_detail": False}
        variants |= {f"{count} Gaussians": {"points": count} for count in (SPEED_POINTS, FEW_POINTS)}
        chosen = {} if options.speed_only else variants
        if options.variants:
            chosen = {name: variants[name] for name in options.variants}
        for name, settings in chosen.items():
            tab, megabytes, seconds = opened(name, **settings)
            compared, gaps = Comparison(tab, avatar), {"looks": [], "between": []}
            for category in options.categories:
                gaps["looks"] += compared.looks(category, options.looks)
                gaps["between"] += compared.blends(category)
            told = "; ".join(
                f"{kind} ({len(found)}): mean difference {np.mean(found):.3f}, at most {np.max(found):.3f}"
                for kind, found in gaps.items()
                if found
            )
            print(f"{name:24s} {megabytes:5.2f} MB  ready after {seconds:4.1f} s  {told} of 255", flush=True)
            tab.close()
        tab, megabytes, _ = opened("speed", side=SPEED_SIDE, points=SPEED_POINTS)
        tab.evaluate("perse.idle(true)")
        time.sleep(3)
        before, spent = tab.evaluate("perse.stats()"), cpu_seconds()
        time.sleep(SPEED_SECONDS)
        stats, spent = tab.evaluate("perse.stats()"), cpu_seconds() - spent
        frames = max(1, stats["frames"] - before["frames"])
        print(
            f"{stats['points']} Gaussians ({stats['drawn']} drawn), {SPEED_SIDE} px: {frames / SPEED_SECONDS:.1f} "
            f"frames a second here, {1000 * spent / frames:.0f} ms of CPU a frame, {megabytes:.2f} MB"
        )
        browser.close()


if __name__ == "__main__":
    main()
