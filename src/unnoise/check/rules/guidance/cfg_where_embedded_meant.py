"""Classifier-free guidance is used on a model that takes the scale as an input.

Why: FLUX.1 [dev] is distilled from guided predictions and takes their scale, usually 3.5, as an input. Classifier-free
guidance on top of it guides twice and needs two network calls a step: 7 and 3.5 together oversaturate and blur, and so
do 3.5 and 3.5. Images on sharing sites record the embedded 3.5 as "CFG scale", which Forge corrects; the default of
stable-diffusion.cpp is 7, that of ComfyUI 8.
Shown: the guidance scale, and the embedded one.
Instead: guidance scale 1, and the number as "Distilled CFG Scale" (Forge), `--guidance` (stable-diffusion.cpp) or in a
FluxGuidance node (ComfyUI). It is a note where the name does not tell whether a fine-tune is still distilled, and where
guidance is tamed: a scale up to 1.5, an embedded one up to 2 with a negative prompt, a scale up to 4 in
XlabsSampler, or a node that limits it.
Fix: unsafe: write 1 in a workflow; shown where a negative prompt would lose its effect.
Source: lllyasviel/stable-diffusion-webui-forge, modules/infotext_utils.py, "Applied Forge Fix to broken Civitai Flux
Meta"; comfyanonymous/ComfyUI_examples, flux; leejet/stable-diffusion.cpp, docs/flux.md, `--cfg-scale 1.0`.
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.rules.guidance._shared import guides_twice, is_text, limits_guidance
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN404", name="cfg-where-embedded-meant", severity=WARN, checks="run")
WEAK = 2.0  # embedded scale that leaves room for guidance with a negative prompt
SLIGHT = 1.5  # guidance that adds at most half of the difference
XLABS = 4.0  # 3.5 beside an embedded 4 in XLabs-AI/x-flux-comfyui, workflows/


def check(run: GenerationRun) -> Iterator[Finding]:
    facts, stated, embedded = run.facts, run.guidance, run.embedded
    if facts is None or facts.embedded is None or stated is None or not guides_twice(run):
        return
    low, high = facts.embedded
    message = f"{facts.title} takes the scale as an input; this is classifier-free guidance on top of it"
    suggestion = "write 1" if embedded or not low <= stated.value <= high else f"write 1, and {stated.value:g}"
    suggestion += "" if suggestion == "write 1" else " as the distilled guidance scale"
    fix = Fix.show("write 1, and leave the negative prompt out")
    if not is_text(run.negative):
        fix = Fix.unsafe(stated.place, 1.0, "1")
    shown = f"embedded {embedded.value:g}" if embedded else "no embedded scale"
    measured, expected = f"CFG {stated.value:g}, {shown}", f"CFG 1, embedded {low:g} to {high:g}"
    severity = WARN if _is_sure(run) and not _is_tamed(run) else NOTE
    yield Finding(RULE, stated.place, message, measured, expected, suggestion, severity, fix)


def _is_sure(run: GenerationRun) -> bool:
    """Return whether the model is certainly distilled: a published variant, not only a name of its family."""
    return run.model is not None and bool(run.model.identity.variant or run.model.weights)


def _is_tamed(run: GenerationRun) -> bool:
    """Return whether real guidance is slight or seems meant: with a weak embedded scale, or limited by a node."""
    if run.guidance is not None and run.guidance.value <= SLIGHT:
        return True
    if run.pipeline == "XlabsSampler" and run.guidance is not None and run.guidance.value <= XLABS:
        return True
    if run.embedded is not None and run.embedded.value <= WEAK and is_text(run.negative):
        return True
    return limits_guidance(run)


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
