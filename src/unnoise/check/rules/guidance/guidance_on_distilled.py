"""Classifier-free guidance is used on a model or adapter that is distilled to work without it.

Why: Turbo, Lightning, LCM, Hyper and DMD are trained to predict the guided image. Guidance on top is applied twice, and
the few steps cannot correct it. ComfyUI's KSampler defaults to cfg 8.0 and diffusers' SDXL pipeline to 5.0; the model
cards use 0 or 1 (LCM adapters 1 to 2, 4 in one official example). Each step also costs two network calls instead of
one.
Up to 0.5 above the range it is a note, and up to 3 for CausVid, whose page allows it. A LoRA at half its strength or
less leaves room for guidance; one at up to 0.8 in a run of more steps than its own is a note.
Shown: the guidance scale and the range of the model card.
Instead: 1 in ComfyUI and AUTOMATIC1111; 0 or 1 in diffusers, where both switch guidance off.
Fix: unsafe: write 1, or the highest scale of the adapter; shown in diffusers where a negative prompt would lose its
effect.
Source: huggingface/diffusers#5773, #7142; diffusers, docs/source/en/using-diffusers/sdxl_turbo.md;
luosiallen/latent-consistency-model#40; comfyanonymous/ComfyUI, nodes.py, KSampler;
civitai.com/models/1585622, CausVid.
"""

from collections.abc import Iterator, Mapping

from unnoise.check.effective_settings import few_steps
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.rules.guidance._shared import is_text, pipeline, weight, word
from unnoise.check.subject import GenerationRun, Subject
from unnoise.check.tables import embeds

ADAPTERS: Mapping[str, float] = {"lcm": 4.0}  # diffusers, docs/source/en/api/pipelines/latent_consistency_models.md
ALLOWED: Mapping[str, float] = {"causvid": 3.0}  # by the page of an adapter; more lose quality
SLIGHT = 0.5  # above the range, where guidance adds at most half of the difference once more
RULE = Rule(id="UN402", name="guidance-on-distilled", severity=WARN, checks="run")


def check(run: GenerationRun) -> Iterator[Finding]:
    few, value = few_steps(run), weight(run)
    if few is None or few.weak or few.facts.guidance is None or value is None or _is_embedded(run):
        return
    low, high = few.facts.guidance
    high = max(high, ADAPTERS.get(few.variant, 0.0))
    if value > high:
        right, guidance = min(high, max(low, 1.0)), run.guidance
        show = Fix.show(f"add guidance_scale={right:g} to the call")
        message = f"{few.name} is distilled, and guidance on top of it oversaturates the image"
        suggestion = f"write {right:g}"
        fix = Fix.unsafe(guidance.place, right, f"{right:g}") if guidance else show
        if guidance and right <= 1 and run.tool == "diffusers" and is_text(run.negative):
            fix = Fix.show(f"write {right:g}, and leave the negative prompt out")
        measured = f"{word(run)} {value:g}{'' if guidance else ' by default'}"
        expected = f"{low:g} to {high:g}"
        grade = NOTE if few.mixed or value <= max(high + SLIGHT, _allowed(few.name)) else WARN
        place = guidance.place if guidance else run.place
        yield Finding(RULE, place, message, measured, expected, suggestion, grade, fix)


def _allowed(name: str) -> float:
    return max((scale for word, scale in ALLOWED.items() if word in name.lower()), default=0.0)


def _is_embedded(run: GenerationRun) -> bool:
    """Return whether the pipeline passes the scale to the network, or ignores it, so that it is no guidance."""
    return run.guidance is None and embeds(pipeline(run))


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import AutoPipelineForText2Image

        pipe = AutoPipelineForText2Image.from_pretrained("stabilityai/sdxl-turbo", torch_dtype=torch.float16)
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", num_inference_steps=1, guidance_scale=7.5, generator=noise).images[0]
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import AutoPipelineForText2Image

        pipe = AutoPipelineForText2Image.from_pretrained("stabilityai/sdxl-turbo", torch_dtype=torch.float16)
        noise = torch.Generator("cpu").manual_seed(1)
        image = pipe("a lighthouse", num_inference_steps=1, guidance_scale=0.0, generator=noise).images[0]
        """)
