"""Other programs' syntax in a prompt is found by name, and plain text is not."""

import pytest
from clock import within

from unnoise.errors import InputError
from unnoise.text.prompt_syntax import found, split_adapters, unsupported, without_networks


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a (cat:1.3)", ["(cat:1.3)"]),
        ("a (cat (grey):1.3)", ["(cat (grey):1.3)"]),
        ("a ((cat))", ["((cat))"]),
        ("(((sky)))", ["((sky))"]),
        ("[cat:dog:0.5] and [a|b]", ["[cat:dog:0.5]", "[a|b]"]),
        ("a [cat", ["[cat"]),
        ("a cat <lora:ink:0.8>", ["<lora:ink:0.8>"]),
        ("a cat <hypernet:x:1>", ["<hypernet:x:1>"]),
        ("a cat BREAK a dog AND b", ["BREAK", "AND"]),
        (r"miku \(vocaloid\)", [r"\(", r"\)"]),
        ("a photo (16:9)", ["(16:9)"]),
        ("a cat (sitting)", ["(sitting)"]),
        ("(a cat, a dog", ["(a cat, a dog"]),
        ("(" + "a" * 60 + ":1.2)", ["(" + "a" * 36 + "..."]),
        ("a cat", []),
        ("a clock at 12:30, ratio 3:4 :)", []),
        ("a band and a break, 5 > 3 < 4", []),
    ],
)
def test_what_is_found(prompt: str, pieces: list[str]) -> None:
    assert found(prompt) == pieces


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("{cat|dog} and {{red}}", ["{cat|dog}", "{red}"]),
        ("a __animal__", ["__animal__"]),
        ("a cat++ and dog--", ["cat++", "dog--"]),
        ("embedding:easyneg", ["embedding:easyneg"]),
        ("a book on C++, snake_case, 1 -- 2", []),
    ],
)
def test_syntax_that_nothing_here_applies(prompt: str, pieces: list[str]) -> None:
    assert unsupported(prompt) == pieces


def test_plain_parentheses_are_apart() -> None:
    assert found("a cat (sitting)", parentheses=False) == []
    assert found("a (cat:1.3)", parentheses=False) == ["(cat:1.3)"]


def test_adapters_of_a_prompt() -> None:
    assert split_adapters("a cat <lora:ink:0.8> here") == ("a cat  here", (("ink", 0.8),))
    assert split_adapters("<lora:a><lyco:b:-1:-1>") == ("", (("a", 1.0), ("b", -1.0)))
    assert split_adapters("1 < 2 : 3 > 2") == ("1 < 2 : 3 > 2", ())
    assert without_networks("x <other:1>") == "x "


@pytest.mark.parametrize(
    ("prompt", "fault"),
    [
        ("<hypernet:x:1>", "no network 'hypernet'"),
        ("<lora:x:1:0.5>", "one weight for text encoder and denoiser"),
        ("<lora:x:te=1>", "write it as <lora:NAME:WEIGHT>"),
    ],
)
def test_networks_that_cannot_be_applied(prompt: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        split_adapters(prompt)


@pytest.mark.parametrize(
    "unit",
    [
        "(",
        "(a",
        "((",
        "[",
        "<a:",
        "<lora:",
        ":1",
        "(a:1",
        "(a(",
        "\\",
        "(a:" + " " * 50,
        "<" + "a" * 50,
        "a",
        "_",
        "__a",
        "{",
        "{a|",
    ],
)
def test_time_is_linear(unit: str) -> None:
    prompt = unit * (100_000 // len(unit))
    with within(25):
        found(prompt)
        split_adapters(prompt)
        unsupported(prompt)
