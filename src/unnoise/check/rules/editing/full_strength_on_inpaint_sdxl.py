"""The inpainting model of SDXL runs at full strength.

Why: strength 1 starts from pure noise, but the last of the model's 1000 training levels still contains 0.068 of the
image (the square root of 0.00466). The result has washed-out colours and a visible patch; at 0.99 it does not.
Shown: the strength.
Instead: 0.99.
Fix: unsafe: write 0.99.
Source: model card of diffusers/stable-diffusion-xl-1.0-inpainting-0.1 ("make sure to use strength below 1.0");
huggingface/diffusers#5647; diffusers' own default is 0.9999 since huggingface/diffusers#4858.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import identity
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN707", name="full-strength-on-inpaint-sdxl", severity=WARN, checks="run")
MOST = 0.99


def check(run: GenerationRun) -> Iterator[Finding]:
    model = identity(run)
    if run.tool != "diffusers" or run.strength is None or (model.family, model.variant) != ("sdxl", "inpaint"):
        return
    if run.strength.value >= 1 and "Inpaint" in run.pipeline:
        message = "the inpainting model of SDXL was not trained on pure noise, where strength 1 starts"
        fix = Fix.unsafe(run.strength.place, MOST)
        yield Finding(RULE, run.strength.place, message, "strength 1", "below 1", f"write {MOST}", fix=fix)


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLInpaintPipeline
        from diffusers.utils import load_image
        pipe = StableDiffusionXLInpaintPipeline.from_pretrained("diffusers/stable-diffusion-xl-1.0-inpainting-0.1")
        photo, mask = load_image("harbour.png"), load_image("sky.png")
        pipe("a stormy sky", image=photo, mask_image=mask, padding_mask_crop=32, strength=1.0)
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLInpaintPipeline
        from diffusers.utils import load_image
        pipe = StableDiffusionXLInpaintPipeline.from_pretrained("diffusers/stable-diffusion-xl-1.0-inpainting-0.1")
        photo, mask = load_image("harbour.png"), load_image("sky.png")
        pipe("a stormy sky", image=photo, mask_image=mask, padding_mask_crop=32, strength=0.99)
    """)
