"""From a photo to a Portrait and from a video to a Motion, with every way in which a user's file can be wrong."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from perse.capture import (
    CaptureWarning,
    capture,
    fit_error,
    fit_overlay,
    load_image,
    parts_overlay,
    track,
    track_details,
    tracking_overlay,
)
from perse.capture.fit import fit_landmarks, lips_touch, pose_vector
from perse.capture.frames import FrameSolver
from perse.capture.framing import asymmetry, check_face, choose_face, head_square
from perse.capture.matting import alpha_matte, guided_filter
from perse.capture.model import LandmarkModel, view_matrix
from perse.capture.overlay import shade_head
from perse.capture.portrait import project, project_landmarks
from perse.capture.tracking import shut_jaw
from perse.capture.video import video_info
from perse.dataset import Motion, Portrait, default_motion
from perse.errors import PerseError
from perse.head import open_head
from perse.perception import Face, landmarks
from perse.viewer import write_video

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def portrait(photo: np.ndarray) -> Portrait:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaptureWarning)
        return capture(photo, name="astronaut")


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel(open_head())


# --- reading photos


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def test_png_is_read_exactly(tmp_path: Path, photo: np.ndarray) -> None:
    """Fails when values are scaled or channels swapped."""
    image = load_image(save(tmp_path / "a.png", photo))
    assert image.dtype == torch.float32
    assert torch.equal((image * 255).round().to(torch.uint8), torch.from_numpy(photo))


def test_exif_turn_is_applied(tmp_path: Path, photo: np.ndarray) -> None:
    """Fails when phone photos come in lying on their side."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    lying = np.ascontiguousarray(np.rot90(photo[:, :400]))
    image = load_image(save(tmp_path / "a.png", lying, exif=exif))
    assert image.shape == (512, 400, 3)
    assert torch.equal((image * 255).round().to(torch.uint8), torch.from_numpy(photo[:, :400].copy()))


def test_transparency_goes_over_white(tmp_path: Path, photo: np.ndarray) -> None:
    """Fails when transparent pixels come out black, or in the colour hidden under them."""
    rgba = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    rgba[:100, :, 3] = 0
    rgba[100:200, :, 3] = 128
    image = load_image(save(tmp_path / "a.png", rgba))
    assert bool((image[:100] == 1).all())
    expected = photo[150, 200].astype(float) / 255 * 128 / 255 + 127 / 255
    assert np.allclose(image[150, 200].numpy(), expected, atol=1e-3)
    assert np.allclose(load_image(rgba).numpy(), image.numpy(), atol=1e-6)
    palette = Image.fromarray(photo).quantize(32)
    palette.info["transparency"] = 0
    palette.save(tmp_path / "p.png", transparency=0)
    index_zero = np.asarray(palette) == 0
    assert bool((load_image(tmp_path / "p.png")[torch.from_numpy(index_zero)] == 1).all())


def test_greys_of_8_and_16_bits(tmp_path: Path, photo: np.ndarray) -> None:
    """Fails when 16-bit values are clipped or wrap around."""
    grey = photo[..., 1]
    deep = grey.astype(np.uint16) * 257
    first = load_image(save(tmp_path / "a.png", grey))
    second = load_image(save(tmp_path / "b.png", deep))
    third = load_image(save(tmp_path / "c.tif", deep))
    assert first.shape == (512, 512, 3)
    assert torch.allclose(first, second, atol=1e-6)
    assert torch.allclose(first, third, atol=1e-6)
    assert torch.allclose(load_image(deep), first, atol=1e-6)
    assert torch.allclose(load_image(Path(save(tmp_path / "d.jpg", grey, quality=98))), first, atol=0.05)


@pytest.mark.parametrize("keep", [0, 10, 200, 20_000])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_truncated_files(tmp_path: Path, photo: np.ndarray, suffix: str, keep: int) -> None:
    """Fails when a half-copied photo becomes a half-grey portrait, or a traceback."""
    whole = save(tmp_path / f"whole.{suffix}", photo, quality=95)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(PerseError, match=r"cut\."):
        load_image(cut)


def test_bombs_are_refused_before_they_unpack(tmp_path: Path) -> None:
    """Fails when a 200 kB file may ask for gigabytes."""
    bomb = tmp_path / "bomb.png"
    Image.new("1", (30_000, 30_000)).save(bomb)
    started = time.perf_counter()
    with pytest.raises(PerseError, match="million"):
        load_image(bomb)
    large = tmp_path / "large.png"
    Image.new("1", (9_000, 6_000)).save(large)
    with pytest.raises(PerseError, match="9000 x 6000"):
        load_image(large)
    assert time.perf_counter() - started < 2


