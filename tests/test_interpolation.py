"""Distances between sets of pictures and smoothness of paths, against closed forms and plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
import skimage.data
import torch
from PIL import Image

from perse.cli import main
from perse.errors import PerseError
from perse.evaluation import (
    InterpolationProtocol,
    PictureFeatures,
    between,
    evaluate_interpolation,
    frechet_distance,
    kernel_distance,
    path_length,
    path_variance,
)
from synthetic import shared_dataset, small_avatar


def rows(count: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.randn(count, width, generator=generator, dtype=torch.float64) @ mixing + seed


@pytest.mark.parametrize("count", [5, 40])
def test_frechet_distance_is_the_textbook_formula(count: int) -> None:
    """Fails when means, covariances or the matrix root are wrong, with more rows than columns and with fewer."""
    a, b = rows(count, 8, 0), rows(count + 3, 8, 1)
    cov_a, cov_b = np.cov(a.numpy(), rowvar=False), np.cov(b.numpy(), rowvar=False)
    jitter = 1e-9 * np.eye(8)
    root = scipy.linalg.sqrtm((cov_a + jitter) @ (cov_b + jitter)).real
    expected = float(((a.mean(0) - b.mean(0)) ** 2).sum()) + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-3)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9 * float(a.square().sum()))
    assert frechet_distance(a, a + 2) == pytest.approx(4 * 8, rel=1e-6)


def test_kernel_distance_is_the_mean_over_all_pairs() -> None:
    """Fails when the estimate is biased (a row compared with itself) or the kernel is another one."""
    a, b = rows(7, 4, 0), rows(5, 4, 1)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
        return float((x @ y / 4 + 1) ** 3)

    within = [np.mean([kernel(x, y) for x, y in itertools.permutations(part, 2)]) for part in (a, b)]
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(sum(within) - 2 * across, rel=1e-9)
    same = kernel_distance(rows(400, 4, 0), rows(400, 4, 0).flip(0))
    assert abs(same) < 0.05 * abs(kernel_distance(rows(400, 4, 0), rows(400, 4, 3)))


@pytest.mark.parametrize("shapes", [((1, 4), (5, 4)), ((5, 4), (5, 3)), ((5,), (5, 4))])
def test_sets_that_cannot_be_compared_are_refused(shapes) -> None:
    """Fails when a distance of nonsense is a number."""
    a, b = (torch.zeros(shape) for shape in shapes)
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(PerseError, match="two or more rows"):
            distance(a, b)


def test_a_path_in_even_steps_has_no_variance() -> None:
    """Fails when PPL is not the sum, or PDV not the population variance, of the steps."""
    steps = torch.tensor([[0.1, 0.1, 0.1, 0.1], [0.0, 0.4, 0.0, 0.0]])
    assert torch.allclose(path_length(steps), torch.tensor([0.4, 0.4]))
    assert torch.allclose(path_variance(steps), torch.tensor([0.0, 0.03]), atol=1e-7)


def test_features_do_not_depend_on_batches() -> None:
    """Fails when a batch is lost, or pictures of several sizes get mixed up."""
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.rand(64 + 32 * (k % 2), 64, 3, generator=generator) for k in range(5)]
    features = PictureFeatures()
    whole = features(iter(pictures))
    assert whole.shape == (5, 1280)
    for k, picture in enumerate(pictures):
        assert torch.allclose(whole[k], features([picture])[0], atol=1e-4)


def test_looks_between_are_judged_by_category() -> None:
    """Fails when a category is left out, ends are not the learned looks, or a reference is not compared with."""
    avatar, dataset = small_avatar(), shared_dataset()
    motion = dataset.motion.select(dataset.heldout_indices)
    protocol = InterpolationProtocol(pairs=1, steps=2, poses=1)
    learned = [s for s in avatar.subjects if len(s.attributes) == 1]
    categories = [s.attributes[0].category for s in learned]
    doubled = {c for c in categories if categories.count(c) > 1}
    generator = torch.Generator().manual_seed(0)
    references = {"unseen": PictureFeatures()(torch.rand(6, 64, 64, 3, generator=generator))}
    result = evaluate_interpolation(avatar, motion, references, protocol, progress=False)
    assert set(result["per_category"]) == doubled
    assert result["pairs"] == len(doubled)
    assert result["pictures"] == 4 * len(doubled)
    assert result["frechet_unseen"] > 0
    for row in (result, *result["per_category"].values()):
        assert row["ppl"] > 0
        assert row["ppl_crossfade"] > 0
    again = evaluate_interpolation(avatar, motion, references, protocol, progress=False)
    assert again == result
    first, second = (
        (s for s in learned if s.attributes[0].category == min(doubled)) if doubled else (None, None)
    )
    looks = list(between(avatar, avatar.look_of(first.id), avatar.look_of(second.id), min(doubled), 2))
    assert torch.equal(looks[0].codes.z, avatar.look_of(first.id).codes.z)
    assert len(looks) == 4


def test_the_command_writes_figures_and_pictures(tmp_path, capsys) -> None:
    """Fails when `perse evaluate` leaves out a figure, or takes a folder without faces for a reference."""
    avatar, dataset = small_avatar(), shared_dataset()
    avatar.save(tmp_path / "avatar")
    faces = tmp_path / "faces"
    faces.mkdir()
    command = [
        "evaluate",
        str(tmp_path / "avatar"),
        "--dataset",
        str(dataset.path),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*command, "--faces", str(faces)]) == 2
    assert "two are the least" in capsys.readouterr().err
    assert main([*command, "--unseen", str(dataset.path)]) == 2
    assert "was learned" in capsys.readouterr().err
    for name in ("a.png", "b.png"):
        Image.fromarray(skimage.data.astronaut()).save(faces / name)
    Image.fromarray(np.full((80, 80, 3), 90, np.uint8)).save(faces / "wall.png")
    assert main([*command, "--faces", str(faces)]) == 0
    assert "left out" in capsys.readouterr().out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "evaluation.json",
        "evaluation.md",
        "evaluation.svg",
        "between.jpg",
    }
    assert "LPIPS" in (tmp_path / "out" / "evaluation.svg").read_text()
    table = (tmp_path / "out" / "evaluation.md").read_text()
    assert "frechet, faces" in table
    assert "PSNR" in table
