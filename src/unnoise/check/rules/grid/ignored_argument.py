"""An argument of the call that nothing reads: it is misspelt, or the sampler does not take it.

Why: the calls of Stable Diffusion's pipelines in diffusers accept any keyword and drop what they do not know, so that
`negative_promt="blurry"` or `seed=7` changes 0 pixels, and so do a picture for text to image and a mask for image to
image; other pipelines raise an error. They pass `eta` only to schedulers whose step takes it: DDIM and its relatives.
With any other scheduler 0 pixels differ between eta=0 and eta=1.
Shown: the argument, and the nearest one that exists or the scheduler in use.
Instead: write the intended argument; remove eta, or set a DDIMScheduler.
Fix: none.
Source: diffusers, pipeline_stable_diffusion.py, `__call__` (**kwargs) and prepare_extra_step_kwargs;
huggingface/diffusers#14353.
"""

from collections.abc import Iterator
from difflib import get_close_matches

from unnoise.check.effective_settings import effective_schedule
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.grid._shared import is_own
from unnoise.check.subject import GenerationRun, Subject
from unnoise.check.tables import step_accepts
from unnoise.check.tables.calls import CALL

RULE = Rule(id="UN110", name="ignored-argument", severity=WARN, checks="run")
ARGUMENT = "eta"
KNOWN = frozenset(CALL["any"])
ALIKE = 0.82  # share of letters that a misspelt argument has in common
METHODS = ("enable_", "disable_", "upcast_", "**")  # not arguments, but what a script did with the pipeline before
COPIED = "pipeline.module"  # a class of the same name from elsewhere may have arguments of its own
STABLE = "StableDiffusion"  # its pipelines
# Arguments that other pipelines and programs have, and what those of Stable Diffusion have instead.
ELSEWHERE = {
    "seed": "generator=torch.Generator().manual_seed(seed)",
    "steps": "num_inference_steps",
    "cfg_scale": "guidance_scale",
    "batch_size": "num_images_per_prompt",
}
# Pictures that a pipeline does not take, and the ending of the pipeline that does.
PICTURES = {
    "StableDiffusionPipeline": {"image": "Img2ImgPipeline", "mask_image": "InpaintPipeline"},
    "StableDiffusionXLPipeline": {"image": "Img2ImgPipeline", "mask_image": "InpaintPipeline"},
    "StableDiffusionImg2ImgPipeline": {"mask_image": "InpaintPipeline"},
    "StableDiffusionXLImg2ImgPipeline": {"mask_image": "InpaintPipeline"},
}
NOTED = ("motion_adapter", "ip_adapter", "ip_adapter_scale")


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.tool == "diffusers":
        yield from _misspelt(run)
        yield from _eta(run)


def _misspelt(run: GenerationRun) -> Iterator[Finding]:
    """Check the arguments of a pipeline of diffusers that none of its pipelines takes, or none of this family."""
    if not is_own(run.pipeline) or COPIED in run.others:
        return
    for key, argument in run.others.items():
        if key in ELSEWHERE and run.pipeline.startswith(STABLE):
            message = f"{run.pipeline} has no argument {key!r}; it is dropped, or stops the run"
            yield Finding(RULE, argument.place, message, key, ELSEWHERE[key], f"write {ELSEWHERE[key]}")
        if ending := PICTURES.get(run.pipeline, {}).get(key):
            right = run.pipeline.removesuffix("Pipeline").removesuffix("Img2Img") + ending
            message = f"{run.pipeline} has no argument {key!r}; it is dropped"
            yield Finding(RULE, argument.place, message, key, right, f"use {right}")
        if key in KNOWN or key in NOTED or "." in key or key.startswith(METHODS):
            continue
        near = get_close_matches(key[:60], sorted(KNOWN), n=1, cutoff=ALIKE)
        if near:
            message = f"no pipeline of diffusers has the argument {key[:60]!r}; it is dropped, or stops the run"
            yield Finding(RULE, argument.place, message, key[:60], near[0], f"write {near[0]}")


def _eta(run: GenerationRun) -> Iterator[Finding]:
    argument, schedule = run.others.get(ARGUMENT), effective_schedule(run)
    if argument is None or schedule is None or argument.value in (0, None):
        return
    if run.schedule is None and not is_own(run.pipeline):
        return
    if not isinstance(argument.value, int | float) or step_accepts(schedule.config.class_, ARGUMENT):
        return
    message = f"{schedule.config.class_} does not read {ARGUMENT}"
    suggestion = "remove it, or set DDIMScheduler.from_config(pipe.scheduler.config)"
    yield Finding(RULE, argument.place, message, f"eta={argument.value}", "0, or DDIM", suggestion)


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe("a lighthouse at dawn", num_inference_steps=50, eta=1.0)
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe("a lighthouse at dawn", num_inference_steps=50)
    """)
