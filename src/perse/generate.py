"""Photo to dataset: edit, animate and write every subject, in parallel, each in one step (section 4.2).

The makers (:class:`~perse.dataset.Editor`, :class:`~perse.dataset.Animator`) are chosen by name. Subjects do not
depend on one another and have folders of their own. So they spread over processes, and a build that
was interrupted makes only those that are missing. Under ``torchrun`` every rank makes its share of them.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from perse._ranks import Ranks, ranks
from perse.dataset import (
    Animator,
    Attribute,
    DatasetWriter,
    Edited,
    Encoder,
    Motion,
    Portrait,
    SubjectWriter,
    load_maker,
)


@dataclass(frozen=True)
class Blend:
    """A look between two edits of one category; None is the person as photographed."""

    first: Attribute | None
    second: Attribute | None
    weight: float
    """How far from the first to the second, 0 to 1."""


@dataclass(frozen=True)
class Job:
    """One subject to make."""

    id: str
    attributes: tuple[Attribute, ...]
    seed: int
    blend: Blend | None = None
    """Make the look between two edits instead of the attributes."""


class SubjectTimes(NamedTuple):
    """Seconds that one worker spent on one subject."""

    edit: float
    """All that is done once: the edit, its points and features."""
    frame: float
    """Drawing and writing one frame."""


@dataclass(frozen=True)
class Pace:
    """How fast a dataset was made."""

    subjects: int
    """Made by this rank."""
    seconds: float
    """From start to end."""
    workers: int
    """Processes of all ranks together."""
    edit: float
    """Median seconds of a worker for what is done once a subject."""
    frame: float
    """Median seconds of a worker for a frame."""

    @staticmethod
    def of(times: Sequence[SubjectTimes], workers: int, seconds: float) -> Pace:
        """The medians of what the workers measured."""
        edit, frame = statistics.median(t.edit for t in times), statistics.median(t.frame for t in times)
        return Pace(len(times), seconds, workers, edit, frame)

    def hours(self, subjects: int, frames: int) -> float:
        """An estimate for a larger dataset at the same frame size, with as many workers."""
        return subjects * (self.edit + frames * self.frame) / self.workers / 3600

    def __str__(self) -> str:
        hourly = self.subjects / self.seconds * 3600
        return (
            f"{self.subjects} subjects in {self.seconds:.0f} s, {hourly:.0f} an hour; {self.edit:.1f} s a subject and "
            f"{1000 * self.frame:.0f} ms a frame in each of {self.workers} processes"
        )


def jobs_of(subjects: Sequence[tuple[Attribute, ...]], seed: int) -> list[Job]:
    """Name and seed every subject. Ids sort in the order given: ``003-hair-long-curly-red``.

    All have one seed: a maker whose randomness is a function of it then draws the same strand of hair in every look,
    and the same hat in a combination as alone.
    """
    jobs = []
    subject_seed = seed_of(seed)
    for index, attributes in enumerate(subjects):
        words = [" ".join((a.category, *a.adjectives)) for a in attributes] or ["reference"]
        slug = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:60]
        jobs.append(Job(f"{index:03d}-{slug}", attributes, subject_seed))
    return jobs


def seed_of(seed: int) -> int:
    """The one seed of all subjects of a dataset."""
    return int(np.random.SeedSequence([seed]).generate_state(1)[0] >> 1)


def generate(
    portrait: Portrait,
    subjects: Sequence[tuple[Attribute, ...]],
    motion: Motion,
    out: Path,
    *,
    size: int,
    editor: str = "studio",
    animator: str = "studio",
    encoder: str = "efficientnet+minilm",
    seed: int = 0,
    workers: int | None = None,
) -> Pace | None:
    """Write the dataset of one person; subjects that are there already are kept.

    Under ``torchrun``, ranks on one or several machines that share the folder make a part of the subjects each.

    Args:
        subjects: attributes of each subject; ``()`` is the unedited reference and comes first.
        size: frame size in pixels.
        workers: processes of this rank; by default the cores of the machine are shared out among its ranks.

    Returns:
        How fast it went; None if nothing was missing, and on every rank but the first.
    """
    maker = {"editor": editor, "animator": animator, "encoder": encoder}
    return _generate(portrait, jobs_of(subjects, seed), motion, out, size, maker, seed, workers)


def generate_blends(
    portrait: Portrait,
    blends: Mapping[str, Blend],
    motion: Motion,
    out: Path,
    *,
    size: int,
    morpher: str = "studio",
    animator: str = "studio",
    seed: int = 0,
    workers: int | None = None,
) -> Pace | None:
    """Write looks between edits by id, like subjects, but without features (Eq. 14); see :func:`generate`.

    With the seed of the dataset that they lie between, their ends are that dataset's subjects.
    """
    jobs = [Job(name, (), seed_of(seed), blend) for name, blend in blends.items()]
    maker = {"morpher": morpher, "animator": animator}
    return _generate(portrait, jobs, motion, out, size, maker, seed, workers)


def _generate(
    portrait: Portrait,
    jobs: list[Job],
    motion: Motion,
    out: Path,
    size: int,
    maker: dict[str, str],
    seed: int,
    workers: int | None,
) -> Pace | None:
    with ranks() as all_ranks:
        if all_ranks.first:
            DatasetWriter.create(
                out,
                portrait=portrait,
                motion=motion,
                size=size,
                maker=maker,
                seed=seed,
                order=[job.id for job in jobs],
            )
        all_ranks.wait()
        writer = DatasetWriter.open(out)
        mine = jobs[
            all_ranks.rank :: all_ranks.world
        ]  # not of the missing ones: others are being made meanwhile
        missing = [job for job in mine if not writer.has(job.id)]
        workers = workers or max(1, (os.cpu_count() or 1) // all_ranks.on_this_machine)
        pace = _in_processes(out, maker, missing, workers, len(mine), all_ranks) if missing else None
        all_ranks.wait()
        if all_ranks.first:
            writer.finish()
    return pace if all_ranks.first else None


def _in_processes(
    out: Path, maker: dict[str, str], jobs: list[Job], workers: int, total: int, all_ranks: Ranks
) -> Pace:
    """Make the jobs, be it only one: sums over several threads, as here, would come out other than in a worker."""
    workers = min(workers, len(jobs))
    start = time.perf_counter()
    times: list[SubjectTimes] = []
    bar = tqdm(
        total=total,
        initial=total - len(jobs),
        unit="subject",
        desc="dataset" if all_ranks.world == 1 else f"dataset, rank {all_ranks.rank}",
        mininterval=1.0,
        position=all_ranks.rank,
    )
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(out, maker, os.getpid()),
    )
    try:
        for future in as_completed([pool.submit(_make_in_worker, job) for job in jobs]):
            times.append(future.result())
            bar.update()
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    finally:
        bar.close()
    pool.shutdown()
    return Pace.of(times, workers * all_ranks.world, time.perf_counter() - start)


_worker: _SubjectMaker | None = None


def _start_worker(out: Path, maker: dict[str, str], parent: int) -> None:
    """Set up one process: a single thread, deaf to Ctrl-C (the parent decides), gone when the parent is."""
    import torch

    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)

    def leave_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    _worker = _SubjectMaker(out, maker)


def _make_in_worker(job: Job) -> SubjectTimes:
    assert _worker is not None
    return _worker.make(job)


class _SubjectMaker:
    """Makes subjects one after the other; the editor keeps what it derives from the portrait between them."""

    def __init__(self, out: Path, maker: dict[str, str]) -> None:
        self._writer = DatasetWriter.open(out)
        self._makers = {kind: load_maker(kind, name) for kind, name in maker.items()}

    def make(self, job: Job) -> SubjectTimes:
        writer, animator = self._writer, self._makers["animator"]
        start = time.perf_counter()
        edited = self._edited(job)
        edit_seconds = time.perf_counter() - start
        with writer.subject(job.id, edited.attributes, job.seed) as subject:
            once = write_subject(
                subject, writer, edited, edited.attributes, (animator, self._makers.get("encoder"))
            )
        frame_seconds = (time.perf_counter() - start - edit_seconds - once) / len(writer.motion)
        return SubjectTimes(edit_seconds + once, frame_seconds)

    def _edited(self, job: Job) -> Edited:
        if job.blend is None:
            return self._makers["editor"].edit(self._writer.portrait, job.attributes, job.seed)
        blend = job.blend
        return self._makers["morpher"].morph(
            self._writer.portrait, blend.first, blend.second, blend.weight, job.seed
        )


def write_subject(
    subject: SubjectWriter,
    writer: DatasetWriter,
    edited: Edited,
    attributes: Sequence[Attribute],
    makers: tuple[Animator, Encoder | None],
) -> float:
    """Write an edit: picture, mask, features, points and one frame a row of the dataset's motion.

    Returns the seconds spent on what is done once a subject.
    """
    animator, encoder = makers
    start = time.perf_counter()
    subject.portrait(edited.image)
    subject.mask(edited.mask)
    if encoder is not None:
        text = "; ".join(a.prompt for a in attributes) or "a person"
        subject.features(encoder.image(edited.image), encoder.text(text))
    points = animator.points(edited)
    if points is not None:
        subject.points(points)
    once = time.perf_counter() - start
    for frame in animator.animate(edited, writer.motion, writer.camera):
        subject.frame(frame)
    return once
