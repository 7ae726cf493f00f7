"""FLUX.1 dev and schnell: T5 text, CLIP's pooled vector, guidance as an input (dev), tokens of 2 x 2 latent cells.

Source: black-forest-labs/flux, src/flux/model.py and sampling.py; diffusers, pipelines/flux.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.process import Flow
from unnoise.errors import InputError
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.autoencoder_kl import latent_space
from unnoise.integrations.diffusers.components import AdaptedModel, ForeignComponents, weights_dtype
from unnoise.text.clip import Clip
from unnoise.text.prompt_weighting import PromptWeighting
from unnoise.text.t5 import Stack

TOKENS, FEW_TOKENS = 512, 256  # of T5, in dev and in schnell
PATCH = 2  # cells of a token along each side
# Source: the model cards of black-forest-labs/FLUX.1-dev and FLUX.1-schnell.
DEV: Mapping[str, Any] = {"steps": 28, "distilled_guidance": 3.5, "schedule": "flux"}
SCHNELL: Mapping[str, Any] = {"steps": 4, "sampler": "euler", "schedule": "flow", "shift": 1.0}


class FluxNet(nn.Module):
    """Run the transformer on tokens of 2 x 2 latent cells, with their positions."""

    factor = PATCH

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the network. x: (B, c, h, w) in the native frame; time: (B,) in [0, 1]."""
        if cond.tokens is None or cond.vector is None:
            raise InputError("conditioning: this network needs text and its pooled vector")
        dtype = weights_dtype(self.net)
        out: Tensor = self.net(
            hidden_states=packed(x).to(dtype),
            timestep=time,
            guidance=cond.distilled_guidance,
            pooled_projections=cond.vector.to(dtype),
            encoder_hidden_states=cond.tokens.to(dtype),
            txt_ids=x.new_zeros(cond.tokens.shape[1], 3),
            img_ids=positions(x),
            return_dict=False,
        )[0]
        return unpacked(out.to(x.dtype), x.shape[-2:])


def packed(x: Tensor) -> Tensor:
    """Pack 2 x 2 cells into one token. x: (B, c, h, w) -> (B, h*w/4, 4*c)."""
    return nn.functional.pixel_unshuffle(x, PATCH).flatten(2).transpose(1, 2)


def unpacked(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Undo `packed`. size: (h, w)."""
    height, width = size
    cells = tokens.transpose(1, 2).unflatten(2, (height // PATCH, width // PATCH))
    return nn.functional.pixel_shuffle(cells, PATCH)


def positions(x: Tensor) -> Tensor:
    """Return the row and column of each token: (h*w/4, 3), the first number 0. x: (B, c, h, w)."""
    rows, columns = (torch.arange(side // PATCH, device=x.device, dtype=x.dtype) for side in x.shape[-2:])
    grid = torch.stack(torch.meshgrid(torch.zeros_like(rows[:1]), rows, columns, indexing="ij"), -1)
    return grid.reshape(-1, 3)


@dataclass(frozen=True, slots=True, eq=False)
class T5AndPooled:
    """Features of T5, and the pooled vector of CLIP, of the first 75 tokens of a prompt."""

    clip: Clip
    stack: Stack

    @property
    def net(self) -> nn.Module:
        """The text networks."""
        return nn.ModuleDict({"text_encoder": self.clip.net, "text_encoder_2": self.stack.net})

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "literal") -> list[Conditioning]:
        """Encode prompts. Raises InputError for one that is too long, or has word weights, which T5 cannot apply."""
        return [self.negative(prompt, prompt_weighting) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> Conditioning:
        """Encode a prompt."""
        tokens = self.stack.read(prompt, prompt_weighting)[0]
        return Conditioning(tokens=tokens.float(), vector=self.clip.read(prompt, prompt_weighting)[1].float())


def adapt(foreign: ForeignComponents) -> AdaptedModel:
    """Make the networks of a model."""
    net = foreign.net("transformer")
    guided = bool(net.config.guidance_embeds)
    length = TOKENS if guided else FEW_TOKENS
    return AdaptedModel(
        net=FluxNet(net),
        process=Flow(),
        kind="flow",
        space=latent_space(foreign.net("vae")),
        text=T5AndPooled(
            Clip(foreign.tokenizer("tokenizer"), foreign.net("text_encoder")),
            Stack(foreign.tokenizer("tokenizer_2"), foreign.net("text_encoder_2"), length, masked=False),
        ),
        advice=advise(foreign, guidance_scale=1.0, **(DEV if guided else SCHNELL)),
    )
