"""Photo to dataset: edit, animate and write every subject, in parallel, each in one step (section 4.2).

The makers (:class:`~perse.dataset.Editor`, :class:`~perse.dataset.Animator`) are chosen by name. Subjects do not
depend on one another: a seed of their own, a folder of their own. So they spread over processes, and a build that
was interrupted makes only those that are missing.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from perse.dataset import Attribute, DatasetWriter, Motion, Portrait, load_maker


@dataclass(frozen=True)
class Job:
    """One subject to make."""

    id: str
    attributes: tuple[Attribute, ...]
    seed: int


def jobs_of(subjects: Sequence[tuple[Attribute, ...]], seed: int) -> list[Job]:
    """Name and seed every subject. Ids sort in the order given: ``003-hair-long-curly-red``."""
    jobs = []
    for index, attributes in enumerate(subjects):
        words = [" ".join((a.category, *a.adjectives)) for a in attributes] or ["reference"]
        slug = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:60]
        subject_seed = int(np.random.SeedSequence([seed, index]).generate_state(1)[0] >> 1)
        jobs.append(Job(f"{index:03d}-{slug}", attributes, subject_seed))
    return jobs


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
) -> None:
    """Write the dataset of one person; subjects that are there already are kept.

    Args:
        subjects: attributes of each subject; ``()`` is the unedited reference and comes first.
        size: frame size in pixels.
        workers: processes; one a core by default.
    """
    jobs = jobs_of(subjects, seed)
    maker = {"editor": editor, "animator": animator, "encoder": encoder}
    writer = DatasetWriter.create(
        out,
        portrait=portrait,
        motion=motion,
        size=size,
        maker=maker,
        seed=seed,
        order=[job.id for job in jobs],
    )
    missing = [job for job in jobs if not writer.has(job.id)]
    done = len(jobs) - len(missing)
    with tqdm(total=len(jobs), initial=done, unit="subject", desc="dataset", mininterval=1.0) as bar:
        if missing:
            _in_processes(out, maker, missing, min(workers or os.cpu_count() or 1, len(missing)), bar)
    writer.finish()


def _in_processes(out: Path, maker: dict[str, str], jobs: list[Job], workers: int, bar: tqdm) -> None:
    """Make the jobs, be it only one: sums over several threads, as here, would come out other than in a worker."""
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(out, maker, os.getpid()),
    )
    try:
        for future in as_completed([pool.submit(_make_in_worker, job) for job in jobs]):
            future.result()
            bar.update()
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()


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


def _make_in_worker(job: Job) -> None:
    assert _worker is not None
    _worker.make(job)


class _SubjectMaker:
    """Makes subjects one after the other; the editor keeps what it derives from the portrait between them."""

    def __init__(self, out: Path, maker: dict[str, str]) -> None:
        self._writer = DatasetWriter.open(out)
        self._editor = load_maker("editor", maker["editor"])
        self._animator = load_maker("animator", maker["animator"])
        self._encoder = load_maker("encoder", maker["encoder"])

    def make(self, job: Job) -> None:
        writer = self._writer
        edited = self._editor.edit(writer.portrait, job.attributes, job.seed)
        text = "; ".join(a.prompt for a in job.attributes) or "a person"
        with writer.subject(job.id, job.attributes, job.seed) as subject:
            subject.portrait(edited.image)
            subject.mask(edited.mask)
            subject.features(self._encoder.image(edited.image), self._encoder.text(text))
            points = self._animator.points(edited)
            if points is not None:
                subject.points(points)
            for frame in self._animator.animate(edited, writer.motion, writer.camera):
                subject.frame(frame)
