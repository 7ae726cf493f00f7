"""Guidance makes the values of x0 much larger than without it: oversaturated colours.

Why: x0 of deviation 1 is what the autoencoder decodes. Measured on the embedded model, 12 steps, deviation of the
guided x0 over the plain one: 1.09 at guidance scale 1.5, 1.27 at 3, 1.75 at 6 (the end of its advised range), 2.4 at 8,
3.7 at 12, 7.7 at 30. The share of clipped values grows too: by 0.04, 0.09, 0.15, 0.24, 0.26, 0.25.
Shown: the ratio of the deviations, or the added share of clipped values.
Instead: lower the guidance scale, rescale by 0.7, or guide only at medium noise levels (`guidance_interval`).
Fix: none; the guidance scale is your choice.
Source: Lin et al. 2023, arXiv:2305.08891, section 3.4; Sadat et al. 2024, arXiv:2410.02416; numbers measured here.
"""

from collections.abc import Iterator

from unnoise.check.examples import measured
from unnoise.check.rule import WARN, Finding, Needs, Rule
from unnoise.check.subject import Measured, Subject

RULE = Rule(id="UN407", name="burnt-colours", severity=WARN, needs=Needs.PROBE, checks="measured")
# name: (most, what it is)
MOST = {
    "guided_ratio": (2.0, "the deviation of the guided x0 over that without guidance"),
    "clipped_more": (0.2, "the added share of clipped values"),
}


def check(one: Measured) -> Iterator[Finding]:
    most, what = MOST.get(one.name, (0.0, ""))
    if what and one.value > most:
        message = f"guidance oversaturates colours: {what} is too high"
        suggestion = "lower the guidance scale, or rescale the guidance by 0.7"
        yield Finding(RULE, one.place, message, f"{one.value:.2f}", f"at most {most:g}", suggestion)


def bad() -> Subject:
    return measured(guided_ratio=7.45, clipped_share=0.5, clipped_more=0.18)


def good() -> Subject:
    return measured(guided_ratio=1.1, clipped_share=0.35, clipped_more=0.03)
