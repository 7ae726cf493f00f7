"""A small original size, told to Stable Diffusion XL while sampling: it draws a blurred enlargement.

Why: SDXL was trained with the size of each picture before it was enlarged as a condition, since 39 % of its pictures
were below 256 pixels. Told 256, it draws what pictures of 256 pixels look like at 1024: without fine detail.
Shown: the size that is told.
Instead: leave it out, or write (1024, 1024); a small size belongs in negative_original_size.
Fix: unsafe: write (1024, 1024).
Source: Podell et al. 2023, arXiv:2307.01952, section 2.2 and figure 3; huggingface/diffusers#6203.
"""

from collections.abc import Iterator

from unnoise.check.acting import identity
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Change, Finding, Fix, Rule
from unnoise.check.subject import Subject

RULE = Rule(id="UN805", name="small-size-ids", severity=WARN)
SMALL, FULL = 512, 1024
KEYS = ("original_size", "target_size")


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        if run.tool != "diffusers" or identity(run).family != "sdxl" or (run.facts and run.facts.distilled == "steps"):
            continue
        for key in KEYS:
            said = run.others.get(key)
            sides = said.value if said is not None and isinstance(said.value, tuple | list) else ()
            if said is None or len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
                continue
            if min(sides) < SMALL:
                says = f"{key} tells the model to draw what small pictures look like"
                measured, expected = f"({sides[0]}, {sides[1]})", "1024 pixels a side"
                yield Finding(RULE, said.place, says, measured, expected, f"leave {key} out")


def fix(subject: Subject, finding: Finding) -> Fix | None:
    return Fix("unsafe", f"write ({FULL}, {FULL})", (Change(finding.place, (FULL, FULL)),))


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe("a lighthouse at dawn", original_size=(256, 256))
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe("a lighthouse at dawn", original_size=(1024, 1024), negative_original_size=(512, 512))
    """)
