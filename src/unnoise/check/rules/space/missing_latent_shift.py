"""Latents of an autoencoder with a shift are scaled without the shift.

Why: latents of SD3 and Flux are centred before they are scaled: (z - 0.0609)*1.5305 and (z - 0.1159)*0.3611. Without
the shift every latent is off by 0.093 and 0.042 deviations in one direction (the products of these numbers), in all
channels and at every pixel. The denoiser treats this tint as content.
Shown: the shift in use and that of the family.
Instead: write the shift into the settings; by hand `(z - shift_factor)*scaling_factor` before the denoiser, and
`z/scaling_factor + shift_factor` before the decoder.
Fix: show: the line to write.
Source: diffusers/pipelines/flux/pipeline_flux.py; comfyanonymous/ComfyUI, comfy/latent_formats.py.
"""

from collections.abc import Iterator

from unnoise.check.coerce import finite
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.rules.space._scale import followed, script_facts
from unnoise.check.rules.space._shared import autoencoders
from unnoise.check.subject import Location, Subject
from unnoise.families.table import FAMILIES

RULE = Rule(id="UN302", name="missing-latent-shift", severity=WARN)
CLOSE = 1e-4
NUMBERS = {1.5305: "sd3", 0.3611: "flux1"}  # the family of a scale, where no model is known


def check(subject: Subject) -> Iterator[Finding]:
    for model, config in autoencoders(subject):
        facts = model.facts
        setting = config.get("shift_factor")
        shift = 0.0 if setting is None or setting.value is None else finite(setting.value)
        if facts is not None and facts.shift and shift is not None and abs(shift - facts.shift) > CLOSE:
            yield _finding(setting.place if setting else config.place, shift, facts.shift, facts.title)
    yield from _in_script(subject)


def _in_script(subject: Subject) -> Iterator[Finding]:
    events, facts = followed(subject), script_facts(subject)
    if facts is None and not any(model.facts for model in subject.models):
        scales = {event.value for event in events if event.kind == "literal"}
        facts = next((FAMILIES[name] for scale, name in NUMBERS.items() if scales == {scale}), None)
    for event in events:
        if event.kind == "uncentred" and facts is not None and facts.shift:
            yield _finding(event.place, 0.0, facts.shift, facts.title)


def _finding(place: Location, shift: float, right: float, title: str) -> Finding:
    message = f"the latents lack the shift that {title} was trained with"
    suggestion = "use vae.config.shift_factor with the scale" if shift == 0 else f"write {right:g}"
    fix = Fix.show(f"latents / vae.config.scaling_factor + vae.config.shift_factor, which is {right:g}")
    return Finding(RULE, place, message, f"shift {shift:g}", f"{right:g}", suggestion, fix=fix)


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusion3Pipeline

        pipe = StableDiffusion3Pipeline.from_pretrained("stabilityai/stable-diffusion-3-medium-diffusers")
        noise = torch.Generator("cpu").manual_seed(1)
        latents = pipe("a lighthouse", generator=noise, output_type="latent").images
        image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import StableDiffusion3Pipeline

        pipe = StableDiffusion3Pipeline.from_pretrained("stabilityai/stable-diffusion-3-medium-diffusers")
        noise = torch.Generator("cpu").manual_seed(1)
        latents = pipe("a lighthouse", generator=noise, output_type="latent").images
        image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor).sample
        """)
