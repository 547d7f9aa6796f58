"""How fast and how large is the dataset on disk? Writes a few subjects and reads frames at random.

    python benchmarks/dataset.py [--frames N] [--size 512] [--subjects 4] [--source frames.npz]

Prints, per frame: bytes of each file, milliseconds to write and to read at random, PSNR of the decoded colours, and
what 957 subjects x 513 frames would take. `--source` is an npz with rgb [T, S, S, 3], alpha and labels [T, S, S]
uint8, or a dataset folder to measure as it is; without it a moving test picture with strands of hair is drawn.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from perse.dataset import Attribute, Dataset, DatasetWriter, Frame, Motion, Portrait
from perse.splat import Camera

PAPER_FRAMES = 957 * 513
FILES = ("frames.mp4", "preview.mp4", "parts.zip")


def draw_frames(count: int, size: int, seed: int) -> list[Frame]:
    """A head-like disc with thin curved strands on white, swaying: harder on a codec than most renders."""
    rng = np.random.default_rng(seed)
    over = 2 * size
    hue = rng.uniform(0.1, 1.0, 3)
    roots = rng.uniform([0.2, 0.05], [0.8, 0.35], (400, 2)) * over
    lengths = rng.uniform(0.2, 0.6, 400) * over
    phases, lights = rng.uniform(0, 6.28, 400), rng.uniform(0.4, 1.0, 400)
    frames = []
    for t in range(count):
        sway = 0.02 * over * np.sin(0.4 * t)
        rgb = np.full((over, over, 3), 255, np.uint8)
        strands = np.zeros((over, over), np.uint8)
        face = np.zeros((over, over), np.uint8)
        cv2.ellipse(
            face, (over // 2 + int(sway), over // 2), (over // 5, over // 3), 0, 0, 360, 255, -1, cv2.LINE_AA
        )
        rgb[face > 127] = (214, 170, 140)
        for root, length, phase, light in zip(roots, lengths, phases, lights):
            y = np.arange(0, length, 8)
            x = root[0] + sway + 0.01 * over * np.sin(phase + y / (0.03 * over))
            line = np.stack([x, root[1] + y], 1).astype(np.int32)
            cv2.polylines(rgb, [line], False, tuple((hue * light * 255).tolist()), 2, cv2.LINE_AA)
            cv2.polylines(strands, [line], False, 255, 2, cv2.LINE_AA)
        shrink = (size, size)
        rgb = cv2.resize(rgb, shrink, interpolation=cv2.INTER_AREA)
        hair = cv2.resize(strands, shrink, interpolation=cv2.INTER_AREA)
        skin = cv2.resize(face, shrink, interpolation=cv2.INTER_AREA)
        labels = np.where(hair > 127, 4, np.where(skin > 127, 1, 0)).astype(np.uint8)
        frames.append(Frame(*(torch.from_numpy(a) for a in (rgb, np.maximum(hair, skin), labels))))
    return frames


def frames_of(source: Path | None, count: int, size: int, seed: int) -> list[Frame]:
    """Frames of an npz, or drawn ones."""
    if source is None:
        return draw_frames(count, size, seed)
    with np.load(source, allow_pickle=False) as arrays:
        planes = [torch.from_numpy(arrays[name]) for name in ("rgb", "alpha", "labels")]
    return [Frame(*(plane[t] for plane in planes)) for t in range(min(count, len(planes[0])))]


def empty_portrait() -> Portrait:
    """A blank portrait; the benchmark measures frames."""
    K = torch.tensor([[1300.0, 0, 256], [0, 1300, 256], [0, 0, 1]])
    return Portrait(
        torch.ones(512, 512, 3),
        torch.zeros(512, 512),
        torch.zeros(512, 512, 6),
        torch.zeros(478, 3),
        Camera(torch.eye(4), K, 512, 512),
        torch.zeros(100),
        torch.zeros(50),
        torch.zeros(15),
    )


def write(path: Path, subjects: list[list[Frame]]) -> float:
    """Write a dataset; milliseconds a frame."""
    count, size = len(subjects[0]), subjects[0][0].rgb.shape[0]
    motion = Motion(torch.zeros(count, 50), torch.zeros(count, 15), torch.ones(count, dtype=torch.bool))
    writer = DatasetWriter.create(path, empty_portrait(), motion, size, "benchmark", 0)
    start = time.perf_counter()
    for number, frames in enumerate(subjects):
        attributes = [] if number == 0 else [Attribute("hair", f"a person with hair {number}")]
        with writer.subject(f"{number:03d}", attributes, number) as subject:
            subject.portrait(torch.ones(512, 512, 3))
            subject.mask(torch.zeros(512, 512, dtype=torch.bool))
            for frame in frames:
                subject.frame(frame)
    return (time.perf_counter() - start) / (len(subjects) * count) * 1e3


def report_size(dataset: Dataset) -> None:
    """Bytes of a frame, and what the paper's dataset would take."""
    frames = sum(subject.frames for subject in dataset.subjects)
    totals = {name: sum(s.files[name]["bytes"] for s in dataset.subjects) / frames for name in FILES}
    print("  ".join(f"{name} {size / 1e3:.1f} kB" for name, size in totals.items()), "a frame")
    sizes = {
        subject.id: subject.files["frames.mp4"]["bytes"] / subject.frames for subject in dataset.subjects
    }
    largest = max(sizes, key=lambda name: sizes[name])
    print(f"largest frames.mp4: {largest}, {sizes[largest] / 1e3:.1f} kB a frame")
    print(f"957 x 513 frames at {dataset.size} px: {sum(totals.values()) * PAPER_FRAMES / 1e9:.1f} GB")


