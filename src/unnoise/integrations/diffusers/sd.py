"""Stable Diffusion 1 and 2, with inpainting (9 channels), instruct-pix2pix (8 channels) and LCM: one CLIP, one U-Net.

Source: Rombach et al. 2022; CompVis/stable-diffusion, v1-inference.yaml; Stability-AI/stablediffusion,
v2-inference-v.yaml.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.integrations.diffusers import lcm, pix2pix
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.autoencoder_kl import latent_space
from unnoise.integrations.diffusers.components import Adapted, ForeignComponents
from unnoise.integrations.diffusers.image_conditioning import image_conditioner_of
from unnoise.integrations.diffusers.noise_schedule import kind_of, process_of
from unnoise.integrations.diffusers.unet import ConditionUNet
from unnoise.text.clip import Clip
from unnoise.text.encode import TextConditioner
from unnoise.text.prompt_weighting import PromptWeighting


@dataclass(frozen=True, slots=True, eq=False)
class OneClip:
    """Features of one CLIP text network."""

    clip: Clip

    @property
    def net(self) -> nn.Module:
        """The text network."""
        return nn.ModuleDict({"text_encoder": self.clip.net})

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "refuse") -> list[Conditioning]:
        """Read prompts. Raises InputError for one that is too long, or weighs words where that is not asked for."""
        return [Conditioning(tokens=self.clip.read(prompt, prompt_weighting)[0].float()) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> Conditioning:
        """Read a negative prompt; the empty one is what the model was trained to do without text."""
        return self([prompt], prompt_weighting)[0]


def adapt(parts: ForeignComponents) -> Adapted:
    """Make the pieces of a model. Raises InputError for a network that sees what none of these does."""
    text = OneClip(Clip(parts.tokenizer("tokenizer"), parts.net("text_encoder")))
    return adapted(parts, text, guidance=7.5, steps=25)


def adapted(parts: ForeignComponents, text: TextConditioner, guidance: float, steps: int) -> Adapted:
    """Make all pieces around a U-Net but the text: what it sees beside x, and whether it is a consistency model."""
    unet = parts.net("unet")
    net: nn.Module = ConditionUNet(unet)
    process, kind = process_of(parts), kind_of(parts)
    space = latent_space(parts.net("vae"))
    image_conditioner = image_conditioner_of(parts, space)
    how: Mapping[str, Any] = {"guidance_scale": guidance, "steps": steps}
    if lcm.distilled(parts):
        net, kind, how = lcm.Consistent(net, process, kind, lcm.clock(parts)), "x0", lcm.advice(parts)
    if image_conditioner is not None and not image_conditioner.masked:
        how = {**how, "image_guidance": pix2pix.IMAGE_GUIDANCE}
    return Adapted(
        net=net,
        process=process,
        kind=kind,
        space=space,
        text=text,
        advice=advise(parts, size=unet.config.sample_size, **how),
        image_conditioner=image_conditioner,
    )
