"""Stable Audio Open, text to audio: T5 text, the seconds of start and end, a transformer in one dimension.

Source: Evans et al. 2024, arXiv:2407.14358; diffusers, pipeline_stable_audio.py.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.process import Angle
from unnoise.errors import InputError
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.components import AdaptedModel, ForeignComponents, weights_dtype
from unnoise.integrations.diffusers.processes import number
from unnoise.spaces.audio import AudioLatent
from unnoise.text.prompt_weighting import PromptWeighting
from unnoise.text.t5 import Stack, StackConditioner

TOKENS = 128  # of a tokenizer that does not state its length
STEPS, GUIDANCE, SECONDS = 100, 7.0, 10.0  # Source: diffusers, pipeline_stable_audio.py, defaults
LOWEST, HIGHEST = 0.3, 500.0  # levels. Source: the same, CosineDPMSolverMultistepScheduler


class StableAudioNet(nn.Module):
    """Run the transformer with text and seconds. `cond.vector` is the seconds of start and end, (B, 2).

    In a row whose mask has no real token, text and seconds are zeros: the unconditional model.
    """

    def __init__(self, net: Any, projection: Any) -> None:
        super().__init__()
        self.net, self.projection = net, projection

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the network. x: (B, c, l) in the native frame; time: (B,) in [0, 1]."""
        if cond.tokens is None or cond.mask is None or cond.vector is None:
            raise InputError("conditioning: this network needs text and seconds")
        from diffusers.models.embeddings import get_1d_rotary_pos_embed

        dtype = weights_dtype(self.net)
        begin = self.projection(start_seconds=cond.vector[:, 0]).seconds_start_hidden_states
        end = self.projection(end_seconds=cond.vector[:, 1]).seconds_end_hidden_states
        conditional = cond.mask.any(1)[:, None, None]
        rotary = get_1d_rotary_pos_embed(
            self.net.config.attention_head_dim // 2, x.shape[2] + 1, use_real=True, repeat_interleave_real=False
        )
        out: Tensor = self.net(
            x.to(dtype),
            time.to(dtype),
            encoder_hidden_states=torch.cat([cond.tokens.to(dtype), begin * conditional, end * conditional], 1),
            global_hidden_states=torch.cat([begin, end], 2),
            rotary_embedding=tuple(one.to(x.device) for one in rotary),
            return_dict=False,
        )[0]
        return out.to(x.dtype)


class Oobleck(nn.Module):
    """AutoencoderOobleck: audio to latents and back."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.factor, self.rate = prod(vae.config.downsampling_ratios), int(vae.config.sampling_rate)
        self.latents = int(vae.config.decoder_input_channels)

    def encode(self, data: Tensor) -> Tensor:
        """Return the mean (B, latents, l). data: (B, C, n) in [-1, 1]."""
        found: Tensor = self.vae.encode(data.to(weights_dtype(self.vae))).latent_dist.mean
        return found.to(data.dtype)

    def decode(self, latents: Tensor) -> Tensor:
        """Return data (B, C, n). latents: (B, latents, l)."""
        found: Tensor = self.vae.decode(latents.to(weights_dtype(self.vae)), return_dict=False)[0]
        return found.to(latents.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class ProjectedText(StackConditioner):
    """Features in the width of the transformer, with zeros for the padding."""

    projection: Any

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> Conditioning:
        """Encode a negative prompt; the empty one has zeros and an empty mask."""
        cond = self.encode(prompt, prompt_weighting)
        if prompt or cond.tokens is None or cond.mask is None:
            return cond
        return Conditioning(tokens=torch.zeros_like(cond.tokens), mask=torch.zeros_like(cond.mask))

    @torch.no_grad()
    def encode(self, prompt: str, prompt_weighting: PromptWeighting) -> Conditioning:
        """Encode one prompt."""
        features, mask = self.stack.read(prompt, prompt_weighting)
        inner: Tensor = self.projection(text_hidden_states=features * mask[..., None]).text_hidden_states
        return Conditioning(tokens=(inner * mask[..., None]).float(), mask=mask)


def adapt(foreign: ForeignComponents) -> AdaptedModel:
    """Make the networks of a model."""
    net, projection = foreign.net("transformer"), foreign.net("projection_model")
    low, high = number(foreign, "sigma_min", LOWEST, 1e-6, 1e5), number(foreign, "sigma_max", HIGHEST, 1e-6, 1e5)
    stated = foreign.config("scheduler").get("prediction_type", "v_prediction")
    if stated != "v_prediction" or number(foreign, "sigma_data", 1.0, 0, 1e5) != 1:
        raise InputError(
            f"{foreign.where}: prediction_type {str(stated)[:80]!r}: v_prediction, with sigma_data 1, only"
        )
    space = AudioLatent(Oobleck(foreign.net("vae")), int(net.config.sample_size))
    text = Stack(foreign.tokenizer("tokenizer"), foreign.net("text_encoder"), TOKENS, masked=True, own=True)
    return AdaptedModel(
        net=StableAudioNet(net, projection),
        process=Angle(low, high),
        kind="v",
        space=space,
        text=ProjectedText(text, projection),
        advice=advise(
            foreign, guidance_scale=GUIDANCE, steps=STEPS, schedule="exponential", seconds=min(SECONDS, space.seconds)
        ),
        modality="audio",
    )
