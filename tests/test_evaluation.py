"""Evaluation: each metric against what is known in closed form, and the whole protocol on a real small avatar."""

import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import skimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from perse.avatar import Avatar, Rendering
from perse.dataset import LABEL_CODE, Dataset, from_uint8
from perse.errors import PerseError
from perse.evaluation import (
    Leakage,
    Perceptual,
    dilate,
    evaluate,
    foreground,
    format_figure,
    identity_distance,
    part_region,
    psnr,
    ssim,
    table,
)
from perse.perception import identity_embedding, landmarks
from perse.training import TrainConfig, train
from synthetic import SUBJECTS, make_dataset


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# ---- pictures ----------------------------------------------------------------------------------------------


@given(st.floats(1e-4, 1.0))
def test_psnr_of_a_constant_error(error):
    """PSNR is -20 log10 of a constant error; a wrong peak or a sum for a mean would shift it."""
    image = torch.zeros(2, 8, 8, 3)
    assert psnr(image + error, image).tolist() == pytest.approx([-20 * math.log10(error)] * 2, abs=1e-3)


def test_psnr_is_per_frame_masked_and_finite():
    """Frames must not be mixed, a mask must count its own pixels only, equal pictures must stay valid JSON."""
    target = torch.zeros(2, 4, 4, 3)
    image = target.clone()
    image[1, :2] = 0.1
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[:, :2] = True
    assert psnr(image, target).tolist() == pytest.approx([100, 20 + 10 * math.log10(2)], abs=1e-3)
    assert psnr(image, target, mask).tolist() == pytest.approx([100, 20], abs=1e-3)
    assert psnr(image, target, ~mask).tolist() == [100, 100]
    assert psnr(image, target, torch.zeros_like(mask)).tolist() == [100, 100]


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.3])
def test_ssim_equals_skimage(spread):
    """Our SSIM must be the one of the papers: skimage's, with a Gaussian window over the interior."""
    photo = skimage.data.astronaut()[::4, ::4].astype(np.float32) / 255
    other = (photo + spread * np.random.default_rng(0).normal(size=photo.shape)).clip(0, 1).astype(np.float32)
    expected = structural_similarity(
        photo,
        other,
        channel_axis=-1,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    found = ssim(torch.from_numpy(other)[None], torch.from_numpy(photo)[None])
    assert float(found) == pytest.approx(expected, abs=2e-4)


def test_lpips_orders_distortions():
    """A perceptual distance that is not zero at equality, or does not grow with blur, would be miswired."""
    photo = torch.from_numpy(skimage.data.astronaut()[:256, 64:320].astype(np.float32) / 255)[None]
    blurred = [
        torch.nn.functional.avg_pool2d(photo.movedim(-1, 1), k, 1, k // 2, count_include_pad=False).movedim(
            1, -1
        )
        for k in (3, 9)
    ]
    distance = Perceptual()
    same, little, much = (float(distance(photo, other)) for other in (photo, *blurred))
    assert same == pytest.approx(0, abs=1e-6)
    assert 0.01 < little < much < 1
    with pytest.raises(PerseError, match="64 pixels"):
        distance(photo[:, :32], photo[:, :32])


# ---- identity ----------------------------------------------------------------------------------------------


def test_identity_knows_the_person():
    """Zero for the same picture, small for a smaller and darker one, None without a face."""
    photo = torch.from_numpy(skimage.data.astronaut()[:320, 70:390].astype(np.float32) / 255)
    reference = identity_embedding(photo, landmarks(photo)[0].landmarks)
    assert identity_distance(photo, reference) == pytest.approx(0, abs=1e-4)
    small = identity_distance((photo * 0.9)[::2, ::2].contiguous(), reference)
    assert small is not None
    assert 0 < small < 0.35
    assert identity_distance(noise(256, 256, 3), reference) is None


# ---- leakage -----------------------------------------------------------------------------------------------


def test_dilation_is_a_disc():
    """The region grows by the radius in every direction, no more on the diagonals."""
    point = torch.zeros(1, 21, 21, dtype=torch.bool)
    point[0, 10, 10] = True
    y, x = np.mgrid[-10:11, -10:11]
    assert np.array_equal(dilate(point, 6)[0].numpy(), y**2 + x**2 <= 36)


def test_leakage_counts_only_outside_the_part():
    """Closed form: half of the person changes by 0.2 outside the part; what happens inside is nobody's business."""
    reference, alpha = torch.zeros(1, 8, 8, 3), torch.zeros(1, 8, 8)
    alpha[:, :, :6] = 1
    drawn = reference.clone()
    drawn[:, :, :2] = 0.9  # inside the part
    drawn[:, :4, 2:6] = 0.2  # outside
    drawn[:, :, 6:] = 0.7  # background
    region = torch.zeros(1, 8, 8, dtype=torch.bool)
    region[:, :, :2] = True
    leakage = Leakage()
    leakage.add(drawn, reference, foreground(alpha, torch.zeros_like(alpha)), region)
    assert leakage.mean == pytest.approx(0.1, abs=1e-6)
    assert leakage.share == pytest.approx(4 / 6)
    assert Leakage().mean is None


def test_part_region_holds_labels_changes_and_pressed_hair():
    """Too small a region blames the avatar for what the data does; too large a one hides its leaks."""
    size = 256
    empty = torch.zeros(1, size, size, dtype=torch.uint8)
    hat, hair = empty.clone(), empty.clone()
    hat[0, 20:40, 100:120] = LABEL_CODE["hat"]
    hair[0, 150:160, 100:120] = LABEL_CODE["hair"]
    rgb = torch.full((1, size, size, 3), 100, dtype=torch.uint8)
    changed = rgb.clone()
    changed[0, 220:230, 220:230] = 140
    region = part_region("hat", (hat, hair), (changed, rgb))
    assert region[0, 30, 110], "the label"
    assert region[0, 155, 110], "the hair under it"
    assert region[0, 225, 225], "the change"
    assert region[0, 30, 120 + 5], "dilated by 6"
    assert not region[0, 30, 120 + 7]
    assert not part_region("nose", (hat, hair), (rgb, rgb)).any()
    assert not part_region("beard", (hair, hair), (rgb, rgb)).any()
    coding_noise = (rgb + torch.randint(0, 5, rgb.shape, generator=torch.Generator().manual_seed(0))).to(
        torch.uint8
    )
    assert not part_region("nose", (empty, empty), (coding_noise, rgb)).any(), (
        "noise of the codec is no change"
    )


# ---- the protocol ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("evaluation") / "data", train=6, heldout=3)


@pytest.fixture(scope="module")
def avatar(dataset, tmp_path_factory) -> Avatar:
    """A real avatar, hardly trained."""
    config = dataclasses.replace(TrainConfig.preset("tiny"), steps=4)
    return train(dataset, config, tmp_path_factory.mktemp("evaluation") / "train", progress=False)


class Mirror:
    """Draws the dataset's own frames: what a perfect avatar would."""

    device = torch.device("cpu")

    def __init__(self, dataset: Dataset, error: float = 0.0) -> None:
        self._dataset = dataset
        self._error = error

    def look_of(self, subject_id: str) -> SimpleNamespace:
        return SimpleNamespace(subject=self._dataset.subject(subject_id))

    def render_layers(self, look, expr, pose, camera=None, background=1.0) -> Rendering:
        turns = self._dataset.motion.pose[:, :6]
        rows = [int((turns - p[:6]).norm(dim=1).argmin()) for p in pose]
        rgb, alpha, _ = self._dataset.load_frames(look.subject, rows)
        shift = 0.0 if look.subject.is_reference else self._error
        return Rendering(from_uint8(rgb) + shift, from_uint8(alpha))


def test_a_perfect_avatar_gets_perfect_figures(dataset):
    """If the truth itself does not score perfectly, frames, looks or regions are mixed up somewhere."""
    metrics = evaluate(Mirror(dataset), dataset, progress=False)
    assert metrics["psnr"] == metrics["psnr_foreground"] == 100
    assert metrics["ssim"] == pytest.approx(1, abs=1e-6)
    assert metrics["lpips"] == pytest.approx(0, abs=1e-6)
    assert metrics["subjects"] == len(SUBJECTS) == 8
    assert metrics["categories"] == 5
    assert metrics["frames_heldout"] == 3
    assert metrics["identity"] == metrics["identity_motion"] == metrics["identity_dataset"]
    assert metrics["leakage"] == pytest.approx(metrics["leakage_dataset"])
    assert 0 < metrics["leakage"]["mean"] < 3 / 255, "what remains is below the threshold of a change"


def test_a_known_leak_is_measured(dataset):
    """Every look but the reference 0.1 too bright: leakage must say 0.1, wherever one looks."""
    metrics = evaluate(Mirror(dataset, error=0.1), dataset, progress=False, identity_frames=0)
    for category in ("hair", "beard", "hat", "nose", "clothes"):
        assert metrics["leakage"][category] == pytest.approx(0.1, abs=0.006), category
        assert 0.05 < metrics["leakage_area"][category] <= 1
    assert metrics["per_subject"]["000-reference"]["psnr"] == 100
    assert metrics["per_subject"]["003-beard"]["psnr"] == pytest.approx(20, abs=0.01)
    assert metrics["per_category"]["reference"]["leakage"] is None
    assert metrics["identity"] is None


def test_a_real_avatar_is_evaluated_on_heldout_frames(avatar, dataset):
    """The protocol with every real class; the table in it must be complete and JSON must take it."""
    metrics = evaluate(avatar, dataset, progress=False)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    wanted = {"psnr", "ssim", "lpips", "identity", "leakage", "subjects", "categories", "frames_heldout"}
    assert wanted <= metrics.keys()
    assert 8 < metrics["psnr"] < 60
    assert 0 < metrics["ssim"] < 1
    assert 0 < metrics["lpips"] < 1.5
    assert (
        metrics["faces_missing"] + sum(s.get("identity") is not None for s in metrics["per_subject"].values())
        > 0
    )
    assert set(metrics["per_subject"]) == set(SUBJECTS)
    assert set(metrics["per_category"]) == {"reference", "hair", "beard", "hat", "nose", "clothes"}
    assert metrics["per_category"]["hat"]["subjects"] == 2
    mean = sum(row["psnr"] for row in metrics["per_subject"].values()) / 8
    assert metrics["psnr"] == pytest.approx(mean)
    again = evaluate(avatar, dataset, progress=False)
    assert again == metrics, "the same avatar must get the same figures"
    text = table(metrics)
    assert text.count("\n") == 2 + 6 + 2
    assert f"| all | 8 | {metrics['psnr']:.2f} |" in text


def test_nothing_to_evaluate_on_is_said(avatar, dataset, tmp_path):
    """A motion without held-out frames must not give an average over nothing; a foreign dataset is named."""
    everything = make_dataset(
        tmp_path / "data",
        train=2,
        heldout=0,
        subjects={"000-reference": (), "999-else": SUBJECTS["003-beard"]},
    )
    with pytest.raises(PerseError, match="holds out no frame"):
        evaluate(avatar, everything, progress=False)
    with pytest.raises(PerseError, match="999-else"):
        evaluate(avatar, everything, progress=False, indices=[1])
    assert format_figure(None, 3) == "-"
