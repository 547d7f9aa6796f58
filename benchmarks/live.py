"""The live viewer as somebody sees it: seconds from the command to a photo's puppet, and pictures a second.

    python benchmarks/live.py runs/demo [--photo photo.jpg] [--seconds 15] [--shot live.png]

`perse view` runs as a program of its own and Chromium, without a GPU, on the same machine; pictures are counted in the
page when they are decoded. Needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import skimage.data
from PIL import Image

ARGUMENTS = [
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]  # fmt: skip
COUNT = """window.decoded = 0;
const make = URL.createObjectURL.bind(URL), drop = URL.revokeObjectURL.bind(URL), ours = new Set();
URL.createObjectURL = blob => { const url = make(blob);
  if (blob.type == 'image/jpeg') { ours.add(url); window.last = blob; } return url; };
URL.revokeObjectURL = url => { if (ours.delete(url)) window.decoded++; drop(url); };"""
"""The page makes an address of every picture and drops it when it is decoded."""
WIDTH, HEIGHT = 1280, 720
WARM_SECONDS = 4.0


@contextmanager
def viewing(target: Path) -> Iterator[tuple[str, Callable[[], float]]]:
    """`perse view`: its address, and what says how many seconds of CPU it took so far."""
    command = [sys.executable, "-m", "perse.cli", "view", str(target), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = next((line for line in process.stdout if line.startswith("http")), "")
        if not line:
            sys.exit("perse view did not start")

        def spent() -> float:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        yield line.split()[0], spent
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def opened(browser, url: str):
    """The page, with its first picture: a photo as it is, or the person where there is nothing to wait for."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.set_default_timeout(120_000)
    page.add_init_script(COUNT)
    page.goto(url)
    page.wait_for_function("window.decoded > 0")
    return page


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("avatar", type=Path, help="an avatar or a build")
    parser.add_argument("--photo", type=Path, help="the photo that is shown first; the bundled portrait")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long pictures are counted")
    parser.add_argument("--shot", type=Path, help="write what the page shows in the end (.png)")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium on this machine")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        photo = options.photo
        if photo is None:
            photo = Path(folder) / "astronaut.png"
            Image.fromarray(skimage.data.astronaut()).save(photo)

        def browse():
            return playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS, timeout=300_000)

        start = time.perf_counter()
        with viewing(photo) as (url, spent):
            served = time.perf_counter() - start
            browser = browse()
            page = opened(browser, url)
            photographed = time.perf_counter() - start
            page.get_by_role("tab", name="Motion").wait_for()
            before = page.evaluate("window.decoded")
            page.wait_for_function(f"window.decoded > {before}")
            print(
                f"a photo: {time.perf_counter() - start:.1f} s from the command to the first picture of its puppet "
                f"in the browser, {spent():.1f} s of CPU for it ({served:.1f} s until its address was printed, "
                f"{photographed:.1f} s until the photo was shown); {load()}",
                flush=True,
            )
            browser.close()
        with viewing(options.avatar) as (url, _):
            browser = browse()
            page = opened(browser, url)
            page.get_by_role("tab", name="Motion").click()  # waits for the controls
            page.get_by_role("checkbox").first.check()
            time.sleep(WARM_SECONDS)
            before, start = page.evaluate("window.decoded"), time.perf_counter()
            time.sleep(options.seconds)
            shown = page.evaluate("window.decoded") - before
            rate = shown / (time.perf_counter() - start)
            size = page.evaluate("createImageBitmap(window.last).then(p => p.width + ' x ' + p.height)")
            print(f"a motion: {rate:.1f} pictures a second of {size} pixels; {load()}")
            if options.shot is not None:
                page.screenshot(path=options.shot)
            browser.close()


if __name__ == "__main__":
    main()
