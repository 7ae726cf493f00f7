"""The moving average of the weights is equal to the weights that training began with.

Why: an average that is never stepped is a copy of the start, and what is saved or sampled from it has learnt nothing,
however far the training went. One step at a decay of 0.9999 already moves it by 0.0001 of the distance.
Shown: how far the average has moved, relative to the weights.
Instead: step the average after each step of the optimizer, and measure the distance once.
Fix: none; the weights have to be trained again, or taken from the network itself.
Source: huggingface/diffusers#5783, #1818; CompVis/stable-diffusion, ldm/modules/ema.py.
"""

from collections.abc import Iterator

from unnoise.check.examples import measured
from unnoise.check.rule import ERROR, Finding, Needs, Rule
from unnoise.check.subject import Measured, Subject

RULE = Rule(id="UN252", name="ema-equals-start", severity=ERROR, needs=Needs.PROBE, checks="measured")


def check(one: Measured) -> Iterator[Finding]:
    if one.name == "ema_moved" and one.value == 0:
        message = "the averaged weights are those that training began with"
        suggestion = "step the average after each step of the optimizer"
        yield Finding(RULE, one.place, message, "moved by 0", "above 0", suggestion)


def bad() -> Subject:
    return measured(ema_moved=0.0)


def good() -> Subject:
    return measured(ema_moved=0.02)
