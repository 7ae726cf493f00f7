"""An output is not finite, or has one colour; it is saved as a black or flat image without an error.

Why: NaN becomes 0 when pixels are cast to 8 bits, with only a NumPy warning, and the image is black. Causes are an
overflow beyond 65504 in float16, a division by zero at zero terminal SNR, or latents that are NaN already.
Shown: the share of finite values, or the value of all pixels.
Instead: run the autoencoder in float32, and stop at the first value that is not finite.
Fix: none; the image is finished.
Source: huggingface/diffusers#4325, #3851; invoke-ai/InvokeAI#4083.
"""

from collections.abc import Iterator

from unnoise.check.examples import measured
from unnoise.check.rule import ERROR, Finding, Needs, Rule
from unnoise.check.subject import Measured, Subject

RULE = Rule(id="UN950", name="output-not-finite-or-constant", severity=ERROR, needs=Needs.PROBE)
FLAT = 1 / 255


def check(subject: Subject) -> Iterator[Finding]:
    numbers = {one.name: one for one in subject.measured}
    for name, what in (("latent_finite", "latents"), ("picture_finite", "pixels")):
        if name in numbers and numbers[name].value != 1:
            message = f"some {what} are NaN or infinite"
            yield _finding(numbers[name], message, f"{numbers[name].value:.0%} finite", "100%")
    if {"picture_lowest", "picture_highest"} <= numbers.keys():
        low, high = numbers["picture_lowest"], numbers["picture_highest"]
        if high.value - low.value < FLAT:
            colour = "all black" if high.value < FLAT else "all white" if low.value > 1 - FLAT else "of one colour"
            yield _finding(low, f"the image is {colour}", f"every pixel {low.value:.2f}", "more than one")


def _finding(one: Measured, message: str, measured: str, expected: str) -> Finding:
    suggestion = "run the autoencoder in float32, and check its inputs"
    return Finding(RULE, one.place, message=message, measured=measured, expected=expected, suggestion=suggestion)


def bad() -> Subject:
    return measured(picture_finite=0.25)


def good() -> Subject:
    return measured(picture_finite=1.0, picture_lowest=0.0, picture_highest=1.0)
