"""The strength is so small that no step is left to run, or very few.

Why: diffusers runs int(steps * strength) steps; for 20 steps at strength 0.04 that is int(0.8) = 0. Inpainting then
raises, Euler and DDIM return an empty batch (diffusers 0.42.1), and PNDM, which runs one step more, returns the image
nearly unchanged. With fewer than 4 steps the result is as blurred as that of any run with so few.
Shown: the steps, the strength, and the steps that are run.
Instead: more steps: at least 4 / strength.
Fix: unsafe: write the number of steps that leaves 4.
Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_img2img.py, get_timesteps;
huggingface/diffusers#1867; ComfyUI, comfy/samplers.py, KSampler.set_steps (denoise 0 runs no step).
"""

import math
from collections.abc import Iterator

from unnoise.check.effective_settings import may_be_distilled
from unnoise.check.examples import script
from unnoise.check.rule import ERROR, NOTE, Finding, Fix, Rule
from unnoise.check.rules.editing._shared import steps_and_strength, steps_left
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN701", name="no-steps-left", severity=ERROR, checks="run", with_subject=True)
ENOUGH = 4


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    if run.tool == "comfyui" and run.strength is not None and run.strength.value <= 0:
        message = "a denoise of 0 runs no step and returns the latents unchanged"
        suggestion = "write a denoise above 0, or remove the sampler"
        yield Finding(RULE, run.strength.place, message, f"denoise {run.strength.value:g}", "above 0", suggestion)
    found = steps_and_strength(run)
    if found is not None:
        yield from _counted(run, subject, *found)


def _counted(run: GenerationRun, subject: Subject, steps: int, strength: float) -> Iterator[Finding]:
    count = steps_left(run, steps, strength)
    setting = run.strength or run.steps
    few = steps <= ENOUGH or may_be_distilled(run, subject)
    if setting is None or count >= ENOUGH or (count >= 1 and few):
        return
    measured = f"{steps} steps * strength {strength:g} = {steps * strength:.3g}, so {count} are run"
    message = "the strength leaves no step to run" if count < 1 else "the strength leaves very few steps to run"
    suggestion = f"use {_enough(strength)} steps" if strength > 0 else "use a strength above 0"
    grade = ERROR if count < 1 else NOTE
    expected = "at least 1" if count < 1 else "at least 4"
    yield Finding(RULE, setting.place, message, measured, expected, suggestion, grade, _fix(run, strength))


def _fix(run: GenerationRun, strength: float) -> Fix | None:
    if run.steps is None or run.strength is None or strength < 0.01:
        return None
    steps = _enough(strength)
    return Fix.unsafe(run.steps.place, steps, f"{steps} steps")


def _enough(strength: float) -> int:
    """Return the smallest number of steps that leaves 4, in the floating point arithmetic of diffusers."""
    steps = math.ceil(ENOUGH / strength)
    return steps if int(steps * strength) >= ENOUGH else steps + 1


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLImg2ImgPipeline
        from diffusers.utils import load_image
        pipe = StableDiffusionXLImg2ImgPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        photo = load_image("harbour.png")
        pipe("a harbour in fog", image=photo, num_inference_steps=20, strength=0.04)
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLImg2ImgPipeline
        from diffusers.utils import load_image
        pipe = StableDiffusionXLImg2ImgPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        photo = load_image("harbour.png")
        pipe("a harbour in fog", image=photo, num_inference_steps=40, strength=0.3)
    """)
