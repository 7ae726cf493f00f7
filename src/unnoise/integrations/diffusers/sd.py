"""Stable Diffusion 1 and 2, with inpainting (9 channels), instruct-pix2pix (8 channels) and LCM: one CLIP, one U-Net.

Source: Rombach et al. 2022; CompVis/stable-diffusion, v1-inference.yaml; Stability-AI/stablediffusion,
v2-inference-v.yaml.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.process import VP, Table
from unnoise.errors import InputError
from unnoise.integrations.diffusers import lcm, pix2pix
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.autoencoder_kl import latent_space
from unnoise.integrations.diffusers.components import RESOLUTION, AdaptedModel, ForeignComponents
from unnoise.integrations.diffusers.image_conditioning import image_conditioner_of
from unnoise.integrations.diffusers.trained import trained
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

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "literal") -> list[Conditioning]:
        """Encode prompts. Raises InputError for one that is too long, or has word weights that are not allowed."""
        return [Conditioning(tokens=self.clip.read(prompt, prompt_weighting)[0].float()) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> Conditioning:
        """Encode a negative prompt; the empty one is the unconditional model."""
        return self([prompt], prompt_weighting)[0]


def adapt(foreign: ForeignComponents) -> AdaptedModel:
    """Build the components of a model. Raises InputError for a U-Net with an unknown image input."""
    text = OneClip(Clip(foreign.tokenizer("tokenizer"), foreign.net("text_encoder")))
    return adapt_unet(foreign, text, guidance=7.5, steps=25)


def adapt_unet(foreign: ForeignComponents, text: TextConditioner, guidance: float, steps: int) -> AdaptedModel:
    """Build the components of a model with a U-Net: its image input, and its sampler if it is a consistency model."""
    unet = foreign.net("unet")
    how = trained(foreign)
    net: nn.Module = ConditionUNet(unet, clock=how.clock, after=how.preconditioning)
    process, kind = how.process, how.kind
    space = latent_space(foreign.net("vae"))
    image_conditioner = image_conditioner_of(foreign, space, scaled=how.preconditioning is not None)
    settings: Mapping[str, Any] = {"guidance_scale": guidance, "steps": steps, **how.advice}
    if lcm.distilled(foreign):
        if not isinstance(process, VP | Table):
            raise InputError(f"{foreign.where}: a consistency model of process {type(process).__name__}: not supported")
        net, kind, settings = lcm.Consistent(net, process, kind, lcm.clock(foreign)), "x0", lcm.advice(foreign)
    if (stated := foreign.config("").get(RESOLUTION)) is not None:
        settings = {**settings, "sizes": (tuple(stated),)}
    if image_conditioner is not None and not image_conditioner.masked:
        settings = {**settings, "image_guidance": pix2pix.IMAGE_GUIDANCE}
    return AdaptedModel(
        net=net,
        process=process,
        kind=kind,
        space=space,
        text=text,
        advice=advise(foreign, size=unet.config.sample_size, **settings),
        image_conditioner=image_conditioner,
    )
