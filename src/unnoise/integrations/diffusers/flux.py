"""FLUX.1 dev and schnell: T5 text, CLIP's pooled vector, guidance as an input (dev), latents as a row of 2 x 2 cells.

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
from unnoise.integrations.diffusers.components import Adapted, ForeignComponents, weights_dtype
from unnoise.text.clip import Clip
from unnoise.text.prompt_weighting import PromptWeighting
from unnoise.text.t5 import Stack

TOKENS, FEW_TOKENS = 512, 256  # of T5, in dev and in schnell
PATCH = 2  # cells of a token along each side
# Source: the model cards of black-forest-labs/FLUX.1-dev and FLUX.1-schnell.
DEV: Mapping[str, Any] = {"steps": 28, "distilled_guidance": 3.5, "schedule": "flux"}
SCHNELL: Mapping[str, Any] = {"steps": 4, "sampler": "euler", "schedule": "flow", "shift": 1.0}


class FluxNet(nn.Module):
    """Call the transformer with latents as a row of tokens, each 2 x 2 cells, and where each of them is."""

    factor = PATCH

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Ask it. x: (B, c, h, w) in the native frame; time: (B,) in [0, 1]."""
        if cond.tokens is None or cond.vector is None:
            raise InputError("cond: this network needs text and its pooled vector")
        dtype = weights_dtype(self.net)
        out: Tensor = self.net(
            hidden_states=packed(x).to(dtype),
            timestep=time,
            guidance=cond.distilled_guidance,
            pooled_projections=cond.vector.to(dtype),
            encoder_hidden_states=cond.tokens.to(dtype),
            txt_ids=x.new_zeros(cond.tokens.shape[1], 3),
            img_ids=places(x),
            return_dict=False,
        )[0]
        return unpacked(out.to(x.dtype), x.shape[-2:])


def packed(x: Tensor) -> Tensor:
    """Lay 2 x 2 cells into one token. x: (B, c, h, w) -> (B, h*w/4, 4*c)."""
    return nn.functional.pixel_unshuffle(x, PATCH).flatten(2).transpose(1, 2)


def unpacked(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Undo `packed`. size: (h, w)."""
    height, width = size
    cells = tokens.transpose(1, 2).unflatten(2, (height // PATCH, width // PATCH))
    return nn.functional.pixel_shuffle(cells, PATCH)


def places(x: Tensor) -> Tensor:
    """Say in which row and column each token is: (h*w/4, 3), the first number 0. x: (B, c, h, w)."""
    rows, columns = (torch.arange(side // PATCH, device=x.device, dtype=x.dtype) for side in x.shape[-2:])
    grid = torch.stack(torch.meshgrid(torch.zeros_like(rows[:1]), rows, columns, indexing="ij"), -1)
    return grid.reshape(-1, 3)


@dataclass(frozen=True, slots=True, eq=False)
class T5AndPooled:
    """Features of T5, and the pooled vector of CLIP, which reads the first 75 tokens of a prompt."""

    clip: Clip
    stack: Stack

    @property
    def net(self) -> nn.Module:
        """The text networks."""
        return nn.ModuleDict({"text_encoder": self.clip.net, "text_encoder_2": self.stack.net})

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "refuse") -> list[Conditioning]:
        """Read prompts. Raises InputError for one that is too long, or weighs words, which T5 cannot."""
        return [self.negative(prompt, prompt_weighting) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> Conditioning:
        """Read a prompt, negative or not."""
        tokens = self.stack.read(prompt, prompt_weighting)[0]
        return Conditioning(tokens=tokens.float(), vector=self.clip.read(prompt, prompt_weighting)[1].float())


def adapt(parts: ForeignComponents) -> Adapted:
    """Make the pieces of a model."""
    net = parts.net("transformer")
    guided = bool(net.config.guidance_embeds)
    length = TOKENS if guided else FEW_TOKENS
    return Adapted(
        net=FluxNet(net),
        process=Flow(),
        kind="flow",
        space=latent_space(parts.net("vae")),
        text=T5AndPooled(
            Clip(parts.tokenizer("tokenizer"), parts.net("text_encoder")),
            Stack(parts.tokenizer("tokenizer_2"), parts.net("text_encoder_2"), length, masked=False),
        ),
        advice=advise(parts, guidance_scale=1.0, **(DEV if guided else SCHNELL)),
    )
