"""The network gives the same answer with and without the prompt: guidance has nothing to push along.

Why: null + weight*(cond - null) is cond whatever the weight is, where the two are equal. It comes of prompts that do
not reach the network (an encoder that was not loaded, features of zeros) or of one that learnt to ignore them. On the
embedded model the answers at nearly pure noise differ by 0.96 deviations; with equal conditions by 0.
Shown: the difference of the two answers, in deviations of x0.
Instead: check that prompts are encoded and reach the network; train with captions dropped for a tenth of the images.
Fix: none.
Source: Ho & Salimans 2022, arXiv:2207.12598, algorithm 1; NVlabs/Sana#188; numbers measured here.
"""

from collections.abc import Iterator

from unnoise.check.examples import measured
from unnoise.check.rule import WARN, Finding, Needs, Rule
from unnoise.check.subject import Measured, Subject

RULE = Rule(id="UN408", name="null-equals-cond", severity=WARN, needs=Needs.PROBE, checks="measured")
LEAST = 1e-4  # of what the rounding of float32 leaves


def check(one: Measured) -> Iterator[Finding]:
    if one.name == "null_difference" and one.value < LEAST:
        message = "the answer does not depend on the prompt, and guidance has no effect"
        suggestion = "check that the prompt is encoded and reaches the network"
        yield Finding(RULE, one.place, message, f"a difference of {one.value:.1g}", f"above {LEAST:g}", suggestion)


def bad() -> Subject:
    return measured(null_difference=0.0)


def good() -> Subject:
    return measured(null_difference=0.96)
