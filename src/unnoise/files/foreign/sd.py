"""Stable Diffusion 1 and 2, with inpainting (9 channels), instruct-pix2pix (8 channels) and LCM: one CLIP, one U-Net.

Source: Rombach et al. 2022; CompVis/stable-diffusion, v1-inference.yaml; Stability-AI/stablediffusion, v2-inference-v.yaml.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from unnoise.diffusion.model import Cond
from unnoise.files.foreign.advice import advise
from unnoise.files.foreign.betas import kind_of, process_of
from unnoise.files.foreign.kl import latent_space
from unnoise.files.foreign.parts import Adapted, Parts
from unnoise.files.foreign.unet import ConditionUNet
from unnoise.text.clip import Clip
from unnoise.text.emphasis import Emphasis


@dataclass(frozen=True, slots=True, eq=False)
class OneClip:
    """Features of one CLIP text network."""

    clip: Clip

    @property
    def net(self) -> nn.Module:
        """The text network."""
        return nn.ModuleDict({"text_encoder": self.clip.net})

    def __call__(self, prompts: Sequence[str], emphasis: Emphasis = "refuse") -> list[Cond]:
        """Read prompts. Raises Refusal for one that is too long, or weighs words where that is not asked for."""
        return [Cond(tokens=self.clip.read(prompt, emphasis)[0].float()) for prompt in prompts]

    def negative(self, prompt: str, emphasis: Emphasis = "refuse") -> Cond:
        """Read a negative prompt; the empty one is what the model was trained to do without text."""
        return self([prompt], emphasis)[0]


def adapt(parts: Parts) -> Adapted:
    """Make the pieces of a pipeline."""
    unet = parts.net("unet")
    return Adapted(
        net=ConditionUNet(unet),
        process=process_of(parts),
        kind=kind_of(parts),
        space=latent_space(parts.net("vae")),
        text=OneClip(Clip(parts.tokenizer("tokenizer"), parts.net("text_encoder"))),
        advice=advise(parts, guidance=7.5, steps=25, size=unet.config.sample_size),
    )
