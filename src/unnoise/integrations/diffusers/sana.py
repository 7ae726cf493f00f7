"""Sana: Gemma text behind an instruction, a transformer of linear attention, latents 32 pixels wide.

Source: Xie et al. 2024, arXiv:2410.10629; diffusers, pipelines/sana/pipeline_sana.py.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.process import Flow
from unnoise.errors import InputError
from unnoise.families.facts import facts
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.autoencoder_kl import DeterministicVAE
from unnoise.integrations.diffusers.components import Adapted, ForeignComponents, weights_dtype
from unnoise.spaces.latent import Latent
from unnoise.text.prompt_weighting import PromptWeighting, refuse
from unnoise.text.t5 import Stack

TOKENS = 300
CLOCK = 1000.0  # the network counts time to this
STEPS, GUIDANCE, SHIFT = 20, 4.5, 3.0  # Source: diffusers, pipeline_sana.py, defaults; published scheduler config


class SanaNet(nn.Module):
    """Call the transformer."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.factor = int(net.config.patch_size)
        self.clock = CLOCK * float(net.config.timestep_scale)

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Ask it. x: (B, c, h, w) in the native frame; time: (B,) in [0, 1]."""
        if cond.tokens is None:
            raise InputError("cond: this network needs text")
        dtype = weights_dtype(self.net)
        out: Tensor = self.net(
            x.to(dtype),
            encoder_hidden_states=cond.tokens.to(dtype),
            encoder_attention_mask=cond.mask,
            timestep=time * self.clock,
            return_dict=False,
        )[0]
        return out[:, : x.shape[1]].to(x.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Instructed:
    """Features of a prompt behind an instruction, of a negative one without; the first token and the last of all."""

    stack: Stack

    @property
    def net(self) -> nn.Module:
        """The text network."""
        return nn.ModuleDict({"text_encoder": self.stack.net})

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "refuse") -> list[Conditioning]:
        """Read prompts. Raises InputError for one that is too long or weighs words."""
        told = instruction()
        more = len(self.stack.tokenizer().encode(told)) - 2
        return [self._read(prompt, prompt_weighting, told, more) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> Conditioning:
        """Read a negative prompt."""
        return self._read(prompt, prompt_weighting, "", 0)

    def _read(self, prompt: str, prompt_weighting: PromptWeighting, told: str, more: int) -> Conditioning:
        if prompt_weighting == "refuse":
            refuse(prompt)
        whole = replace(self.stack, length=self.stack.length + more)
        features, mask = whole.read(
            told + prompt.lower().strip(), "apply" if prompt_weighting == "apply" else "literal"
        )
        chosen = [0, *range(1 - self.stack.length, 0)]
        return Conditioning(tokens=features[:, chosen].float(), mask=mask[:, chosen])


@cache
def instruction() -> str:
    """Give the text that the published models were trained to find before a prompt, which diffusers carries."""
    from diffusers import SanaPipeline

    return "\n".join(inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default)


def adapt(parts: ForeignComponents) -> Adapted:
    """Make the pieces of a model. Raises InputError for Sana-Sprint, whose process is another."""
    net, vae = parts.net("transformer"), parts.net("vae")
    if net.config.guidance_embeds:
        raise InputError(f"{parts.where}: Sana-Sprint has guidance as an input and its own process, and cannot be run")
    known = facts(parts.identity)
    codec = DeterministicVAE(vae)
    return Adapted(
        net=SanaNet(net),
        process=Flow(),
        kind="flow",
        space=Latent(codec, (0.0,), (1 / vae.config.scaling_factor,)),
        text=Instructed(Stack(parts.tokenizer("tokenizer"), parts.net("text_encoder"), TOKENS, masked=True)),
        advice=advise(
            parts,
            guidance_scale=GUIDANCE,
            steps=STEPS,
            schedule="flow",
            shift=float(parts.config("scheduler").get("flow_shift") or (known and known.flow_shift) or SHIFT),
            sizes=((int(net.config.sample_size) * codec.factor,) * 2,),
        ),
    )
