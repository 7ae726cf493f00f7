"""A denoise below 1 on an empty latent starts from a grey image with too little noise.

Why: an empty latent is 0 everywhere, which is plain grey. At denoise 1 the noise hides it. At 0.6 and 20 steps ComfyUI
starts SDXL at a noise level of 2.2 instead of 14.6, so the grey remains and the image is flat and blurred.
Shown: the denoise.
Instead: denoise 1, or replace the empty latent by an image from VAEEncode.
Fix: unsafe: write 1.0.
Source: ComfyUI, comfy/samplers.py, KSampler.set_steps (the last steps of steps / denoise); nodes.py, EmptyLatentImage
(zeros).
"""

from collections.abc import Iterator

from unnoise.check.examples import workflow
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN713", name="part-denoise-of-empty-latent", severity=WARN, checks="run")
FULL = 0.95  # from here on the latent is hidden by the noise in any schedule


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.strength is not None and _is_empty(run) and 0 < run.strength.value < FULL:
        message = "a denoise below 1 on an empty latent leaves its grey in the image"
        suggestion = "write 1.0, or replace the empty latent by an encoded image"
        fix = Fix.unsafe(run.strength.place, 1.0)
        yield Finding(RULE, run.strength.place, message, f"denoise {run.strength.value:g}", "1", suggestion, fix=fix)


def _is_empty(run: GenerationRun) -> bool:
    """Return whether a run starts from an empty latent and from no frames."""
    sized = run.width is not None and run.height is not None
    return run.tool == "comfyui" and run.task == "text" and sized and run.frames is None


def bad() -> Subject:
    return workflow(denoise=0.6)


def good() -> Subject:
    return workflow(denoise=1.0)
