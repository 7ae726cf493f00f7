"""Karras or exponential noise levels are used with a flow-matching model.

Why: these spacings are meant for sigma from 14.6 to 0.03. On FLUX.1, whose time runs from 1 to 0.0003, 15 of 20 steps
of Karras' spacing lie below 0.25; with the model's own shifted schedule it is 1. On exact mixtures Euler's error at 20
steps is 0.159 of the data's spread with Karras' spacing and 0.067 with the shifted one (the mixtures of docs/bench.md).
dpm_adaptive and dpm_fast choose their own levels between the first and the last: nothing is found.
Shown: the spacing.
Instead: "simple", "normal", "sgm_uniform" or "beta", with the family's shift.
Fix: unsafe: write "simple".
Source: Karras et al. 2022, arXiv:2206.00364, equation 5; ComfyUI, comfy/samplers.py, SCHEDULER_HANDLERS and ksampler;
Esser et al. 2024, arXiv:2403.03206, section 5.3.2 (shift).
"""

from collections.abc import Iterator

from unnoise.check.examples import workflow
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN124", name="karras-on-flow", severity=WARN, checks="run")
SPACINGS = ("karras", "exponential", "polyexponential")
OWN = ("dpm_adaptive", "dpm_fast")  # samplers of ComfyUI that read only the first and the last level


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.grid is None or run.facts is None or run.facts.process != "flow" or run.tool == "unnoise":
        return
    has_own = run.sampler is not None and run.sampler.value.lower() in OWN
    if run.grid.value.lower() in SPACINGS and not has_own:
        message = f"{run.facts.title} is a flow model; this spacing is meant for diffusion models"
        suggestion = "use simple, normal, sgm_uniform or beta"
        fix = Fix.unsafe(run.grid.place, "simple", '"simple"')
        yield Finding(RULE, run.grid.place, message, run.grid.value, "simple", suggestion, fix=fix)


def bad() -> Subject:
    return workflow(checkpoint="flux1-dev-fp8.safetensors", cfg=1.0, negative="", scheduler="karras")


def good() -> Subject:
    return workflow(checkpoint="flux1-dev-fp8.safetensors", cfg=1.0, negative="", scheduler="simple")
