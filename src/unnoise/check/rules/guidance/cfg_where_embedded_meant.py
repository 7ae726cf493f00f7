"""Classifier-free guidance is used on a model that takes the scale as an input, and the input is not set.

Why: FLUX.1 [dev] is distilled from guided predictions and takes their scale, usually 3.5, as an input. Classifier-free
guidance on top of it guides twice and needs two network calls a step. Images on sharing sites record the embedded 3.5
as "CFG scale"; at CFG 3.5 they come out oversaturated. Forge corrects such metadata.
Shown: the guidance scale, and that no embedded scale is set.
Instead: guidance scale 1, and the number as "Distilled CFG Scale" (Forge) or in a FluxGuidance node (ComfyUI).
Fix: unsafe: write 1 in a workflow.
Source: lllyasviel/stable-diffusion-webui-forge, modules/infotext_utils.py, "Applied Forge Fix to broken Civitai Flux
Meta"; comfyanonymous/ComfyUI_examples, flux.
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.rules.guidance._shared import is_text
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN404", name="cfg-where-embedded-meant", severity=WARN, checks="run")
TOOLS = ("a1111", "forge", "comfyui")


def check(run: GenerationRun) -> Iterator[Finding]:
    facts = run.facts
    if facts is None or facts.distilled != "guidance" or facts.embedded is None or facts.guidance is None:
        return
    if run.tool not in TOOLS or run.guidance is None or run.embedded is not None or is_text(run.negative):
        return
    if 1 < run.guidance.value <= facts.guidance[1]:
        message = f"{facts.title} takes the scale as an input; this is classifier-free guidance on top of it"
        suggestion = f"write 1, and {run.guidance.value:g} as the distilled guidance scale"
        fix = Fix.unsafe(run.guidance.place, 1.0, "1")
        measured = f"CFG {run.guidance.value:g}, no embedded scale"
        expected = f"CFG 1, embedded {facts.embedded[0]:g} to {facts.embedded[1]:g}"
        yield Finding(RULE, run.guidance.place, message, measured, expected, suggestion, fix=fix)


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
