"""The mask has another aspect ratio than the image, so it is stretched and paints in the wrong place.

Why: image and mask are resized separately to the size of the run. A square mask on an image of 3 : 2 is stretched by
1.5 in one direction: a mark at the right edge of the middle third moves by a sixth.
Shown: both sizes.
Instead: draw the mask on the image itself, or crop both in the same way.
Fix: none.
Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_inpaint.py (image_processor and mask_processor,
preprocess with height and width); huggingface/diffusers#2067.
"""

from collections.abc import Iterator

from unnoise.check.examples import mask, script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.editing._shared import with_mask
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN710", name="mask-of-another-size", severity=WARN, checks="run")
APART = 0.03  # relative difference of aspects; rounding by a pixel or two on 512 is under 0.01


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.mask is None or run.image_size is None:
        return
    (width, height), (across, down) = run.image_size.value, run.mask.size
    if min(width, height, across, down) < 1:
        return
    stretch = (across / down) / (width / height)
    if max(stretch, 1 / stretch) > 1 + APART:
        message = "the mask has another aspect ratio than the image and is stretched"
        suggestion = "draw the mask on the image, or crop both in the same way"
        measured = f"{across} x {down}"
        yield Finding(RULE, run.mask.place, message, measured, f"the aspect of {width} x {height}", suggestion)


PAINT = """
    from diffusers import StableDiffusionInpaintPipeline
    from diffusers.utils import load_image
    pipe = StableDiffusionInpaintPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
    photo, mask = load_image("harbour.png").resize((768, 512)), load_image("sky.png")
    pipe("a stormy sky", image=photo, mask_image=mask, padding_mask_crop=32)
"""


def bad() -> Subject:
    return with_mask(script(PAINT), mask(size=(512, 512)))


def good() -> Subject:
    return with_mask(script(PAINT), mask(size=(1536, 1024)))
