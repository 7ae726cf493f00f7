"""The scaling factor of the latents is not that of the model's family.

Why: the denoiser was trained on latents of deviation 1. With 0.18215 instead of SDXL's 0.13025 they are encoded 1.40
times too large and decoded 0.715 times too small: images are washed out, and a model trained on them learns that. A
config.json without the key gets the default of diffusers' AutoencoderKL, 0.18215 for every family.
Shown: the scale in use, by settings or code, and that of the family.
Instead: write the family's scale, or in code `vae.config.scaling_factor`.
Fix: unsafe: write the family's scale; a custom autoencoder may have another.
Source: huggingface/diffusers#6923, #6753; diffusers/models/autoencoders/autoencoder_kl.py;
Stability-AI/generative-models, configs/inference/sd_xl_base.yaml.
"""

from collections.abc import Iterator

from unnoise.check.coerce import finite
from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Fix, Rule
from unnoise.check.rules.space._scale import followed, script_facts
from unnoise.check.rules.space._shared import autoencoders
from unnoise.check.subject import Location, Subject
from unnoise.families.facts import Facts

RULE = Rule(id="UN301", name="wrong-scale-factor", severity=ERROR)
DEFAULT = 0.18215  # of AutoencoderKL
CLOSE = 1e-3


def check(subject: Subject) -> Iterator[Finding]:
    for model, config in autoencoders(subject):
        facts = model.facts
        if facts is None or facts.scale is None or facts.per_channel or "Upscale" in model.identity.known_by:
            continue
        setting = config.get("scaling_factor")
        scale = finite(setting.value) if setting else DEFAULT
        if scale is not None and abs(scale / facts.scale - 1) > CLOSE:
            yield _finding(setting.place if setting else config.place, scale, facts, is_default=setting is None)
    facts = script_facts(subject)
    if facts is None or facts.scale is None:
        return
    for event in followed(subject):
        if event.kind == "literal" and abs(event.value / facts.scale - 1) > CLOSE:
            yield _finding(event.place, event.value, facts)


def _finding(place: Location, scale: float, facts: Facts, is_default: bool = False) -> Finding:
    right = f"{facts.scale:g}"
    message = f"the latents do not have the scale that {facts.title} was trained with"
    suggestion = f"write {right}, or in code use vae.config.scaling_factor"
    fix = Fix.show(f'add "scaling_factor": {right}') if is_default else Fix.unsafe(place, float(right))
    measured = f"scale {scale:g}{', by default' if is_default else ''}"
    return Finding(RULE, place, message, measured, right, suggestion, fix=fix)


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionXLPipeline

        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        noise = torch.Generator("cpu").manual_seed(1)
        latents = pipe("a lighthouse", generator=noise, output_type="latent").images
        image = pipe.vae.decode(latents / 0.18215).sample
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusionXLPipeline

        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        noise = torch.Generator("cpu").manual_seed(1)
        latents = pipe("a lighthouse", generator=noise, output_type="latent").images
        image = pipe.vae.decode(latents / 0.13025).sample
        """)
