"""Several processes, and several subjects a step: the same avatar as one process with the same batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from perse._ranks import Ranks
from perse.dataset import Dataset
from perse.errors import PerseError
from perse.head import open_head
from perse.training import DensityConfig, TrainConfig, Training
from synthetic import shared_dataset, tiny_config

WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from perse._ranks import ranks
from perse.dataset import Dataset
from test_training_parallel import SHARED, learn
with ranks() as r:
    learn(Dataset.open(sys.argv[2]), Path(sys.argv[3]), r)
"""
# Five subjects: the processes' shares differ. The points change after steps 3 and 6.
SHARED = tiny_config(
    steps=7,
    warmup=0.0,
    subjects_per_step=5,
    flame_every=1,
    density=DensityConfig(start_points=1200, every=0.43, prune_opacity=0.1),
)
UNCHANGED = 2
"""Steps before the points first change."""


def learn(dataset: Dataset, out: Path, ranks: Ranks) -> dict[str, dict[str, torch.Tensor]]:
    """Weights at the start, before the points first change, and at the end; each process also writes its own."""
    training = Training(dataset, SHARED, out, open_head(), ranks)
    seen: dict[str, dict[str, torch.Tensor]] = {}

    def keep(name: str) -> None:
        seen[name] = {n: t.detach().clone() for n, t in training.model.state_dict().items()}
        save_file(seen[name], out.with_name(f"{name}{ranks.rank}"))

    keep("start")
    training.run(progress=False, on_step=lambda step: keep("unchanged") if step == UNCHANGED else None)
    keep("end")
    return seen


def drift(
    one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], start: dict[str, torch.Tensor]
) -> dict:
    """How far apart two trainings are for every weight, in shares of the way that `one` has come."""
    shares = {}
    for name, t in one.items():
        assert t.shape == other[name].shape, name
        if t.is_floating_point() and t.shape == start[name].shape and not torch.equal(t, start[name]):
            shares[name] = float((t - other[name]).norm() / ((t - start[name]).norm() + 1e-3))
    return shares


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """Gradients of layers that only one process drew, uneven shares, and points that both must change alike."""
    dataset = shared_dataset()
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [
        str(tmp_path / "worker.py"),
        str(Path(__file__).parent),
        str(dataset.path),
        str(tmp_path / "two"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == [
        "checkpoint.safetensors",
        "log.jsonl",
        "start.safetensors",
    ]
    two = {name: load_file(tmp_path / f"{name}0") for name in ("unchanged", "end")}
    for name, weights in two.items():
        other = load_file(tmp_path / f"{name}1")
        assert all(torch.equal(weights[n], other[n]) for n in weights), "the processes drifted apart"

    (tmp_path / "single").mkdir()
    one = learn(dataset, tmp_path / "single" / "one", Ranks(0, 1))
    # Rounding of sums, which Adam's division blows up where gradients are almost nothing.
    early = drift(one["unchanged"], two["unchanged"], one["start"])
    assert len(early) > 20
    assert max(early.values()) < 2e-3, max(early, key=early.get)
    # Where two births are equally due, rounding chooses; one process that adds up in another order drifts by 0.12.
    late = drift(one["end"], two["end"], one["start"])
    assert max(late.values()) < 0.3, max(late, key=late.get)


def test_a_step_of_two_subjects_adds_the_gradients_of_both(tmp_path: Path) -> None:
    """The paper's release does not accumulate what it says it accumulates."""
    dataset = shared_dataset()
    training = Training(dataset, tiny_config(subjects_per_step=2), tmp_path / "t", open_head())
    model = training.model

    def gradients() -> dict[str, torch.Tensor]:
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    single = []
    for part in range(2):
        training.optimizer.zero_grad(set_to_none=True)
        training.objective.terms(model, 0, part).total().backward()
        single.append(gradients())
    training.one_step()
    both = gradients()
    assert set(both) == set(single[0]) | set(single[1])
    assert set(single[0]) != set(single[1]), "the two subjects wear the same layers: nothing is tested"
    for name, found in both.items():
        parts = [g[name] for g in single if name in g]
        assert torch.allclose(found, sum(parts) / 2, rtol=1e-3, atol=1e-7), name


def test_more_processes_than_subjects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PerseError, match="set subjects_per_step to 4"):
        Training(shared_dataset(), TrainConfig(), tmp_path / "t", open_head(), Ranks(0, 4))
