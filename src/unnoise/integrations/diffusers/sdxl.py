"""Stable Diffusion XL, base and refiner: two CLIPs or the second alone, pooled text, sizes, an aesthetic score.

Source: Podell et al. 2023, arXiv:2307.01952, sections 2.1 to 2.5; diffusers, pipelines/stable_diffusion_xl.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.integrations.diffusers.components import AdaptedModel, ForeignComponents
from unnoise.integrations.diffusers.sd import adapt_unet
from unnoise.text.clip import Clip
from unnoise.text.prompt_weighting import PromptWeighting

LAYER = -2  # the second to last hidden states, without a norm
SCORE, LOW_SCORE = 6.0, 2.5  # of a prompt and of a negative one, for the refiner
BASE: Mapping[str, Any] = {"guidance": 5.0, "steps": 30}
PLAYGROUND: Mapping[str, Any] = {"guidance": 3.0, "steps": 50}  # playgroundai/playground-v2.5-1024px-aesthetic, README
# Options whose numbers are inputs of the U-Net, in its order.
XL = ("original_size", "crop_top_left", "target_size")
REFINER = ("original_size", "crop_top_left", "aesthetic_score")


@dataclass(frozen=True, slots=True, eq=False)
class PooledClips:
    """Joined features of one or two CLIP text networks, and the pooled vector of the last.

    scored: an aesthetic score follows the pooled vector; zeros: the features of an empty negative prompt are zeros.
    """

    clips: Mapping[str, Clip]
    scored: bool
    zeros: bool

    @property
    def net(self) -> nn.Module:
        """The text networks."""
        return nn.ModuleDict({name: clip.net for name, clip in self.clips.items()})

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "literal") -> list[Conditioning]:
        """Encode prompts. Raises InputError for one that is too long, or has word weights that are not allowed."""
        return [self._encode(prompt, prompt_weighting, SCORE) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> Conditioning:
        """Encode a negative prompt; the empty one is the unconditional model, as the folder defines it."""
        read = self._encode(prompt, prompt_weighting, LOW_SCORE)
        if prompt or not self.zeros or read.tokens is None or read.vector is None:
            return read
        vector = self._scored(torch.zeros_like(read.vector[:, : -1 if self.scored else None]), LOW_SCORE)
        return Conditioning(tokens=torch.zeros_like(read.tokens), vector=vector)

    def _encode(self, prompt: str, prompt_weighting: PromptWeighting, score: float) -> Conditioning:
        read = [clip.read(prompt, prompt_weighting) for clip in self.clips.values()]
        features = torch.cat([features for features, _ in read], 2)
        return Conditioning(tokens=features.float(), vector=self._scored(read[-1][1].float(), score))

    def _scored(self, pooled: Tensor, score: float) -> Tensor:
        return torch.cat([pooled, pooled.new_full((1, 1), score)], 1) if self.scored else pooled


def adapt(foreign: ForeignComponents) -> AdaptedModel:
    """Build the components of a model. Raises InputError for a U-Net with an unknown image input."""
    foreign.net("text_encoder_2")
    numbers = [number for number in ("", "_2") if f"text_encoder{number}" in foreign.nets]
    clips = {f"text_encoder{k}": _clip(foreign, k) for k in numbers}
    zeros = bool(foreign.config("").get("force_zeros_for_empty_prompt", True))
    unet = foreign.net("unet").config
    width = unet.projection_class_embeddings_input_dim - clips["text_encoder_2"].net.config.projection_dim
    scored = width == 5 * unet.addition_time_embed_dim
    text = PooledClips(clips, scored, zeros)
    playground = getattr(foreign.net("vae").config, "latents_mean", None) is not None
    adapted = adapt_unet(foreign, text, **(PLAYGROUND if playground else BASE))
    return replace(adapted, size_inputs=REFINER if scored else XL)


def _clip(foreign: ForeignComponents, number: str) -> Clip:
    return Clip(foreign.tokenizer(f"tokenizer{number}"), foreign.net(f"text_encoder{number}"), LAYER)