def report_speed(dataset: Dataset, reads: int = 300) -> None:
    """Random access over all subjects, files opened and not yet opened."""
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for subject in dataset.subjects:
        dataset.frame(subject, 0)
    first = (time.perf_counter() - start) / len(dataset.subjects) * 1e3
    times = []
    for _ in range(reads):
        subject, t = int(rng.integers(len(dataset.subjects))), int(rng.integers(dataset.subjects[0].frames))
        start = time.perf_counter()
        dataset.frame(subject, t)
        times.append((time.perf_counter() - start) * 1e3)
    p50, p95 = np.percentile(times, [50, 95])
    print(f"random access: {p50:.2f} ms median, {p95:.2f} ms p95; a subject's first frame {first:.1f} ms")


def report_loss(dataset: Dataset, subjects: list[list[Frame]]) -> None:
    """What the codec costs: PSNR over all pixels and over the foreground; alpha and labels must be exact."""
    squares, squares_fg, count, count_fg = 0.0, 0.0, 0, 0
    for number, frames in enumerate(subjects):
        for t, frame in enumerate(frames):
            read = dataset.frame(number, t)
            assert torch.equal(read.alpha, frame.alpha)
            assert torch.equal(read.labels, frame.labels)
            error = (read.rgb.double() - frame.rgb.double()) ** 2
            squares, count = squares + float(error.sum()), count + error.numel()
            person = error[frame.alpha > 12]
            squares_fg, count_fg = squares_fg + float(person.sum()), count_fg + person.numel()
    whole, person = (10 * np.log10(255**2 * n / s) for s, n in ((squares, count), (squares_fg, count_fg)))
    print(f"colour after decoding: {whole:.2f} dB over the picture, {person:.2f} dB over the person")


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--subjects", type=int, default=3)
    parser.add_argument("--source", type=Path)
    options = parser.parse_args()
    if options.source is not None and options.source.is_dir():
        dataset = Dataset.open(options.source)
        report_size(dataset)
        report_speed(dataset)
        return
    count = 1 if options.source else options.subjects
    subjects = [frames_of(options.source, options.frames, options.size, seed) for seed in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        print(f"writing: {write(Path(folder) / 'd', subjects):.1f} ms a frame")
        start = time.perf_counter()
        dataset = Dataset.open(Path(folder) / "d")
        print(f"opening: {(time.perf_counter() - start) * 1e3:.1f} ms for {len(dataset.subjects)} subjects")
        report_size(dataset)
        report_loss(dataset, subjects)
        report_speed(dataset)


if __name__ == "__main__":
    main()