def test_other_unusable_pictures(tmp_path: Path) -> None:
    """Fails when any of these ends in something but a message for the user."""
    text = tmp_path / "a.jpg"
    text.write_text("not a picture")
    script = tmp_path / "a.eps"
    script.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n")
    for bad in (tmp_path / "none.png", tmp_path, text, script):
        with pytest.raises(PerseError):
            load_image(bad)
    for array in (
        np.zeros((100, 100, 2), np.uint8),
        np.zeros((100,), np.uint8),
        np.full((100, 100, 3), np.nan),
        np.full((100, 100, 3), 255.0),
        np.zeros((100, 100, 3), np.int64),
        np.zeros((8, 8, 3), np.uint8),
    ):
        with pytest.raises(PerseError):
            load_image(array)


# --- which face


def test_no_face(photo: np.ndarray) -> None:
    """Fails when a picture without a person goes on into the build."""
    with pytest.raises(PerseError, match="no face found"):
        capture(skimage.data.coffee())


def test_two_faces_and_the_choice_between_them(photo: np.ndarray) -> None:
    """Fails when the wrong person is taken, or the user does not hear that there was a choice."""
    second = cv2.copyMakeBorder(cv2.resize(photo, (400, 400)), 112, 0, 0, 0, cv2.BORDER_REPLICATE)
    faces = landmarks(np.concatenate([second, photo], 1))
    with pytest.warns(CaptureWarning, match=r"2 faces; took number 1 from the left.*--face"):
        assert choose_face(faces, None, "x.jpg").box[0] > 400
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_face(faces, 0, "x.jpg").box[0] < 400
    with pytest.raises(PerseError, match="there are 2 faces"):
        choose_face(faces, 2, "x.jpg")


def test_small_faces(photo: np.ndarray) -> None:
    """Fails when a face of a few pixels is captured without a word."""
    with pytest.warns(CaptureWarning, match="small"):
        check_face(landmarks(photo)[0], "x.jpg")
    tiny = cv2.resize(photo, (150, 150), interpolation=cv2.INTER_AREA)
    with pytest.raises(PerseError, match="too small"):
        capture(cv2.copyMakeBorder(tiny, 50, 50, 50, 50, cv2.BORDER_REPLICATE))


