"""What a request says of its prompts: one line for other programs' syntax, one for unknown words."""

import warnings
from dataclasses import replace

import pytest
import tiny

from unnoise.errors import InputError, InputWarning
from unnoise.generation.prompt_notes import check_prompts
from unnoise.generation.request import request_of
from unnoise.text.encode import PromptEncoder
from unnoise.text.tokenizer import train

PIPELINE = tiny.pipeline()


def lines(prompts: str | list[str], **options: object) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_prompts(request_of(prompts, **options), PIPELINE)
    assert all(one.category is InputWarning for one in caught)
    return [str(one.message) for one in caught]


def test_one_line_names_the_syntax() -> None:
    (line,) = lines(["a ((cat))", "a BREAK b [c:d:2]"], negative_prompt="(x:1.2)")
    assert line.startswith("prompt: '((cat))', 'BREAK', '[c:d:2]', '(x:1.2)': encoded as plain text; ")
    assert "--prompt-weighting apply" in line
    (line,) = lines("[a] [b] [c] [d] [e] [f] [g]")
    assert "'[e]' and 2 more: encoded" in line
    assert lines("a photo (16:9)")[0].startswith("prompt: '(16:9)': encoded as plain text")
    assert lines("a cat (sitting)")[0].startswith("prompt: '(sitting)': encoded as plain text")
    assert lines("a cat, 3:4 at 12:30") == []


def test_other_choices() -> None:
    assert lines("a ((cat))", prompt_weighting="apply") == []
    assert lines("a ((cat))", prompt_weighting="literal") == []
    assert lines("a cat (sitting)", prompt_weighting="refuse") == []
    with pytest.raises(InputError, match=r"prompt: '\(\(cat\)\)': syntax of other programs; .* 'literal' encodes it"):
        lines("a ((cat))", prompt_weighting="refuse")


def test_syntax_that_nothing_applies_is_named_also_where_the_grammar_applies() -> None:
    line = "prompt: '{a|b}', 'cat++': a syntax that cannot be applied here; encoded as plain text"
    assert lines("{a|b} cat++", prompt_weighting="apply") == [line]
    assert lines("{a|b} cat++") == [line]
    assert lines("{a|b} cat++", prompt_weighting="literal") == []


def test_unknown_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines("zxqv") == [], "a tokenizer of few words judges nothing"
    assert isinstance(PIPELINE.text_encoder, PromptEncoder)
    names = train([f"{a}{b}{a}{b}" for a in "abcdefghijklmno" for b in "pqrstuvwabcdefg"] * 2, 800)
    monkeypatch.setattr(PIPELINE.text_encoder, "tokenizer", names)
    assert lines("zxqv") == [
        "prompt: 'zxqv': 'tiny' spells these words letter by letter, and will hardly draw what they mean"
    ]
    model = replace(PIPELINE, card=replace(tiny.CARD, training={"data": "emoji"}))
    with pytest.warns(InputWarning, match=r"'zxqv', 'zxqx': 'tiny' was trained on captions without these words"):
        check_prompts(request_of(["zxqv", "zxqx <lora:heart:1>", "a red heart"], prompt_weighting="apply"), model)
