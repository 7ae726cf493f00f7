"""Articles, plurals, adjectives and phrases of captions."""

from itertools import pairwise

import pytest

from unnoise.data import grammar
from unnoise.data.emoji import open_emoji


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("apple", "an apple"), ("dog", "a dog"), ("unicorn", "a unicorn"), ("umbrella", "an umbrella"),
        ("hourglass", "an hourglass"), ("ewe", "an ewe"), ("glasses", "glasses"), ("people hugging", "people hugging"),
        ("bus", "a bus"), ("octopus", "an octopus"), ("cross", "a cross"), ("two dogs", "two dogs"),
        ("the end", "the end"), ("ufo", "a ufo"), ("black cat", "a black cat"), ("orange cat", "an orange cat"),
    ],
)  # fmt: skip
def test_articles(noun: str, expected: str) -> None:
    assert grammar.with_article(noun) == expected


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("dog", "dogs"), ("red apple", "red apples"), ("cherry", "cherries"), ("monkey", "monkeys"), ("fox", "foxes"),
        ("peach", "peaches"), ("bus", "buses"), ("glass", "glasses"), ("man", "men"), ("policewoman", "policewomen"),
        ("glasses", "glasses"), ("mice", "mice"), ("snowman", "snowmen"), ("human", "humans"),
        ("computer mouse", "computer mice"),
    ],
)  # fmt: skip
def test_plurals(noun: str, expected: str) -> None:
    assert grammar.plural(noun) == expected


def test_what_can_be_counted() -> None:
    assert grammar.counted("dog")
    assert not any(map(grammar.counted, ("glasses", "slice of pizza", "cat with tears", "men")))


def test_a_colour_takes_the_place_of_the_nouns_own_and_size_comes_first() -> None:
    assert grammar.described("red apple", "blue") == "blue apple"
    assert grammar.described("octopus", "purple", "tiny") == "tiny purple octopus"
    assert grammar.described("orange", "blue") == "blue orange", "a noun that is a colour stays"
    assert grammar.described("dog") == "dog"


def test_lists() -> None:
    assert grammar.listed(["a dog"]) == "a dog"
    assert grammar.listed(["a dog", "a cat", "a bee"]) == "a dog, a cat and a bee"


def test_held_out_phrases_are_a_fifth_and_none_of_training() -> None:
    for held, used in (
        (grammar.HELD_OUT_PHRASES, grammar.PHRASES),
        (grammar.HELD_OUT_ON_BACKGROUND, grammar.ON_BACKGROUND),
        (grammar.HELD_OUT_IN_STYLE, grammar.IN_STYLE),
    ):
        assert not {*held} & {*used}
        assert 0.15 <= len({*held}) / len({*held, *used}) <= 0.34


@pytest.mark.parametrize("noun", ["a bank", "two dogs", "glasses", "dog"])
def test_a_noun_has_one_article_in_every_phrase(noun: str) -> None:
    for template in grammar.phrases_for(noun):
        words = grammar.phrase(template, noun).split()
        assert not any(a in ("a", "an", "the", "my") and b in ("a", "an", "two") for a, b in pairwise(words))


def test_the_vocabulary_holds_the_words_around_a_noun_and_no_braces() -> None:
    text = " ".join(grammar.vocabulary())
    assert "{" not in text
    assert {"style", "background", "picture", "three", "tiny", "huge", "purple", "cyan"} <= {*text.split()}


def test_every_name_has_an_article_or_is_a_plural() -> None:
    names = {names[0] for names in open_emoji().captions}
    bare = {name for name in names if grammar.with_article(name) == name}
    assert len(bare) < 0.2 * len(names)
    assert {"glasses", "grapes", "scissors"} <= bare
    assert not {"bus", "octopus", "cactus", "cross mark"} & bare
