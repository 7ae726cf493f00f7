"""A guidance scale that changes nothing: the network has no input for it, or a negative prompt is missing.

Why: FLUX.1 [schnell] and FLUX.2 [klein] have no guidance embedding. diffusers' FluxPipeline then silently ignores
`guidance_scale`, including its default of 3.5, and so does ComfyUI's FluxGuidance. Images at 0 and at 7.5 are
bit-identical (reproduced on a tiny FluxTransformer2DModel without guidance_embeds). `true_cfg_scale` of Flux and
Qwen-Image acts only beside a negative prompt, which may be " ": without one the images at 1 and at 4 are identical.
Shown: the scale.
Instead: leave it out, or write 0 as the documentation does; pass a negative prompt beside true_cfg_scale.
Fix: none; only another model can follow the scale.
Source: diffusers/pipelines/flux/pipeline_flux.py, `self.transformer.config.guidance_embeds` and `do_true_cfg`;
diffusers/pipelines/flux2/pipeline_flux2_klein.py, which documents it. In records it is a note: Forge writes its default
for every model.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.rules.guidance._shared import pipeline
from unnoise.check.subject import GenerationRun, Subject
from unnoise.check.tables import takes

RULE = Rule(id="UN403", name="guidance-without-effect", severity=WARN, checks="run")
FAMILIES = ("flux1", "flux2")  # whose networks take the scale, except the distilled ones
WRITTEN = ("diffusers", "comfyui", "mflux")  # tools in whose files a person wrote the scale
TRUE, NEED = "true_cfg_scale", ("Flux", "QwenImage")


def check(run: GenerationRun) -> Iterator[Finding]:
    facts, family = run.facts, run.model.identity.family if run.model else ""
    if _lacks_negative(run) and run.guidance is not None:
        message = f"{TRUE} acts only beside a negative prompt"
        suggestion = 'add negative_prompt=" ", or leave the scale out'
        measured = f"{TRUE} {run.guidance.value:g}, without effect"
        yield Finding(RULE, run.guidance.place, message, measured, "a negative prompt", suggestion)
    if facts is None or family not in FAMILIES or facts.distilled != "steps" or facts.embedded is not None:
        return
    if run.embedded is not None and run.embedded.value > 1 and not _is_controlled(run):
        message = f"the network of {run.model.name if run.model else facts.title} has no input for a guidance scale"
        suggestion = "leave it out"
        measured = f"guidance {run.embedded.value:g}, without effect"
        severity = WARN if run.tool in WRITTEN else NOTE
        yield Finding(RULE, run.embedded.place, message, measured, "none, or 0", suggestion, severity)


def _lacks_negative(run: GenerationRun) -> bool:
    """Return whether a call of diffusers asks for true guidance and passes no negative prompt."""
    if run.tool != "diffusers" or run.guidance is None or run.guidance.value <= 1 or run.negative is not None:
        return False
    unsure = any(key.startswith(("negative_prompt", "**")) for key in run.others)
    return takes(pipeline(run), TRUE) and not unsure and pipeline(run).startswith(NEED)


def _is_controlled(run: GenerationRun) -> bool:
    """Return whether a ControlNet runs beside the network, which may take the scale itself."""
    return "ControlNet" in run.pipeline or any(use.kind == "controlnet" for use in run.adapters)


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import FluxPipeline

        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-schnell", torch_dtype=torch.bfloat16)
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", guidance_scale=7.5, num_inference_steps=4, generator=noise).images[0]
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import FluxPipeline

        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-schnell", torch_dtype=torch.bfloat16)
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", guidance_scale=0.0, num_inference_steps=4, generator=noise).images[0]
        """)
