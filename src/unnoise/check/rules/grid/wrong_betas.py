"""The betas are not those the model was trained with.

Why: a bare `DDPMScheduler()` has linear betas from 0.0001 to 0.02: its last level is sigma 157; Stable Diffusion was
trained up to 14.6. Linear betas between the right ends give 25.1. Each level then has the wrong time, and colours and
background stay noisy. Motion modules of AnimateDiff are the other way round: they were trained with linear betas from
0.00085 to 0.012, up to sigma 25.1, on a Stable Diffusion of 14.6.
Shown: the betas in use with the highest sigma, and those of the family.
Instead: load the scheduler's settings from the model: `Scheduler.from_config(pipe.scheduler.config)`;
for AnimateDiff add beta_schedule="linear", in ComfyUI "autoselect" or "sqrt_linear (AnimateDiff)".
Fix: show: the settings to write.
Source: CompVis/stable-diffusion, v1-inference.yaml; diffusers, scheduling_ddpm.py, defaults; huggingface/peft#421;
guoyww/AnimateDiff, configs/inference/inference-v1.yaml; diffusers, docs/source/en/api/pipelines/animatediff.md;
Kosinkadink/ComfyUI-AnimateDiff-Evolved, animatediff/utils_model.py, BetaSchedules;
huggingface/diffusers#5881, guoyww/AnimateDiff#246.
"""

import ast
from collections.abc import Iterator
from dataclasses import replace

from unnoise.check.effective_settings import EffectiveSchedule, effective_schedule, made_schedules, schedules
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule, Severity
from unnoise.check.rules.grid._shared import is_own, last_level
from unnoise.check.subject import GenerationRun, Location, Subject
from unnoise.check.syntax import calls, dotted
from unnoise.check.tables import accepts
from unnoise.families.facts import facts

RULE = Rule(id="UN102", name="wrong-betas", severity=WARN)
KEYS = ("beta_schedule", "beta_start", "beta_end")
LEGACY = (0.02, 0.085)  # checked by UN103
MOTION = ("linear", 0.00085, 0.012)  # betas of AnimateDiff
NETWORK = "UNet2DConditionModel"
STABLE = ("scaled_linear", 0.00085, 0.012)
# ComfyUI's nodes of AnimateDiff, and their choices that keep the betas of Stable Diffusion.
NODES = (
    "ADE_AnimateDiffLoaderGen1",
    "ADE_AnimateDiffLoaderWithContext",
    "ADE_UseEvolvedSampling",
    "AnimateDiffLoaderV1",
)
NAME, KEEPS = "beta_schedule", ("use existing", "linear (HotshotXL/default)", "linear (default)")
ADAPTER = "animatediff-motion-adapter-v1"  # in names of the published modules in diffusers
MODULES = ("mm_sd_v1", "mm-stabilized", "v3_sd15_mm", "temporaldiff")  # beginnings of names of modules for SD 1


def check(subject: Subject) -> Iterator[Finding]:
    for schedule in schedules(subject):
        yield from _schedule(schedule, subject)
    yield from _of_training(subject)
    for run in subject.runs:
        if run.tool == "comfyui":
            yield from _of_node(run)
        elif run.pipeline.startswith("AnimateDiff") and "SDXL" not in run.pipeline:
            yield from _of_pipeline(run)


def _of_training(subject: Subject) -> Iterator[Finding]:
    """Check the schedulers that a script makes for a published network that it trains."""
    known = {one.identity.family: one.identity for one in subject.models}
    if subject.script is None or len(known) != 1 or not any(map(_loads_network, calls(subject.script))):
        return
    for schedule in made_schedules(subject):
        if schedule.config.complete and not schedule.config.before:
            yield from _schedule(replace(schedule, identity=next(iter(known.values()))), subject)


def _loads_network(call: tuple[ast.Call, str]) -> bool:
    return call[1] == "from_pretrained" and dotted(call[0].func).split(".")[-2:-1] == [NETWORK]


