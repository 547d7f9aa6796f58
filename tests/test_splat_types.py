"""Camera, Gaussians and their files."""

import struct

import pytest
import torch

from perse.errors import PerseError
from perse.splat import Camera, Gaussians, load_ply, rasterize, save_ply
from splat_scenes import camera, random_gaussians

FIELDS = ("means", "quats", "scales", "opacities", "colors")


def assert_equal(a: Gaussians, b: Gaussians) -> None:
    for name in FIELDS:
        assert torch.equal(getattr(a, name), getattr(b, name)), name


def test_camera_checks_its_shapes():
    with pytest.raises(ValueError, match="viewmat"):
        Camera(torch.eye(3), torch.eye(3), 8, 8)
    with pytest.raises(ValueError, match="K must"):
        Camera(torch.eye(4), torch.eye(4), 8, 8)
    with pytest.raises(ValueError, match="0 x 8"):
        Camera(torch.eye(4), torch.eye(3), 0, 8)


def test_camera_resized_scales_the_intrinsics():
    view = camera(100, 50).resized(50, 100)
    original = camera(100, 50).K
    expected = torch.tensor(
        [
            [0.5 * original[0, 0], 0, 0.5 * original[0, 2]],
            [0, 2 * original[1, 1], 2 * original[1, 2]],
            [0, 0, 1],
        ]
    )
    torch.testing.assert_close(view.K, expected)
    assert (view.width, view.height) == (50, 100)
    assert camera(4, 4).to(torch.float64).K.dtype == torch.float64


def test_gaussians_select_and_join():
    gaussians = random_gaussians(10, 0)
    assert len(gaussians) == 10
    mask = torch.arange(10) % 2 == 0
    assert_equal(Gaussians.cat([gaussians[:4], gaussians[4:]]), gaussians)
    assert_equal(gaussians[mask], gaussians[[0, 2, 4, 6, 8]])
    assert_equal(gaussians[-1], gaussians[torch.tensor([9])])
    assert len(gaussians[[]]) == 0
    assert len(list(gaussians)) == 10
    with pytest.raises(IndexError):
        gaussians[10]
    with pytest.raises(ValueError, match="at least one"):
        Gaussians.cat([])


def test_joining_broadcasts_batches():
    """A posed set [F, N, .] joins one that does not move [N, .]: hair on a head."""
    still, posed = random_gaussians(3, 0), random_gaussians(4, 1)
    posed.means = posed.means.expand(5, 4, 3)
    joined = Gaussians.cat([still, posed])
    assert joined.means.shape == (5, 7, 3)
    assert joined.colors.shape == (7, 3)
    assert joined[torch.arange(7) > 2].means.shape == (5, 4, 3)
    assert rasterize(joined, camera(8, 8))[0].shape == (5, 8, 8, 3)


@pytest.mark.parametrize("y_down", [True, False])
@pytest.mark.parametrize("sh_degree", [0, 3])
def test_ply_round_trip(tmp_path, y_down, sh_degree):
    gaussians = random_gaussians(50, 7)
    gaussians.quats = torch.nn.functional.normalize(gaussians.quats, dim=-1)
    gaussians.opacities[:2] = torch.tensor([0.0, 1.0])
    path = tmp_path / "set.ply"
    save_ply(path, gaussians, sh_degree=sh_degree, y_down=y_down)
    loaded = load_ply(path, y_down=y_down)
    for name in FIELDS:
        torch.testing.assert_close(getattr(loaded, name), getattr(gaussians, name), atol=2e-6, rtol=2e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["set.ply"], "nothing may be left aside"


def test_ply_is_what_other_programs_read(tmp_path):
    """Read byte by byte, without our reader: names, order, activations, and y down."""
    path = tmp_path / "one.ply"
    save_ply(
        path,
        Gaussians(
            means=torch.tensor([[0.1, 0.2, 0.3]]),
            quats=torch.tensor([[2.0, 0.0, 0.0, 0.0]]),
            scales=torch.tensor([[1.0, 2.718281828, 0.5]]),
            opacities=torch.tensor([0.5]),
            colors=torch.tensor([[0.5, 1.0, 0.0]]),
        ),
    )
    header, body = path.read_bytes().split(b"end_header\n")
    names = [line.split()[2] for line in header.decode().splitlines() if line.startswith("property float ")]
    values = dict(zip(names, struct.unpack(f"<{len(names)}f", body), strict=True))
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex 1\n")
    expected = {"x": 0.1, "y": -0.2, "z": -0.3, "opacity": 0.0, "scale_0": 0.0, "scale_1": 1.0}
    expected |= {"f_dc_0": 0.0, "f_dc_1": 0.5 / 0.28209479, "f_dc_2": -0.5 / 0.28209479}
    expected |= {"rot_0": 0.0, "rot_1": 1.0, "rot_2": 0.0, "rot_3": 0.0}  # half a turn about x
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, abs=1e-6), name


