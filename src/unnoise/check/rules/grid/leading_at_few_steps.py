"""Leading spacing with few steps: the run starts far below the highest noise level.

Why: with `leading` spacing the first of n steps is at time 1000 - 1000/n + 1, but x is pure noise. At 4 steps that is
time 751 with sigma 4.1, 28 % of the 14.6 that x contains; at 8 steps 50 %, at 20 steps 75 %. The image stays grey or
noisy. The folder of a few-step model with this spacing gives everyone who loads it such images.
Shown: the time of the first call, and its sigma as a share of the highest.
Instead: timestep_spacing="trailing"; in ComfyUI any spacing except ddim_uniform; in AUTOMATIC1111 any sampler except
DDIM, PLMS and UniPC.
Fix: safe where the setting is written: write "trailing".
Source: diffusers, scheduling_euler_discrete.py, set_timesteps; ComfyUI, comfy/samplers.py, ddim_scheduler;
AUTOMATIC1111/stable-diffusion-webui, sd_samplers_timesteps.py; Lin et al. 2023, arXiv:2305.08891, table 2;
stabilityai/sdxl-turbo, scheduler/scheduler_config.json, and dataautogpt3/ProteusV0.3-Lightning, discussion 1. Where
only the name of a folder suggests few steps it is a note, and in a script that only tries whether its code works, or
throws the image away.
"""

import re
from collections.abc import Iterator

from unnoise.check.effective_settings import effective_schedule, few_steps
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.rules.grid._shared import OWN, SPANS, TRAINED, WHOLE, is_own, levels
from unnoise.check.subject import GenerationRun, Location, NamedModel, Subject
from unnoise.check.tables import effective
from unnoise.families.images import SCALED_LINEAR

RULE = Rule(id="UN106", name="leading-at-few-steps", severity=WARN)
KEY = "timestep_spacing"
BETAS, STABLE = ("beta_schedule", "beta_start", "beta_end"), SCALED_LINEAR
FAMILIES = ("sd1", "sd2", "sdxl")
DISTILLED = re.compile(r"lightning|turbo|hyper-?sd|(?<![a-z])(lcm|dmd2?)(?![a-z])|[1248]-?steps?", re.IGNORECASE)
FEWEST, LONGEST = 4, 300  # usual steps of a distilled model; characters of a name
FEW, SURELY = 12, 8  # steps: below, the first level is under 65 % and 50 % of the highest
TIMED = ("DDIM", "PLMS", "UniPC", "DDIM CFG++")  # of AUTOMATIC1111; they use every (1000 // steps)th time


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        yield from _run(run)
    if subject.script is None and len(subject.models) == 1:
        yield from _folder(subject.models[0])


def _run(run: GenerationRun) -> Iterator[Finding]:
    steps = run.steps.value if run.steps else 0
    if not 0 < steps <= FEW or run.task != "text" or {"timesteps", "sigmas"} & set(run.others):
        return
    found = _first(run, steps)
    if found is None:
        return
    first, place, suggestion = found
    setting = run.schedule.get(KEY) if run.schedule else None
    fix = Fix.safe(place, "trailing", '"trailing"') if setting else Fix.show(f'write {KEY}="trailing"')
    shown = _share(first) if _is_stable(run) else ""
    message = f"{steps} steps with leading spacing start far below the noise level of x"
    grade = WARN if (steps <= SURELY and not run.trial) or few_steps(run) else NOTE
    yield Finding(RULE, place, message, f"time {first}{shown}", f"{TRAINED - 1}", suggestion, grade, fix)


def _folder(model: NamedModel) -> Iterator[Finding]:
    """Check the scheduler of a folder whose model is distilled to few steps."""
    config, known = model.configs.get("scheduler"), model.facts
    if config is None or known is None or known.process != "ddpm" or model.identity.family not in FAMILIES:
        return
    distilled = known.distilled == "steps"
    if config.class_ in OWN or effective(config, KEY) != "leading" or not (distilled or _is_named(model)):
        return
    steps = min(known.steps[1], SURELY) if distilled and known.steps else FEWEST
    first = TRAINED // steps * (steps - 1) + 1
    setting = config.get(KEY)
    fix = Fix.safe(setting.place, "trailing", '"trailing"') if setting else Fix.show(f'write {KEY}="trailing"')
    message = f"{model.name[:60]} is made for few steps, and its scheduler starts them far below the noise level of x"
    measured, expected = f"time {first}{_share(first)} at {steps} steps", f"{TRAINED - 1}"
    place, grade = setting.place if setting else config.place, WARN if distilled else NOTE
    yield Finding(RULE, place, message, measured, expected, f'write {KEY}="trailing"', grade, fix)


def _is_named(model: NamedModel) -> bool:
    """Return whether the name of a folder, or of what its network was loaded from, suggests few steps."""
    unet = model.configs.get("unet")
    origin = unet.get("_name_or_path") if unet else None
    names = [model.name, origin.value if origin and isinstance(origin.value, str) else ""]
    return any(DISTILLED.search(name[-LONGEST:]) for name in names)


def _share(time: int) -> str:
    return f", {levels()[time] / levels()[-1]:.0%} of the highest sigma"


def _first(run: GenerationRun, steps: int) -> tuple[int, Location, str] | None:
    """Return the time of the first call under leading spacing, the place to fix and the fix; else None."""
    stride = TRAINED // steps
    if run.tool == "diffusers":
        schedule = effective_schedule(run)
        if schedule is None or schedule.config.class_ in OWN or schedule.get(KEY) != "leading":
            return None
        if run.schedule is None and not is_own(run.pipeline):
            return None
        if schedule.config.class_.startswith(WHOLE) and any(schedule.get(key) is True for key in SPANS):
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
