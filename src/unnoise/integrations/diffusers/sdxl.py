"""Stable Diffusion XL, base and refiner: two CLIPs or the second alone, its pooled vector, sizes, an aesthetic score.

Source: Podell et al. 2023, arXiv:2307.01952, sections 2.1 to 2.5; diffusers, pipelines/stable_diffusion_xl.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.integrations.diffusers.components import Adapted, ForeignComponents
from unnoise.integrations.diffusers.sd import adapted
from unnoise.text.clip import Clip
from unnoise.text.prompt_weighting import PromptWeighting

LAYER = -2  # the last hidden states but one, without a norm
SCORE, LOW_SCORE = 6.0, 2.5  # of a prompt and of a negative one, for the refiner


@dataclass(frozen=True, slots=True, eq=False)
class PooledClips:
    """Features of one or two CLIP text networks side by side, and the pooled vector of the last.

    scored: an aesthetic score stands behind the pooled vector; zeros: no negative prompt is no features at all, rather
    than those of an empty text.
    """

    clips: Mapping[str, Clip]
    scored: bool
    zeros: bool

    @property
    def net(self) -> nn.Module:
        """The text networks."""
        return nn.ModuleDict({name: clip.net for name, clip in self.clips.items()})

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "refuse") -> list[Conditioning]:
        """Read prompts. Raises InputError for one that is too long, or weighs words where that is not asked for."""
        return [self._read(prompt, prompt_weighting, SCORE) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> Conditioning:
        """Read a negative prompt; the empty one is the unconditional model, as its folder says."""
        read = self._read(prompt, prompt_weighting, LOW_SCORE)
        if prompt or not self.zeros or read.tokens is None or read.vector is None:
            return read
        vector = self._scored(torch.zeros_like(read.vector[:, : -1 if self.scored else None]), LOW_SCORE)
        return Conditioning(tokens=torch.zeros_like(read.tokens), vector=vector)

    def _read(self, prompt: str, prompt_weighting: PromptWeighting, score: float) -> Conditioning:
        read = [clip.read(prompt, prompt_weighting) for clip in self.clips.values()]
        features = torch.cat([features for features, _ in read], 2)
        return Conditioning(tokens=features.float(), vector=self._scored(read[-1][1].float(), score))

    def _scored(self, pooled: Tensor, score: float) -> Tensor:
        return torch.cat([pooled, pooled.new_full((1, 1), score)], 1) if self.scored else pooled


def adapt(parts: ForeignComponents) -> Adapted:
    """Make the pieces of a model. Raises InputError for a network that sees what none of these does."""
    parts.net("text_encoder_2")
    numbers = [number for number in ("", "_2") if f"text_encoder{number}" in parts.nets]
    clips = {f"text_encoder{k}": _clip(parts, k) for k in numbers}
    zeros = bool(parts.config("").get("force_zeros_for_empty_prompt", True))
    unet = parts.net("unet").config
    width = unet.projection_class_embeddings_input_dim - clips["text_encoder_2"].net.config.projection_dim
    text = PooledClips(clips, scored=width == 5 * unet.addition_time_embed_dim, zeros=zeros)
    return adapted(parts, text, guidance=5.0, steps=30)


def _clip(parts: ForeignComponents, number: str) -> Clip:
    return Clip(parts.tokenizer(f"tokenizer{number}"), parts.net(f"text_encoder{number}"), LAYER)