def _of_node(run: GenerationRun) -> Iterator[Finding]:
    """Check the betas that a node of AnimateDiff sets; only published modules are known to need linear ones."""
    chosen = next((one for node in NODES if (one := run.others.get(f"{node}.{NAME}"))), None)
    names = (use.adapter.name for use in run.adapters if use.kind == "motion")
    is_known = any(name.replace("\\", "/").rpartition("/")[2].lower().startswith(MODULES) for name in names)
    if chosen is not None and chosen.value in KEEPS and is_known:
        yield _motion(chosen.place, f"{chosen.value}: {_shown(STABLE)}", 'write "sqrt_linear (AnimateDiff)"', WARN)


def _of_pipeline(run: GenerationRun) -> Iterator[Finding]:
    """Check the betas of an AnimateDiff pipeline, which inherits those of its base unless they are set."""
    schedule = effective_schedule(run)
    if schedule is None or not schedule.config.class_ or not accepts(schedule.config.class_, "beta_start"):
        return
    if run.schedule is None and not is_own(run.pipeline):
        return
    found = tuple(schedule.get(key) for key in KEYS)
    inherits = not schedule.config.complete and schedule.config.get(KEYS[0]) is None and found[0] is None
    if found == STABLE or inherits:
        adapter, setting = run.others.get("motion_adapter"), schedule.config.get(KEYS[0])
        is_known = adapter is not None and ADAPTER in str(adapter.value)
        place, severity = setting.place if setting else schedule.place, WARN if is_known or not inherits else NOTE
        yield _motion(place, _shown(STABLE) or "", 'write beta_schedule="linear"', severity)


def _motion(place: Location, measured: str, suggestion: str, severity: Severity) -> Finding:
    message = "the motion module was trained with linear betas, and this keeps those of Stable Diffusion"
    return Finding(RULE, place, message, measured, _shown(MOTION) or "", suggestion, severity, Fix.show(suggestion))


def _schedule(schedule: EffectiveSchedule, subject: Subject) -> Iterator[Finding]:
    known = facts(schedule.identity)
    if known is None or known.betas is None or not accepts(schedule.config.class_, "beta_start"):
        return
    if schedule.get("trained_betas") is not None:
        return
    found = tuple(schedule.get(key) for key in KEYS)
    if None in found or found == known.betas or found[1:] == LEGACY or _adapts(schedule, subject):
        return
    shown = _shown(found)
    if shown is None:
        return
    setting = schedule.config.get("beta_schedule") or schedule.config.get("beta_start")
    suggestion = f"write beta_schedule={known.betas[0]!r}, beta_start={known.betas[1]}, beta_end={known.betas[2]}"
    message = f"{known.title} was not trained with these betas"
    fix = Fix.show(suggestion)
    expected = _shown(known.betas) or ""
    yield Finding(RULE, setting.place if setting else schedule.place, message, shown, expected, suggestion, fix=fix)


def _adapts(schedule: EffectiveSchedule, subject: Subject) -> bool:
    """Return whether a motion adapter replaces the schedule, or an upscaler has its own levels."""
    run = schedule.run
    if run is not None:
        return (
            run.pipeline.startswith(("AnimateDiff", "PIA"))
            or "Upscale" in run.pipeline
            or "motion_adapter" in run.others
        )
    return any(config.role in ("motion_adapter", "low_res_scheduler") for config in subject.configs)


def _shown(betas: tuple[object, ...]) -> str | None:
    name, start, end = betas
    if not isinstance(start, float | int) or not isinstance(end, float | int) or not 0 < start <= end < 1:
        return None
    if name not in ("linear", "scaled_linear"):
        return str(name)[:40]
    return f"{name} {start:g} to {end:g}, sigma up to {last_level(str(name), start, end):.1f}"


def bad() -> Subject:
    return script("""
        from diffusers import DDPMScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DDPMScheduler()
        pipe("a lighthouse at dawn", num_inference_steps=100)
    """)


def good() -> Subject:
    return script("""
        from diffusers import DDPMScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
        pipe("a lighthouse at dawn", num_inference_steps=100)
    """)
