"""Pixels that a mask keeps came back changed.

Why: inpainting in latents sends the whole image through the autoencoder, and each pass moves every pixel: images
of the embedded data set come back from the embedded autoencoder at 29 dB, a root mean square of 9 steps of 255. Edited
again and again, a face at the other end of the image drifts away.
Shown: the greatest change where the mask keeps, in steps of 8 bits.
Instead: paste the original back where the mask keeps (in diffusers `VaeImageProcessor.apply_overlay`).
Fix: none; the image is made.
Source: huggingface/diffusers#3880, #4782, #9867; docs/models/emoji.md (29.08 dB).
"""

from collections.abc import Iterator

from unnoise.check.examples import measured
from unnoise.check.rule import WARN, Finding, Needs, Rule
from unnoise.check.subject import Measured, Subject

RULE = Rule(id="UN750", name="kept-pixels-changed", severity=WARN, needs=Needs.PROBE, checks="measured")
MOST = 0.5  # steps of 8 bits: less than rounding to a whole one


def check(one: Measured) -> Iterator[Finding]:
    if one.name == "kept_change" and not one.value < MOST:
        message = "pixels that the mask keeps were changed"
        suggestion = "paste the original back where the mask keeps"
        yield Finding(RULE, one.place, message, f"by up to {one.value:.3g} of 255", "0", suggestion)


def bad() -> Subject:
    return measured(kept_change=31.0)


def good() -> Subject:
    return measured(kept_change=0.0)
