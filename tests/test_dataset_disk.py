"""The dataset on disk: what is written is read, half-written subjects never, damaged files are refused by name."""

import dataclasses
import errno
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from perse.dataset import Attribute, Dataset, DatasetWriter, Frame, Motion, SubjectPoints, _parts, _video
from perse.dataset import writer as writer_module
from perse.errors import PerseError
from perse.head import open_head
from test_dataset_records import make_portrait

SIZE, FRAMES = 32, 5
HAIR = Attribute("hair", "a person with long curly red hair", ("long", "curly", "red"))
HAT = Attribute("hat", "a person wearing a blue beanie", ("blue", "beanie"))


def make_motion(frames: int = FRAMES) -> Motion:
    rng = torch.Generator().manual_seed(1)
    train = torch.arange(frames) % 3 != 2
    return Motion(
        torch.randn(frames, 50, generator=rng),
        torch.randn(frames, 15, generator=rng),
        train,
        25.0,
        None,
        "test",
    )


def make_frames(seed: int, frames: int = FRAMES, size: int = SIZE) -> list[Frame]:
    """Smooth coloured pictures with every label and soft alpha."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    pictures = []
    for _ in range(frames):
        waves = [
            0.5 + 0.5 * np.sin(rng.uniform(1, 5) * x + rng.uniform(1, 5) * y + rng.uniform(0, 6))
            for _ in range(3)
        ]
        rgb = (np.stack(waves, -1) * 255).astype(np.uint8)
        alpha = rng.integers(0, 256, (size, size), dtype=np.uint8)
        labels = rng.integers(0, 13, (size, size), dtype=np.uint8)
        pictures.append(Frame(*(torch.from_numpy(a) for a in (rgb, alpha, labels))))
    return pictures


def make_points(count: int = 7) -> SubjectPoints:
    rng = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.rand(*shape, generator=rng)  # noqa: E731
    return SubjectPoints(
        means=draw(count, 3) - 0.5,
        quats=torch.nn.functional.normalize(draw(count, 4), dim=-1),
        scales=draw(count, 3) * 0.003 + 0.0002,
        opacities=draw(count),
        colors=draw(count, 3),
        labels=torch.arange(count, dtype=torch.uint8),
        face=torch.tensor([-1, *range(9_000, 9_000 + count - 1)]),
        bary=draw(count, 3),
        weights=draw(count, 5),
    )


def write_subject(
    writer: DatasetWriter, name: str, attributes: tuple[Attribute, ...], seed: int
) -> list[Frame]:
    frames = make_frames(seed)
    with writer.subject(name, attributes, seed) as subject:
        subject.portrait(torch.full((48, 48, 3), seed / 10))
        subject.mask(torch.eye(48).bool())
        subject.points(make_points())
        subject.features(torch.arange(4.0), torch.arange(3.0) + seed)
        for frame in frames:
            subject.frame(frame)
    return frames


def create(path: Path, **changes) -> DatasetWriter:
    options = {"motion": make_motion(), "size": SIZE, "maker": "test", "seed": 7} | changes
    return DatasetWriter.create(path, make_portrait(), **options)


@pytest.fixture
def dataset_path(tmp_path) -> Path:
    """A dataset of three subjects: the reference, one edit, one combination."""
    writer = create(tmp_path / "data", order=["ref", "hair-1", "both"])
    write_subject(writer, "ref", (), 0)
    write_subject(writer, "both", (HAIR, HAT), 2)
    write_subject(writer, "hair-1", (HAIR,), 1)
    writer.finish()
    return tmp_path / "data"


def psnr8(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(10 * torch.log10(255.0**2 / (a.double() - b.double()).square().mean()))


def test_everything_comes_back(dataset_path):
    """The contract of the format: order, attributes, exact alpha and labels, colours to 38 dB, points, features."""
    dataset = Dataset.open(dataset_path, verify=True)
    assert [s.id for s in dataset.subjects] == ["ref", "hair-1", "both"]
    assert dataset.subjects[0].is_reference
    assert [s.category for s in dataset.subjects] == [None, "hair", None]
    assert dataset.subjects[2].attributes == (HAIR, HAT)
    assert [s.seed for s in dataset.subjects] == [0, 1, 2]
    assert dataset.train_indices.tolist() == [0, 1, 3, 4]
    assert dataset.heldout_indices.tolist() == [2]
    assert (dataset.camera.width, dataset.size) == (SIZE, SIZE)
    assert torch.equal(dataset.motion.expr, make_motion().expr)
    for seed, subject in enumerate(dataset.subjects):
        for t, frame in enumerate(make_frames(seed)):
            read = dataset.frame(subject, t)
            assert torch.equal(read.alpha, frame.alpha)
            assert torch.equal(read.labels, frame.labels)
            assert read.rgb.dtype == torch.uint8
            assert psnr8(read.rgb, frame.rgb) > 38
    subject = dataset.subject("both")
    assert subject.portrait().shape == (48, 48, 3)
    assert torch.equal(subject.mask(), torch.eye(48).bool())
    image, text = subject.features
    assert image.tolist() == [0, 1, 2, 3]
    assert text.tolist() == [2, 3, 4]
    points, expected = subject.points(), make_points()
    assert torch.equal(points.means, expected.means)
    assert torch.equal(points.face, expected.face)
    assert torch.equal(points.labels, expected.labels)
    assert torch.allclose(points.scales, expected.scales, rtol=1e-3)
    assert torch.allclose(points.colors, expected.colors, atol=1e-3)


def test_any_order_gives_the_same_frames(dataset_path):
    """Random access must equal reading through, or training would see other pictures than evaluation."""
    dataset = Dataset.open(dataset_path)
    through = {(s.id, t): dataset.frame(s, t) for s in dataset.subjects for t in range(FRAMES)}
    fresh = Dataset.open(dataset_path)
    places = list(through)
    np.random.default_rng(0).shuffle(places)
    for name, t in places:
        frame = fresh.frame(str(name), int(t))
        for plane in ("rgb", "alpha", "labels"):
            assert torch.equal(getattr(frame, plane), getattr(through[name, int(t)], plane))
    rgb, alpha, labels = fresh.load_frames("hair-1", torch.tensor([4, 0, 4]))
    assert torch.equal(rgb[0], through["hair-1", 4].rgb)
    assert torch.equal(rgb[0], rgb[2])
    assert torch.equal(alpha[1], through["hair-1", 0].alpha)
    assert torch.equal(labels[1], through["hair-1", 0].labels)
    with pytest.raises(IndexError):
        fresh.frame(0, FRAMES)


def _sum_of_frame(arguments) -> int:
    dataset, t = arguments
    return int(dataset.frame("hair-1", t).rgb.long().sum())


def test_threads_forks_and_pickles_read_the_same(dataset_path):
    """A decoder or a file position shared by two readers would mix their frames."""
    dataset = Dataset.open(dataset_path)
    expected = [int(dataset.frame("hair-1", t).rgb.long().sum()) for t in range(FRAMES)]
    found: list[list[int]] = []

    def read_often():
        found.append([int(dataset.frame("hair-1", t).rgb.long().sum()) for t in list(range(FRAMES)) * 5])

    threads = [threading.Thread(target=read_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected * 5] * 4
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_sum_of_frame, [(dataset, t) for t in range(FRAMES)]) == expected
    assert [_sum_of_frame((pickle.loads(pickle.dumps(dataset)), t)) for t in range(FRAMES)] == expected


def test_open_files_are_bounded(dataset_path, monkeypatch):
    """957 subjects must not use up the system's file handles."""
    monkeypatch.setattr("perse.dataset._access.MAX_OPEN_FILES", 2)
    dataset = Dataset.open(dataset_path)
    for t in range(FRAMES):
        for subject in dataset.subjects:
            dataset.frame(subject, t)
    assert len(dataset._access._files) <= 2


