"""Hair: every word draws, styles share their strands, blends grow and curl, nothing hangs where it must not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from perse.dataset import Vocabulary
from perse.dataset._vocabulary_hair import HAIR
from perse.studio.parts import hair
from perse.studio.parts._sitter import Sitter
from perse.studio.parts.hair import HairParams, grown, params_from
from perse.studio.parts.hair._body import hair_body
from perse.studio.puppet import Puppet
from test_studio_parts import plain_puppet

DETAIL = 0.05
VOCABULARY = Vocabulary()
EVERY = VOCABULARY.all("hair")


@pytest.fixture(scope="module")
def plain() -> Puppet:
    return plain_puppet()


@pytest.fixture(scope="module")
def sitter(plain: Puppet) -> Sitter:
    return Sitter(plain)


def params(text: str) -> HairParams:
    return params_from(VOCABULARY.parse(text, "hair").adjectives)


def strands(sitter: Sitter, style: HairParams) -> dict[int, np.ndarray]:
    """Strands [M, 3] by the number of their root, those that are fading in or out left out."""
    paths, scalp, present = grown(sitter, hair_body(sitter, dressed=True), style, 0, DETAIL)
    return {int(k): path for k, path, p in zip(scalp.number, paths, present) if p > 0.9}


def test_as_many_prompts_as_the_paper() -> None:
    """A failure means that Table 4's 395 hair prompts cannot be drawn without repeating one."""
    assert len(EVERY) >= 395
    assert len({params_from(attribute.adjectives).vector() for attribute in EVERY}) == len(EVERY)
    assert len({a.prompt for a in VOCABULARY.spread("hair", 395, seed=0)}) == 395


WORDS = [word for axis in HAIR.axes for word in axis.words]


@pytest.mark.parametrize("word", WORDS)
def test_every_word_builds(plain: Puppet, word: str) -> None:
    """A failure means a prompt that stops the dataset half way, or draws nothing."""
    attribute = next(a for a in EVERY[:: 7 if word in ("short", "long") else 1] if word in a.adjectives)
    puppet = plain.copy()
    hair.build(puppet, params_from(attribute.adjectives), 0, detail=0.02)
    assert (hair.GROUP in puppet.groups) == (word != "bald")
    if word != "bald":
        points = puppet.rest_points([hair.GROUP])
        assert len(points) > 300
        for values in (points.means, points.quats, points.scales, points.opacities, points.colors):
            assert bool(values.isfinite().all()), word
        assert float(points.means.abs().max()) < 0.5


MORPHS = [
    ("short straight black", "long straight blond"),
    ("long straight brown", "long curly brown"),
    ("long wavy red", "wavy red bun"),
    ("short curly brown", "black afro"),
    ("long straight black braids", "long straight fringed black"),
]


@pytest.mark.parametrize(("start", "end"), MORPHS)
def test_blends_move_their_strands(sitter: Sitter, start: str, end: str) -> None:
    """A failure means that a blend of two styles dissolves or jumps instead of growing, curling, letting down."""
    a, b = params(start), params(end)
    longest = max(a.length, b.length, a.tail * a.tied, b.tail * b.tied)
    for t in (0.0, 0.3, 0.65, 0.98):
        before, after = strands(sitter, a.mix(b, t)), strands(sitter, a.mix(b, t + 0.02))
        both = before.keys() & after.keys()
        assert len(both) > 0.85 * min(len(before), len(after))
        step = np.array([np.linalg.norm(before[k] - after[k], axis=1).max() for k in both])
        assert np.median(step) < 0.04 * longest + 0.002
        assert np.quantile(step, 0.97) < 0.16 * longest + 0.004


def test_blends_keep_their_gaussians(plain: Puppet) -> None:
    """A failure means that half-way looks cost several times what their ends do, or are threadbare."""
    counts = []
    for t in (0.0, 0.25, 0.5, 0.75, 1.0):
        puppet = plain.copy()
        hair.build(puppet, params("short straight black").mix(params("long curly red"), t), 0, detail=DETAIL)
        counts.append(len(puppet.groups[hair.GROUP]))
    assert max(counts) <= 1.1 * DETAIL * hair.BUDGET
    assert min(counts) > 0.55 * max(counts)


def test_short_hair_grows_long(sitter: Sitter) -> None:
    """A failure means that hair does not get longer step by step on the way from short to long."""
    short, long = params("short straight brown"), params("long straight brown")
    lengths = []
    for t in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        paths = np.stack(list(strands(sitter, short.mix(long, t)).values()))
        lengths.append(float(np.median(np.linalg.norm(np.diff(paths, axis=1), axis=2).sum(1))))
    assert all(b > a for a, b in itertools.pairwise(lengths))


@pytest.mark.parametrize(
    "text", ["long straight blond", "chin-length wavy side-swept ginger", "long curly red"]
)
def test_hair_stays_out_of_head_and_shoulders(plain: Puppet, text: str) -> None:
    """A failure means strands through the skull, the ears' place or the clothes."""
    puppet = plain.copy()
    hair.build(puppet, params(text), 0, detail=DETAIL)
    body = hair_body(Sitter(plain), dressed=False)
    height, near = body.height(puppet.groups[hair.GROUP].means.numpy().astype(float))
    close = np.linalg.norm(puppet.groups[hair.GROUP].means.numpy() - body.points[near], axis=1) < 0.02
    assert float((height[close] < -0.002).mean()) < 0.01


def test_tied_hair_is_where_it_is_tied(sitter: Sitter) -> None:
    """A failure means buns that hang, or pigtails that hang in one."""
    bun = np.stack(list(strands(sitter, params("straight brown top knot")).values()))
    assert np.quantile(bun[:, -1, 1], 0.02) > sitter.rest[:, 1].max() - 0.02
    tails = np.stack(list(strands(sitter, params("long straight brown pigtails")).values()))[:, -1]
    assert float((np.abs(tails[:, 0]) > 0.04).mean()) > 0.98
    assert 0.35 < float((tails[:, 0] > 0).mean()) < 0.65


def test_a_parting_is_where_its_word_says(sitter: Sitter) -> None:
    """A failure means that left-parted hair is parted on the right, or not at all."""
    for word, side in (("left-parted", 1), ("right-parted", -1)):
        paths = np.stack(list(strands(sitter, params(f"long straight {word} brown")).values()))
        top = paths[:, 0, 1] > np.quantile(paths[:, 0, 1], 0.8)
        goes = paths[top, 12, 0] - paths[top, 0, 0]
        assert np.sign(np.median(goes[np.abs(paths[top, 0, 0]) < 0.015])) == -side


def test_words_that_settle_others() -> None:
    """A failure means "a coily afro" is taken for another look than "an afro", or a bun asks for its length."""
    assert VOCABULARY.parse("black afro", "hair").prompt == "a person with a black afro"
    assert VOCABULARY.parse("brown buzz cut", "hair").prompt == "a person with a brown buzz cut"
    with pytest.raises(Exception, match="says it already"):
        VOCABULARY.parse("long black afro", "hair")
    with pytest.raises(Exception, match="contradict"):
        VOCABULARY.parse("short straight black pigtails", "hair")
