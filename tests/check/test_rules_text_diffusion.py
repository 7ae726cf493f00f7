"""UN813 and UN815: scripts that draw text with masked diffusion models."""

import pytest
import torch

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN


def found(rule: str, text: str) -> list[tuple[int, str]]:
    subject = script(text)
    assert not subject.faults
    return [(one.grade, one.measured) for one in run_rule(entry(rule), subject)]


DRAW = """
import torch
def sample_gumbel(logits, temperature):
    {cast}
    u = torch.rand_like(logits{dtype})
    return logits - temperature * torch.log(-torch.log(u))
def generate(model, x, mask_token, alg="{alg}"):
    return sample_gumbel(model(x).logits, temperature={heat}).argmax(-1)
"""
DRAWS = [
    ("pass", "", "low_confidence", "0.5", [(WARN, "8 to 24 bits, the type of the logits")]),
    ("logits = logits.half()", "", "low_confidence", "0.5", [(WARN, "11 bits, half")]),
    ("logits = logits.double()", "", "low_confidence", "0.5", []),
    ("pass", ", dtype=torch.float64", "low_confidence", "0.5", []),
    ("pass", "", "low_confidence", "0.0", [(NOTE, "8 to 24 bits, the type of the logits")]),
    ("pass", "", "categorical", "0.5", []),
]


@pytest.mark.parametrize(("cast", "dtype", "alg", "heat", "expected"), DRAWS)
def test_noise_of_a_draw(cast: str, dtype: str, alg: str, heat: str, expected: list[tuple[int, str]]) -> None:
    assert found("UN813", DRAW.format(cast=cast, dtype=dtype, alg=alg, heat=heat)) == expected


def test_float32_cuts_the_tail_of_gumbel_noise() -> None:
    """The largest noise that uniform numbers below 1 of a type can give."""
    largest = {
        dtype: -torch.log(-torch.log(1 - torch.tensor(bits, dtype=torch.float64))).item()
        for dtype, bits in (("float32", 2.0**-24), ("float64", 2.0**-53))
    }
    assert largest["float32"] == pytest.approx(16.6, abs=0.1)
    assert largest["float64"] == pytest.approx(36.7, abs=0.1)


CALL = """
from generate import generate
model = AutoModel.from_pretrained("{name}")
LENGTH = {length}
out = generate(model, ids, steps=128, gen_length=LENGTH, block_length={block}{more})
"""
INSTRUCT, BASE = "GSAI-ML/LLaDA-8B-Instruct", "GSAI-ML/LLaDA-8B-Base"
CALLS = [
    (INSTRUCT, "256", "LENGTH", "", [(WARN, "a block of 256 for 256 tokens")]),
    (INSTRUCT, "256", "32", "", []),
    (INSTRUCT, "128", "LENGTH", "", []),
    (BASE, "256", "LENGTH", "", []),
    (INSTRUCT, "256", "LENGTH", ", remasking='random'", []),
    (INSTRUCT, "256", "LENGTH", ", logits_eos_inf=True", []),
    (INSTRUCT, "256", "LENGTH", ", **options", []),
    (INSTRUCT, "int(argument)", "LENGTH", "", []),
]


@pytest.mark.parametrize(("name", "length", "block", "more", "expected"), CALLS)
def test_blocks_of_an_answer(name: str, length: str, block: str, more: str, expected: list[tuple[int, str]]) -> None:
    assert found("UN815", CALL.format(name=name, length=length, block=block, more=more)) == expected


SWITCH = """
def decode(model, x, confidence_eos_eot_inf=False):  # of LLaDA
    logits = model(x).logits
    noisy = with_noise(logits)
    x0 = torch.argmax(noisy, dim=-1)
    if confidence_eos_eot_inf:
        {}
    return torch.softmax(logits, dim=-1)
"""


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("noisy[:, :, 126081] = logits[:, :, 126348] = -torch.inf", 1),
        ("logits[:, :, 126081] = logits[:, :, 126348] = -torch.inf", 0),
        ("logits[:, :, 126081] = -torch.inf", 0),
    ],
)
def test_end_tokens_that_are_lowered(line: str, count: int) -> None:
    assert len(found("UN815", SWITCH.format(line))) == count