def test_people_can_look_at_it(dataset_path):
    """The folder is meant for eyes too: ordinary PNG and video files that ordinary tools open."""
    import av

    folder = dataset_path / "subjects" / "hair-1"
    with zipfile.ZipFile(folder / "parts.zip") as archive:
        names = archive.namelist()
        assert len(names) == 2 * FRAMES
        labels = Image.open(archive.open("labels/00003.png"))
        assert labels.mode == "P"
        assert np.array_equal(np.array(labels), make_frames(1)[3].labels.numpy())
        assert labels.convert("RGB").getcolors() is not None
        alpha = Image.open(archive.open("alpha/00003.png"))
        assert np.array_equal(np.array(alpha), make_frames(1)[3].alpha.numpy())
    with av.open(str(folder / "frames.mp4")) as video:
        frames = list(video.decode(video=0))
        assert len(frames) == FRAMES
        assert all(frame.key_frame for frame in frames), "all-intra: any frame can be read alone"
        assert psnr8(torch.from_numpy(frames[3].to_ndarray(format="rgb24")), make_frames(1)[3].rgb) > 37
    with av.open(str(folder / "preview.mp4")) as video:
        assert [frame.format.name for frame in video.decode(video=0)] == ["yuv420p"] * FRAMES


def test_an_interrupted_subject_leaves_nothing(dataset_path):
    """A half-written subject must never be read, and the same command goes on as if nothing had happened."""
    writer = DatasetWriter.open(dataset_path)
    shutil.rmtree(dataset_path / "subjects" / "both")

    def write_half():
        with writer.subject("both", (HAIR, HAT), 2) as subject:
            subject.frame(make_frames(2)[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert sorted(os.listdir(dataset_path / "subjects")) == ["hair-1", "ref"]
    assert not writer.has("both")
    assert writer.has("ref")
    with pytest.raises(PerseError, match=r"both is not written yet.*again"):
        Dataset.open(dataset_path)
    assert [s.id for s in Dataset.open(dataset_path, partial=True).subjects] == ["ref", "hair-1"]
    with pytest.raises(PerseError, match="1 of 3 subjects are missing"):
        writer.finish()
    write_subject(writer, "both", (HAIR, HAT), 2)
    assert len(Dataset.open(dataset_path, verify=True).subjects) == 3


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from test_dataset_disk import *
writer = DatasetWriter.open(Path(sys.argv[1]))
with writer.subject("both", (HAIR, HAT), 2) as subject:
    subject.portrait(torch.zeros(8, 8, 3))
    subject.frame(make_frames(2)[0])
    os._exit(9)
"""


def test_a_killed_process_is_swept_up(dataset_path):
    """A killed build leaves a hidden folder behind; going on must ignore it, then delete it, and equal a whole run."""
    whole = Dataset.open(dataset_path).subject("both").content
    shutil.rmtree(dataset_path / "subjects" / "both")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(dataset_path), str(Path(__file__).parent)],
        env=environment,
        check=False,
    )
    assert killed.returncode == 9
    left = [name for name in os.listdir(dataset_path / "subjects") if name.startswith(".writing")]
    assert len(left) == 1
    assert len(Dataset.open(dataset_path, partial=True).subjects) == 2
    writer = create(dataset_path, order=["ref", "hair-1", "both"])
    assert sorted(os.listdir(dataset_path / "subjects")) == ["hair-1", "ref"]
    write_subject(writer, "both", (HAIR, HAT), 2)
    assert Dataset.open(dataset_path).subject("both").content == whole, "the same seed gives the same bytes"


def _write_in_process(path: Path, number: int) -> None:
    write_subject(DatasetWriter.open(path), f"s{number}", (HAIR,) if number else (), number)


def test_processes_write_side_by_side(tmp_path):
    """Subjects spread over processes; none may lose another's line in dataset.json."""
    create(tmp_path / "data")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write_in_process, args=(tmp_path / "data", n)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    dataset = Dataset.open(tmp_path / "data", verify=True)
    assert {s.id for s in dataset.subjects} == {"s0", "s1", "s2", "s3"}
    assert dataset.subjects[0].is_reference


def test_full_disk_costs_only_the_subject_at_hand(dataset_path):
    """Writes really fail (a limit on file size stands for the full disk): a clear message, the rest intact."""
    shutil.rmtree(dataset_path / "subjects" / "both")
    writer = DatasetWriter.open(dataset_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(PerseError, match=r"both.*no space left.*intact"):
            write_subject(writer, "both", (HAIR, HAT), 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(os.listdir(dataset_path / "subjects")) == ["hair-1", "ref"]
    write_subject(writer, "both", (HAIR, HAT), 2)
    assert len(Dataset.open(dataset_path, verify=True).subjects) == 3


def test_full_disk_at_the_last_moment(dataset_path, monkeypatch):
    """The description is written last; if that fails the subject must not appear."""
    shutil.rmtree(dataset_path / "subjects" / "both")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer_module._files, "write_json", full)
    with pytest.raises(PerseError, match="no space left"):
        write_subject(DatasetWriter.open(dataset_path), "both", (HAIR, HAT), 2)
    assert sorted(os.listdir(dataset_path / "subjects")) == ["hair-1", "ref"]


def test_going_on_needs_the_same_settings(dataset_path, tmp_path):
    """Mixing two people or two motions in one folder would poison the training silently."""
    assert create(dataset_path, order=["ref", "hair-1", "both"]).has("both")
    with pytest.raises(PerseError, match=r"other settings \(size, camera differ\)"):
        create(dataset_path, size=64)
    with pytest.raises(PerseError, match="seed differ"):
        create(dataset_path, seed=8)
    with pytest.raises(PerseError, match="motion differ"):
        create(dataset_path, motion=Motion(torch.ones(5, 50), torch.zeros(5, 15), make_motion().train, 25.0))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(PerseError, match=r"something else \(thesis.txt\)"):
        create(tmp_path / "full")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PerseError, match="is a file"):
        create(tmp_path / "file")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"


def test_a_dataset_belongs_to_its_head(dataset_path):
    """Points name triangles by number: on another head they would sit anywhere, or crash the training."""
    ours = open_head()
    other = dataclasses.replace(ours, faces=ours.faces.flip(0))
    assert Dataset.open(dataset_path, head=ours).subjects
    with pytest.raises(PerseError, match=r"made with another head.*make the dataset again"):
        Dataset.open(dataset_path, head=other)
    edit_json(dataset_path / "dataset.json", lambda v: v["head"].update(sha256="0" * 64))
    with pytest.raises(PerseError, match="made with another head"):
        Dataset.open(dataset_path)
    edit_json(dataset_path / "dataset.json", lambda v: v["head"].update(name="FLAME 2023"))
    assert Dataset.open(dataset_path).subjects, "whoever trains on another head brings it"
    edit_json(dataset_path / "dataset.json", lambda v: v.pop("head"))
    with pytest.raises(PerseError, match="states no head"):
        Dataset.open(dataset_path)


def test_wrong_pieces_are_refused(tmp_path):
    """A maker that hands over too few frames, another size or an unknown label must hear of it at once."""
    writer = create(tmp_path / "data")
    frames = make_frames(0)

    def write(*pieces: Frame) -> None:
        with writer.subject("a", (), 0) as subject:
            for piece in pieces:
                subject.frame(piece)

    with pytest.raises(PerseError, match="has 1 frames, the motion 5"):
        write(frames[0])
    with pytest.raises(PerseError, match="given no portrait"):
        write(*frames)
    with pytest.raises(PerseError, match=r"rgb must be uint8 \[32, 32, 3\]"):
        write(*make_frames(0, size=64))
    with pytest.raises(PerseError, match="label 200"):
        write(Frame(frames[0].rgb, frames[0].alpha, torch.full_like(frames[0].labels, 200)))
    for name in ("../a", "a/b", "", ".a", "x" * 200, "a\n"):
        with pytest.raises(PerseError, match="subject's id"), writer.subject(name, (), 0):
            pass
    for size in (7, 33, 100_000):
        with pytest.raises(PerseError, match="frame size"):
            create(tmp_path / "other", size=size)
    assert os.listdir(tmp_path / "data" / "subjects") == []


def edit_json(path: Path, change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(version=2), "version 2"),
        (lambda v: v.update(format="photo album"), "photo album"),
        (lambda v: v.update(size=-4), "frame size"),
        (lambda v: v.update(subjects=["../../etc"]), "subject's id"),
        (lambda v: v.update(subjects=["ref", "ref"]), "twice"),
        (lambda v: v.update(subjects=["ref", "gone"]), "gone is not written yet"),
        (lambda v: v.update(subjects=["hair-1"]), "no reference"),
        (lambda v: v.update(subjects=3), "list of subjects"),
        (lambda v: v.update(frames=4), "expected 4"),
        (lambda v: v.update(labels=["a"]), "part labels"),
        (lambda v: v["camera"].update(K=[[1]]), "K"),
    ],
)
def test_damaged_description_is_refused(dataset_path, change, message):
    """dataset.json may come from anywhere."""
    edit_json(dataset_path / "dataset.json", change)
    with pytest.raises(PerseError, match=message):
        Dataset.open(dataset_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(version=0), "version 0"),
        (lambda v: v.update(frames=9), "frames is 9"),
        (lambda v: v.update(seed=99), "changed after it was written"),
        (lambda v: v["attributes"][0].update(category="shoes"), "shoes"),
        (lambda v: v["files"].pop("frames.mp4"), "does not list frames.mp4"),
        (lambda v: v["files"].update({"../../secret": {"bytes": 1, "sha256": ""}}), "unknown names"),
        (lambda v: v["files"]["parts.zip"].update(bytes=1), "instead of 1"),
    ],
)
def test_damaged_subject_is_refused(dataset_path, change, message):
    """subject.json likewise; and a damaged subject is not one that `has` would keep."""
    edit_json(dataset_path / "subjects" / "hair-1" / "subject.json", change)
    with pytest.raises(PerseError, match=message):
        Dataset.open(dataset_path)
    writer = DatasetWriter.open(dataset_path)
    assert not writer.has("hair-1")
    write_subject(writer, "hair-1", (HAIR,), 1)
    assert len(Dataset.open(dataset_path, verify=True).subjects) == 3


