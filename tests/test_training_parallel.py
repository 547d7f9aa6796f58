"""Several processes, and several subjects a step: the same avatar as one process with the same batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from perse._ranks import Ranks
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
from perse.training import train
from test_training_parallel import SHARED
with ranks() as r:
    avatar = train(Dataset.open(sys.argv[2]), SHARED, Path(sys.argv[3]), progress=False)
    avatar.save(Path(sys.argv[3]).with_name(f"avatar{r.rank}"))
"""
# Five subjects: the processes' shares differ. The points change after steps 2, 4 and 6.
SHARED = tiny_config(
    steps=7,
    warmup=0.0,
    subjects_per_step=5,
    flame_every=1,
    density=DensityConfig(start_points=1200, every=0.3, prune_opacity=0.1),
)


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
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in ("avatar0", "avatar1"))
    assert all(torch.equal(a[name], b[name]) for name in a), "the processes drifted apart"

    one = Training(dataset, SHARED, tmp_path / "one", open_head())
    start = {name: t.clone() for name, t in one.model.state_dict().items()}
    one.run(progress=False)
    moved = 0
    for name, t in one.model.state_dict().items():
        assert t.shape == a[name].shape, name
        if not t.is_floating_point() or t.shape != start[name].shape:
            continue
        way = float((t - start[name]).norm())
        # Rounding of sums, which Adam's division blows up where gradients are almost nothing.
        assert float((t - a[name]).norm()) <= 2e-3 * way + 1e-6, name
        moved += way > 0
    assert moved > 20
    sizes = {name: a[name].shape for name in a if name.endswith(".points")}
    assert sizes == {n: t.shape for n, t in one.model.state_dict().items() if n.endswith(".points")}


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
