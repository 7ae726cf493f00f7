"""The aspect ratio of the image is beyond those of training.

Why: SDXL, PixArt and Sana were trained on buckets of equal area with aspect ratios up to 4, such as 512 x 2048. Beyond
that, positions occur together that were never trained together, and subjects repeat along the long side.
Shown: the ratio of the sides and that of the longest bucket.
Instead: stay within the ratio, or use tiled generation.
Fix: none; the size is a choice.
Source: Podell et al. 2023, arXiv:2307.01952, appendix I; diffusers/pipelines/pixart_alpha/pipeline_pixart_alpha.py,
ASPECT_RATIO_1024_BIN.
"""

from collections.abc import Iterator, Mapping

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.rules.space._shared import is_plain, size_of
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN311", name="aspect-beyond-training", severity=NOTE, checks="run")
LONGEST: Mapping[str, float] = {"sdxl": 4.0, "pixart": 4.0, "sana": 4.0}


def check(run: GenerationRun) -> Iterator[Finding]:
    size = size_of(run)
    longest = LONGEST.get(run.model.identity.family) if run.model else None
    if size is None or longest is None or not is_plain(run) or max(size) <= longest * min(size):
        return
    message = "the aspect ratio of the image is beyond those of training"
    suggestion = "choose a smaller aspect ratio, or use tiled generation"
    measured = f"{size[0]}x{size[1]}, {max(size) / min(size):.1f} to 1"
    expected = f"at most {longest:g} to 1"
    yield Finding(RULE, run.width.place if run.width else run.place, message, measured, expected, suggestion)


def bad() -> Subject:
    return infotext("""
        a long train
        Negative prompt: blurry
        Steps: 25, Sampler: Euler, Schedule type: Normal, CFG scale: 7, Seed: 1, Size: 2560x512, \
Model hash: 31e35c80fc, Model: sd_xl_base_1.0, RNG: CPU, Version: v1.10.1
        """)


def good() -> Subject:
    return infotext("""
        a long train
        Negative prompt: blurry
        Steps: 25, Sampler: Euler, Schedule type: Normal, CFG scale: 7, Seed: 1, Size: 2048x512, \
Model hash: 31e35c80fc, Model: sd_xl_base_1.0, RNG: CPU, Version: v1.10.1
        """)