def test_truncated_and_missing_files_are_found_at_opening(dataset_path):
    """A copy that stopped half way is the commonest damage of all."""
    folder = dataset_path / "subjects" / "hair-1"
    video = (folder / "frames.mp4").read_bytes()
    (folder / "frames.mp4").write_bytes(video[: len(video) // 2])
    with pytest.raises(PerseError, match=r"frames.mp4 has \d+ bytes instead of"):
        Dataset.open(dataset_path)
    (folder / "frames.mp4").unlink()
    with pytest.raises(PerseError, match=r"frames.mp4.*missing"):
        Dataset.open(dataset_path)
    (folder / "frames.mp4").symlink_to("/etc/hostname")
    with pytest.raises(PerseError, match=r"frames.mp4.*link"):
        Dataset.open(dataset_path)


def test_linked_subject_folder_is_refused(dataset_path, tmp_path):
    """A link in place of a subject's folder could point anywhere."""
    folder = dataset_path / "subjects" / "hair-1"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PerseError, match=r"hair-1.*links are not followed"):
        Dataset.open(dataset_path)


@pytest.mark.parametrize("name", ["frames.mp4", "parts.zip"])
def test_flipped_bytes_are_found(dataset_path, name):
    """Same size, other bytes: `verify` must find it, and reading must not return garbage for parts."""
    path = dataset_path / "subjects" / "hair-1" / name
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 60] = bytes(60)
    path.write_bytes(data)
    dataset = Dataset.open(dataset_path)
    with pytest.raises(PerseError, match=rf"{name}.*sha256 differs"):
        dataset.verify()
    if name == "parts.zip":
        with pytest.raises(PerseError, match=r"parts.zip.*damaged"):
            dataset.load_frames("hair-1", range(FRAMES))


