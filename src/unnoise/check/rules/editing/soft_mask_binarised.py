"""A soft or blurred mask is passed to a pipeline that rounds it to 0 and 1.

Why: every inpainting pipeline of diffusers sets mask values below 0.5 to 0 and all others to 1. Measured with diffusers
0.42.1: for a disc of 200 pixels on 512, a blur of 20 pixels changes 0.5 % of all pixels. The blur only rounds corners.
Shown: the share of pixels with a value between 0 and 1, or the radius of the blur.
Instead: pass a hard mask and paste the result back through the blurred one, or use differential diffusion, which uses
every value: the community pipelines pipeline_stable_diffusion_xl_differential_img2img and
pipeline_flux_differential_img2img.
Fix: show.
Source: diffusers/image_processor.py, binarize;
diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_inpaint.py and flux/pipeline_flux_inpaint.py,
mask_processor (do_binarize=True).
"""

from collections.abc import Iterator

from unnoise.check.examples import mask, script
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.rules.editing._shared import binarises, has_text, with_mask
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN704", name="soft-mask-binarised", severity=WARN, checks="run", with_subject=True)
SOFT = 0.02  # share of all pixels; the antialiased edge of a drawn mask has less
INSTEAD = "paste the result back through the soft mask, or use differential diffusion"


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    if not binarises(run, subject):
        return
    blur = run.others.get("mask_image.blur")
    if run.mask is not None and run.mask.soft > SOFT:
        message = "this pipeline rounds the mask to 0 and 1, so its soft values are lost"
        fix = Fix.show(INSTEAD)
        measured = f"{run.mask.soft:.0%} of the mask is soft"
        yield Finding(RULE, run.mask.place, message, measured, "0 or 1", INSTEAD, fix=fix)
    elif blur is not None and _is_blur(blur.value, subject):
        message = "this pipeline rounds the mask to 0 and 1, so a blur has almost no effect"
        fix = Fix.show(INSTEAD)
        yield Finding(RULE, blur.place, message, f"blurred by {blur.value:g}", "a mask of 0 and 1", INSTEAD, NOTE, fix)


def _is_blur(amount: object, subject: Subject) -> bool:
    """Return whether a filter blurs; the readers report any filter of Pillow as an amount of 1."""
    return isinstance(amount, int | float) and (amount != 1 or has_text(subject, ".blur(", "GaussianBlur", "BoxBlur"))


PAINT = """
    from diffusers import StableDiffusionInpaintPipeline
    from diffusers.utils import load_image
    pipe = StableDiffusionInpaintPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
    photo, mask = load_image("harbour.png"), load_image("sky.png")
    pipe("a stormy sky", image=photo, mask_image=mask, padding_mask_crop=32)
"""


def bad() -> Subject:
    return with_mask(script(PAINT), mask(soft=0.25))


def good() -> Subject:
    return with_mask(script(PAINT), mask(soft=0.0))
