"""The seed is not recorded, so the image cannot be reproduced.

Why: there are 2^32 seeds, and without the right one all other settings give another image. A seed of -1 means a random
one; the metadata should contain the seed that was used.
Shown: the seed in the metadata, or the number of images drawn without one.
Instead: record the seed that was used; in diffusers pass a generator for each image.
Fix: none; the seed is not known.
Source: AUTOMATIC1111/stable-diffusion-webui, modules/processing.py, get_fixed_seed; diffusers, docs, "Reproducible
pipelines".
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN913", name="seed-not-recorded", severity=NOTE, checks="run")
RECORDS = ("a1111", "forge", "sdcpp", "invokeai")


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.tool in RECORDS and run.seed is not None and run.seed.value < 0:
        message = "the metadata has no seed, so this image cannot be reproduced"
        suggestion = "record the seed that was used"
        yield Finding(RULE, run.seed.place, message, f"seed {run.seed.value}", "0 or more", suggestion)
    elif run.tool == "diffusers" and run.batch is not None and run.batch.value > 1 and _is_unseeded(run):
        message = "several images are drawn without a seed, so a chosen one cannot be reproduced"
        suggestion = "pass a list of seeded generators"
        measured = f"{run.batch.value} images, 0 seeds"
        yield Finding(RULE, run.batch.place, message, measured, "a seed for each", suggestion)


def _is_unseeded(run: GenerationRun) -> bool:
    given = {"generator", "latents", "**"} & run.others.keys()
    return run.seed is None and run.seed_device is None and not given


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: -1, Size: 512x512, Version: v1.10.1
    """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 90, Size: 512x512, Version: v1.10.1
    """)
