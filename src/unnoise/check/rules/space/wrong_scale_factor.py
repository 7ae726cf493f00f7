"""The scale of an autoencoder's latents is not that of the model's family.

Why: the denoiser was trained on latents of deviation 1. With 0.18215 in place of SDXL's 0.13025 they come in 1.40
times as large and go out 0.715 times: pictures are washed out, and a training learns to make such. A config.json
without the key takes the default of diffusers' AutoencoderKL, which is 0.18215 whatever the family is.
Shown: the scale that acts, in the settings or in the code that scales by hand, beside that of the family.
Instead: write the family's scale, or in code `vae.config.scaling_factor`.
Fix: unsafe: the family's scale; an autoencoder of one's own may have its own.
Source: huggingface/diffusers#6923, #6753; diffusers/models/autoencoders/autoencoder_kl.py;
Stability-AI/generative-models, configs/inference/sd_xl_base.yaml.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Change, Finding, Fix, Rule
from unnoise.check.rules.space._scale import followed, script_facts
from unnoise.check.rules.space._shared import autoencoders
from unnoise.check.subject import Place, Subject
from unnoise.check.typed import finite

RULE = Rule(id="UN301", name="wrong-scale-factor", severity=ERROR)
DEFAULT = 0.18215  # of AutoencoderKL
CLOSE = 1e-3


def check(subject: Subject) -> Iterator[Finding]:
    """Compare the scale in settings, and numbers by which a script scales latents, with the family's."""
    for model, config in autoencoders(subject):
        facts = model.facts
        if facts is None or facts.scale is None or facts.per_channel or "Upscale" in model.identity.known_by:
            continue
        said = config.get("scaling_factor")
        scale = finite(said.value) if said else DEFAULT
        if scale is not None and abs(scale / facts.scale - 1) > CLOSE:
            how = "" if said else ", by default"
            yield _finding(said.place if said else config.place, f"{scale:g}{how}", facts.scale, facts.title)
    facts = script_facts(subject)
    if facts is None or facts.scale is None:
        return
    for event in followed(subject):
        if event.kind == "literal" and abs(event.value / facts.scale - 1) > CLOSE:
            yield _finding(event.place, f"{event.value:g}", facts.scale, facts.title)


def _finding(place: Place, scale: str, right: float, title: str) -> Finding:
    return Finding(
        RULE,
        place,
        says=f"the latents are not scaled as {title} was trained",
        measured=f"scale {scale}",
        expected=f"{right:g}",
        instead=f"write {right:g}, or in code use vae.config.scaling_factor",
    )


def fix(subject: Subject, finding: Finding) -> Fix | None:
    right = float(finding.expected)
    if "default" in finding.measured:
        return Fix("show", f'add "scaling_factor": {right:g}')
    return Fix("unsafe", f"write {right:g}", (Change(finding.place, right),))


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
