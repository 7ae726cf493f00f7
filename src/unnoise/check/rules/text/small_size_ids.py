"""Stable Diffusion XL samples with a small original size and draws a blurred enlargement.

Why: SDXL was trained with the original size of each image as a condition, because 39 % of its images were below 256
pixels. With 256 it draws an enlarged image of 256 pixels, without fine detail.
Shown: the size that is passed.
Instead: leave it out, or write (1024, 1024); a small size belongs in negative_original_size.
Fix: unsafe: write (1024, 1024).
Source: Podell et al. 2023, arXiv:2307.01952, section 2.2 and figure 3; huggingface/diffusers#6203.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import identity
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN805", name="small-size-ids", severity=WARN, checks="run")
SMALL, FULL = 512, 1024
KEYS = ("original_size", "target_size")


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.tool != "diffusers" or identity(run).family != "sdxl" or (run.facts and run.facts.distilled == "steps"):
        return
    for key in KEYS:
        argument = run.others.get(key)
        sides = argument.value if argument is not None and isinstance(argument.value, tuple | list) else ()
        if argument is None or len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
            continue
        if min(sides) < SMALL:
            message = f"this {key} makes the model draw an enlarged small image"
            measured, expected = f"({sides[0]}, {sides[1]})", "1024 pixels a side"
            fix = Fix.unsafe(argument.place, (FULL, FULL), f"({FULL}, {FULL})")
            yield Finding(RULE, argument.place, message, measured, expected, f"leave {key} out", fix=fix)


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
