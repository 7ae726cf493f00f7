"""A1111's grammar on CLIP: chunks, BREAK, commas and weights, as its text conditioning computes them; T5 refuses."""

from typing import Any

import pytest
import torch

from integrations import peers
from unnoise.errors import InputError
from unnoise.integrations.diffusers.pixart import LowerCaseText
from unnoise.integrations.diffusers.wan import ZeroPaddedText
from unnoise.text.clip import Clip
from unnoise.text.prompt_weighting import PromptWeighting


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    tokenizer = peers.clip_tokenizer(tmp_path_factory.mktemp("words"))
    return Clip(lambda: tokenizer, peers.clip_text())


def lengths(clip: Clip, prompt: str, prompt_weighting: PromptWeighting = "apply") -> list[int]:
    return [len(chunk) for chunk in clip.chunks(prompt, prompt_weighting)]


def words(count: int) -> str:
    return " ".join(["cat"] * count)


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("", [0]),
        (words(75), [75]),
        (words(76), [75, 1]),
        ("cat BREAK cat cat", [1, 2]),
        ("BREAK cat", [0, 1]),
        ("cat BREAK", [1]),
        (words(75) + " BREAK cat", [75, 1]),
        (f"{words(59)}, {words(20)}", [60, 20]),
        (f"{words(54)}, {words(30)}", [75, 10]),
        (f"{words(55)}, {words(30)}", [56, 30]),
        (f"{words(75)}, cat", [75, 2]),
        (f"{words(60)}, {words(74)}, {words(5)}", [61, 75, 5]),
    ],
)
def test_chunks(clip: Clip, prompt: str, wanted: list[int]) -> None:
    assert lengths(clip, prompt) == wanted


def test_a_comma_ends_a_chunk_only_where_the_grammar_applies(clip: Clip) -> None:
    assert lengths(clip, f"{words(59)}, {words(20)}", "literal") == [75, 5]
    assert len(lengths(clip, "cat BREAK cat", "literal")) == 1
    with pytest.raises(InputError, match="in 17 chunks of 75: at most 16 chunks"):
        clip.chunks(" BREAK ".join(["cat"] * 17), "apply")


def test_weights_keep_the_mean_of_each_chunk(clip: Clip) -> None:
    with torch.no_grad():
        plain, pooled = clip.read("cat cat BREAK cat", "apply")
        found, same = clip.read("cat (cat:1.5) BREAK [cat]", "apply")
    chunks = plain.reshape(2, 77, -1)
    scale = torch.ones(2, 77, 1)
    scale[0, 2], scale[1, 1] = 1.5, 1 / 1.1
    wanted = torch.cat([z * m * (z.mean() / (z * m).mean()) for z, m in zip(chunks, scale, strict=True)])[None]
    assert torch.allclose(found, wanted, atol=1e-5)
    assert torch.equal(pooled, same)


def test_escaped_brackets_are_plain(clip: Clip) -> None:
    assert clip.chunks(r"cat \(cat\)", "apply") == clip.chunks("cat (cat)", "literal")
    assert clip.chunks("((cat))", "literal") != clip.chunks("cat", "literal")


@pytest.mark.parametrize("kind", [LowerCaseText, ZeroPaddedText])
def test_a_text_encoder_without_weights_refuses_them_by_name(kind: Any) -> None:
    conditioner = kind(None)
    with pytest.raises(InputError, match=r"weight 1\.1 of 'cat': this model's text encoder cannot apply weights"):
        conditioner(["a (cat)"], "apply")
    with pytest.raises(InputError, match="BREAK: this model's text encoder has no chunks"):
        conditioner(["a BREAK b"], "apply")
