"""A script does not scale latents between autoencoder and denoiser, or scales them twice.

Why: latents leave the encoder with a deviation of about 1/0.18215 = 5.5 (SD 1) or 1/0.13025 = 7.7 (SDXL), and the
denoiser is trained on deviation 1. Unscaled, the noise of every level is 5 to 8 times too weak; scaled twice, 5 to 8
times too strong. Latents that are decoded while scaled have 0.18 or 0.13 of their size, and the image is flat.
Shown: how often the latents are scaled at that place.
Instead: `vae.encode(x).latent_dist.sample() * vae.config.scaling_factor`, and `vae.decode(latents /
vae.config.scaling_factor)`, each once.
Fix: none; the missing line may belong elsewhere.
Source: kijai/ComfyUI-HunyuanVideoWrapper#340, huggingface/diffusers#5166;
diffusers/models/autoencoders/autoencoder_kl.py, `scaling_factor`.
"""

import re
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.rules.space._scale import followed, script_facts
from unnoise.check.subject import Subject

RULE = Rule(id="UN303", name="scale-lost-or-doubled", severity=ERROR)
PLAIN = re.compile(r"\bAutoencoderKL\b|\bscaling_factor\b")
MESSAGES = {
    "denoised": ("the denoiser runs on unscaled latents", "scaled 0 times", "multiply by vae.config.scaling_factor"),
    "unscaled": ("noise is added to unscaled latents", "scaled 0 times", "multiply by vae.config.scaling_factor"),
    "scaled": ("scaled latents are decoded", "scaled once", "divide by vae.config.scaling_factor"),
    "twice": ("latents are scaled a second time", "scaled twice", "remove one of the two"),
}


def check(subject: Subject) -> Iterator[Finding]:
    if not _has_scale(subject):
        return
    is_known = script_facts(subject) is not None
    for event in followed(subject):
        if event.kind in MESSAGES and (is_known or event.kind != "denoised"):
            message, measured, suggestion = MESSAGES[event.kind]
            expected = "0 times" if event.kind == "scaled" else "once"
            yield Finding(
                RULE, event.place, message=message, measured=measured, expected=expected, suggestion=suggestion
            )


def _has_scale(subject: Subject) -> bool:
    """Return whether the script's autoencoder certainly has a scale, by its family or by its class."""
    if any(model.facts is not None for model in subject.models):
        facts = script_facts(subject)
        return facts is not None and facts.scale is not None and not facts.per_channel
    return subject.script is not None and any(PLAIN.search(line) for line in subject.script.lines)


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import AutoencoderKL, DDPMScheduler

        vae = AutoencoderKL.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5", subfolder="vae")
        scheduler = DDPMScheduler.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5", subfolder="scheduler")
        pixels = torch.load("pixels.pt")
        latents = vae.encode(pixels).latent_dist.sample()
        noisy = scheduler.add_noise(latents, torch.randn_like(latents), torch.tensor([500]))
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import AutoencoderKL, DDPMScheduler

        vae = AutoencoderKL.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5", subfolder="vae")
        scheduler = DDPMScheduler.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5", subfolder="scheduler")
        pixels = torch.load("pixels.pt")
        latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
        noisy = scheduler.add_noise(latents, torch.randn_like(latents), torch.tensor([500]))
        """)
