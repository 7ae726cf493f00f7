"""A shift of the levels that is not the model's: an exponent for a multiplier, or none at all.

Why: FLUX.1's 1.15 is the exponent at 4096 tokens: levels are multiplied by e^1.15 = 3.16 at 1024 x 1024 and by 1.88 at
512 x 512. Written as a multiplier it leaves the grid nearly unshifted, as does a bare FlowMatchEulerDiscreteScheduler:
of 20 steps 10 lie above t = 0.5, and 15 with the 3.0 of Stable Diffusion 3. Pictures get soft and painterly.
Shown: the shift, beside that of the family.
Instead: the family's shift as a multiplier, or max_shift=1.15 with dynamic shifting.
Fix: unsafe: write the family's shift.
Source: black-forest-labs/flux, sampling.py, get_schedule; diffusers, pipeline_flux.py, calculate_shift; ComfyUI,
comfy_extras/nodes_model_advanced.py, ModelSamplingFlux; mflux-community/mflux#465.
"""

from collections.abc import Iterator
from math import exp

from unnoise.check.acting import Schedule, schedules
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Change, Finding, Fix, Rule
from unnoise.check.subject import Said, Subject
from unnoise.check.tables import shipped
from unnoise.families.facts import Facts, facts

RULE = Rule(id="UN112", name="wrong-flow-shift", severity=WARN)
EXPONENT, HIGHEST = 1.15, 2.5  # e^2.5 = 12, above every family's multiplier
SHIFTED = 1.7  # the least multiplier of a family that is shifted
BARE = "FlowMatchEulerDiscreteScheduler"
NODE = "ModelSamplingFlux.max_shift"


def check(subject: Subject) -> Iterator[Finding]:
    for said, known in _shifts(subject):
        if isinstance(said.value, float) and abs(said.value - EXPONENT) < 0.005 and (known.flow_shift or 3) >= SHIFTED:
            says = f"1.15 is an exponent, and {known.title} is given it as a multiplier of its levels"
            right = known.flow_shift or round(exp(EXPONENT), 2)
            yield Finding(RULE, said.place, says, f"shift {said.value:g}", f"{right:g}", f"write {right:g}")
    for schedule in schedules(subject):
        lacking = _missing(schedule)
        if lacking:
            says = "a scheduler made without settings does not shift its levels as the model's own does"
            instead = "take FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config)"
            yield Finding(RULE, schedule.place, says, "shift 1", lacking, instead)
    for run in subject.runs:
        most = run.others.get(NODE)
        if most is not None and isinstance(most.value, int | float) and HIGHEST <= most.value < 100:
            says = f"max_shift is an exponent, this one multiplies the levels by {exp(most.value):.0f}"
            yield Finding(RULE, most.place, says, f"max_shift {most.value:g}", f"{EXPONENT}", f"write {EXPONENT}")


def _missing(schedule: Schedule) -> str:
    """Give the shift that a bare scheduler lacks; "" where it lacks none, or that is not known."""
    config, known, own = schedule.config, facts(schedule.identity), shipped(schedule.identity)
    if schedule.run is None or config.class_ != BARE or not config.complete or config.get("shift") or known is None:
        return ""
    if known.process != "flow" or config.get("use_dynamic_shifting"):
        return ""
    if own is not None and own.settings.get("use_dynamic_shifting"):
        return "use_dynamic_shifting=True"
    return f"{known.flow_shift:g}" if (known.flow_shift or 1) >= SHIFTED else ""


def _shifts(subject: Subject) -> Iterator[tuple[Said[float], Facts]]:
    for schedule in schedules(subject):
        said, known = schedule.config.get("shift"), facts(schedule.identity)
        if said and known and known.process == "flow" and not schedule.get("use_dynamic_shifting"):
            yield said, known
    for run in subject.runs:
        if run.shift and run.facts and run.facts.process == "flow":
            yield run.shift, run.facts


def fix(subject: Subject, finding: Finding) -> Fix | None:
    try:
        right = float(finding.expected)
    except ValueError:
        return Fix("show", finding.instead)
    if finding.measured == "shift 1":
        return Fix("show", finding.instead)
    return Fix("unsafe", f"write {finding.expected}", (Change(finding.place, right),))


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
