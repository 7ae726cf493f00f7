"""The mask paints nothing, or everything.

Why: with 0 pixels above one half nothing is painted, and the image only passes through the autoencoder; with all of
them above it nothing is kept. Usually an alpha channel was used as the mask, or a mask of 0 and 1 was saved as bytes 0
and 1, so that white is 1 / 255 = 0.004.
Shown: the share of painted pixels, and the lowest and highest value.
Instead: save the mask with 255 where it paints and 0 where it keeps.
Fix: none.
Source: diffusers/image_processor.py, preprocess and binarize (values / 255, then 0.5).
"""

from collections.abc import Iterator

from unnoise.check.examples import mask, script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.editing._shared import with_mask
from unnoise.check.subject import GenerationRun, Mask, Subject

RULE = Rule(id="UN711", name="mask-all-one-value", severity=WARN, checks="mask")


def check(run: GenerationRun | None, found: Mask) -> Iterator[Finding]:
    if 0 < found.ones < 1 or (run is not None and run.tool != "diffusers"):
        return
    message = "the mask keeps everything" if found.ones <= 0 else "the mask paints everything"
    measured = f"{found.ones:.0%} painted, values {found.low:.3g} to {found.high:.3g}"
    suggestion = "save the mask with 255 where it paints and 0 where it keeps"
    yield Finding(RULE, found.place, message, measured, "more than 0 % and less than 100 %", suggestion)


PAINT = """
    from diffusers import StableDiffusionInpaintPipeline
    from diffusers.utils import load_image
    pipe = StableDiffusionInpaintPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
    photo, mask = load_image("harbour.png"), load_image("sky.png")
    pipe("a stormy sky", image=photo, mask_image=mask, padding_mask_crop=32)
"""


def bad() -> Subject:
    return with_mask(script(PAINT), mask(low=0.0, high=1 / 255, ones=0.0, cells=0, lost=0))


def good() -> Subject:
    return with_mask(script(PAINT), mask(low=0.0, high=1.0, ones=0.3))
