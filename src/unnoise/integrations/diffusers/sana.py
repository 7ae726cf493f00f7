"""Sana: Gemma text after an instruction, a transformer of linear attention, latent cells of 32 pixels.

Source: Xie et al. 2024, arXiv:2410.10629; diffusers, pipelines/sana/pipeline_sana.py.
"""

import inspect
from dataclasses import replace
from functools import cache
from typing import Any

from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.process import Flow
from unnoise.errors import InputError
from unnoise.families.facts import facts
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.autoencoder_kl import DeterministicVAE
from unnoise.integrations.diffusers.components import AdaptedModel, ForeignComponents, weights_dtype
from unnoise.spaces.latent import Latent
from unnoise.text.prompt_weighting import PromptWeighting, without_weights
from unnoise.text.t5 import Stack, StackConditioner

TOKENS = 300
CLOCK = 1000.0  # the time of the network at full noise
STEPS, GUIDANCE, SHIFT = 20, 4.5, 3.0  # Source: diffusers, pipeline_sana.py, defaults; published scheduler config


class SanaNet(nn.Module):
    """Run the transformer."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.factor = int(net.config.patch_size)
        self.clock = CLOCK * float(net.config.timestep_scale)

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the network. x: (B, c, h, w) in the native frame; time: (B,) in [0, 1]."""
        if cond.tokens is None:
            raise InputError("conditioning: this network needs text")
        dtype = weights_dtype(self.net)
        out: Tensor = self.net(
            x.to(dtype),
            encoder_hidden_states=cond.tokens.to(dtype),
            encoder_attention_mask=cond.mask,
            timestep=time * self.clock,
            return_dict=False,
        )[0]
        return out[:, : x.shape[1]].to(x.dtype)


class InstructedText(StackConditioner):
    """Features of a prompt after an instruction, of a negative one without; the first token and the last ones."""

    __slots__ = ()

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> Conditioning:
        """Encode a negative prompt."""
        return self._encode("", prompt, prompt_weighting, 0)

    def encode(self, prompt: str, prompt_weighting: PromptWeighting) -> Conditioning:
        """Encode one prompt."""
        prefix = instruction()
        return self._encode(prefix, prompt, prompt_weighting, len(self.stack.tokenizer().encode(prefix)) - 2)

    def _encode(self, prefix: str, prompt: str, prompt_weighting: PromptWeighting, more: int) -> Conditioning:
        """Encode a prompt after a prefix of `more` tokens. The prefix contains brackets, so it is read literally."""
        prompt = without_weights(prompt, prompt_weighting)
        longer = replace(self.stack, length=self.stack.length + more)
        features, mask = longer.read(prefix + prompt.lower().strip(), "literal")
        chosen = [0, *range(1 - self.stack.length, 0)]
        return Conditioning(tokens=features[:, chosen].float(), mask=mask[:, chosen])


@cache
def instruction() -> str:
    """Return the instruction before each prompt that the published models were trained with, from diffusers."""
    from diffusers import SanaPipeline

    return "\n".join(inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default)


def adapt(foreign: ForeignComponents) -> AdaptedModel:
    """Build the components of a model. Raises InputError for Sana-Sprint, which has another process."""
    net, vae = foreign.net("transformer"), foreign.net("vae")
    if net.config.guidance_embeds:
        raise InputError(f"{foreign.where}: Sana-Sprint has a process of its own and is not supported")
    known = facts(foreign.identity)
    codec = DeterministicVAE(vae)
    return AdaptedModel(
        net=SanaNet(net),
        process=Flow(),
        kind="flow",
        space=Latent(codec, (0.0,), (1 / vae.config.scaling_factor,)),
        text=InstructedText(Stack(foreign.tokenizer("tokenizer"), foreign.net("text_encoder"), TOKENS, masked=True)),
        advice=advise(
            foreign,
            guidance_scale=GUIDANCE,
            steps=STEPS,
            schedule="flow",
            shift=float(foreign.config("scheduler").get("flow_shift") or (known and known.flow_shift) or SHIFT),
            sizes=((int(net.config.sample_size) * codec.factor,) * 2,),
        ),
    )
