"""Strong guidance without rescaling on a model trained with zero terminal SNR.

Why: such a model starts from pure noise and so sets the brightness itself; guidance amplifies that too. Lin et al.
measured over-exposed images at scale 7.5 and recommend moving the deviation of the guided x0 towards that of the
conditional one by a factor of 0.7.
Shown: the guidance scale and the rescaling in effect.
Instead: `guidance_rescale=0.7` in diffusers, a RescaleCFG node in ComfyUI, cfg_rescale_multiplier in InvokeAI.
Fix: none in files; the file does not contain the argument.
Source: Lin et al. 2023, arXiv:2305.08891, section 3.4 and table 3; diffusers/pipelines/stable_diffusion/
pipeline_stable_diffusion.py, `rescale_noise_cfg`.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import few_steps
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.rules.guidance._shared import word
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN410", name="zero-snr-without-rescale", severity=NOTE, checks="run")
STRONG = 5.0
KEYS = ("guidance_rescale", "cfg_rescale_multiplier", "cfg_rescale", "RescaleCFG", "multiplier", "CFG Rescale")
TOOLS = ("diffusers", "invokeai", "comfyui")


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.tool not in TOOLS or not _is_zero_snr(run) or few_steps(run) or run.guidance is None:
        return
    if run.guidance.value >= STRONG and not _is_rescaled(run):
        message = "strong guidance without rescaling on a model trained with zero terminal SNR"
        suggestion = "add guidance_rescale=0.7" if run.tool == "diffusers" else "rescale the guidance by 0.7"
        measured = f"{word(run)} {run.guidance.value:g}, rescale 0"
        yield Finding(RULE, run.guidance.place, message, measured, "rescale 0.7", suggestion)


def _is_zero_snr(run: GenerationRun) -> bool:
    setting = run.schedule.get("rescale_betas_zero_snr") if run.schedule else None
    return bool(run.model and run.model.identity.zero_snr) or (setting is not None and setting.value is True)


def _is_rescaled(run: GenerationRun) -> bool:
    """Return whether a rescaling other than 0 is set."""
    found = [argument.value for key, argument in run.others.items() if any(word in key for word in (*KEYS, "**"))]
    return any(value != 0 for value in found)


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import DDIMScheduler, StableDiffusionPipeline

        pipe = StableDiffusionPipeline.from_pretrained("ptx0/pseudo-journey-v2")
        pipe.scheduler = DDIMScheduler.from_config(
            pipe.scheduler.config, rescale_betas_zero_snr=True, timestep_spacing="trailing"
        )
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", guidance_scale=7.5, num_inference_steps=30, generator=noise).images[0]
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import DDIMScheduler, StableDiffusionPipeline

        pipe = StableDiffusionPipeline.from_pretrained("ptx0/pseudo-journey-v2")
        pipe.scheduler = DDIMScheduler.from_config(
            pipe.scheduler.config, rescale_betas_zero_snr=True, timestep_spacing="trailing"
        )
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe(
            "a lighthouse", guidance_scale=7.5, guidance_rescale=0.7, num_inference_steps=30, generator=noise
        ).images[0]
        """)
