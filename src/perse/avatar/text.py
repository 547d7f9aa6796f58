"""Looks from words alone: the code of a prompt that was never learned, from its text features (Eq. 5 without f_I).

MLP_z asks for a picture's features too, and a prompt has no picture. A ridge regression, one a category, from text
features to the codes of the learned looks stands in. A code acts on the field linearly, so what a word does (its
colour, its length) adds up; a network trained on a few dozen prompts with pictures left out at random learns that
less well (docs/avatar.md has the figures). It is solved in closed form from what an avatar holds anyway.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from perse.avatar.latent import LatentSpace
from perse.errors import PerseError

MIN_LEARNED = 3
"""Learned looks of a category that words can be understood from."""
RIDGES = torch.logspace(-3, 1, 17, dtype=torch.float64)
"""Strengths of the ridge that are tried, relative to a text's mean square length."""


class TextCode(NamedTuple):
    """What words alone say."""

    z: Tensor
    """[d] the category's code."""
    presence: float
    """1 if the part is there, 0 if the words take it away (as "bald" does, where such a look was learned)."""
    learned: int
    """Learned looks that it was drawn from."""


@torch.no_grad()
def text_code(latent: LatentSpace, category: str, feature: Tensor) -> TextCode:
    """The code of text features [T] in a category, by the looks of that category that were learned.

    Raises:
        PerseError: too few looks were learned.
    """
    rows, shown = learned_rows(latent, category)
    slot = latent.categories.index(category)
    pair = torch.cat([feature.new_zeros(latent.split[0]), feature])[None].to(latent.features)
    text = latent.standardize(pair, torch.tensor([slot]))[:, latent.split[0] :]
    known = latent.features[:, latent.split[0] :]
    presence = 1.0
    if len(shown) < len(rows):
        presence = float(ridge(known[rows], latent.entry_presence[rows, None], text)[0, 0] > 0.5)
    z = ridge(known[shown], latent.entry_codes(shown), text)[0]
    return TextCode(z, presence, len(shown))


def learned_rows(latent: LatentSpace, category: str) -> tuple[Tensor, Tensor]:
    """Entries of a category, and those of them that draw something. PerseError if these are too few."""
    rows = torch.nonzero(latent.entry_category == latent.categories.index(category))[:, 0]
    shown = rows[latent.entry_presence[rows] > 0]
    if len(shown) < MIN_LEARNED:
        raise PerseError(
            f"words alone need at least {MIN_LEARNED} learned looks of {category} to go by, and it has {len(shown)}"
        )
    return rows, shown


def ridge(known: Tensor, values: Tensor, asked: Tensor) -> Tensor:
    """Values [Q, D] at points ``asked`` [Q, T], by linear regression on ``known`` [S, T] with values [S, D].

    How strongly the slopes are held near zero is what predicts each known value best from all others.
    """
    x, y, q = known.double(), values.double(), asked.double()
    centre, mean = x.mean(0), y.mean(0)
    x, y, q = x - centre, y - mean, q - centre
    size = x.square().sum(1).mean().clamp_min(1e-12)
    eigenvalues, vectors = torch.linalg.eigh(x @ x.T / size)
    turned = vectors.T @ y  # [S, D]
    errors = [_left_out_error(eigenvalues.clamp_min(0), vectors, turned, y, strength) for strength in RIDGES]
    best = RIDGES[int(torch.stack(errors).argmin())]
    weights = vectors @ (turned / (eigenvalues.clamp_min(0) + best)[:, None])
    return (q @ x.T / size @ weights + mean).to(values.dtype)


def _left_out_error(values: Tensor, vectors: Tensor, turned: Tensor, y: Tensor, strength: Tensor) -> Tensor:
    """Mean square error at every known point when the regression is made from all others (in closed form)."""
    shrink = values / (values + strength)
    # The mean was taken from all points, each of which has a share of 1 / S in it.
    leverage = (vectors.square() * shrink).sum(1) + 1 / len(y)
    missed = y - vectors @ (shrink[:, None] * turned)
    return (missed / (1 - leverage).clamp_min(1e-6)[:, None]).square().mean()
