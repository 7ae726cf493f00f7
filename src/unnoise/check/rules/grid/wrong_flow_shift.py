"""A shift of 1.15 where a multiplier is asked for.

Why: FLUX.1's 1.15 is the exponent at 4096 tokens: levels are multiplied by e^1.15 = 3.16 at 1024 x 1024 and by 1.88 at
512 x 512. Written as a multiplier it leaves the grid nearly unshifted: too few steps at high noise, soft and
painterly.
Shown: the shift, beside that of the family.
Instead: the family's shift as a multiplier, or max_shift=1.15 with dynamic shifting.
Fix: unsafe: write the family's shift.
Source: black-forest-labs/flux, sampling.py, get_schedule; diffusers, pipeline_flux.py, calculate_shift;
mflux-community/mflux#465.
"""

from collections.abc import Iterator
from math import exp

from unnoise.check.acting import schedules
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Change, Finding, Fix, Rule
from unnoise.check.subject import Said, Subject
from unnoise.files.families.facts import Facts, facts

RULE = Rule(id="UN112", name="wrong-flow-shift", severity=WARN)
EXPONENT = 1.15


def check(subject: Subject) -> Iterator[Finding]:
    for said, known in _shifts(subject):
        if isinstance(said.value, float) and abs(said.value - EXPONENT) < 0.005 and (known.flow_shift or 3) >= 1.7:
            says = f"1.15 is an exponent, and {known.title} is given it as a multiplier of its levels"
            right = known.flow_shift or round(exp(EXPONENT), 2)
            yield Finding(RULE, said.place, says, f"shift {said.value:g}", f"{right:g}", f"write {right:g}")


def _shifts(subject: Subject) -> Iterator[tuple[Said[float], Facts]]:
    for schedule in schedules(subject):
        said, known = schedule.config.get("shift"), facts(schedule.identity)
        if said and known and known.process == "flow" and not schedule.get("use_dynamic_shifting"):
            yield said, known
    for run in subject.runs:
        if run.shift and run.facts and run.facts.process == "flow" and run.pipeline != "ModelSamplingFlux":
            yield run.shift, run.facts


def fix(subject: Subject, finding: Finding) -> Fix | None:
    return Fix("unsafe", f"write {finding.expected}", (Change(finding.place, float(finding.expected)),))


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
