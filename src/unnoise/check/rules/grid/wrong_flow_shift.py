"""The flow shift is not the model's: an exponent is used as a multiplier, or there is no shift.

Why: FLUX.1's 1.15 is the exponent at 4096 tokens: levels are multiplied by e^1.15 = 3.16 at 1024 x 1024 and by 1.88 at
512 x 512. As a multiplier it leaves the levels nearly unshifted, as does a bare FlowMatchEulerDiscreteScheduler: 10 of
20 steps lie above t = 0.5; with the 3.0 of Stable Diffusion 3 it is 15. Images become soft and painterly.
Shown: the shift and that of the family.
Instead: the family's shift as a multiplier, or max_shift=1.15 with dynamic shifting.
Fix: unsafe: write the family's shift.
Source: black-forest-labs/flux, sampling.py, get_schedule; diffusers, pipeline_flux.py, calculate_shift; ComfyUI,
comfy_extras/nodes_model_advanced.py, ModelSamplingFlux; mflux-community/mflux#465.
"""

from collections.abc import Iterator
from math import exp

from unnoise.check.effective_settings import EffectiveSchedule, schedules
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.subject import Located, Subject
from unnoise.check.tables import shipped
from unnoise.families.facts import Facts, facts

RULE = Rule(id="UN112", name="wrong-flow-shift", severity=WARN)
EXPONENT, HIGHEST = 1.15, 2.5  # e^2.5 = 12, above every family's multiplier
SHIFTED = 1.7  # the smallest multiplier of a shifted family
BARE = "FlowMatchEulerDiscreteScheduler"
NODE = "ModelSamplingFlux.max_shift"


def check(subject: Subject) -> Iterator[Finding]:
    for found, known in _shifts(subject):
        shift = found.value
        if isinstance(shift, float) and abs(shift - EXPONENT) < 0.005 and (known.flow_shift or 3) >= SHIFTED:
            message = f"1.15 is an exponent; {known.title} gets it as a multiplier of its levels"
            right = known.flow_shift or round(exp(EXPONENT), 2)
            yield _finding(found, message, "shift", right)
    for schedule in schedules(subject):
        lacking = _missing(schedule)
        if lacking:
            message = "a scheduler without settings lacks the shift of the model's own"
            suggestion = "use FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config)"
            yield Finding(RULE, schedule.place, message, "shift 1", lacking, suggestion, fix=Fix.show(suggestion))
    for run in subject.runs:
        most = run.others.get(NODE)
        if most is not None and isinstance(most.value, int | float) and HIGHEST <= most.value < 100:
            message = f"max_shift is an exponent; this value multiplies the levels by {exp(most.value):.0f}"
            yield _finding(most, message, "max_shift", EXPONENT)


def _finding(value: Located[float], message: str, key: str, right: float) -> Finding:
    shown = f"{right:g}"
    fix = Fix.unsafe(value.place, float(shown), shown)
    return Finding(RULE, value.place, message, f"{key} {value.value:g}", shown, f"write {shown}", fix=fix)


def _missing(schedule: EffectiveSchedule) -> str:
    """Return the shift that a bare scheduler lacks; "" where it lacks none, or where that is unknown."""
    config, known, own = schedule.config, facts(schedule.identity), shipped(schedule.identity)
    if schedule.run is None or config.class_ != BARE or not config.complete or config.get("shift") or known is None:
        return ""
    if known.process != "flow" or config.get("use_dynamic_shifting"):
        return ""
    if own is not None and own.settings.get("use_dynamic_shifting"):
        return "use_dynamic_shifting=True"
    return f"{known.flow_shift:g}" if (known.flow_shift or 1) >= SHIFTED else ""


def _shifts(subject: Subject) -> Iterator[tuple[Located[float], Facts]]:
    for schedule in schedules(subject):
        shift, known = schedule.config.get("shift"), facts(schedule.identity)
        if shift and known and known.process == "flow" and not schedule.get("use_dynamic_shifting"):
            yield shift, known
    for run in subject.runs:
        if run.shift and run.facts and run.facts.process == "flow":
            yield run.shift, run.facts


def bad() -> Subject:
    return script("""
        from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
        pipe = StableDiffusion3Pipeline.from_pretrained("stabilityai/stable-diffusion-3.5-large")
        pipe.scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config, shift=1.15)
        pipe("a lighthouse at dawn", num_inference_steps=40)
    """)


def good() -> Subject:
    return script("""
        from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
        pipe = StableDiffusion3Pipeline.from_pretrained("stabilityai/stable-diffusion-3.5-large")
        pipe.scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config, shift=3.0)
        pipe("a lighthouse at dawn", num_inference_steps=40)
    """)
