"""The moving average of the weights equals the weights at the start of training.

Why: an average that is never updated is a copy of the start: models saved or sampled from it have learnt nothing,
however long the training was. One update at a decay of 0.9999 already moves it by 0.0001 of the distance.
Shown: how far the average has moved, relative to the weights.
Instead: update the average after each optimizer step, and measure the distance once.
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
        message = "the averaged weights equal the weights at the start of training"
        suggestion = "update the average after each optimizer step"
        yield Finding(RULE, one.place, message, "moved by 0", "above 0", suggestion)


def bad() -> Subject:
    return measured(ema_moved=0.0)


def good() -> Subject:
    return measured(ema_moved=0.02)
