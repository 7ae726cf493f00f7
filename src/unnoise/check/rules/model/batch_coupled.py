"""The prediction for one image depends on the other images of its batch.

Why: a layer with statistics over the batch, such as batch normalisation in training mode, makes each image depend on
its neighbours: the same seed gives another image in another batch, and a server mixes its users' requests. For the
embedded model a row alone and in a batch of 4 differ by 0 to 3e-7 deviations, which is rounding; with features
normalised over the batch, by more than 0.1.
Shown: the difference between a row alone and in a batch, in deviations of x0.
Instead: `model.eval()`; group or layer normalisation instead of batch normalisation.
Fix: none; the model is in memory.
Source: huggingface/diffusers#2659; torch.nn.BatchNorm2d, `training`; numbers measured here.
"""

from collections.abc import Iterator

from unnoise.check.examples import measured
from unnoise.check.rule import ERROR, Finding, Needs, Rule
from unnoise.check.subject import Measured, Subject

RULE = Rule(id="UN251", name="batch-coupled", severity=ERROR, needs=Needs.PROBE, checks="measured")
MOST = 0.02  # kernels chosen by batch size differ by about 0.004 in bfloat16, whose unit is 2^-8


def check(one: Measured) -> Iterator[Finding]:
    if one.name == "coupling" and not one.value <= MOST:
        message = "the prediction for an image changes with the other images of its batch"
        suggestion = "set the network to eval mode, and avoid normalisation over the batch"
        yield Finding(RULE, one.place, message, f"by {one.value:.2g} deviations", f"at most {MOST:g}", suggestion)


def bad() -> Subject:
    return measured(coupling=0.4)


def good() -> Subject:
    return measured(coupling=3e-7)
