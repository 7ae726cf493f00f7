"""Leading spacing of few steps: the run starts in the middle of the noise.

Why: with `leading` spacing the first of n steps is at time 1000 - 1000/n + 1, but x is pure noise. At 4 steps that is
time 751 with sigma 4.1, 28 % of the 14.6 that x stands for; at 8 steps 50 %, at 20 steps 75 %. The picture stays grey
or noisy.
Shown: the time of the first call, and its sigma as a share of the highest.
Instead: timestep_spacing="trailing"; in ComfyUI another spacing than ddim_uniform, in AUTOMATIC1111 another sampler
than DDIM, PLMS and UniPC.
Fix: safe where the setting is said: write "trailing".
Source: diffusers, scheduling_euler_discrete.py, set_timesteps; ComfyUI, comfy/samplers.py, ddim_scheduler;
AUTOMATIC1111/stable-diffusion-webui, sd_samplers_timesteps.py; Lin et al. 2023, arXiv:2305.08891, table 2.
"""

from collections.abc import Iterator
from math import sqrt

from unnoise.check.acting import acting, few_steps
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Change, Finding, Fix, Rule
from unnoise.check.rules.grid._shared import is_own
from unnoise.check.subject import Place, Run, Subject

RULE = Rule(id="UN106", name="leading-at-few-steps", severity=WARN)
TRAINED = 1000
BETAS, STABLE = ("beta_schedule", "beta_start", "beta_end"), ("scaled_linear", 0.00085, 0.012)
FEW, SURELY = 12, 8  # steps: below, the first level is under 65 % and 50 % of the highest
TIMED = ("DDIM", "PLMS", "UniPC", "DDIM CFG++")  # of AUTOMATIC1111, which take every (1000 // steps)th time
OWN = ("LCMScheduler", "TCDScheduler", "DDPMWuerstchenScheduler")  # these take their times from another grid


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        steps = run.steps.value if run.steps else 0
        if not 0 < steps <= FEW or run.task != "text" or {"timesteps", "sigmas"} & set(run.others):
            continue
        found = _first(run, steps)
        if found is None:
            continue
        first, place, instead = found
        shown = f", {sigma(first) / sigma(TRAINED - 1):.0%} of the highest sigma" if _is_stable(run) else ""
        says = f"{steps} steps with leading spacing start far below the noise that x holds"
        grade = WARN if steps <= SURELY or few_steps(run) else NOTE
        yield Finding(RULE, place, says, f"time {first}{shown}", f"{TRAINED - 1}", instead, grade)


def _first(run: Run, steps: int) -> tuple[int, Place, str] | None:
    """Give the time of the first call where it is that of leading spacing, the place to mend, and how."""
    stride = TRAINED // steps
    if run.tool == "diffusers":
        schedule = acting(run)
        if schedule is None or schedule.config.class_ in OWN or schedule.get("timestep_spacing") != "leading":
            return None
        if run.schedule is None and not is_own(run.pipeline):
            return None
        said = run.schedule.get("timestep_spacing") if run.schedule else None
        place = said.place if said else run.steps.place if run.steps else run.place
        return stride * (steps - 1) + 1, place, 'write timestep_spacing="trailing"'
    known = run.facts
    if known is None or known.process != "ddpm":
        return None
    if run.tool == "comfyui" and run.grid is not None and run.grid.value == "ddim_uniform":
        return range(1, TRAINED, stride)[-1], run.grid.place, "take the spacing sgm_uniform or simple"
    if run.tool in ("a1111", "forge") and run.sampler is not None and run.sampler.value in TIMED:
        return range(1, TRAINED + 1, stride)[-1], run.sampler.place, "take Euler with the schedule type SGM Uniform"
    return None


def _is_stable(run: Run) -> bool:
    """Say whether the levels are those of Stable Diffusion."""
    known, schedule = run.facts, acting(run)
    said = tuple(schedule.get(key) for key in BETAS) if schedule is not None else ()
    return said == STABLE or (None in (said or (None,)) and known is not None and known.betas == STABLE)


def sigma(time: int) -> float:
    """Give the noise-to-signal ratio at a time, for Stable Diffusion's betas."""
    kept = 1.0
    for index in range(time + 1):
        kept *= 1 - (sqrt(0.00085) + index / 999 * (sqrt(0.012) - sqrt(0.00085))) ** 2
    return sqrt((1 - kept) / kept)


def fix(subject: Subject, finding: Finding) -> Fix | None:
    said = [run.schedule.get("timestep_spacing") for run in subject.runs if run.schedule]
    if any(one is not None and one.place.same(finding.place) for one in said):
        return Fix("safe", 'write "trailing"', (Change(finding.place, "trailing"),))
    return Fix("show", 'write timestep_spacing="trailing"')


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
