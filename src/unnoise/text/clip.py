"""Read a prompt with a CLIP text network of transformers, in as many chunks of 75 tokens as it needs.

A chunk is what CLIP was trained on: a start token, 75 tokens of text, an end token. A longer prompt is read chunk by
chunk, each by itself, and the features are joined; the pooled vector is that of the first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.text.prompt_weighting import PromptWeighting, refuse, weighted

CHUNKS = 16  # of a prompt, 1200 tokens


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A CLIP text network and its tokenizer.

    layer: the hidden states that are the features, -1 = the last with its norm, -2 = the last but one without, ...;
    tokenizer: makes one of transformers' when first asked.
    """

    tokenizer: Callable[[], Any]
    net: Any
    layer: int = -1

    @property
    def length(self) -> int:
        """Tokens of a chunk, with its start and end."""
        return int(self.net.config.max_position_embeddings)

    def tokens(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> tuple[list[int], list[float]]:
        """Give the tokens of a prompt, without start and end, and a weight for each. Raises InputError for a weight."""
        if prompt_weighting == "refuse":
            refuse(prompt)
        pieces = weighted(prompt) if prompt_weighting == "apply" else [(prompt, 1.0)]
        tokenizer = self.tokenizer()
        ids: list[int] = []
        weights: list[float] = []
        for text, weight in pieces:
            found = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
            ids += found
            weights += [weight] * len(found)
        rows = self.net.get_input_embeddings().num_embeddings
        if ids and max(ids) >= rows:
            raise InputError(
                f"prompt: token {max(ids)} of a tokenizer that is not this text network's, which has {rows}"
            )
        return ids, weights

    def read(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> tuple[Tensor, Tensor]:
        """Give features (1, 77*chunks, C) and the pooled vector (1, P). Raises InputError for too long a prompt."""
        ids, weights = self.tokens(prompt, prompt_weighting)
        inside = self.length - 2
        starts = range(0, max(1, len(ids)), inside)
        if len(starts) > CHUNKS:
            raise InputError(f"prompt of {len(ids)} tokens: at most {CHUNKS * inside}")
        device = next(self.net.parameters()).device
        answer = self.net(
            torch.tensor([self._chunk(ids[at : at + inside]) for at in starts], device=device),
            output_hidden_states=True,
        )
        features = answer.last_hidden_state if self.layer == -1 else answer.hidden_states[self.layer]
        if any(weight != 1 for weight in weights):
            padded = weights + [1.0] * inside
            scale = [[1.0, *padded[at : at + inside], 1.0] for at in starts]
            features = _weighed(features, features.new_tensor(scale))
        pooled = answer.text_embeds if hasattr(answer, "text_embeds") else answer.pooler_output
        return features.reshape(1, -1, features.shape[-1]), pooled[:1]

    def _chunk(self, ids: Sequence[int]) -> list[int]:
        tokenizer = self.tokenizer()
        filled = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
        return filled + [tokenizer.pad_token_id] * (self.length - len(filled))


def _weighed(features: Tensor, weights: Tensor) -> Tensor:
    """Multiply the features of tokens by their weights and keep the mean of all.

    Source: AUTOMATIC1111/stable-diffusion-webui, modules/sd_emphasis.py, EmphasisOriginal.
    """
    scaled = features * weights[..., None]
    return scaled * (features.mean() / scaled.mean())
