"""The autoencoder belongs to another family than the model.

Why: families share the number of channels but not the space. SD 1 and SDXL both have 4, scaled by 0.18215 and 0.13025;
SD3, Flux and Wan have 16, each with its own scale, shift and meaning of the channels. The wrong autoencoder decodes
without an error into wrong colours and texture; with another number of channels it fails.
Shown: the families of the autoencoder and of the model, each with its scale.
Instead: use the autoencoder of the model's family, or the one inside the checkpoint.
Fix: none; the right file depends on what is installed.
Source: comfyanonymous/ComfyUI, comfy/latent_formats.py; invoke-ai/InvokeAI, "incompatibleWanVae" in en.json.
"""

from collections.abc import Iterator

from unnoise.check.examples import workflow
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.subject import GenerationRun, NamedModel, Subject

RULE = Rule(id="UN305", name="vae-of-another-family", severity=ERROR, checks="run")
# Trained on Wan 2.1's latents: ComfyUI, comfy/supported_models.py
SHARED = {"qwen-image": "wan", "cosmos": "wan", "anima": "wan"}


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.model is None or run.vae is None or run.model.identity.family == run.vae.identity.family:
        return
    space, other = _space(run.model), _space(run.vae)
    if space is not None and other is not None and space != other:
        message = f"the autoencoder {run.vae.name} belongs to another family than the model"
        suggestion = f"use a VAE of {run.model.identity.family}"
        yield Finding(RULE, run.vae.place, message, _description(run.vae), _description(run.model), suggestion)


def _space(model: NamedModel) -> tuple[object, ...] | None:
    """Return a key that is equal for families with the same latents; None where it is not known."""
    facts, family = model.facts, model.identity.family
    if facts is None or facts.channels is None or (facts.scale is None and not facts.per_channel):
        return None
    own = SHARED.get(family, family) if facts.per_channel and facts.scale is None else ""
    return facts.channels, facts.scale, facts.shift, own


def _description(model: NamedModel) -> str:
    facts = model.facts
    scale = "" if facts is None or facts.scale is None else f", scale {facts.scale:g}"
    channels = facts.channels if facts else 0
    return f"{model.identity.family} ({channels} channels{scale})"


def bad() -> Subject:
    loader = {"class_type": "VAELoader", "inputs": {"vae_name": "vae-ft-mse-840000-ema-pruned.safetensors"}}
    decode = {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["10", 0]}}
    return workflow(extra={"10": loader, "8": decode})


def good() -> Subject:
    loader = {"class_type": "VAELoader", "inputs": {"vae_name": "sdxl_vae.safetensors"}}
    decode = {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["10", 0]}}
    return workflow(extra={"10": loader, "8": decode})
