"""Encoded data does not have unit deviation, or changes in the autoencoder: the scale is not the denoiser's.

Why: the denoiser is trained on data of mean 0 and deviation 1, and its noise levels assume that. Measured on the
embedded model: batches of 4 of its own images have deviations from 0.78 to 1.25, batches of 8 from 0.80 to 1.17; with
the scale doubled or halved it is 0.48 and 1.93. Decoding and encoding again changes x0 by 0.13 deviations; by 0.38 with
the scale doubled, by 0.39 with it halved.
Shown: the deviation or the mean of the latents, or the change by a round trip.
Instead: apply the scale and shift of the denoiser's own autoencoder exactly once.
Fix: none; the numbers do not show where the scale is wrong.
Source: Rombach et al. 2022, arXiv:2112.10752, appendix G (latents of unit deviation); numbers measured here.
"""

from collections.abc import Iterator

from unnoise.check.examples import measured
from unnoise.check.rule import WARN, Finding, Needs, Rule
from unnoise.check.subject import Subject

RULE = Rule(id="UN310", name="latent-statistics", severity=WARN, needs=Needs.PROBE)
ROWS = 4  # with fewer different images the deviation varies too much: 0.44 to 1.39 with one
# name: (least, most, what it is)
RANGES = {
    "latent_deviation": (0.7, 1.4, "the deviation of encoded data"),
    "latent_mean": (-0.5, 0.5, "the mean of encoded data"),
    "round_trip": (0.0, 0.3, "the change of x0 by decoding and encoding it again"),
}


def check(subject: Subject) -> Iterator[Finding]:
    rows = next((one.value for one in subject.measured if one.name == "latent_rows"), 0)
    for one in subject.measured:
        low, high, what = RANGES.get(one.name, (0.0, 0.0, ""))
        if not what or low <= one.value <= high or (one.name != "round_trip" and rows < ROWS):
            continue
        message = f"{what} is outside the range a denoiser is trained on"
        suggestion = "apply the scale and shift of this model's latents exactly once"
        yield Finding(RULE, one.place, message, f"{one.value:.2f}", f"{low:g} to {high:g}", suggestion)


def bad() -> Subject:
    return measured(latent_finite=1.0, latent_rows=8.0, latent_mean=0.01, latent_deviation=0.48)


def good() -> Subject:
    return measured(latent_finite=1.0, latent_rows=8.0, latent_mean=0.02, latent_deviation=0.97)
