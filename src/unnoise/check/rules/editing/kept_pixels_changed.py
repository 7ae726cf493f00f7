"""Pixels that the mask keeps are changed in the result.

Why: inpainting in latents passes the whole image through the autoencoder, which changes every pixel: images of the
embedded data set return from the embedded autoencoder at 29 dB, a root mean square of 9 of 255. With repeated edits, a
face far from the mask degrades.
Shown: the largest change outside of the mask, in steps of 8 bits.
Instead: paste the original back outside of the mask (in diffusers `VaeImageProcessor.apply_overlay`).
Fix: none; the image is finished.
Source: huggingface/diffusers#3880, #4782, #9867; docs/models/emoji.md (29.08 dB).
"""

from collections.abc import Iterator

from unnoise.check.examples import measured
from unnoise.check.rule import WARN, Finding, Needs, Rule
from unnoise.check.subject import Measured, Subject

RULE = Rule(id="UN750", name="kept-pixels-changed", severity=WARN, needs=Needs.PROBE, checks="measured")
MOST = 0.5  # steps of 8 bits, below rounding


def check(one: Measured) -> Iterator[Finding]:
    if one.name == "kept_change" and not one.value < MOST:
        message = "pixels that the mask keeps are changed"
        suggestion = "paste the original back outside of the mask"
        yield Finding(RULE, one.place, message, f"by up to {one.value:.3g} of 255", "0", suggestion)


def bad() -> Subject:
    return measured(kept_change=31.0)


def good() -> Subject:
    return measured(kept_change=0.0)
