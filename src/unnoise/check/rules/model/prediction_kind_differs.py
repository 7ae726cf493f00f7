"""A network answers with another kind of prediction than it is run as.

Why: eps, x0, v and flow are different numbers for the same guess, and reading one as another gives noise or mush
without an error. How an answer follows its input tells them: <out, x>/<x, x> at (nearly pure noise, nearly clean data)
is (1, 0) for eps, (0, 0) for v, (0, 1) for x0, (1, -1) for flow. The embedded model, a v network, is 0.02 away from v
and 0.14, 1.30 and 2.20 from x0, eps and flow when it is run as them.
Shown: the kind that is found, how far the answers are from it and from the kind that is stated.
Instead: write the kind that is found into the card, or as `prediction_type` of the scheduler.
Fix: none; the model is in memory.
Source: Salimans & Ho 2022, arXiv:2202.00512, section 4; lllyasviel/stable-diffusion-webui-forge,
modules/sd_models_config.py, which probes SD 2 likewise; numbers measured here.
"""

from collections.abc import Iterator

from unnoise.check.examples import measured
from unnoise.check.measure import KINDS
from unnoise.check.rule import ERROR, Finding, Needs, Rule
from unnoise.check.subject import Subject

RULE = Rule(id="UN250", name="prediction-kind-differs", severity=ERROR, needs=Needs.PROBE)
CLOSE, LEARNT = 0.3, 0.3  # the distance of a kind that fits; the agreement of a network that has learnt something


def check(subject: Subject) -> Iterator[Finding]:
    numbers = {one.name: one for one in subject.measured}
    if not {"kind_stated", "kind_found", "kind_distance", "kind_distance_stated", "kind_agreement"} <= numbers.keys():
        return
    stated, found = (int(numbers[name].value) for name in ("kind_stated", "kind_found"))
    far, far_stated = numbers["kind_distance"].value, numbers["kind_distance_stated"].value
    learnt = numbers["kind_agreement"].value > LEARNT
    if stated != found and {stated, found} <= {*range(len(KINDS))} and learnt and far < min(CLOSE, far_stated / 2):
        message = f"the network answers with {KINDS[found]} and is run as {KINDS[stated]}"
        suggestion = f"run it as {KINDS[found]}"
        measured = f"{far:.2f} away from {KINDS[found]}, {far_stated:.2f} from {KINDS[stated]}"
        yield Finding(RULE, numbers["kind_stated"].place, message, measured, KINDS[found], suggestion)


def bad() -> Subject:
    return measured(kind_stated=1, kind_found=2, kind_distance=0.02, kind_distance_stated=1.3, kind_agreement=0.73)


def good() -> Subject:
    return measured(kind_stated=2, kind_found=2, kind_distance=0.02, kind_distance_stated=0.02, kind_agreement=0.73)
