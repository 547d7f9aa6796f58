"""Looks from words that were never learned: the regression, and what an avatar makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from perse.avatar import (
    Avatar,
    AvatarModel,
    FieldConfig,
    LatentConfig,
    LatentSpace,
    Layout,
    ModelConfig,
    text,
)
from perse.avatar.text import RIDGES, meanings, ridge, text_code, word_counts
from perse.dataset import register_maker
from perse.errors import PerseError
from synthetic import shared_dataset, small_avatar

WORDS = ("long", "short", "red", "black", "blond", "curly", "straight")
PROMPTS = [
    f"{length} {texture} {colour}"
    for length in ("long", "short")
    for texture in ("curly", "straight")
    for colour in ("red", "black", "blond")
]


def embedding(prompt: str) -> Tensor:
    """[16] a sum of random vectors, one a word."""
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(len(WORDS), 16, generator=generator)
    return table[[WORDS.index(word) for word in prompt.split()]].sum(0)


@dataclass
class WordEncoder:
    """Stands in for a text encoder: a learned prompt has its dataset's features, any other those of a fedora."""

    name = "words"

    def text(self, prompt: str) -> Tensor:
        subjects = {s.attributes[0].prompt: s for s in shared_dataset().subjects if s.attributes}
        return subjects.get(prompt, subjects["a person wearing a black fedora"]).features[1].float()


def test_ridge_strength_is_the_one_that_predicts_left_out_points_best() -> None:
    """The closed form of leave-one-out must choose what the plain loop over left-out points chooses."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 6, generator=generator, dtype=torch.float64)
    y = x[:, :2] @ torch.randn(2, 3, generator=generator, dtype=torch.float64)
    y = y + 0.8 * torch.randn(12, 3, generator=generator, dtype=torch.float64)
    size = (x - x.mean(0)).square().sum(1).mean()

    def fitted(rows: Tensor, at: Tensor, strength: Tensor) -> Tensor:
        centre, mean = x[rows].mean(0), y[rows].mean(0)
        a = x[rows] - centre
        slope = torch.linalg.solve(a.T @ a + strength * size * torch.eye(6).double(), a.T @ (y[rows] - mean))
        return (at - centre) @ slope + mean

    every = torch.arange(12)
    errors = [
        sum((fitted(every[every != k], x[k], s) - y[k]).square().sum() for k in range(12)) for s in RIDGES
    ]
    best = RIDGES[int(torch.stack(errors).argmin())]
    asked = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    assert 0 < int(torch.stack(errors).argmin()) < len(RIDGES) - 1, (
        "a test at the end of the grid tests little"
    )
    assert torch.allclose(ridge(x, asked, y), fitted(every, asked, best), atol=1e-6)


def test_a_held_out_prompt_finds_its_code_from_its_words() -> None:
    """What a word does must be learned from the other prompts that have it: the right code is the nearest."""
    count = len(PROMPTS)
    config = LatentConfig(dim=16, hidden=128)
    model = small(config, count, 5, 16)
    hair = model.latent.categories.index("hair")
    features = torch.stack([torch.cat([torch.zeros(5), embedding(p)]) for p in PROMPTS])
    generator = torch.Generator().manual_seed(1)
    model.latent.initialize(features, [hair] * count, [1.0] * count, [1.0] * 9, generator)
    truth = model.latent.entry_codes(torch.arange(count)).detach()
    right = 0
    for i, prompt in enumerate(PROMPTS):
        rows = torch.tensor([k for k in range(count) if k != i])
        known = small(config, count - 1, 5, 16)
        state = model.latent.state_dict()
        for name in ("features", "entry_category", "entry_presence"):
            state[name] = state[name][rows]
        known.latent.load_state_dict(state)
        learned = dict(enumerate(p for p in PROMPTS if p != prompt))
        code = text_code(known, "hair", prompt, embedding(prompt), learned)
        assert (code.presence, code.learned) == (1.0, count - 1)
        right += int((truth - code.z).norm(dim=1).argmin()) == i
    assert right >= 10, f"{right} of {count}"


def small(latent: LatentConfig, entries: int, image: int, words: int) -> AvatarModel:
    """A model whose field is of no account."""
    config = ModelConfig(field=FieldConfig(kind="mlp", width=8, depth=2), latent=latent)
    return AvatarModel(config, Layout(10), entries, image, words)


def test_plain_words_are_counted_without_case_and_only_known_ones() -> None:
    counts = word_counts(["a Long red", "a short red red", "a long teal"])
    assert counts.tolist() == [[1, 1, 1, 0], [1, 0, 2, 1], [1, 1, 0, 0]]


def test_words_that_take_a_part_away_do_so_for_new_prompts_too() -> None:
    """Where "bald" was learned as nothing, what is like "bald" must not draw hair."""
    model = small(LatentConfig(dim=4, hidden=8), 6, 2, 3)
    hair = model.latent.categories.index("hair")
    axis = torch.tensor([-1.0, -0.9, -1.1, 1.0, 0.9, 1.1])
    features = torch.stack([0 * axis, 0 * axis, axis, torch.arange(6) * 0.1, 0 * axis], 1)
    generator = torch.Generator().manual_seed(0)
    model.latent.initialize(features, [hair] * 6, [0.0] * 3 + [1.0] * 3, [1.0] * 9, generator)
    for side, presence in ((-1.05, 0), (1.05, 1)):
        code = text_code(model, "hair", "anything", torch.tensor([side, 0.2, 0.0]), {})
        assert code.presence == presence


def test_an_avatar_wears_prompts_it_never_learned_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_maker("encoder", "words", "test_text_looks:WordEncoder")
    monkeypatch.setattr(text, "MIN_LEARNED", 2)
    monkeypatch.setattr(text, "MEANING_SHARE", 0.1)  # two hats do not tell which of forty parameters count
    small = small_avatar()
    avatar = Avatar(small.model, small.subjects, small.camera, small.betas, small.rest, encoder="words")
    avatar = Avatar.load(avatar.save(tmp_path / "avatar"))
    look = avatar.look(hat="red baseball cap", hair="long curly red")
    assert look.from_words == {"hat": 2}
    assert look.attributes["hat"] == "a person wearing a red baseball cap"
    fedora, beanie = avatar.look(hat="black fedora"), avatar.look(hat="blue knitted beanie")
    slot = avatar.model.latent.categories.index("hat")
    assert float(look.codes.presence[slot]) == 1
    to_fedora, to_beanie = (float((look.codes.z - x.codes.z)[slot].norm()) for x in (fedora, beanie))
    assert to_fedora < 0.8 * to_beanie, "its text features were a fedora's"
    assert avatar.mix(fedora, look, 0.5).from_words == {"hat": 2}
    assert not fedora.from_words


def test_what_words_mean_is_known_where_no_learned_prompt_has_them() -> None:
    """Turquoise, which nobody wore, lies between blue and green; words that the studio does not draw mean nothing."""
    texts = [f"a person with long straight {c} hair" for c in ("red", "blue", "green", "black")]
    told = meanings([*texts, "a person with long straight turquoise hair"], "hair")
    assert told.shape[0] == 5
    assert told.shape[1] >= 3
    away = (told[:-1] - told[-1]).norm(dim=1)
    assert set(away.argsort()[:2].tolist()) == {1, 2}
    assert meanings([*texts, "a person with hair like seaweed"], "hair").shape == (5, 0)
    with_stranger = meanings(["seaweed", *texts, texts[0]], "hair")
    assert torch.equal(with_stranger[0], torch.zeros(with_stranger.shape[1]))


@pytest.mark.parametrize("bound", [1.0, 1.25])
def test_answers_are_stretched_within_bounds(bound: float) -> None:
    """A regression in doubt goes to the middle; what it says may be brought back, so far and no further."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(20, 6, generator=generator)
    y = x[:, :2] + 2.0 * torch.randn(20, 2, generator=generator)
    plain, stretched = ridge(x, x, y), ridge(x, x, y, None, (1.0, bound))
    assert torch.allclose(stretched - y.mean(0), bound * (plain - y.mean(0)), atol=1e-5)