def test_videos_that_lie_are_refused(tmp_path):
    """Wrong size, wrong length, not a video, cut off: each named by the index that reads them."""
    with _video.VideoWriter(tmp_path / "v.mp4", 16, 25) as video:
        for _ in range(3):
            video.write(np.zeros((16, 16, 3), np.uint8))
    _video.VideoIndex(tmp_path / "v.mp4", 16, 3)
    with pytest.raises(PerseError, match="3 frames instead of 4"):
        _video.VideoIndex(tmp_path / "v.mp4", 16, 4)
    with pytest.raises(PerseError, match="not h264 at 18 x 18"):
        _video.VideoIndex(tmp_path / "v.mp4", 18, 3)
    data = (tmp_path / "v.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[:-100])
    with pytest.raises(PerseError, match=r"cut.mp4.*truncated"):
        _video.VideoIndex(tmp_path / "cut.mp4", 16, 3)
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(PerseError, match=r"text\.mp4"):
        _video.VideoIndex(tmp_path / "text.mp4", 16, 3)


def test_pictures_that_lie_are_refused():
    """A PNG that unpacks to gigabytes, or to another size, must not be unpacked."""
    plane = np.arange(64, dtype=np.uint8).reshape(8, 8) % 13
    data = _parts.encode_plane(plane, palette=True)
    assert np.array_equal(_parts.decode_plane(data, 8), plane)
    with pytest.raises(ValueError, match="plain 16 x 16"):
        _parts.decode_plane(data, 16)
    with pytest.raises(ValueError, match="chunk is damaged"):
        _parts.decode_plane(data[:60] + b"x" + data[61:], 8)
    bomb = _parts.encode_plane(np.zeros((2048, 2048), np.uint8))
    start = bomb.index(b"IDAT") - 4
    header = _parts.encode_plane(np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match="instead of"):
        _parts.decode_plane(header[: header.index(b"IDAT") - 4] + bomb[start:], 8)


def test_what_is_no_dataset_is_refused(tmp_path):
    """The three things people point at by mistake."""
    with pytest.raises(PerseError, match="no such folder"):
        Dataset.open(tmp_path / "nowhere")
    with pytest.raises(PerseError, match="not a dataset"):
        Dataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text("[1]")
    with pytest.raises(PerseError, match="JSON object"):
        Dataset.open(tmp_path)
