"""max_sequence_length is above the limit of the pipeline or the model.

Why: diffusers raises above 512 with FLUX.1 and Stable Diffusion 3. FLUX.1 schnell was distilled with 256. It attends to
the padding of T5, so 512 changes every image, even with a short prompt.
Shown: the length and the limit.
Instead: at most 512; 256 with FLUX.1 schnell.
Fix: safe where it would raise: write the limit; unsafe for schnell.
Source: diffusers/pipelines/flux/pipeline_flux.py and stable_diffusion_3/pipeline_stable_diffusion_3.py, check_inputs;
black-forest-labs/flux, src/flux/util.py, load_t5 (256 for schnell); huggingface/diffusers#11536.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import identity
from unnoise.check.examples import script
from unnoise.check.rule import ERROR, WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN804", name="t5-length", severity=WARN, checks="run")
# The start of a pipeline's class, and above how many tokens check_inputs raises. Source: diffusers 0.42.1
LIMITS = {
    "StableDiffusion3": 512, "Flux2": None, "Flux": 512, "Chroma": 512, "Kolors": 256, "QwenImage": 1024,
    "Kandinsky5": 1024, "Lumina2": 512, "BriaPipeline": 512, "VisualCloze": 512, "OvisImage": 256,
}  # fmt: skip
SCHNELL = 256


def check(run: GenerationRun) -> Iterator[Finding]:
    most = _most(run)
    argument = run.others.get("max_sequence_length")
    if argument is None or type(argument.value) is not int or most is None or argument.value <= most[0]:
        return
    message = "this pipeline raises for texts of this length" if most[1] else "this model was trained on shorter texts"
    grade = ERROR if most[1] else None
    fix = Fix.safe(argument.place, most[0]) if most[1] else Fix.unsafe(argument.place, most[0])
    expected, suggestion = f"at most {most[0]}", f"write {most[0]}"
    yield Finding(RULE, argument.place, message, f"{argument.value} tokens", expected, suggestion, grade, fix)


def _most(run: GenerationRun) -> tuple[int, bool] | None:
    """Return the limit, and whether a longer text raises; None where it is not known."""
    if run.tool != "diffusers":
        return None
    argument = run.others.get("max_sequence_length")
    limit = next((most for name, most in LIMITS.items() if run.pipeline.startswith(name)), None)
    recognised = identity(run)
    trained = SCHNELL if (recognised.family, recognised.variant) == ("flux1", "schnell") else limit
    if limit is not None and argument is not None and type(argument.value) is int and argument.value > limit:
        return min(limit, trained or limit), True
    return (SCHNELL, False) if trained == SCHNELL else None


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import FluxPipeline
        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-schnell", torch_dtype=torch.bfloat16)
        pipe("a lighthouse at dawn", guidance_scale=0.0, num_inference_steps=4, max_sequence_length=512)
    """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import FluxPipeline
        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-schnell", torch_dtype=torch.bfloat16)
        pipe("a lighthouse at dawn", guidance_scale=0.0, num_inference_steps=4, max_sequence_length=256)
    """)
