"""The refiner of SDXL, used alone to make an image from text.

Why: the refiner was trained on the 200 lowest of 1000 noise levels only; from pure noise it has to answer on 800 that
it never saw. Its text encoder is one of the two of the base.
Shown: the share of levels that it knows and those that the run crosses.
Instead: make the image with the base, and refine it with strength 0.2 to 0.3 or from denoising_start 0.8.
Fix: none.
Source: Podell et al. 2023, arXiv:2307.01952, section 2.5 ("the first 200 (discrete) noise scales").
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN208", name="refiner-as-base", severity=WARN, checks="run")
PARTS = ("image", "latents", "denoising_start", "start_at_step")


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.model is None or run.task != "text" or _starts_later(run):
        return
    if (run.model.identity.family, run.model.identity.variant) == ("sdxl", "refiner"):
        message = "the refiner of SDXL makes an image from pure noise"
        suggestion = "make it with the base, and refine that with a strength of 0.2 to 0.3"
        yield Finding(RULE, run.model.place, message, "1000 of 1000 levels", "the lowest 200", suggestion)


def _starts_later(run: GenerationRun) -> bool:
    """Return whether a run begins with something else than noise."""
    started = any(name in run.others and run.others[name].value not in (0, None) for name in PARTS)
    return started or (run.strength is not None and run.strength.value < 1)


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 30, Sampler: DPM++ 2M, CFG scale: 6, Seed: 1, Size: 1024x1024, Model: sd_xl_refiner_1.0, Version: v1.10.1
    """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 30, Sampler: DPM++ 2M, CFG scale: 6, Seed: 1, Size: 1024x1024, Model: sd_xl_base_1.0, Version: v1.10.1
    """)
