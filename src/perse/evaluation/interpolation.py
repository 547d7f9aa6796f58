"""Are the looks between two learned ones good pictures, and does the way there run smoothly? (Table 2, B.2)"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from perse.avatar import Avatar, LearnedSubject, Look
from perse.dataset import CATEGORIES, Motion
from perse.errors import PerseError
from perse.evaluation.distributions import PictureFeatures, frechet_distance, kernel_distance
from perse.evaluation.metrics import Perceptual


@dataclass(frozen=True)
class InterpolationProtocol:
    """How much is drawn. The defaults are a laptop's; :data:`PAPER` has the paper's sizes."""

    pairs: int = 6
    """Random pairs of learned looks in each category, or all there are."""
    steps: int = 9
    """Looks between the two of a pair, evenly spaced (Eq. 36)."""
    poses: int = 2
    """Frames of the motion in which each is drawn, evenly spread over it."""
    seed: int = 0
    """Chooses the pairs."""


PAPER = InterpolationProtocol(pairs=200, steps=9, poses=5)
"""B.2: 200 pairs a category, 9 looks between, 5 poses."""


def path_length(distances: Tensor) -> Tensor:
    """PPL: the sum of perceptual distances between neighbours on a path, [..., K] -> [...] (DiffMorpher)."""
    return distances.sum(-1)


def path_variance(distances: Tensor) -> Tensor:
    """PDV: the variance of those distances, [..., K] -> [...]; 0 for even steps. The paper prints 100 times this."""
    return distances.var(-1, correction=0)


def evaluate_interpolation(
    avatar: Avatar,
    motion: Motion,
    references: Mapping[str, Tensor] | None = None,
    protocol: InterpolationProtocol | None = None,
    *,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Draw looks between learned looks of one category and judge them.

    Args:
        motion: where the poses are taken from: held-out frames.
        references: features [N, 1280] of sets of pictures (:class:`PictureFeatures`) to compare with, by name.
        protocol: how much is drawn.
        device: where pictures are judged; the avatar's own if None.

    Returns:
        a dict for JSON: ``ppl`` (sum of LPIPS between neighbours), ``pdv`` (its variance), ``ppl_crossfade`` (of fading
        one end's picture into the other's instead: ghosts, but an even path), and these by category; for each
        reference ``frechet`` and ``kernel``; ``pictures``: how many were drawn.

    Raises:
        PerseError: no category has two learned looks, or the motion is empty.
    """
    protocol = protocol or InterpolationProtocol()
    if len(motion) == 0:
        raise PerseError("there is no frame to draw looks in")
    pairs = chosen_pairs(avatar, protocol)
    if not pairs:
        raise PerseError("no category of this avatar has two learned looks to go between")
    judge = Perceptual(device or avatar.device)
    features = PictureFeatures(judge.device) if references else None
    rows = torch.linspace(0, len(motion) - 1, min(protocol.poses, len(motion))).round().long()
    poses = motion.select(rows)
    paths: dict[str, list[Tensor]] = {}
    fades: dict[str, list[Tensor]] = {}
    found: list[Tensor] = []
    for category, a, b in tqdm(pairs, desc="interpolate", unit="pair", disable=not progress, mininterval=1.0):
        looks = between(avatar, avatar.look_of(a.id), avatar.look_of(b.id), category, protocol.steps)
        drawn = torch.stack([_draw(avatar, look, poses) for look in looks])
        paths.setdefault(category, []).append(neighbour_distances(judge, drawn))
        fades.setdefault(category, []).append(neighbour_distances(judge, _cross_fade(drawn)))
        if features is not None:
            found.append(features(drawn[1:-1].flatten(0, 1)))
    every_path, every_fade = (list(itertools.chain(*part.values())) for part in (paths, fades))
    result: dict[str, Any] = _smoothness(every_path, every_fade)
    result["per_category"] = {category: _smoothness(paths[category], fades[category]) for category in paths}
    result["pictures"] = sum(path.numel() + path.shape[0] for part in paths.values() for path in part)
    for name, reference in (references or {}).items():
        result |= _distances(name, torch.cat(found), reference)
    return result


def between(avatar: Avatar, a: Look, b: Look, category: str, steps: int) -> Iterator[Look]:
    """Look ``a``, then ``steps`` looks on the way to ``b`` in one category (Eq. 36), then ``b``."""
    for k in range(steps + 2):
        yield avatar.mix(a, b, k / (steps + 1), category)


def chosen_pairs(
    avatar: Avatar, protocol: InterpolationProtocol
) -> list[tuple[str, LearnedSubject, LearnedSubject]]:
    """The pairs that the protocol's seed draws: category, and two subjects that show one look of it each."""
    pairs = []
    for category in CATEGORIES:
        learned = [s for s in avatar.subjects if [a.category for a in s.attributes] == [category]]
        every = list(itertools.combinations(learned, 2))
        chosen = random.Random(f"{protocol.seed}/{category}").sample(every, min(protocol.pairs, len(every)))
        pairs += [(category, a, b) for a, b in chosen]
    return pairs


def _draw(avatar: Avatar, look: Look, poses: Motion) -> Tensor:
    """[F, H, W, 3] on white."""
    return avatar.render(look, poses.expr, poses.pose, poses.camera(avatar.camera)).cpu()


def neighbour_distances(judge: Perceptual, drawn: Tensor) -> Tensor:
    """Perceptual distances between neighbours on a path drawn as [K, F, H, W, 3]: [F, K - 1]."""
    steps = [judge(before, after).cpu() for before, after in itertools.pairwise(drawn)]
    return torch.stack(steps, -1)


def _cross_fade(drawn: Tensor) -> Tensor:
    """The same path [K, F, H, W, 3] by fading one end's picture into the other's: what needs no avatar."""
    weight = torch.linspace(0, 1, len(drawn))[:, None, None, None, None]
    return drawn[0] * (1 - weight) + drawn[-1] * weight


def _smoothness(paths: list[Tensor], fades: list[Tensor]) -> dict[str, Any]:
    lengths, faded = (torch.cat([path_length(path) for path in part]) for part in (paths, fades))
    variances = torch.cat([path_variance(path) for path in paths])
    return {
        "ppl": float(lengths.mean()),
        "ppl_crossfade": float(faded.mean()),
        "pdv": float(variances.mean()),
        "pairs": len(paths),
    }


def _distances(name: str, features: Tensor, reference: Tensor) -> dict[str, Any]:
    """Of equal numbers of pictures, since the Frechet distance depends on them."""
    count = min(len(features), len(reference))
    mine, theirs = (evenly(rows, count) for rows in (features, reference))
    return {
        f"frechet_{name}": frechet_distance(mine, theirs),
        f"kernel_{name}": kernel_distance(features, reference),
        f"pictures_{name}": count,
    }


def evenly(rows: Tensor, count: int) -> Tensor:
    """`count` of the rows, evenly spread."""
    return rows[torch.linspace(0, len(rows) - 1, count).round().long()]
