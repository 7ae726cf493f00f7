"""Classifier-free guidance on a model that takes its weight as an input, where that input is not set.

Why: FLUX.1 [dev] is distilled from guided answers and takes their weight, usually 3.5, as a number beside the time;
real guidance on top is another thing: it guides twice and takes two network calls a step. Pictures on sharing sites
record the embedded 3.5 as "CFG scale", and drawing them again at CFG 3.5 burns them. Forge repairs such records.
Shown: the weight of guidance, and that none is embedded.
Instead: guidance 1, and the number as "Distilled CFG Scale" (Forge) or in a FluxGuidance node (ComfyUI).
Fix: unsafe: writes 1 in a workflow.
Source: lllyasviel/stable-diffusion-webui-forge, modules/infotext_utils.py, "Applied Forge Fix to broken Civitai Flux
Meta"; comfyanonymous/ComfyUI_examples, flux.
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import WARN, Change, Finding, Fix, Rule
from unnoise.check.rules.guidance._shared import is_text
from unnoise.check.subject import Subject

RULE = Rule(id="UN404", name="cfg-where-embedded-meant", severity=WARN)
TOOLS = ("a1111", "forge", "comfyui")


def check(subject: Subject) -> Iterator[Finding]:
    """Find guidance, without a negative prompt that asks for it, on models whose embedded weight is not given."""
    for run in subject.runs:
        facts = run.facts
        if facts is None or facts.distilled != "guidance" or facts.embedded is None or facts.guidance is None:
            continue
        if run.tool not in TOOLS or run.guidance is None or run.embedded is not None or is_text(run.negative):
            continue
        if 1 < run.guidance.value <= facts.guidance[1]:
            yield Finding(
                RULE,
                run.guidance.place,
                says=f"{facts.title} takes its weight as an input, and this is guidance on top",
                measured=f"CFG {run.guidance.value:g}, no embedded weight",
                expected=f"CFG 1, embedded {facts.embedded[0]:g} to {facts.embedded[1]:g}",
                instead=f"write 1, and {run.guidance.value:g} as the distilled guidance",
            )


def fix(subject: Subject, finding: Finding) -> Fix | None:
    return Fix("unsafe", "write 1", (Change(finding.place, 1.0),))


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 3.5, Seed: 1, Size: 1024x1024, \
Model hash: 4610115bb0, Model: flux1-dev, RNG: CPU, Version: f2.0.1v1.10.1
        """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 1, \
Size: 1024x1024, Model hash: 4610115bb0, Model: flux1-dev, RNG: CPU, Version: f2.0.1v1.10.1
        """)
