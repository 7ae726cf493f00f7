"""LTX-Video, text to video: T5 text with a mask, a transformer over latents 32 pixels wide and 8 frames long.

Source: HaCohen et al. 2024, arXiv:2501.00103; diffusers, pipeline_ltx.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.process import Flow
from unnoise.errors import InputError
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.components import Adapted, ForeignComponents, weights_dtype
from unnoise.spaces.video import VideoLatent
from unnoise.text.prompt_weighting import PromptWeighting
from unnoise.text.t5 import Stack

TOKENS = 128
CLOCK = 1000.0  # the network counts time to this
FRAMES, FPS, STEPS, GUIDANCE = 161, 25.0, 50, 3.0  # Source: diffusers, pipeline_ltx.py, defaults and example
SHIFT = 2.37  # Source: ComfyUI, comfy/supported_models.py, LTXV


class LtxNet(nn.Module):
    """Call the transformer with latents as a row of tokens, and with how long and wide one is."""

    def __init__(self, net: Any, stride: int, factor: int) -> None:
        super().__init__()
        self.net = net
        self.steps = (stride / FPS, float(factor), float(factor))

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Ask it. x: (B, c, t, h, w) in the native frame; time: (B,) in [0, 1]."""
        if cond.tokens is None:
            raise InputError("cond: this network needs text")
        dtype = weights_dtype(self.net)
        frames, height, width = x.shape[2:]
        out: Tensor = self.net(
            hidden_states=x.flatten(2).transpose(1, 2).to(dtype),
            encoder_hidden_states=cond.tokens.to(dtype),
            timestep=time * CLOCK,
            encoder_attention_mask=cond.mask,
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=self.steps,
            return_dict=False,
        )[0]
        return out.transpose(1, 2).reshape(x.shape).to(x.dtype)


class LtxCodec(nn.Module):
    """AutoencoderKLLTXVideo; a decoder that takes a time is told that what it gets is clean."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.factor, self.stride = int(vae.spatial_compression_ratio), int(vae.temporal_compression_ratio)
        self.latents = int(vae.config.latent_channels)

    def encode(self, data: Tensor) -> Tensor:
        """Give the mean (B, latents, t, h, w). data: (B, 3, T, H, W) in [-1, 1]."""
        found: Tensor = self.vae.encode(data.to(weights_dtype(self.vae))).latent_dist.mean
        return found.to(data.dtype)

    def decode(self, latents: Tensor) -> Tensor:
        """Give data (B, 3, T, H, W). latents: (B, latents, t, h, w)."""
        inner = latents.to(weights_dtype(self.vae))
        clean = inner.new_zeros(len(inner)) if self.vae.config.timestep_conditioning else None
        found: Tensor = self.vae.decode(inner, clean, return_dict=False)[0]
        return found.to(latents.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """Features of one text network, and the mask of what is no filling."""

    stack: Stack

    @property
    def net(self) -> nn.Module:
        """The text network."""
        return nn.ModuleDict({"text_encoder": self.stack.net})

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "refuse") -> list[Conditioning]:
        """Read prompts. Raises InputError for one that is too long or weighs words."""
        read = (self.stack.read(prompt, prompt_weighting) for prompt in prompts)
        return [Conditioning(tokens=features.float(), mask=mask) for features, mask in read]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> Conditioning:
        """Read a negative prompt."""
        return self([prompt], prompt_weighting)[0]


def adapt(parts: ForeignComponents) -> Adapted:
    """Make the pieces of a model."""
    net, vae = parts.net("transformer"), parts.net("vae")
    codec = LtxCodec(vae)
    scale = float(vae.config.scaling_factor)
    known = not vae.latents_mean.is_meta
    mean = vae.latents_mean.tolist() if known else [0.0]
    deviation = [one / scale for one in vae.latents_std.tolist()] if known else [1.0]
    return Adapted(
        net=LtxNet(net, codec.stride, codec.factor),
        process=Flow(),
        kind="flow",
        space=VideoLatent(codec, tuple(mean), tuple(deviation)),
        text=Masked(Stack(parts.tokenizer("tokenizer"), parts.net("text_encoder"), TOKENS, masked=False)),
        advice=advise(
            parts,
            guidance_scale=GUIDANCE,
            steps=STEPS,
            schedule="flow",
            shift=SHIFT,
            frames=FRAMES,
            fps=FPS,
            stride=codec.stride,
        ),
        modality="video",
    )
