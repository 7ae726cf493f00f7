"""A sampler for diffusion models is used with a flow-matching model.

Why: a flow model was trained on x = (1 - t) x0 + t noise; a DDPM-like scheduler passes x with other scales and times.
Half-way, SD3 is at sigma 3.0 and Stable Diffusion's schedule at 1.6. SD3 then runs without an error and returns noise.
Shown: the class of the scheduler.
Instead: FlowMatchEulerDiscreteScheduler, or DPM-Solver++ or UniPC with use_flow_sigmas=True and
prediction_type="flow_prediction".
Fix: none; the class is your choice.
Source: huggingface/diffusers#9924, #9833; Esser et al. 2024, arXiv:2403.03206, section 2.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import EffectiveSchedule
from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.sampler_names import sampler_facts
from unnoise.check.subject import Subject
from unnoise.check.tables import accepts, defaults
from unnoise.families.facts import facts

RULE = Rule(id="UN111", name="diffusion-sampler-on-flow-model", severity=ERROR, checks="schedule")
BOTH = ("wan", "sana", "hidream", "cosmos")  # some of their models are published with UniPC or DPM-Solver
INSTEAD = "use FlowMatchEulerDiscreteScheduler, or UniPCMultistepScheduler with use_flow_sigmas=True"


def check(schedule: EffectiveSchedule) -> Iterator[Finding]:
    known, config = facts(schedule.identity), schedule.config
    if known is None or known.process != "flow" or schedule.identity.family == "unnoise":
        return
    settings = {key: schedule.get(key) for key in ("use_flow_sigmas", "prediction_type", "algorithm_type")}
    found = sampler_facts(
        "diffusers", config.class_, {key: value for key, value in settings.items() if value is not None}
    )
    if found is None or found.flow or defaults(config.class_) is None or schedule.get("use_flow_sigmas"):
        return
    if schedule.get("prediction_type") == "flow_prediction" or _inherits_unknown(schedule):
        return
    message = f"{known.title} is a flow model; this scheduler samples diffusion models"
    yield Finding(RULE, config.place, message, config.class_, "a flow-matching scheduler", INSTEAD)


def _inherits_unknown(schedule: EffectiveSchedule) -> bool:
    """Return whether the class can sample flow models, and its original settings are not known."""
    able = accepts(schedule.config.class_, "use_flow_sigmas")
    unsaid = not schedule.config.complete and schedule.get("use_flow_sigmas") is None
    return able and unsaid and schedule.identity.family in BOTH


def bad() -> Subject:
    return script("""
        from diffusers import DDIMScheduler, StableDiffusion3Pipeline
        pipe = StableDiffusion3Pipeline.from_pretrained("stabilityai/stable-diffusion-3.5-large")
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        pipe("a lighthouse at dawn", num_inference_steps=40)
    """)


def good() -> Subject:
    return script("""
        from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
        pipe = StableDiffusion3Pipeline.from_pretrained("stabilityai/stable-diffusion-3.5-large")
        pipe.scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config)
        pipe("a lighthouse at dawn", num_inference_steps=40)
    """)
