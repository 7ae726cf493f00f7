"""Schedules, alternation and AND: A1111's documented examples, and what is refused."""

from itertools import groupby

import pytest
from clock import within

from unnoise.errors import InputError, InputWarning
from unnoise.text.prompt_schedule import JoinedPrompt, parts, schedule

LANDSCAPE = (
    "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75][ in foreground::0.6]"
    "[ in background:0.25] [shoddy:masterful:0.5]"
)
# Source: AUTOMATIC1111/stable-diffusion-webui, modules/prompt_parser.py, and its wiki, "Prompt editing".
SCHEDULES: list[tuple[str, int, list[tuple[int, str]]]] = [
    ("test", 10, [(10, "test")]),
    ("a [b:3]", 10, [(3, "a "), (10, "a b")]),
    ("a [b: 3]", 10, [(3, "a "), (10, "a b")]),
    ("a [[[b]]:2]", 10, [(2, "a "), (10, "a [[b]]")]),
    ("[(a:2):3]", 10, [(3, ""), (10, "(a:2)")]),
    ("a [b : c : 1] d", 10, [(1, "a b  d"), (10, "a  c  d")]),
    ("a[b:[c:d:2]:1]e", 10, [(1, "abe"), (2, "ace"), (10, "ade")]),
    ("a [unbalanced", 10, [(10, "a [unbalanced")]),
    ("a [b:.5] c", 10, [(5, "a  c"), (10, "a b c")]),
    ("((a][:b:c [d:3]", 10, [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
    ("[a|(b:1.1)]", 4, [(1, "a"), (2, "(b:1.1)"), (3, "a"), (4, "(b:1.1)")]),
    ("[fe|]male", 3, [(1, "female"), (2, "male"), (3, "female")]),
    ("[fe|||]male", 5, [(1, "female"), (4, "male"), (5, "female")]),
    (
        LANDSCAPE,
        100,
        [
            (25, "fantasy landscape with a mountain and an oak in foreground shoddy"),
            (50, "fantasy landscape with a lake and an oak in foreground in background shoddy"),
            (60, "fantasy landscape with a lake and an oak in foreground in background masterful"),
            (75, "fantasy landscape with a lake and an oak in background masterful"),
            (100, "fantasy landscape with a lake and a christmas tree in background masterful"),
        ],
    ),
    ("a [fantasy:cyberpunk:16] landscape", 20, [(16, "a fantasy landscape"), (20, "a cyberpunk landscape")]),
    ("[cat::2]", 4, [(2, "cat"), (4, "")]),
    ("[a:b:0]", 4, [(4, "b")]),
    ("([a:b:0.5]:1.2)", 4, [(2, "(a:1.2)"), (4, "(b:1.2)")]),
    ("[[cow|cat]:dog:2]", 4, [(1, "cow"), (2, "cat"), (4, "dog")]),
    ("[a:b]", 4, [(4, "[a:b]")]),
    ("[a:b:c]", 4, [(4, "[a:b:c]")]),
    ("[[a:b]:c:2]", 4, [(4, "[[a:b]:c:2]")]),
    ("a photo (16:9)", 4, [(4, "a photo (16:9)")]),
    (r"\[a:b:2\]", 4, [(4, r"\[a:b:2\]")]),
    (r"[a\:b:c:2]", 4, [(2, r"a\:b"), (4, "c")]),
    ("", 4, [(4, "")]),
]


@pytest.mark.parametrize(("prompt", "steps", "wanted"), SCHEDULES, ids=[one[0][:20] or "empty" for one in SCHEDULES])
def test_schedules(prompt: str, steps: int, wanted: list[tuple[int, str]]) -> None:
    texts = schedule(prompt, steps)
    assert len(texts) in (1, steps)
    numbered = enumerate(texts if len(texts) == steps else texts * steps, 1)
    ends = [(list(run)[-1][0], text) for text, run in groupby(numbered, key=lambda one: one[1])]
    assert ends == wanted


def test_and_joins_prompts_with_weights() -> None:
    assert parts("a cat AND a dog", 4) == (JoinedPrompt(("a cat ",)), JoinedPrompt((" a dog",)))
    assert parts("a cat :1.2 AND a dog AND a penguin :-2.2", 4) == (
        JoinedPrompt(("a cat",), 1.2), JoinedPrompt((" a dog ",)), JoinedPrompt((" a penguin",), -2.2),
    )  # fmt: skip
    assert parts("a cat:0.5 AND [b:c:2]", 3)[1].texts == (" b", " b", " c")
    assert len(parts("SAND AND_ and", 4)) == 1


@pytest.mark.parametrize(
    ("prompt", "fault"),
    [
        ("a clock at 12:30", r"':30' at its end is the weight of a whole prompt.*'\\:30'"),
        ("a:21 AND b", "weight 21 of a prompt joined by AND: -20 to 20"),
        (" AND ".join("abcdefghi"), "9 prompts joined by AND: at most 8"),
        ("[a:b:1.5]", "a share of the steps from 0.0 to 1.0"),
        ("[a:b:-1]", "or a whole number of steps"),
        ("[a:b:2] | c", r"'\|' outside of"),
        ("".join(f"[{k}:{k + 1}:{k}]" for k in range(1, 139)), "139 different texts in 139 steps: at most 128"),
    ],
)
def test_what_cannot_be_applied_is_refused(prompt: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        parts(prompt, 139)


def test_a_prompt_that_never_changes_says_so() -> None:
    with pytest.warns(InputWarning, match=r"'\[from:to:30\]': never changes in 20 steps"):
        assert set(schedule("[a:b:30]", 20)) == {"a"}
    assert schedule(r"a clock at 12\:30", 4) == (r"a clock at 12\:30",)


@pytest.mark.parametrize(
    "prompt",
    [
        "(" * 25_000,
        "[" * 25_000 + "]" * 25_000,
        "[a|" * 12_500 + "]" * 12_500,
        "[" * 10_000 + ":b:1]" * 8_000,
        "[a:b]" * 20_000,
        "\\" * 25_000,
        ":1" * 25_000,
        ":" + " " * 25_000 + "x",
        "a AND" + " " * 25_000 + ":1x",
    ],
    ids=lambda prompt: prompt[:8],
)
def test_time_is_linear_and_nothing_recurses(prompt: str) -> None:
    with within(60):
        try:
            parts(prompt, 2)
        except InputError:
            return
