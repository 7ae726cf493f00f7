"""Leading spacing with few steps: the run starts far below the highest noise level.

Why: with `leading` spacing the first of n steps is at time 1000 - 1000/n + 1, but x is pure noise. At 4 steps that is
time 751 with sigma 4.1, 28 % of the 14.6 that x contains; at 8 steps 50 %, at 20 steps 75 %. The image stays grey or
noisy.
Shown: the time of the first call, and its sigma as a share of the highest.
Instead: timestep_spacing="trailing"; in ComfyUI any spacing except ddim_uniform; in AUTOMATIC1111 any sampler except
DDIM, PLMS and UniPC.
Fix: safe where the setting is written: write "trailing".
Source: diffusers, scheduling_euler_discrete.py, set_timesteps; ComfyUI, comfy/samplers.py, ddim_scheduler;
AUTOMATIC1111/stable-diffusion-webui, sd_samplers_timesteps.py; Lin et al. 2023, arXiv:2305.08891, table 2.
"""

from collections.abc import Iterator
from math import sqrt

from unnoise.check.effective_settings import effective_schedule, few_steps
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.rules.grid._shared import is_own
from unnoise.check.subject import GenerationRun, Location, Subject

RULE = Rule(id="UN106", name="leading-at-few-steps", severity=WARN, checks="run")
KEY = "timestep_spacing"
TRAINED = 1000
BETAS, STABLE = ("beta_schedule", "beta_start", "beta_end"), ("scaled_linear", 0.00085, 0.012)
FEW, SURELY = 12, 8  # steps: below, the first level is under 65 % and 50 % of the highest
TIMED = ("DDIM", "PLMS", "UniPC", "DDIM CFG++")  # of AUTOMATIC1111; they use every (1000 // steps)th time
OWN = ("LCMScheduler", "TCDScheduler", "DDPMWuerstchenScheduler")  # these have their own times


def check(run: GenerationRun) -> Iterator[Finding]:
    steps = run.steps.value if run.steps else 0
    if not 0 < steps <= FEW or run.task != "text" or {"timesteps", "sigmas"} & set(run.others):
        return
    found = _first(run, steps)
    if found is None:
        return
    first, place, suggestion = found
    setting = run.schedule.get(KEY) if run.schedule else None
    fix = Fix.safe(place, "trailing", '"trailing"') if setting else Fix.show(f'write {KEY}="trailing"')
    shown = f", {sigma(first) / sigma(TRAINED - 1):.0%} of the highest sigma" if _is_stable(run) else ""
    message = f"{steps} steps with leading spacing start far below the noise level of x"
    grade = WARN if steps <= SURELY or few_steps(run) else NOTE
    yield Finding(RULE, place, message, f"time {first}{shown}", f"{TRAINED - 1}", suggestion, grade, fix)


def _first(run: GenerationRun, steps: int) -> tuple[int, Location, str] | None:
    """Return the time of the first call under leading spacing, the place to fix and the fix; else None."""
    stride = TRAINED // steps
    if run.tool == "diffusers":
        schedule = effective_schedule(run)
        if schedule is None or schedule.config.class_ in OWN or schedule.get(KEY) != "leading":
            return None
        if run.schedule is None and not is_own(run.pipeline):
            return None
        setting = run.schedule.get(KEY) if run.schedule else None
        place = setting.place if setting else run.steps.place if run.steps else run.place
        return stride * (steps - 1) + 1, place, f'write {KEY}="trailing"'
    known = run.facts
    if known is None or known.process != "ddpm":
        return None
    if run.tool == "comfyui" and run.grid is not None and run.grid.value == "ddim_uniform":
        return range(1, TRAINED, stride)[-1], run.grid.place, "use the spacing sgm_uniform or simple"
    if run.tool in ("a1111", "forge") and run.sampler is not None and run.sampler.value in TIMED:
        return range(1, TRAINED + 1, stride)[-1], run.sampler.place, "use Euler with the schedule type SGM Uniform"
    return None


def _is_stable(run: GenerationRun) -> bool:
    """Return whether the levels are those of Stable Diffusion."""
    known, schedule = run.facts, effective_schedule(run)
    stated = tuple(schedule.get(key) for key in BETAS) if schedule is not None else ()
    return stated == STABLE or (None in (stated or (None,)) and known is not None and known.betas == STABLE)


def sigma(time: int) -> float:
    """Return the noise-to-signal ratio at a time, for Stable Diffusion's betas."""
    kept = 1.0
    for index in range(time + 1):
        kept *= 1 - (sqrt(0.00085) + index / 999 * (sqrt(0.012) - sqrt(0.00085))) ** 2
    return sqrt((1 - kept) / kept)


def bad() -> Subject:
    return script("""
        from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.load_lora_weights("ByteDance/SDXL-Lightning", weight_name="sdxl_lightning_4step_lora.safetensors")
        pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="leading")
        pipe("a lighthouse at dawn", num_inference_steps=4, guidance_scale=0)
    """)


def good() -> Subject:
    return script("""
        from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.load_lora_weights("ByteDance/SDXL-Lightning", weight_name="sdxl_lightning_4step_lora.safetensors")
        pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
        pipe("a lighthouse at dawn", num_inference_steps=4, guidance_scale=0)
    """)
