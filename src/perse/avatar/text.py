"""Looks from words alone: the code of a prompt that was never learned (Eq. 5 without f_I).

MLP_z asks for a picture's features too, and a prompt has no picture. A ridge regression, one a category, from the
prompt's text features and its plain words to the codes of the learned looks stands in. A code acts on the field
linearly, so what a word does (its colour, its length) adds up; a network trained on a few dozen prompts with pictures
left out at random learns that less well (`benchmarks/text_looks.py`). It is solved in closed form from what an avatar
holds anyway. Text features tell what a word is like that no learned prompt has; plain words tell colours apart that a
sentence encoder puts together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from perse.avatar.model import AvatarModel
from perse.errors import PerseError

MIN_LEARNED = 3
"""Learned looks of a category that words can be understood from."""
WORDS_SHARE = 0.6
"""Weight of plain words against text features."""
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
def text_code(
    model: AvatarModel, category: str, prompt: str, feature: Tensor, prompts: Mapping[int, str]
) -> TextCode:
    """The code of a prompt in a category, by the looks of that category that were learned.

    Args:
        feature: f_T [T] of the prompt. prompts: the prompt of every learned entry.

    Raises:
        PerseError: too few looks were learned.
    """
    latent = model.latent
    rows, shown = learned_rows(model, category)
    slot = torch.tensor([latent.categories.index(category)], device=rows.device)
    pair = torch.cat([feature.new_zeros(latent.split[0]), feature])[None].to(latent.features)
    asked = latent.standardize(pair, slot)[:, latent.split[0] :]

    def described(entries: Tensor) -> tuple[Tensor, Tensor]:
        """Features of entries [S, D], and of the prompt [1, D]."""
        words = word_counts([*(prompts.get(int(e), "") for e in entries), prompt]).to(asked)
        text = torch.cat([latent.features[entries, latent.split[0] :], asked])
        both = torch.cat([_scaled(words, WORDS_SHARE), _scaled(text, 1 - WORDS_SHARE)], 1)
        return both[:-1], both[-1:]

    presence = 1.0
    if len(shown) < len(rows):
        presence = float(ridge(*described(rows), latent.entry_presence[rows, None])[0, 0] > 0.5)
    z = ridge(*described(shown), latent.entry_codes(shown), model.field.effect(category))[0]
    return TextCode(z, presence, len(shown))


def word_counts(texts: list[str]) -> Tensor:
    """[N, W] how often each text has each word that any text but the last has."""
    words = [re.findall(r"[a-z0-9'-]+", text.lower()) for text in texts]
    known = sorted({word for text in words[:-1] for word in text})
    return torch.tensor([[float(text.count(word)) for word in known] for text in words]).view(len(texts), -1)


def _scaled(features: Tensor, share: float) -> Tensor:
    """Features [S + 1, D] of S known and one asked, centred on the known, of mean square length `share`."""
    features = features - features[:-1].mean(0)
    return features * (share / features[:-1].square().sum(1).mean().clamp_min(1e-12)).sqrt()


def learned_rows(model: AvatarModel, category: str) -> tuple[Tensor, Tensor]:
    """Entries of a category, and those of them that draw something. PerseError if these are too few."""
    latent = model.latent
    rows = torch.nonzero(latent.entry_category == latent.categories.index(category))[:, 0]
    shown = rows[latent.entry_presence[rows] > 0]
    if len(shown) < MIN_LEARNED:
        raise PerseError(
            f"words alone need at least {MIN_LEARNED} learned looks of {category} to go by, and it has {len(shown)}"
        )
    return rows, shown


def ridge(known: Tensor, asked: Tensor, values: Tensor, effect: Tensor | None = None) -> Tensor:
    """Values [Q, D] at points ``asked`` [Q, T], by linear regression on ``known`` [S, T] with values [S, D].

    How strongly the slopes are held near zero is what predicts each known value best from all others; errors count
    by their ``effect`` [R, D], if given.
    """
    x, y, q = known.double(), values.double(), asked.double()
    centre, mean = x.mean(0), y.mean(0)
    x, y, q = x - centre, y - mean, q - centre
    size = x.square().sum(1).mean().clamp_min(1e-12)
    eigenvalues, vectors = torch.linalg.eigh(x @ x.T / size)
    turned = vectors.T @ y  # [S, D]
    felt = y if effect is None else y @ effect.double().T
    errors = [_left_out_error(eigenvalues.clamp_min(0), vectors, felt, strength) for strength in RIDGES]
    best = RIDGES[int(torch.stack(errors).argmin())]
    weights = vectors @ (turned / (eigenvalues.clamp_min(0) + best)[:, None])
    return (q @ x.T / size @ weights + mean).to(values.dtype)


def _left_out_error(values: Tensor, vectors: Tensor, y: Tensor, strength: Tensor) -> Tensor:
    """Mean square error at every known point when the regression is made from all others (in closed form)."""
    shrink = values / (values + strength)
    # The mean was taken from all points, each of which has a share of 1 / S in it.
    leverage = (vectors.square() * shrink).sum(1) + 1 / len(y)
    missed = y - vectors @ (shrink[:, None] * (vectors.T @ y))
    return (missed / (1 - leverage).clamp_min(1e-6)[:, None]).square().mean()
