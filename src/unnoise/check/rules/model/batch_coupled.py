"""The answer for one image depends on the others of its batch.

Why: a layer that takes statistics over the batch, such as batch normalisation left in training mode, makes each
image a function of its neighbours: the same seed gives another image in another batch, and a server mixes its
users' requests. The embedded model differs by 0 to 3e-7 deviations between a row alone and in a batch of 4, which is
rounding; with its features normalised over the batch, by more than 0.1.
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
MOST = 0.02  # kernels that are chosen by the batch differ by about 0.004 in bfloat16, whose unit is 2^-8


def check(one: Measured) -> Iterator[Finding]:
    if one.name == "coupling" and not one.value <= MOST:
        message = "the answer for an image changes with the others of its batch"
        suggestion = "put the network into eval mode, and use no normalisation over the batch"
        yield Finding(RULE, one.place, message, f"by {one.value:.2g} deviations", f"at most {MOST:g}", suggestion)


def bad() -> Subject:
    return measured(coupling=0.4)


def good() -> Subject:
    return measured(coupling=3e-7)
