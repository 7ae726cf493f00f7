"""An image larger than the model's native size is drawn with the noise levels of the native size.

Why: neighbouring pixels of a larger image are more alike, so the same noise hides less of it: at 2 times the side,
sigma must be twice as high to hide as much. At the usual highest sigma the coarse structure is not fully hidden.
Shown: the area and the native one.
Instead: generate at the native size and upscale, or raise sigma_max with the side.
Fix: none.
Source: huggingface/diffusers#9531; Hoogeboom et al. 2023, arXiv:2301.11093, section 3.1 (shift by the side).
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN119", name="noise-not-scaled-with-size", severity=NOTE, checks="run")
OLD = ("sd1", "sd2")  # families that repeat the subject at such sizes, which UN306 reports
LARGE = 1.5  # of the native area; up to it models were trained in buckets of aspect


def check(run: GenerationRun) -> Iterator[Finding]:
    known = run.facts
    if known is None or known.process != "ddpm" or known.size is None or not run.width or not run.height:
        return
    if run.model is not None and run.model.identity.family in OLD:
        return
    share = run.width.value * run.height.value / (known.size[0] * known.size[1])
    if LARGE < share <= known.area[1] and run.task == "text" and not known.distilled:
        message = f"{known.title} starts from the noise level of its native size, too low for this larger image"
        measured = f"{share:.1f} times the native area"
        suggestion = "generate at the native size and upscale"
        yield Finding(RULE, run.width.place, message, measured, f"up to {LARGE:g}", suggestion)


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 30, Sampler: DPM++ 2M, CFG scale: 6, Seed: 1, Size: 1344x1344, Model: sd_xl_base_1.0, Version: v1.10.1
    """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 30, Sampler: DPM++ 2M, CFG scale: 6, Seed: 1, Size: 1024x1024, Model: sd_xl_base_1.0, Version: v1.10.1
    """)
