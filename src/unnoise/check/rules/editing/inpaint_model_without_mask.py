"""A model that needs a mask or an input image runs in a pipeline that passes none.

Why: an inpainting network has 9 input channels, instruct-pix2pix 8 and FLUX.1 Fill 384; these pipelines pass 4 or 64.
The call stops with a shape error in the first step.
Shown: the channels of the network and those that the pipeline passes.
Instead: the pipeline that the model is for, or a base model.
Fix: none.
Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py (latents of unet.config.in_channels) and
pipeline_stable_diffusion_inpaint.py; Brooks et al. 2023, arXiv:2211.09800, section 3.2.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import identity
from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN709", name="inpaint-model-without-mask", severity=ERROR, checks="run")
PLAIN = (
    "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionXLPipeline",
    "StableDiffusionXLImg2ImgPipeline", "FluxPipeline", "FluxImg2ImgPipeline", "AutoPipelineForText2Image",
    "AutoPipelineForImage2Image",
)  # fmt: skip
CHANNELS = {"inpaint": 9, "pix2pix": 8, "fill": 384}
PIPELINES = {
    ("sd1", "inpaint"): "StableDiffusionInpaintPipeline",
    ("sd2", "inpaint"): "StableDiffusionInpaintPipeline",
    ("sdxl", "inpaint"): "StableDiffusionXLInpaintPipeline",
    ("sd1", "pix2pix"): "StableDiffusionInstructPix2PixPipeline",
    ("sdxl", "pix2pix"): "StableDiffusionXLInstructPix2PixPipeline",
    ("flux1", "fill"): "FluxFillPipeline",
}


def check(run: GenerationRun) -> Iterator[Finding]:
    pipeline = _pipeline(run)
    if pipeline and run.model is not None:
        model = identity(run)
        given = 64 if model.family == "flux1" else 4
        message = f"{run.pipeline} passes too few channels to this network"
        expected = f"{CHANNELS[model.variant]} channels"
        yield Finding(RULE, run.model.place, message, f"{given} channels", expected, f"load it as {pipeline}")


def _pipeline(run: GenerationRun) -> str:
    model = identity(run)
    return PIPELINES.get((model.family, model.variant), "") if run.tool == "diffusers" and run.pipeline in PLAIN else ""


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
        pipe("a stormy sky over a harbour", num_inference_steps=30)
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        pipe("a stormy sky over a harbour", num_inference_steps=30)
    """)
