"""Weights of words and BREAK: A1111's documented examples, its unbalanced brackets, and what is refused."""

import pytest
from clock import within
from hypothesis import given, strategies as st

from unnoise.errors import InputError
from unnoise.text.prompt_weighting import Segments, stretches, without_weights

# Source: AUTOMATIC1111/stable-diffusion-webui, modules/prompt_parser.py, and its wiki, "Attention/emphasis".
WEIGHTS: list[tuple[str, Segments]] = [
    ("normal text", (("normal text", 1),)),
    ("an (important) word", (("an ", 1), ("important", 1.1), (" word", 1))),
    ("(unbalanced", (("unbalanced", 1.1),)),
    (r"\(literal\]", (("(literal]", 1),)),
    ("(unnecessary)(parens)", (("unnecessaryparens", 1.1),)),
    (
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
        (
            ("a ", 1),
            ("house", 1.573),
            (" ", 1.1),
            ("on", 1),
            (" a ", 1.1),
            ("hill", 0.55),
            (", sun, ", 1.1),
            ("sky", 1.4641),
            (".", 1.1),
        ),
    ),
    ("a ((word))", (("a ", 1), ("word", 1.21))),
    ("a [word]", (("a ", 1), ("word", 1 / 1.1))),
    ("a (word:1.5)", (("a ", 1), ("word", 1.5))),
    ("a (word:0.25)", (("a ", 1), ("word", 0.25))),
    (r"a \(word\)", (("a (word)", 1),)),
    (r"1girl, (miku \(vocaloid\):1.2)", (("1girl, ", 1), ("miku (vocaloid)", 1.2))),
    ("a (cat (grey):1.3)", (("a ", 1), ("cat ", 1.3), ("grey", 1.43))),
    ("((cat:1.3))", (("cat", 1.43),)),
    ("(cat : 1.3 )", (("cat ", 1.3),)),
    ("(a [b) c]", (("a ", 1.1), ("b", 1), (" c", 1 / 1.1))),
    ("(cat\nand dog:1.3)", (("cat\nand dog", 1.3),)),
    ("x:1.2) y] z", (("x:1.2) y] z", 1),)),
    ("[cat", (("cat", 1 / 1.1),)),
    (r"\\ \[a\] \x", ((r"\ [a] x", 1),)),
    (":)", ((":)", 1),)),
    ("at 12:30, 3:4", (("at 12:30, 3:4", 1),)),
    ("", ()),
]


@pytest.mark.parametrize(("prompt", "wanted"), WEIGHTS, ids=[prompt[:20] or "empty" for prompt, _ in WEIGHTS])
def test_weights(prompt: str, wanted: Segments) -> None:
    (found,) = stretches(prompt)
    assert [text for text, _ in found] == [text for text, _ in wanted]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in wanted], abs=1e-12)


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("a cat BREAK a dog", [(("a cat", 1),), (("a dog", 1),)]),
        ("(a cat) BREAK\n b", [(("a cat", 1.1),), (("b", 1),)]),
        ("BREAK a", [(), (("a", 1),)]),
        ("a BREAK BREAK b", [(("a", 1),), (), (("b", 1),)]),
        ("BREAKFAST, break", [(("BREAKFAST, break", 1),)]),
    ],
)
def test_break_begins_a_stretch(prompt: str, wanted: list[Segments]) -> None:
    assert stretches(prompt) == wanted


@pytest.mark.parametrize(
    ("prompt", "fault"),
    [
        ("(a:9)", r"weight 9 of 'a': 0 to 3; for plain text"),
        ("(a:-1)", "weight -1 of 'a'"),
        ("(a:1.2.3)", "weight '1.2.3': is no number"),
        ("(" * 13 + "a" + ")" * 13, "weight 3.45"),
        ("(" * 65 + "a", "more than 64 brackets"),
        ("(a BREAK b)", "BREAK within brackets"),
        ("[a (b BREAK c", "BREAK within brackets"),
    ],
)
def test_what_cannot_be_applied_is_refused(prompt: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        stretches(prompt)


def test_an_encoder_without_weights() -> None:
    assert without_weights(r"a \(cat\)", "apply") == "a (cat)"
    assert without_weights(r"a ((cat)) \(x\)", "warn") == r"a ((cat)) \(x\)"
    with pytest.raises(InputError, match=r"weight 1\.21 of 'cat': this model's text encoder cannot apply"):
        without_weights("a ((cat))", "apply")
    with pytest.raises(InputError, match="BREAK: this model's text encoder has no chunks"):
        without_weights("a BREAK b", "apply")


@given(st.text(alphabet="ab()[]:1.\\ ", max_size=60))
def test_only_brackets_and_numbers_leave_the_text(prompt: str) -> None:
    try:
        found = stretches(prompt)
    except InputError:
        return
    assert "".join(text for text, _ in found[0]).replace("\\", "").count("a") == prompt.count("a")
    assert all(one[1] != other[1] for one, other in zip(found[0], found[0][1:], strict=False))


@pytest.mark.parametrize("unit", ["(", "[", "(a", "()", "\\", ":1", ":1)", "(a:1)", "] ", "BREAK ", ": ", "(((a:.9)))"])
def test_time_is_linear(unit: str) -> None:
    prompt = unit * (25_000 // len(unit))
    with within(60):
        try:
            stretches(prompt)
        except InputError:
            return
