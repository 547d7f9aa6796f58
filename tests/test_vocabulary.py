"""The words of the nine categories: what is listed can be said, in any order, and nothing else."""

import itertools
import random

import pytest

from perse.dataset.labels import CATEGORIES
from perse.dataset.vocabulary import Vocabulary, demo_attributes
from perse.errors import PerseError

VOCABULARY = Vocabulary()


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_prompt_is_read_back(category: str) -> None:
    """A failure means a prompt in a dataset could not be asked for again."""
    every = VOCABULARY.all(category)
    assert len(every) >= 12
    assert len({a.prompt for a in every}) == len(every)
    for attribute in every:
        assert attribute.category == category
        assert VOCABULARY.parse(attribute.prompt, category) == attribute
        assert VOCABULARY.parse(" ".join(attribute.adjectives), category) == attribute


@pytest.mark.parametrize("category", CATEGORIES)
def test_words_may_come_in_any_order(category: str) -> None:
    """A failure means a user must guess our word order."""
    rng = random.Random(0)
    for attribute in rng.sample(VOCABULARY.all(category), 10):
        for order in itertools.islice(itertools.permutations(attribute.adjectives), 6):
            assert VOCABULARY.parse(", ".join(order), category) == attribute


def test_hair_as_the_readme_says_it() -> None:
    """A failure means the example of the README does not run."""
    expected = VOCABULARY.parse("long curly red", "hair")
    assert expected.prompt == "a person with long curly red hair"
    assert expected.adjectives == ("long", "curly", "red")
    for text in ("long curly red hair", "Red, long and curly hair", "A person with long curly red hair."):
        assert VOCABULARY.parse(text, "hair") == expected


@pytest.mark.parametrize(
    ("text", "category", "prompt"),
    [
        ("full brown", "beard", "a person with a full brown beard"),
        ("grey goatee", "beard", "a person with a grey goatee"),
        ("gray stubble", "beard", "a person with grey stubble"),
        ("blue knitted beanie", "hat", "a person wearing a blue knitted beanie"),
        ("red baseball cap", "hat", "a person wearing a red baseball cap"),
        ("red striped crew neck", "clothes", "a person wearing a red striped crew-neck sweater"),
        ("large gold hoops", "earrings", "a person wearing large gold hoop earrings"),
        ("bald", "hair", "a person with a bald head"),
        ("in ear red", "headphones", "a person wearing red in-ear headphones"),
        ("full red lips", "mouth", "a person with full red lips"),
        ("upturned", "nose", "a person with an upturned nose"),
    ],
)
def test_prompts_read_like_english(text: str, category: str, prompt: str) -> None:
    """A failure means a prompt a language model would stumble over."""
    assert VOCABULARY.parse(text, category).prompt == prompt


@pytest.mark.parametrize(
    ("text", "category", "says"),
    [
        ("long curley red", "hair", "curly"),
        ("long short straight black", "hair", "two answers"),
        ("curly red", "hair", "does not say the length"),
        ("bald red", "hair", "goes with no other word"),
        ("pearl hoop", "earrings", "contradict"),
        ("", "hair", "names no hair"),
        ("red", "hatt", "hat"),
    ],
)
def test_errors_help(text: str, category: str, says: str) -> None:
    """A failure means the user is left without the nearest right word."""
    with pytest.raises(PerseError, match=says):
        VOCABULARY.parse(text, category)


def test_demo_covers_every_category() -> None:
    """A failure means the demo build would miss a slider."""
    demo = demo_attributes()
    assert len(set(demo)) == len(demo) >= 27
    for category in CATEGORIES:
        assert sum(a.category == category for a in demo) >= 3
    assert "a person with long curly red hair" in {a.prompt for a in demo}


def test_sample_is_repeatable_and_varied() -> None:
    """A failure means a data set could not be made again, or holds one look only."""
    for category in CATEGORIES:
        drawn = [VOCABULARY.sample(category, seed) for seed in range(30)]
        assert drawn == [VOCABULARY.sample(category, seed) for seed in range(30)]
        assert len(set(drawn)) > 5
        assert set(drawn) <= set(VOCABULARY.all(category))


def test_spread_gives_different_attributes_and_no_more_than_there_are():
    """If this fails, a larger build repeats subjects or breaks when a category runs out."""
    vocabulary = VOCABULARY
    for category in CATEGORIES:
        few = vocabulary.spread(category, 4, seed=1)
        assert len({a.prompt for a in few}) == min(4, len(vocabulary.all(category)))
        assert few == vocabulary.spread(category, 4, seed=1)
        assert len(vocabulary.spread(category, 10**6, seed=1)) == len(vocabulary.all(category))
