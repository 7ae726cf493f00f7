"""Weights of words: found, cut out, refused."""

import pytest
from hypothesis import given, strategies as st

from unnoise.errors import InputError
from unnoise.text.prompt_weighting import refuse, weighted


def test_segments_and_their_weights() -> None:
    assert weighted("a (red cat:1.3), on (grass: .5)") == [("a ", 1), ("red cat", 1.3), (", on ", 1), ("grass", 0.5)]
    assert weighted("a cat (in a hat)") == [("a cat (in a hat)", 1)]
    assert weighted("") == []


@pytest.mark.parametrize("prompt", ["a (cat:1.2)", "(a:2)", "x (b c : 0.5) y"])
def test_weights_are_refused(prompt: str) -> None:
    with pytest.raises(InputError, match=r"is a word weight.*'apply' applies it, 'literal' encodes it"):
        refuse(prompt)


@pytest.mark.parametrize("prompt", ["a cat", "a clock at 12:30", "ratio 3:4", "(a cat)", "[a]", "a (b:c)", ":)"])
def test_plain_text_is_not_refused(prompt: str) -> None:
    refuse(prompt)


@pytest.mark.parametrize(
    ("prompt", "fault"),
    [
        ("(a:9)", "weight 9 of 'a': 0 to 3"),
        ("(a:-1)", "weight -1"),
        ("((a))", "brackets without a weight"),
        ("[a] (b:1.1)", "brackets"),
    ],
)
def test_invalid_weights_are_refused(prompt: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        weighted(prompt)


@given(st.text(max_size=60))
def test_no_letter_is_lost(prompt: str) -> None:
    try:
        pieces = weighted(prompt)
    except InputError:
        return
    assert all(text in prompt for text, _ in pieces)
    if all(weight == 1 for _, weight in pieces) and "(" not in prompt:
        assert "".join(text for text, _ in pieces) == prompt
