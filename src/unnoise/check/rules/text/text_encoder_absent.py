"""A pipeline with a prompt has no text encoder.

Why: 0 words of the prompt are read. Stable Diffusion 1 and FLUX.1 raise; other programs log a line ("prompt input is
ignored") and draw without a prompt. Only T5 of Stable Diffusion 3 may be left out.
Shown: the missing component.
Instead: load the encoder, or pass prompt_embeds.
Fix: none.
Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py, encode_prompt; leejet/stable-diffusion.cpp,
src/conditioner.hpp; huggingface/diffusers, docs, "Stable Diffusion 3" (text_encoder_3=None).
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.index import index_of
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.rules.text._shared import is_plain
from unnoise.check.subject import GenerationRun, Location, Subject

RULE = Rule(id="UN806", name="text-encoder-absent", severity=ERROR)
# Required text encoders of a pipeline; other pipelines are not checked.
NEEDED = {
    "StableDiffusionPipeline": ("text_encoder",),
    "StableDiffusionImg2ImgPipeline": ("text_encoder",),
    "StableDiffusionInpaintPipeline": ("text_encoder",),
    "StableDiffusionXLPipeline": ("text_encoder", "text_encoder_2"),
    "StableDiffusion3Pipeline": ("text_encoder", "text_encoder_2"),
    "FluxPipeline": ("text_encoder", "text_encoder_2"),
    "PixArtAlphaPipeline": ("text_encoder",),
    "PixArtSigmaPipeline": ("text_encoder",),
    "SanaPipeline": ("text_encoder",),
    "WanPipeline": ("text_encoder",),
}


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        if run.prompt is not None and is_plain(run):
            yield from _left_out(run, subject)
    yield from _in_folder(subject)


def _left_out(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    for role in NEEDED.get(run.pipeline, ()):
        argument = run.others.get(f"from_pretrained.{role}")
        if argument is not None and argument.value is None and not _is_set_later(role, subject):
            message = f"the pipeline is loaded without {role}, which it needs for this prompt"
            suggestion = f"load {role}, or pass prompt_embeds"
            yield Finding(RULE, argument.place, message, "None", "a text encoder", suggestion)


def _is_set_later(role: str, subject: Subject) -> bool:
    later = re.compile(rf"\.{role}\s*=[^=]|update_components")
    return any(later.search(text) for text in subject.texts.values())


def _in_folder(subject: Subject) -> Iterator[Finding]:
    path, index = index_of(subject)
    class_ = index.get("_class_name")
    for role in NEEDED.get(class_, ()) if isinstance(class_, str) else ():
        if index.get(role) == [None, None]:
            message = f"this pipeline needs {role} for a prompt, but the folder has none"
            suggestion = "add the component, or pass prompt_embeds in every call"
            yield Finding(RULE, Location(path, (role,)), message, "[null, null]", "a text encoder", suggestion)


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        name = "stable-diffusion-v1-5/stable-diffusion-v1-5"
        pipe = StableDiffusionPipeline.from_pretrained(name, text_encoder=None)
        pipe("a lighthouse at dawn", num_inference_steps=30)
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        from encoded import embeds
        name = "stable-diffusion-v1-5/stable-diffusion-v1-5"
        pipe = StableDiffusionPipeline.from_pretrained(name, text_encoder=None)
        pipe(prompt_embeds=embeds, num_inference_steps=30)
    """)