def test_too_few_learned_looks_are_refused_before_the_encoder_is_read() -> None:
    avatar = small_avatar()
    with pytest.raises(PerseError, match=r"needs? at least 3 learned looks of hat.*blue knitted beanie"):
        avatar.look(hat="red baseball cap")


def test_errors_count_by_their_effect() -> None:
    """Of two values one is noise and one follows the points: only where the noise has no effect may slopes be free."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(10, 8, generator=generator)
    y = torch.stack([x[:, 0], 30 * torch.randn(10, generator=generator)], 1)
    asked = torch.randn(40, 8, generator=generator)
    errors = [
        float((ridge(x, asked, y, effect)[:, 0] - asked[:, 0]).square().mean())
        for effect in (torch.tensor([[1.0, 0.0]]), torch.eye(2))
    ]
    assert errors[0] < 0.5 * errors[1]


def test_free_codes_need_no_features_and_learn() -> None:
    """Table 3's ablation: the codes answer to no features, and every one of them has a gradient of its own."""
    space = LatentSpace(LatentConfig(dim=4, hidden=8, free=True), 3, image_features=2, text_features=3)
    hair = space.categories.index("hair")
    generator = torch.Generator().manual_seed(0)
    space.initialize(torch.randn(3, 5, generator=generator), [hair] * 3, [1.0] * 3, [1.0] * 9, generator)
    before = space.entry_codes(torch.tensor([1]))
    space.features.add_(1.0)
    assert torch.equal(space.entry_codes(torch.tensor([1])), before)
    before.square().mul(torch.arange(4)).sum().backward()
    assert space.free is not None
    assert space.free.grad is not None
    assert (space.free.grad.abs().sum(1) > 0).tolist() == [False, True, False]
