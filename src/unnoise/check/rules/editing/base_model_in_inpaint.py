"""A text-to-image model, which has no mask input, runs in an inpainting pipeline.

Why: an inpainting network has 9 input channels: the noisy latents, the mask, and the image with the masked part greyed
out. A base model has 4; diffusers only blends the kept latents in after each step. The painted part then follows its
surroundings only through the blending, and seams and doubled objects are more common.
Shown: the channels of the network.
Instead: an inpainting model of the family, or strength below 1, so that the image under the mask is the starting point.
Fix: none.
Source: Rombach et al. 2022, arXiv:2112.10752, section 4.5; huggingface/diffusers#10865;
diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_inpaint.py (num_channels_unet == 4).
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import identity
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.rules.editing._shared import is_base
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN708", name="base-model-in-inpaint", severity=NOTE, checks="run")
CLASSES = ("StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline", "AutoPipelineForInpainting")
MODELS = {
    "sd1": "stable-diffusion-v1-5/stable-diffusion-inpainting",
    "sd2": "stabilityai/stable-diffusion-2-inpainting",
    "sdxl": "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
}


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.tool == "diffusers" and run.pipeline in CLASSES and run.model is not None and _blends(run):
        message = "this network has no mask input; the kept part is only blended in"
        suggestion = f"use {MODELS[identity(run).family]}"
        yield Finding(RULE, run.model.place, message, "4 channels", "9 channels", suggestion)


def _blends(run: GenerationRun) -> bool:
    full = run.strength is None or run.strength.value >= 0.95
    return identity(run).family in MODELS and is_base(run) and full


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionInpaintPipeline
        from diffusers.utils import load_image
        pipe = StableDiffusionInpaintPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        photo, mask = load_image("harbour.png"), load_image("sky.png")
        pipe("a stormy sky", image=photo, mask_image=mask, padding_mask_crop=32)
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionInpaintPipeline
        from diffusers.utils import load_image
        pipe = StableDiffusionInpaintPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
        photo, mask = load_image("harbour.png"), load_image("sky.png")
        pipe("a stormy sky", image=photo, mask_image=mask, padding_mask_crop=32)
    """)
