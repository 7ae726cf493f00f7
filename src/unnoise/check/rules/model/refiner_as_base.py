"""The refiner of SDXL is used alone to draw an image from text.

Why: the refiner was trained only on the 200 lowest of 1000 noise levels; from pure noise it also runs on the 800
others. It has one of the base's two text encoders.
Shown: the levels of the run and those it was trained on.
Instead: draw the image with the base, and refine it with strength 0.2 to 0.3 or from denoising_start 0.8.
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
        message = "the refiner of SDXL starts from pure noise, which it was not trained on"
        suggestion = "draw the image with the base, and refine it with a strength of 0.2 to 0.3"
        yield Finding(RULE, run.model.place, message, "1000 of 1000 levels", "the lowest 200", suggestion)


def _starts_later(run: GenerationRun) -> bool:
    """Return whether a run starts from something other than noise."""
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
