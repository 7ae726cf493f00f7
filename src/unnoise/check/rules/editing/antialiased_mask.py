"""A mask with values between 0 and 1 is passed unrounded to an inpainting network.

Why: the 9 channels of such a network were trained on masks of exactly 0 and 1, with the image greyed out where the mask
is 1. ComfyUI passes a mask value of 0.5 unchanged, but rounds it before greying out the image. The two no longer agree,
and a seam remains along the edge.
Shown: the share of pixels with a value between 0 and 1.
Instead: round the mask (in ComfyUI: ThresholdMask), and soften only where the result is pasted back.
Fix: show.
Source: leejet/stable-diffusion.cpp#589; ComfyUI, nodes.py, InpaintModelConditioning; Rombach et al. 2022,
arXiv:2112.10752, section 4.5.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import identity
from unnoise.check.examples import mask, workflow
from unnoise.check.rule import NOTE, Finding, Fix, Rule
from unnoise.check.rules.editing._shared import has_text, with_mask
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN705", name="antialiased-mask", severity=NOTE, checks="run", with_subject=True)
INSTEAD = "round the mask to 0 and 1"


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    if run.tool not in ("comfyui", "sdcpp") or run.mask is None or run.mask.soft <= 0:
        return
    if identity(run).variant in ("inpaint", "fill") and not has_text(subject, '"alpha"'):
        message = "the mask has values between 0 and 1; inpainting networks are trained on 0 and 1 only"
        fix = Fix.show(INSTEAD)
        yield Finding(RULE, run.mask.place, message, f"{run.mask.soft:.1%} of it", "0 %", INSTEAD, fix=fix)


NAME = "512-inpainting-ema.safetensors"


def bad() -> Subject:
    return with_mask(workflow(checkpoint=NAME, width=512, height=512), mask(soft=0.03))


def good() -> Subject:
    return with_mask(workflow(checkpoint=NAME, width=512, height=512), mask(soft=0.0))
