"""A distilled LoRA runs with a sampler or a spacing that it was not made for.

Why: a LoRA of Lightning, Hyper or Turbo was trained at a few times only: 999, 749, 499 and 249 at 4 steps, which
"trailing" spacing gives. At 4 steps linspace gives 999, 666, 333 and 0, the last of them a call on a clean image;
Karras levels give 999, 687, 146 and 0. LCM jumps to x0 at every step and adds new noise; a solver that adds none keeps
a smooth path that an LCM does not follow: grainy or blurred images.
Shown: the sampler or the times in use, and those of the LoRA.
Instead: LCMScheduler (`lcm`) for LCM; timestep_spacing="trailing" (`sgm_uniform` or `simple` in ComfyUI, SGM Uniform in
AUTOMATIC1111) with Euler or DDIM for Lightning, Hyper and Turbo.
Fix: unsafe: write the sampler or the spacing, where one is named.
Source: ByteDance/SDXL-Lightning and ByteDance/Hyper-SD, README.md ("trailing"); latent-consistency/lcm-lora-sdxl,
README.md; rupeshs/fastsdcpu#235; luosiallen/latent-consistency-model#87, where it is worse for SDXL than for SD 1.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import effective_schedule, few_step_adapters, is_weak
from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.rules.grid._shared import OWN, SPANS, TRAINED, WHOLE, is_own, levels
from unnoise.check.subject import GenerationRun, Located, Location, Subject, Use
from unnoise.sampling.foreign import foreign_schedule

RULE = Rule(id="UN128", name="distilled-lora-with-another-sampler", severity=WARN, checks="run")
FAMILIES = ("sd1", "sdxl")
SPACED = ("lightning", "hyper", "turbo")
LCM = "lcm"
FEW = 12  # steps; with more the times lie close enough
KARRAS = 7  # rho
SAMPLERS = {"comfyui": "lcm", "a1111": "LCM", "forge": "LCM", "sdcpp": "lcm", "invokeai": "lcm"}
SPACINGS = {"comfyui": "sgm_uniform", "a1111": "SGM Uniform", "forge": "SGM Uniform", "sdcpp": "sgm_uniform"}


def check(run: GenerationRun) -> Iterator[Finding]:
    uses = list(few_step_adapters(run))
    if len(uses) != 1 or run.model is None or run.model.identity.family not in FAMILIES or run.task != "text":
        return
    use, _ = uses[0]
    if is_weak(use):
        return
    if use.adapter.identity.variant == LCM:
        yield from _sampler(run, use)
    elif use.adapter.identity.variant in SPACED and run.steps is not None and 1 < run.steps.value <= FEW:
        yield from _spacing(run, use, run.steps.value)


def _sampler(run: GenerationRun, use: Use) -> Iterator[Finding]:
    """Check that LCM runs with a sampler that adds noise at every step."""
    schedule = effective_schedule(run) if run.tool == "diffusers" else None
    facts = run.sampler_facts
    if run.tool == "diffusers":
        if schedule is None or not schedule.config.class_ or (run.schedule is None and not is_own(run.pipeline)):
            return
        name, place = schedule.config.class_, run.schedule.place if run.schedule else run.place
        adds_noise = name in OWN or (facts is not None and facts.stochastic)
    elif run.sampler is not None and facts is not None:
        name, place, adds_noise = run.sampler.value, run.sampler.place, facts.stochastic
    else:
        return
    if adds_noise or (schedule is not None and "timesteps" in run.others):
        return
    right = SAMPLERS.get(run.tool, "LCMScheduler")
    fix = Fix.unsafe(place, right) if run.tool in SAMPLERS else None
    message = f"{use.adapter.name[:60]} is made for LCM's sampler, which adds noise at every step"
    grade = WARN if run.tool == "diffusers" or use.base is None or use.base.identity.family == "sdxl" else NOTE
    yield Finding(RULE, place, message, f"{name}, which adds none", right, f"use {right}", grade, fix)


def _spacing(run: GenerationRun, use: Use, steps: int) -> Iterator[Finding]:
    """Check that the calls are at the times at which the LoRA was trained."""
    found = _spacing_of(run)
    if found is None or {"timesteps", "sigmas"} & run.others.keys():
        return
    used = _times(found.value, steps)
    if used is None:
        return
    right = SPACINGS.get(run.tool, "trailing")
    trained = [TRAINED - 1 - TRAINED * step // steps for step in range(steps)]
    named = run.grid is not None and found.place == run.grid.place
    fix = Fix.unsafe(found.place, right) if named and run.tool in SPACINGS else None
    message = f"{use.adapter.name[:60]} was trained at other times than those of {found.value} spacing"
    measured, expected = f"times {_listed(used)}", f"{right}: {_listed(trained)}"
    yield Finding(RULE, found.place, message, measured, expected, f"use {right} spacing", fix=fix)


def _spacing_of(run: GenerationRun) -> Located[str] | None:
    """Return the spacing in use under its name in diffusers; None where it is not known."""
    if run.tool != "diffusers":
        spacing = foreign_schedule(run.grid.value) if run.grid else None
        return Located(spacing, run.grid.place) if run.grid and spacing else None
    schedule = effective_schedule(run)
    if schedule is None or schedule.config.class_ in OWN or (run.schedule is None and not is_own(run.pipeline)):
        return None
    spacing = schedule.get("timestep_spacing")
    for key, name in SPANS.items():
        if schedule.get(key) is True:
            cut = spacing == "leading" and not schedule.config.class_.startswith(WHOLE)  # UN106 checks it
            return None if cut else Located(name, _place(run, key))
    return Located(spacing, _place(run, "timestep_spacing")) if isinstance(spacing, str) else None


def _place(run: GenerationRun, key: str) -> Location:
    setting = run.schedule.get(key) if run.schedule else None
    return setting.place if setting else run.schedule.place if run.schedule else run.place


def _times(spacing: str, steps: int) -> list[int] | None:
    """Return the times of the calls under a spacing that is wrong for such a LoRA; None for any other.

    Source: Karras et al. 2022, arXiv:2206.00364, equation 5; diffusers, scheduling_euler_discrete.py, set_timesteps
    """
    low, high = levels()[0], levels()[-1]
    shares = [step / (steps - 1) for step in range(steps)]
    if spacing == "linspace":
        return [round((TRAINED - 1) * (1 - share)) for share in shares]
    if spacing == "karras":
        start, end = high ** (1 / KARRAS), low ** (1 / KARRAS)
        wanted = [(start + share * (end - start)) ** KARRAS for share in shares]
    elif spacing == "exponential":
        wanted = [high * (low / high) ** share for share in shares]
    else:
        return None
    return [_nearest(level) for level in wanted]


def _nearest(level: float) -> int:
    """Return the time whose noise level is nearest."""
    return min(range(TRAINED), key=lambda time: abs(levels()[time] - level))


def _listed(times: list[int]) -> str:
    return ", ".join(map(str, times))


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn <lora:sdxl_lightning_4step_lora:1>
        Steps: 4, Sampler: Euler, Schedule type: Karras, CFG scale: 1, Seed: 1, Size: 1024x1024, \
Model: sd_xl_base_1.0, RNG: CPU, Version: v1.10.1
    """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn <lora:sdxl_lightning_4step_lora:1>
        Steps: 4, Sampler: Euler, Schedule type: SGM Uniform, CFG scale: 1, Seed: 1, Size: 1024x1024, \
Model: sd_xl_base_1.0, RNG: CPU, Version: v1.10.1
    """)
