"""The tokenizer: every text has tokens, merges shorten, and a file carries it."""

import pytest
from hypothesis import given, strategies as st

from unnoise.errors import InputError
from unnoise.text.tokenizer import BYTES, START, Tokenizer, train, words

TEXTS = ["a red heart", "a red apple", "the red heart emoji", "red hearts"] * 3
LEARNT = train(TEXTS, 300)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_has_tokens_of_the_vocabulary(text: str) -> None:
    tokens = LEARNT.encode(text)
    assert tokens[0] == START
    assert all(0 < token < LEARNT.size for token in tokens[1:])


def test_a_lone_surrogate_is_read_too() -> None:
    assert len(LEARNT.encode("a \ud800 b")) > 1


def test_an_empty_text_is_the_start_token() -> None:
    assert LEARNT.encode("") == LEARNT.encode("  \n") == [START]


def test_common_words_become_one_token() -> None:
    assert len(LEARNT.encode("red heart")) == 3
    assert len(Tokenizer().encode("red heart")) == 1 + len("redheart")


def test_case_and_space_do_not_matter_and_order_does() -> None:
    assert LEARNT.encode(" Red  HEART") == LEARNT.encode("red heart") != LEARNT.encode("heart red")


def test_training_does_not_depend_on_the_order_of_texts() -> None:
    assert train(reversed(TEXTS), 300) == LEARNT


def test_a_pair_that_occurs_once_is_not_merged() -> None:
    assert train(["abcdef"], 1000).size == 1 + BYTES


@pytest.mark.parametrize("merges", [((1,),), ((1, 999),), ((0, 1),), ((1, 2), (1, 259))])
def test_merges_of_tokens_that_are_not_made_yet_are_refused(merges: tuple) -> None:
    with pytest.raises(InputError, match="merges"):
        Tokenizer(merges)


def test_words_separate_marks() -> None:
    assert words("U.S. flag: #1") == [b"u", b".", b"s", b".", b"flag", b":", b"#", b"1"]
