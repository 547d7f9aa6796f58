"""Looks from words alone: the code of a prompt that was never learned (Eq. 5 without f_I).

MLP_z asks for a picture's features too, and a prompt has no picture. A ridge regression, one a category, from what the
prompt says to the codes of the learned looks stands in. A code acts on the field linearly, so what a word does (its
colour, its length) adds up; a network trained on a few dozen prompts with pictures left out at random learns that less
well (`benchmarks/text_looks.py`). It is solved in closed form from what an avatar holds anyway.

A prompt says three things: what its words mean to the studio, which draws them (turquoise is a mixture of blue and
green, that no learned prompt may name); its plain words; and its text features, which tell what any word is like. A
regression goes to the middle where it is in doubt, and half a beard is no beard: what it says is stretched until its
answers for known looks, each told by the others alone, differ as much as the looks do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from perse.avatar.model import AvatarModel
from perse.dataset import Vocabulary
from perse.errors import PerseError
from perse.studio.parts import params_of

MIN_LEARNED = 3
"""Learned looks of a category that words can be understood from."""
MEANING_SHARE, WORDS_SHARE = 0.5, 0.4
"""Weights of what words mean to the studio, and of plain words; the rest is text features."""
STRETCH = (1.0, 1.25)
"""How much answers may be stretched away from the mean look."""
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
        texts = [*(prompts.get(int(e), "") for e in entries), prompt]
        meaning = meanings(texts, category).to(asked)
        words = word_counts(texts).to(asked)
        text = torch.cat([latent.features[entries, latent.split[0] :], asked])
        shares = (MEANING_SHARE, WORDS_SHARE, 1 - MEANING_SHARE - WORDS_SHARE)
        blocks = [_scaled(block, share) for block, share in zip((meaning, words, text), shares)]
        both = torch.cat(blocks, 1)
        return both[:-1], both[-1:]

    presence = 1.0
    if len(shown) < len(rows):
        presence = float(ridge(*described(rows), latent.entry_presence[rows, None])[0, 0] > 0.5)
    z = ridge(*described(shown), latent.entry_codes(shown), model.field.effect(category), STRETCH)[0]
    return TextCode(z, presence, len(shown))


def meanings(texts: list[str], category: str) -> Tensor:
    """[N, D] the studio's parameters for each text, in their spread over the texts but the last; the mean for a text
    whose words it does not draw, and nothing at all (D = 0) if the last is one."""
    known = [_parameters(text, category) for text in texts]
    rows = [row for row in known[:-1] if row is not None]
    if known[-1] is None or len(rows) < 2:
        return torch.zeros(len(texts), 0)
    seen = torch.tensor(rows, dtype=torch.float64)
    mean, spread = seen.mean(0), seen.std(0)
    told = torch.stack([mean if row is None else torch.tensor(row, dtype=torch.float64) for row in known])
    varied = spread > 1e-6
    return ((told - mean)[:, varied] / spread[varied]).float()


def _parameters(text: str, category: str) -> tuple[float, ...] | None:
    try:
        return params_of(Vocabulary().parse(text, category)).vector()
    except PerseError:
        return None


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


def ridge(
    known: Tensor,
    asked: Tensor,
    values: Tensor,
    effect: Tensor | None = None,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Values [Q, D] at points ``asked`` [Q, T], by linear regression on ``known`` [S, T] with values [S, D].

    How strongly the slopes are held near zero is what predicts each known value best from all others; errors count
    by their ``effect`` [R, D], if given. The result is stretched away from the mean until such predictions would differ
    from it as much as the known values do, within bounds ``stretch``.
    """
    x, y, q = known.double(), values.double(), asked.double()
    centre, mean = x.mean(0), y.mean(0)
    x, y, q = x - centre, y - mean, q - centre
    size = x.square().sum(1).mean().clamp_min(1e-12)
    eigenvalues, vectors = torch.linalg.eigh(x @ x.T / size)
    turned = vectors.T @ y  # [S, D]
    felt = y if effect is None else y @ effect.double().T
    missed = [_missed_left_out(eigenvalues.clamp_min(0), vectors, felt, strength) for strength in RIDGES]
    chosen = int(torch.stack([error.square().mean() for error in missed]).argmin())
    best = RIDGES[chosen]
    told = (felt - missed[chosen]).square().sum().clamp_min(1e-12)
    factor = (felt.square().sum() / told).sqrt().clamp(*stretch)
    weights = vectors @ (turned / (eigenvalues.clamp_min(0) + best)[:, None])
    return (factor * (q @ x.T / size @ weights) + mean).to(values.dtype)


def _missed_left_out(values: Tensor, vectors: Tensor, y: Tensor, strength: Tensor) -> Tensor:
    """Error [S, D] at every known point when the regression is made from all others (in closed form)."""
    shrink = values / (values + strength)
    # The mean was taken from all points, each of which has a share of 1 / S in it.
    leverage = (vectors.square() * shrink).sum(1) + 1 / len(y)
    missed = y - vectors @ (shrink[:, None] * (vectors.T @ y))
    return missed / (1 - leverage).clamp_min(1e-6)[:, None]
