"""The network predicts the same with and without the prompt, so guidance has no effect.

Why: where the two are equal, null + weight*(cond - null) is cond for every weight. Either the prompt does not reach the
network (an encoder that is not loaded, features of zeros), or the network has learnt to ignore it. On the embedded
model the predictions at nearly pure noise differ by 0.96 deviations; with equal conditions by 0.
Shown: the difference of the two predictions, in deviations of x0.
Instead: check that prompts are encoded and reach the network; train with captions dropped for a tenth of the images.
Fix: none.
Source: Ho & Salimans 2022, arXiv:2207.12598, algorithm 1; NVlabs/Sana#188; numbers measured here.
"""

from collections.abc import Iterator

from unnoise.check.examples import measured
from unnoise.check.rule import WARN, Finding, Needs, Rule
from unnoise.check.subject import Measured, Subject

RULE = Rule(id="UN408", name="null-equals-cond", severity=WARN, needs=Needs.PROBE, checks="measured")
LEAST = 1e-4  # above the rounding error of float32


def check(one: Measured) -> Iterator[Finding]:
    if one.name == "null_difference" and one.value < LEAST:
        message = "the prediction does not depend on the prompt, so guidance has no effect"
        suggestion = "check that the prompt is encoded and reaches the network"
        yield Finding(RULE, one.place, message, f"a difference of {one.value:.1g}", f"above {LEAST:g}", suggestion)


def bad() -> Subject:
    return measured(null_difference=0.0)


def good() -> Subject:
    return measured(null_difference=0.96)
