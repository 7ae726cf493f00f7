"""Wan 2.1 and 2.2, text to video: UMT5 text padded with zeros, one transformer or one for each range of levels.

Source: Wan Team 2025, arXiv:2503.20314; diffusers, pipeline_wan.py.
"""

import html
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.adapters.lora.hooks import selected_rows
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.process import Flow
from unnoise.errors import InputError
from unnoise.families.facts import facts
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.components import AdaptedModel, ForeignComponents, weights_dtype
from unnoise.spaces.video import VideoLatent
from unnoise.text.prompt_weighting import PromptWeighting, without_weights
from unnoise.text.t5 import Stack, StackConditioner

TOKENS = 512
CLOCK = 1000.0  # the time of the network at full noise
FRAMES, FPS, STEPS, GUIDANCE, SHIFT = 81, 16.0, 50, 5.0, 5.0  # Source: diffusers, docs/source/en/api/pipelines/wan.md
TILED = 640 * 640  # pixels of a frame above which videos are decoded in tiles


class WanNet(nn.Module):
    """Run the transformer of a level: the first at time `boundary` and above, the second below it."""

    def __init__(self, high: Any, low: Any | None, boundary: float) -> None:
        super().__init__()
        self.high, self.low, self.boundary = high, low, boundary
        self.factor = int(high.config.patch_size[1])

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the network. x: (B, c, t, h, w) in the native frame; time: (B,) in [0, 1]."""
        if cond.tokens is None:
            raise InputError("conditioning: this network needs text")
        above = time >= self.boundary
        if self.low is None or above.all():
            return _run(self.high, x, time, cond.tokens)
        if not above.any():
            return _run(self.low, x, time, cond.tokens)
        out = torch.empty_like(x)
        for net, rows in ((self.high, above), (self.low, ~above)):
            with selected_rows(rows):
                out[rows] = _run(net, x[rows], time[rows], cond.tokens[rows])
        return out


def _run(net: Any, x: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
    dtype = weights_dtype(net)
    out: Tensor = net(x.to(dtype), time * CLOCK, tokens.to(dtype), return_dict=False)[0]
    return out.to(x.dtype)


class WanCodec(nn.Module):
    """AutoencoderKLWan: `stride` frames a cell after the first."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.factor, self.stride = int(vae.config.scale_factor_spatial), int(vae.config.scale_factor_temporal)
        self.latents = int(vae.config.z_dim)

    def encode(self, data: Tensor) -> Tensor:
        """Return the mean (B, latents, t, h, w). data: (B, 3, T, H, W) in [-1, 1]."""
        self.vae.use_tiling = data.shape[-2] * data.shape[-1] > TILED
        found: Tensor = self.vae.encode(data.to(weights_dtype(self.vae))).latent_dist.mean
        return found.to(data.dtype)

    def decode(self, latents: Tensor) -> Tensor:
        """Return data (B, 3, T, H, W). latents: (B, latents, t, h, w)."""
        self.vae.use_tiling = latents.shape[-2] * latents.shape[-1] * self.factor**2 > TILED
        found: Tensor = self.vae.decode(latents.to(weights_dtype(self.vae)), return_dict=False)[0]
        return found.to(latents.dtype)


class ZeroPaddedText(StackConditioner):
    """Features with zeros for the padding, which the transformer attends to as well."""

    __slots__ = ()

    def encode(self, prompt: str, prompt_weighting: PromptWeighting) -> Conditioning:
        """Encode one prompt."""
        text = cleaned(without_weights(prompt, prompt_weighting))
        features, mask = self.stack.read(text, "literal")
        return Conditioning(tokens=(features * mask[..., None]).float())


def cleaned(prompt: str) -> str:
    """Resolve HTML entities and normalise white space, as in the training captions."""
    return " ".join(html.unescape(html.unescape(prompt)).split())


def adapt(foreign: ForeignComponents) -> AdaptedModel:
    """Build the components of a model. Raises InputError for a transformer that needs a first image."""
    high, low = foreign.net("transformer"), foreign.nets.get("transformer_2")
    vae = foreign.net("vae")
    if high.config.in_channels != vae.config.z_dim:
        raise InputError(
            f"{foreign.where}: its transformer has {high.config.in_channels} channels, {vae.config.z_dim} of noise, "
            f"so it needs a first image; only text to video is supported"
        )
    boundary = foreign.config("").get("boundary_ratio")
    known = facts(foreign.identity)
    scheduler = foreign.config("scheduler")
    return AdaptedModel(
        net=WanNet(high, low, 0.0 if boundary is None else float(boundary)),
        process=Flow(),
        kind="flow",
        space=VideoLatent(WanCodec(vae), tuple(vae.config.latents_mean), tuple(vae.config.latents_std)),
        text=ZeroPaddedText(Stack(foreign.tokenizer("tokenizer"), foreign.net("text_encoder"), TOKENS, masked=True)),
        advice=advise(
            foreign,
            guidance_scale=GUIDANCE,
            steps=STEPS,
            schedule="flow",
            shift=float(scheduler.get("flow_shift") or scheduler.get("shift") or (known and known.flow_shift) or SHIFT),
            frames=FRAMES,
            fps=FPS,
            stride=int(vae.config.scale_factor_temporal),
        ),
        modality="video",
    )