def turned(face: Face, yaw: float) -> Face:
    matrix = face.matrix.clone()
    angle = math.radians(yaw)
    matrix[:3, :3] = torch.tensor(
        [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
    )
    return dataclasses.replace(face, matrix=matrix, landmarks=face.landmarks * 3)


def test_profiles_are_refused(photo: np.ndarray) -> None:
    """Fails when half a face is taken for a whole one: by the head's angle, and by the nose's place."""
    (face,) = landmarks(photo)
    check_face(turned(face, 30), "x.jpg")
    for yaw in (60, -60):
        with pytest.raises(PerseError, match=r"60 degrees.*profile"):
            check_face(turned(face, yaw), "x.jpg")
    assert asymmetry(face.landmarks) < 2
    points = face.landmarks.clone() * 3
    points[1] = points[234] - torch.tensor([5.0, 0, 0])
    with pytest.raises(PerseError, match="profile"):
        check_face(dataclasses.replace(face, landmarks=points), "x.jpg")


@pytest.mark.parametrize("yaw", [-65.0, 65.0])
def test_a_head_seen_from_the_side_is_refused(portrait: Portrait, yaw: float) -> None:
    """Fails when a real profile (the fitted head, turned) gets through."""
    pose = portrait.pose.clone()
    pose[4] = math.radians(yaw)
    shaded, cover = shade_head(open_head(), portrait.betas, portrait.expr, pose, portrait.camera)
    with pytest.raises(PerseError, match=r"profile|no face"):
        capture(shaded + 0.8 * (1 - cover[..., None]))


# --- the portrait


def test_capture_of_a_real_photo(portrait: Portrait) -> None:
    """Fails when the head does not fit, the crop is off, or the head's turn is left in the pose."""
    assert portrait.image.shape == (512, 512, 3)
    assert fit_error(portrait) < 1.5
    assert torch.equal(portrait.pose[:6], torch.zeros(6))
    assert portrait.name == "astronaut"
    assert float(portrait.betas.square().mean().sqrt()) < 1.5
    assert 0 <= float(portrait.pose[6]) < math.radians(12)
    eyes = portrait.landmarks[[33, 133, 263, 362], :2].mean(0)
    assert torch.allclose(eyes, torch.tensor([256.0, 256.0]), atol=40)
    assert 0.6 < float(portrait.camera.viewmat[2, 3]) < 1.4


def test_capture_takes_seconds(photo: np.ndarray) -> None:
    """Fails when a solver loses its good start or its derivatives: it then takes minutes."""
    started = time.perf_counter()
    with pytest.warns(CaptureWarning):
        capture(photo)
    assert time.perf_counter() - started < 30


def test_alpha_and_parts(portrait: Portrait) -> None:
    """Fails when the person is cut out at the wrong place or with holes."""
    assert float(portrait.alpha[:40, :40].max()) < 0.02
    x, y = (int(v) for v in portrait.landmarks[1, :2])
    assert float(portrait.alpha[y - 60 : y + 60, x - 60 : x + 60].min()) > 0.98
    assert float(portrait.alpha[470:500, 170:330].min()) > 0.9  # black cloth
    assert 0.4 < float(portrait.alpha.mean()) < 0.75
    assert torch.allclose(portrait.segmentation.sum(-1), torch.ones(512, 512), atol=1e-3)


def test_portrait_survives_the_disk(tmp_path: Path, portrait: Portrait) -> None:
    """Fails when what capture returns is not what a Portrait can hold."""
    again = Portrait.load(portrait.save(tmp_path / "p"))
    assert torch.allclose(again.landmarks, portrait.landmarks, atol=1e-3)
    assert fit_error(again) == pytest.approx(fit_error(portrait), abs=1e-3)


def test_capture_at_another_size(photo: np.ndarray, portrait: Portrait) -> None:
    """Fails when something is bound to 512 pixels: camera and landmarks must scale."""
    with pytest.warns(CaptureWarning):
        small = capture(photo, size=256)
    assert small.image.shape == (256, 256, 3)
    assert fit_error(small) < 1.7
    ratio = small.camera.K[0, 0] / portrait.camera.K[0, 0]
    assert float(ratio) == pytest.approx(0.5)
    offset = small.landmarks[:, :2] * 2 - portrait.landmarks[:, :2]
    assert float(torch.linalg.vector_norm(offset, dim=-1).mean()) < 3
    with pytest.raises(PerseError, match="not possible"):
        capture(photo, size=10)


def test_overlays(portrait: Portrait) -> None:
    """Fails when the drawn head is not where the fitted landmarks are."""
    assert fit_overlay(portrait).shape == (512, 1536, 3)
    assert parts_overlay(portrait).shape == (512, 1536, 3)
    _, cover = shade_head(open_head(), portrait.betas, portrait.expr, portrait.pose, portrait.camera)
    pixels = project_landmarks(portrait, open_head()).long()
    assert float(cover[pixels[:, 1], pixels[:, 0]].mean()) > 0.97


def test_photo_cut_close_is_warned_about(photo: np.ndarray) -> None:
    """Fails when invented border pixels pass in silence."""
    with pytest.warns(CaptureWarning, match="cut close"):
        tight = capture(np.ascontiguousarray(cv2.resize(photo, None, fx=3, fy=3)[60:600, 450:900]))
    assert tight.image.isfinite().all()


def test_framing_is_the_ffhq_square(photo: np.ndarray) -> None:
    """Fails when eyes and mouth no longer decide the crop."""
    (face,) = landmarks(photo)
    square = head_square(face.landmarks)
    moved = head_square(face.landmarks * 2 + 10)
    assert moved.side == pytest.approx(2 * square.side, rel=1e-4)
    assert moved.left == pytest.approx(2 * square.left + 10, abs=0.1)


# --- pieces


def test_guided_filter_keeps_edges_and_means() -> None:
    """Fails when the filter blurs over colour edges: a noisy mask must take on the guide's shape."""
    guide = np.zeros((64, 64, 3), np.float32)
    guide[:, 32:] = (0.9, 0.5, 0.2)
    rng = np.random.default_rng(0)
    truth = (np.arange(64) >= 32).astype(np.float32)[None].repeat(64, 0)
    noisy = np.clip(truth + rng.normal(0, 0.3, truth.shape), 0, 1)
    filtered = guided_filter(guide, noisy, 8, 1e-4)
    left, right = filtered[:, 28:31].mean(), filtered[:, 33:36].mean()
    assert right - left > 0.7
    assert np.abs(guided_filter(guide, np.full((64, 64), 0.3), 8, 1e-4) - 0.3).max() < 1e-6
    alpha = alpha_matte(guide, np.clip(truth * 0.96 + 0.02, 0, 1))
    assert alpha[:, :20].max() < 0.01
    assert alpha[:, 44:].min() > 0.99


def test_fit_recovers_a_known_head(model: LandmarkModel) -> None:
    """Fails when projection, camera matrix and solver disagree: landmarks of a known head must be met again."""
    g = torch.Generator().manual_seed(1)
    betas = torch.randn(100, generator=g, dtype=torch.float64) * 0.4
    rotation = torch.tensor([0.1, -0.25, 0.05], dtype=torch.float64)
    translation = torch.tensor([0.02, 0.01, 0.95], dtype=torch.float64)
    pose = pose_vector(torch.tensor([0.15, 0, 0]).double(), torch.tensor([0.05, 0.1, 0.05, 0.1]).double())
    expr = (
        open_head()
        .expr_from_units({"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "browInnerUp": 0.5})
        .double()
    )
    target = model.project(rotation, translation, model.points(betas, expr, pose), 1300.0, (256.0, 256.0))
    fitted = fit_landmarks(model, target, 1300.0, (256.0, 256.0))
    assert fitted.error < 0.3
    assert torch.allclose(fitted.rotation, rotation, atol=math.radians(3))
    assert float(fitted.pose[6]) == pytest.approx(0.15, abs=0.06)
    assert float(fitted.pose[10]) == pytest.approx(0.1, abs=0.05)


def test_view_matrix_is_the_projection(model: LandmarkModel) -> None:
    """Fails when the camera written into the portrait is not the one that was fitted."""
    from perse.splat import Camera

    rotation = torch.tensor([0.2, -0.3, 0.1], dtype=torch.float64)
    translation = torch.tensor([0.02, -0.01, 0.9], dtype=torch.float64)
    matrix = view_matrix(rotation, translation)
    assert torch.allclose(matrix[:3, :3] @ matrix[:3, :3].T, torch.eye(3).double(), atol=1e-12)
    assert float(torch.linalg.det(matrix[:3, :3])) == pytest.approx(1)
    K = torch.tensor([[1300.0, 0, 256], [0, 1300, 256], [0, 0, 1]], dtype=torch.float64)
    expected = model.project(rotation, translation, model.template, 1300.0, (256.0, 256.0))
    assert torch.allclose(project(model.template, Camera(matrix, K, 512, 512))[:, :2], expected, atol=1e-9)


def test_batched_solver_has_the_right_derivatives(model: LandmarkModel) -> None:
    """Fails when a column of the closed-form Jacobian drifts from the residuals it belongs to."""
    g = torch.Generator().manual_seed(0)
    betas = torch.randn(100, generator=g, dtype=torch.float64) * 0.5
    solver = FrameSolver(model, betas, 700.0, (320.0, 180.0))
    x = torch.randn(2, 63, generator=g, dtype=torch.float64) * 0.1
    x[:, 5], x[:, 56] = 0.8, -0.05
    target = torch.zeros(2, 478, 2, dtype=torch.float64)
    distance = torch.full((2,), 100.0, dtype=torch.float64)
    J = solver._jacobian(x, distance, rigid_only=False)
    for column in range(63):
        way = 1e-5 * torch.eye(63, dtype=torch.float64)[column]
        there, back = (solver._residual(x + sign * way, target, distance) for sign in (1, -1))
        assert torch.allclose(J[..., column], (there - back) / 2e-5, atol=1e-6)
    assert torch.allclose(solver._jacobian(x, distance, rigid_only=True), J[..., :6], atol=1e-12)


def test_closed_lips_shut_the_jaw(model: LandmarkModel) -> None:
    """Fails when a long chin passes for an open jaw: all of a video's mouths would then stand open too far."""
    g = torch.Generator().manual_seed(3)
    betas = torch.randn(100, generator=g, dtype=torch.float64) * 0.4
    head = open_head()
    unit = head.expr_from_units({"mouth-parling": 1.0}).double()
    nothing = torch.zeros(15, dtype=torch.float64)
    gaps = torch.stack([model.points(betas, expr, nothing)[[13, 14], 1] for expr in (0 * unit, unit)])
    apart, wider = (gaps[:, 0] - gaps[:, 1]).tolist()
    closed = unit * -apart / (wider - apart)
    openings = torch.tensor([0.0, 0.0, 0.1, 0.25], dtype=torch.float64)
    still = torch.zeros(3, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    turn, place = torch.zeros(3).double(), torch.tensor([0.0, 0.0, 0.9]).double()

    def seen(jaw: torch.Tensor) -> torch.Tensor:
        pose = pose_vector(torch.stack([jaw, *still[0][1:]]), still[1])
        points = model.points(betas, closed * (jaw < 0.05), pose)
        return model.project(turn, place, points, 700.0, (320.0, 180.0))

    frames = torch.stack([seen(jaw) for jaw in openings])
    assert [lips_touch(frame) for frame in frames] == [True, True, False, False]
    held = fit_landmarks(model, frames[0], 700.0, (320.0, 180.0), jaw=0.0)
    assert abs(float(held.pose[6])) < math.radians(0.5)
    short_chin = torch.zeros(100, dtype=torch.float64)  # the wrong shape: jaws must make up for it
    solver = FrameSolver(model, short_chin, 700.0, (320.0, 180.0))
    states = shut_jaw(solver, solver.solve(frames), frames)
    jaws = torch.rad2deg(states.pose[:, 6])
    assert float(jaws[:2].abs().max()) < 1
    assert float(jaws[2] + 2) < float(jaws[3])


# --- video


def nodding(photo: np.ndarray, count: int, covered: range = range(0)) -> list[np.ndarray]:
    """The photo turning in its plane by up to 8 degrees; a dark bar before the mouth in some frames."""
    frames = []
    for index in range(count):
        angle = 8 * math.sin(2 * math.pi * index / count)
        turn = cv2.getRotationMatrix2D((226, 128), angle, 1.0)
        frame = cv2.warpAffine(photo, turn, (512, 400), borderMode=cv2.BORDER_REPLICATE)
        if index in covered:
            frame[125:210, 160:290] = (30, 50, 140)
        frames.append(frame)
    return frames


def test_track_finds_the_movement(photo: np.ndarray) -> None:
    """Fails when the turn goes into the wrong joint, axis or sign, or smoothing eats it."""
    motion = track(nodding(photo, 24), fps=24)
    assert len(motion) == 24
    assert bool(motion.train.all())
    assert torch.equal(motion.pose[:, :3], torch.zeros(24, 3))
    roll = torch.rad2deg(motion.pose[:, 5])
    expected = torch.tensor([8 * math.sin(2 * math.pi * i / 24) for i in range(24)])
    assert float((roll - roll.mean() - expected).abs().max()) < 1.5
    assert float(torch.rad2deg(motion.pose[:, 4]).std()) < 1.5
    assert float(motion.expr.std(0).max()) < 1  # in standard deviations of faces


def test_track_repairs_a_covered_face(photo: np.ndarray) -> None:
    """Fails when the mouth that the landmarker invents under a hand gets into the motion."""
    result = track_details(nodding(photo, 36, covered=range(14, 20)), fps=24)
    assert bool(result.repaired[14:20].all())
    assert not bool(result.repaired[:8].any())
    assert float(result.error[:8].median()) < 2
    free = result.motion.expr[:8].mean(0)
    assert float((result.motion.expr[14:20] - free).norm(dim=-1).max()) < 2.5


def test_track_refuses_what_it_cannot_follow(tmp_path: Path) -> None:
    """Fails when an empty or broken video becomes a motion."""
    blank = [np.full((200, 300, 3), 90, np.uint8)] * 4
    with pytest.raises(PerseError, match="no face"):
        track(blank, fps=24)
    with pytest.raises(PerseError, match="fps"):
        track(blank)
    broken = tmp_path / "a.mp4"
    broken.write_bytes(b"nothing of the kind" * 100)
    for bad in (broken, tmp_path / "none.mp4"):
        with pytest.raises(PerseError, match="mp4"):
            track(bad)


def test_track_reads_a_video_file(tmp_path: Path, photo: np.ndarray) -> None:
    """Fails when frames of a file are lost or the frame rate is not read."""
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 512, 400, "yuv420p"
        for frame in nodding(photo, 10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    motion = track(path)
    assert len(motion) == 10
    assert motion.fps == pytest.approx(30)
    assert "a.mp4" in motion.source


# --- the motion that ships


def test_default_motion_covers_what_it_should() -> None:
    """Fails when the shipped motion loses a part of the range that avatars are learned from."""
    motion = default_motion()
    assert len(motion) == 513
    assert int(motion.train.sum()) == 400
    assert "Pexels" in motion.source
    degrees = torch.rad2deg(motion.pose)
    for rows in (motion.train, ~motion.train):
        counts = torch.histc(degrees[rows, 4], bins=5, min=-25, max=25)
        assert float(counts.min()) > 0.1 * float(rows.sum())
    for column, low, high in (
        (4, -23, 23),
        (3, -13, 13),
        (5, -7, 7),
        (6, 0.5, 17),
        (9, -6, 6),
        (10, -12, 12),
    ):
        assert float(degrees[:, column].min()) < low
        assert float(degrees[:, column].max()) > high
    assert torch.equal(motion.pose[:, :3], torch.zeros(513, 3))
    assert float(degrees[0].abs().max()) < 3
    speed = degrees[:, 3:6].diff(dim=0).norm(dim=-1) * motion.fps
    assert float(speed.max()) < 250


def test_default_motion_closes_mouth_and_eyes() -> None:
    """Fails when no frame shows the resting face, or lids never close (the rig's zero has the lips apart)."""
    head, motion = open_head(), default_motion()
    marks = head.landmarks(head.vertices(expr=motion.expr, pose=motion.pose))  # [T, 478, 3]
    lips = (
        torch.stack([(marks[:, a] - marks[:, b])[:, 1] for a, b in ((13, 14), (82, 87), (312, 317))]).mean(0)
        * 1000
    )
    lids = (
        torch.minimum(
            (marks[:, 159] - marks[:, 145]).norm(dim=-1), (marks[:, 386] - marks[:, 374]).norm(dim=-1)
        )
        * 1000
    )
    assert abs(float(lips[0])) < 0.5
    assert float((lips.abs() < 1).float().mean()) > 0.15
    assert float(lips.max()) > 20
    assert float(lips.min()) > -6
    assert float(lids.min()) < 2
    assert float(lids[0]) > 6


def test_the_overlay_lies_on_the_face(photo: np.ndarray) -> None:
    """Fails when the tracked camera does not put the head where the video shows it, or repairs are not marked."""
    frames = nodding(photo, 8)
    tracking = track_details(frames, fps=24)
    tracking.repaired[3] = True
    drawn = list(tracking_overlay(frames, tracking))
    assert len(drawn) == 8
    for t, picture in enumerate(drawn):
        assert picture.shape == frames[t].shape
        marks = tracking.head.landmarks(tracking.head.vertices(tracking.betas, tracking.motion.expr[t]))
        view = tracking.camera.viewmat[t]
        seen = marks @ view[:3, :3].T + view[:3, 3]
        pixels = (seen @ tracking.camera.K.T)[:, :2] / seen[:, 2:]
        found = landmarks(frames[t])[0].landmarks[:, :2]
        eyes = float((found[33] - found[263]).norm())
        assert float((pixels - found).norm(dim=-1).mean()) < 0.05 * eyes
    red = np.array([255, 26, 26])
    assert np.array_equal(drawn[3][0, 0], red)
    assert not np.array_equal(drawn[2][0, 0], red)
    with pytest.raises(PerseError, match="not the same video"):
        list(tracking_overlay(frames[:5], tracking))


def test_the_command_writes_motion_and_overlay(tmp_path: Path, photo: np.ndarray, capsys) -> None:
    """Fails when `perse track` leaves no file that drives an avatar, or hides how well it went."""
    from perse.cli import main

    video = tmp_path / "me.mp4"
    write_video(video, nodding(photo, 6), 12)
    out, overlay = tmp_path / "new" / "motion.npz", tmp_path / "overlay.mp4"
    assert main(["track", str(video), "--out", str(out), "--overlay", str(overlay)]) == 0
    assert len(Motion.load(out)) == 6
    assert video_info(overlay).frames == 6
    said = capsys.readouterr().out
    assert "6 frames, 0 repaired" in said
    assert "roll" in said
    assert main(["track", str(video), "--out", str(tmp_path / "motion.txt")]) == 2
