"""The network predicts another quantity than the one it is run as.

Why: eps, x0, v and flow are different numbers for the same x0. Reading one as another gives noise or blurred shapes
without an error. The way a prediction depends on its input identifies it: <out, x>/<x, x> at (nearly pure noise, nearly
clean data) is (1, 0) for eps, (0, 0) for v, (0, 1) for x0, (1, -1) for flow. The embedded model, a v network, is at a
distance of 0.02 from v, and of 0.14, 1.30 and 2.20 from x0, eps and flow when it is run as them.
Shown: the measured kind, and the distances from it and from the stated kind.
Instead: write the measured kind into the card, or as `prediction_type` of the scheduler.
Fix: none; the model is in memory.
Source: Salimans & Ho 2022, arXiv:2202.00512, section 4; lllyasviel/stable-diffusion-webui-forge,
modules/sd_models_config.py, which probes SD 2 in the same way; numbers measured here.
"""

from collections.abc import Iterator

from unnoise.check.examples import measured
from unnoise.check.measure import KINDS
from unnoise.check.rule import ERROR, Finding, Needs, Rule
from unnoise.check.subject import Subject

RULE = Rule(id="UN250", name="prediction-kind-differs", severity=ERROR, needs=Needs.PROBE)
CLOSE, LEARNT = 0.3, 0.3  # largest distance of a matching kind; smallest agreement of a trained network


def check(subject: Subject) -> Iterator[Finding]:
    numbers = {one.name: one for one in subject.measured}
    if not {"kind_stated", "kind_found", "kind_distance", "kind_distance_stated", "kind_agreement"} <= numbers.keys():
        return
    stated, found = (int(numbers[name].value) for name in ("kind_stated", "kind_found"))
    far, far_stated = numbers["kind_distance"].value, numbers["kind_distance_stated"].value
    learnt = numbers["kind_agreement"].value > LEARNT
    if stated != found and {stated, found} <= {*range(len(KINDS))} and learnt and far < min(CLOSE, far_stated / 2):
        message = f"the network predicts {KINDS[found]} and is run as {KINDS[stated]}"
        suggestion = f"run it as {KINDS[found]}"
        measured = f"distance {far:.2f} from {KINDS[found]}, {far_stated:.2f} from {KINDS[stated]}"
        yield Finding(RULE, numbers["kind_stated"].place, message, measured, KINDS[found], suggestion)


def bad() -> Subject:
    return measured(kind_stated=1, kind_found=2, kind_distance=0.02, kind_distance_stated=1.3, kind_agreement=0.73)


def good() -> Subject:
    return measured(kind_stated=2, kind_found=2, kind_distance=0.02, kind_distance_stated=0.02, kind_agreement=0.73)
