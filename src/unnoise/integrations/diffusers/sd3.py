"""Stable Diffusion 3 and 3.5: features of two CLIPs and of T5, the pooled vectors of both CLIPs, one transformer.

Source: Esser et al. 2024, arXiv:2403.03206; diffusers, pipelines/stable_diffusion_3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.adapters.lora.hooks import selected_rows
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.process import Flow
from unnoise.errors import InputError
from unnoise.families.facts import facts
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.autoencoder_kl import latent_space
from unnoise.integrations.diffusers.components import AdaptedModel, ForeignComponents, weights_dtype
from unnoise.text.clip import Clip
from unnoise.text.prompt_weighting import PromptWeighting
from unnoise.text.t5 import Stack

TOKENS = 256  # of T5
CLOCK = 1000.0  # the time of the network at full noise
LAYER = -2  # of CLIP: the second to last hidden states, without a norm
STEPS, GUIDANCE, SHIFT = 28, 7.0, 3.0  # Source: diffusers, pipeline_stable_diffusion_3.py, defaults


class Sd3Net(nn.Module):
    """Run the transformer. It takes no mask: with a mask, each row is run alone with its own tokens."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.factor = int(net.config.patch_size)

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the network. x: (B, c, h, w) in the native frame; time: (B,) in [0, 1]."""
        if cond.tokens is None or cond.vector is None:
            raise InputError("conditioning: this network needs text and its pooled vector")
        if cond.mask is None:
            return self._run(x, time, cond.tokens, cond.vector)
        out = []
        for k, length in enumerate(cond.mask.sum(1).tolist()):
            row = slice(k, k + 1)
            with selected_rows(row):
                out.append(self._run(x[row], time[row], cond.tokens[row, :length], cond.vector[row]))
        return torch.cat(out)

    def _run(self, x: Tensor, time: Tensor, tokens: Tensor, vector: Tensor) -> Tensor:
        dtype = weights_dtype(self.net)
        out: Tensor = self.net(x.to(dtype), tokens.to(dtype), vector.to(dtype), time * CLOCK, return_dict=False)[0]
        return out.to(x.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class ClipsAndT5:
    """Features of two CLIPs, padded to the width of T5, then those of T5; zeros for a model without T5."""

    clips: Sequence[Clip]
    stack: Stack | None
    width: int

    @property
    def net(self) -> nn.Module:
        """The text networks."""
        nets = [clip.net for clip in self.clips] + ([] if self.stack is None else [self.stack.net])
        return nn.ModuleList(nets)

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "literal") -> list[Conditioning]:
        """Encode prompts. Raises InputError for one that is too long, or has word weights, which T5 cannot apply."""
        return [self.negative(prompt, prompt_weighting) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> Conditioning:
        """Encode a prompt."""
        read = [clip.read(prompt, prompt_weighting) for clip in self.clips]
        features = torch.cat([one for one, _ in read], 2)
        features = nn.functional.pad(features, (0, self.width - features.shape[2]))
        t5 = features.new_zeros(1, TOKENS, self.width)
        if self.stack is not None:
            t5 = self.stack.read(prompt, prompt_weighting)[0]
        pooled = torch.cat([one for _, one in read], 1)
        return Conditioning(tokens=torch.cat([features, t5], 1).float(), vector=pooled.float())


def adapt(foreign: ForeignComponents) -> AdaptedModel:
    """Make the networks of a model."""
    net = foreign.net("transformer")
    numbers = ("", "_2")
    clips = [Clip(foreign.tokenizer(f"tokenizer{k}"), foreign.net(f"text_encoder{k}"), LAYER) for k in numbers]
    t5 = foreign.nets.get("text_encoder_3")
    stack = None if t5 is None else Stack(foreign.tokenizer("tokenizer_3"), t5, TOKENS, masked=False)
    known = facts(foreign.identity)
    return AdaptedModel(
        net=Sd3Net(net),
        process=Flow(),
        kind="flow",
        space=latent_space(foreign.net("vae")),
        text=ClipsAndT5(clips, stack, int(net.config.joint_attention_dim)),
        advice=advise(
            foreign,
            guidance_scale=GUIDANCE,
            steps=STEPS,
            size=int(net.config.sample_size),
            schedule="flow",
            shift=float(foreign.config("scheduler").get("shift") or (known and known.flow_shift) or SHIFT),
        ),
    )
