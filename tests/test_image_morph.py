"""Frames between two frames: outlines move, ends stay, what surrounds the part is shown without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perse.dataset import Dataset, Frame, category_code, morph_images
from perse.errors import PerseError
from perse.image_blends import image_blends
from perse.training import PlannedBlend, blend_motion, matching_rows
from synthetic import shared_dataset

HAT = category_code("hat")
SIZE = 64


def head_with_hat(center: tuple[float, float], radius: float, color: tuple[int, int, int]) -> Frame:
    """A grey square with a disc that is its hat."""
    y, x = np.mgrid[:SIZE, :SIZE]
    body = (abs(x - 32) < 20) & (y > 20)
    hat = np.hypot(x - center[0], y - center[1]) < radius
    rgb = np.full((SIZE, SIZE, 3), 255, np.uint8)
    rgb[body] = 120
    rgb[hat] = color
    labels = np.where(hat, HAT, body).astype(np.uint8)
    return Frame(rgb, ((body | hat) * 255).astype(np.uint8), labels)


@given(st.floats(0.1, 0.9))
def test_a_part_grows_and_the_rest_stays(weight: float) -> None:
    """Half way between a small and a large hat is a hat of middle size, not two ghosts."""
    small, large = head_with_hat((32, 18), 6, (200, 0, 0)), head_with_hat((32, 18), 14, (0, 0, 200))
    found = morph_images(small, large, "hat", weight)
    radius = 6 + 8 * weight
    assert float((found.labels == HAT).sum() / np.pi) ** 0.5 == pytest.approx(radius, abs=1.5)
    wanted = torch.tensor([200 * (1 - weight), 0, 200 * weight])
    assert (found.rgb[18, 32] - wanted).abs().max() <= 2
    edge = 18 - round(radius) - 4  # above the hat: the background, in no mixture with the larger one
    assert edge < 0 or int(found.rgb[edge, 32].min()) == 255
    assert int(found.alpha[60, 32]) == 255
    assert int(found.alpha[60, 2]) == 0


def test_ends_are_the_frames_and_equal_frames_have_themselves_between() -> None:
    """Nothing is lost at the ends."""
    first, second = head_with_hat((30, 18), 8, (200, 0, 0)), head_with_hat((36, 18), 8, (0, 200, 0))
    assert morph_images(first, second, "hat", 0) is first
    assert morph_images(first, second, "hat", 1) is second
    same = morph_images(first, first, "hat", 0.5)
    inside = (same.labels == HAT) & (first.labels == HAT)
    assert int((same.labels != first.labels).sum()) <= 8
    assert bool((same.rgb[inside] == first.rgb[inside]).all())


def test_a_hidden_part_fades() -> None:
    """One frame does not show it: there is no outline to go to."""
    hat = head_with_hat((32, 18), 10, (200, 0, 0))
    bare = head_with_hat((32, 18), 0, (0, 0, 0))
    found = morph_images(bare, hat, "hat", 0.5)
    assert int(found.rgb[12, 32, 1]) == pytest.approx(127, abs=12)


def test_what_has_nothing_between_is_refused() -> None:
    """Frames of two sizes, and weights outside."""
    hat = head_with_hat((32, 18), 10, (200, 0, 0))
    with pytest.raises(PerseError, match="between"):
        morph_images(hat, Frame(hat.rgb[:32], hat.alpha[:32], hat.labels[:32]), "hat", 0.5)
    with pytest.raises(PerseError, match="weight"):
        morph_images(hat, hat, "hat", 1.5)


def test_blends_of_a_dataset_are_made_once_and_leave_out_what_has_no_part(tmp_path) -> None:
    """The person without a beard has no outline for one to grow from."""
    dataset = shared_dataset()
    planned = [PlannedBlend("hat", 4, 5, 3), PlannedBlend("beard", 0, 3, 3)]
    motion = blend_motion(dataset.motion, 2)
    image_blends(dataset, planned, motion, tmp_path / "blends", progress=False)
    made = Dataset.open(tmp_path / "blends", blends=True)
    assert [s.id for s in made.subjects] == [planned[0].id]
    assert made.subjects[0].points() is None
    at = matching_rows(motion, dataset.motion)
    between = made.load_frames(made.subjects[0], range(2))[0].float()
    for end in (4, 5):
        assert float((between - dataset.load_frames(dataset.subjects[end], at)[0]).abs().mean()) > 0.1
    before = made.subjects[0].content
    image_blends(dataset, planned, motion, tmp_path / "blends", progress=False)
    assert Dataset.open(tmp_path / "blends", blends=True).subjects[0].content == before
