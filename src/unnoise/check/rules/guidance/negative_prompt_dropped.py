"""The negative prompt has no effect, because guidance is off.

Why: the negative prompt is used only as the null of null + weight*(cond - null), which at weight 1 equals cond. At a
guidance scale of 1 or less diffusers does not even encode it. FluxPipeline also needs `true_cfg_scale` above 1; its
default is 1.0, and `guidance_scale` is a different setting there. LatentConsistencyModelPipeline has no guidance: it
accepts a negative prompt among its other arguments and drops it.
It is a note for a pipeline of unknown class, in other tools for a model that may be one of few steps or runs with up to
8, and in ComfyUI and Fooocus for an unknown model: official workflows and styles have a text there too. Nothing is
found for a stage of a workflow whose negative prompt acts in another stage; it is a note where the guidance of that
stage is unknown.
Shown: the guidance scale in effect.
Instead: leave the negative prompt out, or turn guidance on: `true_cfg_scale=4.0` for Flux and Qwen-Image, where the
model takes it.
Fix: none; it is not known which of the two is meant.
Source: diffusers/pipelines/flux/pipeline_flux.py, `do_true_cfg`; diffusers/pipelines/latent_consistency_models,
`__call__`; diffusers/pipelines/ltx2, `do_classifier_free_guidance`; ComfyUI, comfy/samplers.py, sampling_function
(cond_scale 1.0); mcmonkeyprojects/SwarmUI#204; lllyasviel/stable-diffusion-webui-forge#2496.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import may_be_distilled
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Rule, Severity
from unnoise.check.rules.guidance._shared import BOTH_WAYS, is_text, negative_acts, pipeline, takes_weight, weight
from unnoise.check.subject import GenerationRun, Subject
from unnoise.check.tables import takes, task

RULE = Rule(id="UN405", name="negative-prompt-dropped", severity=WARN, checks="run", with_subject=True)
FEW = 8  # steps with which distilled models are run


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    value = weight(run)
    if run.negative is None or not is_text(run.negative) or value is None or negative_acts(run, value):
        return
    stages = _others(run, subject)
    if any(negative_acts(one, other) for one in stages if (other := weight(one)) is not None):
        return
    message, suggestion = "the negative prompt has no effect because guidance is off", "leave the negative prompt out"
    if (run.tool == "diffusers" and pipeline(run) in BOTH_WAYS) or takes_weight(run):
        by = "a network that takes the scale" if takes_weight(run) else pipeline(run)
        measured, expected = f"no guidance in {by}", "no negative prompt"
        yield Finding(RULE, run.negative.place, message, measured, expected, suggestion)
        return
    true = run.tool == "diffusers" and takes(pipeline(run), "true_cfg_scale")
    name = "true_cfg_scale" if true else "guidance"
    suggestion += ", or set true_cfg_scale" if true else ""
    measured = f"{name} {value:g}{'' if run.guidance else ' by default'}"
    expected = f"{name} above 1"
    yield Finding(RULE, run.negative.place, message, measured, expected, suggestion, _severity(run, subject))


def _others(run: GenerationRun, subject: Subject) -> list[GenerationRun]:
    """List the other stages of a workflow of ComfyUI that have the same negative prompt."""
    return [one for one in subject.runs if one.tool == "comfyui" and one is not run and one.negative == run.negative]


def _severity(run: GenerationRun, subject: Subject) -> Severity:
    if run.tool == "diffusers":
        return WARN if task(pipeline(run)) else NOTE
    few = may_be_distilled(run, subject) or (run.steps is not None and run.steps.value <= FEW)
    wired = run.tool in ("comfyui", "fooocus") and run.facts is None
    unknown = any(weight(one) is None for one in _others(run, subject))
    return NOTE if few or wired or unknown else WARN


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import FluxPipeline

        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", torch_dtype=torch.bfloat16)
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", negative_prompt="blurry", guidance_scale=3.5, generator=noise).images[0]
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import FluxPipeline

        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", torch_dtype=torch.bfloat16)
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", negative_prompt="blurry", true_cfg_scale=4.0, generator=noise).images[0]
        """)
