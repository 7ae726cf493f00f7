"""LTX-Video, text to video: T5 text with a mask, latent cells of 32 pixels and 8 frames.

Source: HaCohen et al. 2024, arXiv:2501.00103; diffusers, pipeline_ltx.py.
"""

from typing import Any

from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.process import Flow
from unnoise.errors import InputError
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.components import AdaptedModel, ForeignComponents, weights_dtype
from unnoise.spaces.video import VideoLatent
from unnoise.text.t5 import Stack, StackConditioner

TOKENS = 128
CLOCK = 1000.0  # the time of the network at full noise
FRAMES, FPS, STEPS, GUIDANCE = 161, 25.0, 50, 3.0  # Source: diffusers, pipeline_ltx.py, defaults and example
SHIFT = 2.37  # Source: ComfyUI, comfy/supported_models.py, LTXV


class LtxNet(nn.Module):
    """Run the transformer on a sequence of latent cells, with their length and width."""

    def __init__(self, net: Any, stride: int, factor: int) -> None:
        super().__init__()
        self.net = net
        self.steps = (stride / FPS, float(factor), float(factor))

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the network. x: (B, c, t, h, w) in the native frame; time: (B,) in [0, 1]."""
        if cond.tokens is None:
            raise InputError("conditioning: this network needs text")
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
    """AutoencoderKLLTXVideo. A decoder with a time input gets time 0."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.factor, self.stride = int(vae.spatial_compression_ratio), int(vae.temporal_compression_ratio)
        self.latents = int(vae.config.latent_channels)

    def encode(self, data: Tensor) -> Tensor:
        """Return the mean (B, latents, t, h, w). data: (B, 3, T, H, W) in [-1, 1]."""
        found: Tensor = self.vae.encode(data.to(weights_dtype(self.vae))).latent_dist.mean
        return found.to(data.dtype)

    def decode(self, latents: Tensor) -> Tensor:
        """Return data (B, 3, T, H, W). latents: (B, latents, t, h, w)."""
        inner = latents.to(weights_dtype(self.vae))
        clean = inner.new_zeros(len(inner)) if self.vae.config.timestep_conditioning else None
        found: Tensor = self.vae.decode(inner, clean, return_dict=False)[0]
        return found.to(latents.dtype)


def adapt(foreign: ForeignComponents) -> AdaptedModel:
    """Make the networks of a model."""
    net, vae = foreign.net("transformer"), foreign.net("vae")
    codec = LtxCodec(vae)
    scale = float(vae.config.scaling_factor)
    known = not vae.latents_mean.is_meta
    mean = vae.latents_mean.tolist() if known else [0.0]
    deviation = [one / scale for one in vae.latents_std.tolist()] if known else [1.0]
    return AdaptedModel(
        net=LtxNet(net, codec.stride, codec.factor),
        process=Flow(),
        kind="flow",
        space=VideoLatent(codec, tuple(mean), tuple(deviation)),
        text=StackConditioner(Stack(foreign.tokenizer("tokenizer"), foreign.net("text_encoder"), TOKENS, masked=False)),
        advice=advise(
            foreign,
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
