"""Words that no caption had are named where they are most of a prompt; known ones, and words around them, are not."""

import re
from pathlib import Path

import pytest

from unnoise.data.noto import caption_words, open_noto
from unnoise.embedded import find
from unnoise.model_file import load
from unnoise.text.known_words import unknown_words
from unnoise.text.tokenizer import Tokenizer, train

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load(find("emoji")).text_encoder.tokenizer  # type: ignore[union-attr, return-value]


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("zxqv", ["zxqv"]),
        ("a zxqv on a blue background", ["zxqv"]),
        ("ZXQV blorp", ["blorp", "zxqv"]),
        ("photo of (zxqv:1.2)", ["zxqv"]),
        ("猫", ["猫"]),
        ("кот", ["кот"]),
        ("photorealistic masterpiece", ["photorealistic"]),
        ("a zxqv cat in a red car", []),
        ("two dogs running", []),
        ("blue", []),
        ("", []),
        ("12 34 !?", []),
    ],
)
def test_unknown_words_of_the_embedded_model(tokenizer: Tokenizer, prompt: str, unknown: list[str]) -> None:
    assert unknown_words(prompt, tokenizer, caption_words()) == unknown


def test_no_false_alarm(tokenizer: Tokenizer) -> None:
    prompts = (ROOT / "examples/prompts.txt").read_text().splitlines()
    prompts += re.findall(r'(?:generate|edit \S+|generate\() ?"([^"]+)"', (ROOT / "README.md").read_text())
    assert len(prompts) > 14
    prompts += [caption for captions in open_noto().captions[::10] for caption in captions]
    assert [prompt for prompt in prompts if unknown_words(prompt, tokenizer, caption_words())] == []


def test_a_model_whose_captions_are_not_at_hand(tokenizer: Tokenizer) -> None:
    assert unknown_words("zxqv", tokenizer, None) == ["zxqv"]
    assert unknown_words("a red heart", tokenizer, None) == []
    assert unknown_words("zxqv", train(["a cat"] * 9, 300), None) == [], "a tokenizer of a few words judges nothing"
    names = [captions[0] for captions in open_noto().captions[::10]]
    assert [name for name in names if unknown_words(name, tokenizer, None)] == []
