"""What ``perse assets list``, ``pull`` and ``verify`` do and print."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from perse.assets import store
from perse.assets.manifest import ASSETS, Asset
from perse.errors import PerseError

Print = Callable[[str], None]


def list_assets(say: Print = print) -> None:
    """Print one line for every asset: name, size, licence, whether it is here, what it is for."""
    rows = [("NAME", "SIZE", "LICENCE", "CACHED", "USED FOR")]
    rows += [(a.name, store.readable_size(a.size), a.licence, _state(a), _use(a)) for a in ASSETS]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, size, licence, cached, use in rows:
        say(f"{name:<{widths[0]}}  {size:>{widths[1]}}  {licence:<{widths[2]}}  {cached:<{widths[3]}}  {use}")
    say(f"\ncache: {store.cache_folder()}   (PERSE_CACHE chooses another)")


def pull_assets(names: Sequence[str] = (), everything: bool = False, say: Print = print) -> None:
    """Fetch assets that are not in the cache: those named, or all that a build can use.

    All are tried; a failure does not keep the others from being fetched.

    Raises:
        PerseError: one or more could not be fetched; the message names each and says what to do.
    """
    chosen = _chosen(names) if names else [a for a in ASSETS if everything or a.kind != "tools"]
    failures = []
    for count, asset in enumerate(chosen, start=1):
        prefix = f"[{count}/{len(chosen)}] {asset.name}"
        if store.available(asset.name):
            say(f"{prefix}: here already")
            continue
        start = time.monotonic()
        try:
            store.fetch(asset, report=partial(_say_about, say, prefix))
        except PerseError as error:
            say(f"{prefix}: failed")
            failures.append(f"{asset.name}: {error}")
        else:
            say(f"{prefix}: done in {time.monotonic() - start:.1f} s")
    _raise_if_any(failures)


def verify_assets(names: Sequence[str] = (), say: Print = print) -> None:
    """Hash every cached file again, whatever was recorded about it before.

    Raises:
        PerseError: a file is not what it should be, or an asset that was named is not in the cache.
    """
    failures = []
    for asset in _chosen(names) if names else ASSETS:
        if not names and not store.is_started(asset):
            say(f"{asset.name}: not in the cache")
            continue
        try:
            store.verify(asset)
        except PerseError as error:
            say(f"{asset.name}: WRONG")
            failures.append(str(error))
        else:
            say(f"{asset.name}: right")
    _raise_if_any(failures)


def _say_about(say: Print, prefix: str, text: str) -> None:
    say(f"{prefix}: {text}")


def _chosen(names: Sequence[str]) -> list[Asset]:
    return [store.find(name) for name in dict.fromkeys(names)]


def _state(asset: Asset) -> str:
    if store.available(asset.name):
        return "yes"
    return "wrong" if store.is_started(asset) else "no"


def _use(asset: Asset) -> str:
    return asset.use if asset.kind == "needed" else f"{asset.use} ({asset.kind})"


def _raise_if_any(failures: list[str]) -> None:
    sys.stdout.flush()
    if failures:
        raise PerseError("\n\n".join(failures))
