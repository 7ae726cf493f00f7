"""A guidance scale for a network that has no input for it: it changes nothing.

Why: FLUX.1 [schnell] and FLUX.2 [klein] have no guidance embedding. diffusers' FluxPipeline then silently ignores
`guidance_scale`, including its default of 3.5, and so does ComfyUI's FluxGuidance. Images at 0 and at 7.5 are
bit-identical (reproduced on a tiny FluxTransformer2DModel without guidance_embeds).
Shown: the scale.
Instead: leave it out, or write 0 as the documentation does.
Fix: none; only another model can follow the scale.
Source: diffusers/pipelines/flux/pipeline_flux.py, `self.transformer.config.guidance_embeds`;
diffusers/pipelines/flux2/pipeline_flux2_klein.py, which documents it.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN403", name="guidance-without-effect", severity=NOTE, checks="run")
FAMILIES = ("flux1", "flux2")  # whose networks take the scale, except the distilled ones


def check(run: GenerationRun) -> Iterator[Finding]:
    facts, family = run.facts, run.model.identity.family if run.model else ""
    if facts is None or family not in FAMILIES or facts.distilled != "steps" or facts.embedded is not None:
        return
    if run.embedded is not None and run.embedded.value > 1:
        message = f"the network of {run.model.name if run.model else facts.title} has no input for a guidance scale"
        suggestion = "leave it out"
        measured = f"guidance {run.embedded.value:g}, without effect"
        yield Finding(RULE, run.embedded.place, message, measured, "none, or 0", suggestion)


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