def test_a_turned_file_shows_the_same_picture(tmp_path):
    """Half a turn of the set and of the camera cancel. Fails if only the centres were turned."""
    gaussians, view = random_gaussians(300, 3, scale=3.0), camera(40, 40)
    path = tmp_path / "set.ply"
    save_ply(path, gaussians)
    turned = load_ply(path, y_down=False)
    half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    image, _ = rasterize(turned, Camera(view.viewmat @ half_turn, view.K, 40, 40))
    torch.testing.assert_close(image, rasterize(gaussians, view)[0], atol=1e-4, rtol=0)


def good_file(tmp_path) -> bytes:
    path = tmp_path / "good.ply"
    save_ply(path, random_gaussians(4, 0))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"<html>", "not a .ply file"),
        (lambda data: data[:-3], "cut short"),
        (lambda data: data[:100], "not a .ply file"),
        (lambda data: data.replace(b"vertex 4", b"vertex 99999999999"), "at most"),
        (lambda data: data.replace(b"vertex 4", b"vertex 9000000"), "cut short"),
        (lambda data: data.replace(b"vertex 4", b"vertex -4"), "cannot be understood"),
        (lambda data: data.replace(b"vertex 4", b"chunk 4"), "compressed"),
        (lambda data: data.replace(b"float opacity", b"float opaque__"), "opacity are missing"),
        (lambda data: data.replace(b"float nx", b"float x"), "declared twice"),
        (lambda data: data.replace(b"float nx", b"list uchar int nx"), "cannot be understood"),
        (lambda data: data.replace(b"float nx", b"object nx"), "cannot be understood"),
        (lambda data: data.replace(b"binary_little_endian", b"ascii"), "binary"),
        (lambda data: data[:-4] + b"\x00\x00\xc0\x7f", "not finite"),
        (lambda data: b"ply\n" + b"comment x\n" * 100000, "not a .ply file"),
    ],
)
def test_bad_files_are_refused(tmp_path, change, message):
    """Files from elsewhere are not to be trusted: an exact message, never a traceback or gigabytes of memory."""
    path = tmp_path / "bad.ply"
    path.write_bytes(change(good_file(tmp_path)))
    with pytest.raises(PerseError, match=message) as caught:
        load_ply(path)
    assert "bad.ply" in str(caught.value)


def test_files_of_other_writers_are_read(tmp_path):
    """Doubles, big endian, properties in another order, unknown ones between, comments, faces behind."""
    names = ["rot_3", "rot_2", "rot_1", "rot_0", "scale_2", "scale_1", "scale_0", "opacity", "glow"]
    names += ["f_dc_2", "f_dc_1", "f_dc_0", "z", "y", "x"]
    header = "ply\r\nformat binary_big_endian 1.0\r\ncomment made elsewhere\r\nelement vertex 1\r\n"
    header += "".join(f"property double {name}\r\n" for name in names)
    header += "element face 0\r\nproperty list uchar int vertex_indices\r\nend_header\r\n"
    values = [0, 0, 0, 1, 0, 0, 0, 0, 42, 0, 0, 0, 3, 2, 1]
    path = tmp_path / "other.ply"
    path.write_bytes(header.encode() + struct.pack(f">{len(values)}d", *values))
    loaded = load_ply(path, y_down=False)
    assert loaded.means.tolist() == [[1.0, 2.0, 3.0]]
    assert loaded.colors.tolist() == [[0.5, 0.5, 0.5]]
    assert loaded.opacities.tolist() == [0.5]


def test_missing_and_unwritable_paths(tmp_path):
    with pytest.raises(PerseError, match="cannot be read"):
        load_ply(tmp_path / "none.ply")
    (tmp_path / "file").touch()
    with pytest.raises(PerseError, match="cannot be written"):
        save_ply(tmp_path / "file" / "in_a_file.ply", random_gaussians(2, 0))
    with pytest.raises(ValueError, match="not a batch"):
        save_ply(tmp_path / "batch.ply", random_gaussians(2, 0).map(lambda t: t[None]))
