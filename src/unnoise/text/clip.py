"""Encode a prompt with a CLIP text network of transformers, in chunks of 75 tokens.

CLIP was trained on a start token, 75 tokens of text and an end token. Each chunk of a longer prompt is encoded alone,
and the features are joined; the pooled vector is that of the first chunk.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.text.prompt_weighting import PromptWeighting, refuse, weighted

CHUNKS = 16  # of a prompt: 1200 tokens


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A CLIP text network and its tokenizer.

    Args:
        tokenizer: a function that returns a tokenizer of transformers.
        net: a CLIP text network of transformers.
        layer: the hidden states that are the features: -1 is the last with its norm, -2 the one before without a norm.
    """

    tokenizer: Callable[[], Any]
    net: Any
    layer: int = -1

    @property
    def length(self) -> int:
        """The tokens of a chunk, with start and end."""
        return int(self.net.config.max_position_embeddings)

    def tokens(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> tuple[list[int], list[float]]:
        """Return the tokens of a prompt, without start and end, and their weights. Raises InputError for bad ones."""
        if prompt_weighting == "refuse":
            refuse(prompt)
        segments = weighted(prompt) if prompt_weighting == "apply" else [(prompt, 1.0)]
        tokenizer = self.tokenizer()
        ids: list[int] = []
        weights: list[float] = []
        for text, weight in segments:
            found = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
            ids += found
            weights += [weight] * len(found)
        check_ids(ids, self.net)
        return ids, weights

    def read(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> tuple[Tensor, Tensor]:
        """Return features (1, 77*chunks, C) and the pooled vector (1, P). Raises InputError for too long a prompt."""
        ids, weights = self.tokens(prompt, prompt_weighting)
        inside = self.length - 2
        starts = range(0, max(1, len(ids)), inside)
        if len(starts) > CHUNKS:
            raise InputError(f"prompt of {len(ids)} tokens: at most {CHUNKS * inside} are allowed; shorten it")
        device = next(self.net.parameters()).device
        output = self.net(
            torch.tensor([self._chunk(ids[at : at + inside]) for at in starts], device=device),
            output_hidden_states=True,
        )
        features = output.last_hidden_state if self.layer == -1 else output.hidden_states[self.layer]
        if any(weight != 1 for weight in weights):
            padded = weights + [1.0] * inside
            scale = [[1.0, *padded[at : at + inside], 1.0] for at in starts]
            features = _weighted(features, features.new_tensor(scale))
        pooled = output.text_embeds if hasattr(output, "text_embeds") else output.pooler_output
        return features.reshape(1, -1, features.shape[-1]), pooled[:1]

    def _chunk(self, ids: Sequence[int]) -> list[int]:
        tokenizer = self.tokenizer()
        chunk = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
        return chunk + [tokenizer.pad_token_id] * (self.length - len(chunk))


def check_ids(ids: Sequence[int], net: Any) -> None:
    """Raise InputError for a token that a text network of transformers does not have."""
    rows = net.get_input_embeddings().num_embeddings
    if max(ids, default=0) >= rows:
        raise InputError(
            f"prompt: token {max(ids)}, but the text network has {rows} tokens: the tokenizer is of another"
        )


def _weighted(features: Tensor, weights: Tensor) -> Tensor:
    """Multiply the features of tokens by their weights, and restore the mean of all features.

    Source: AUTOMATIC1111/stable-diffusion-webui, modules/sd_emphasis.py, EmphasisOriginal.
    """
    scaled = features * weights[..., None]
    return scaled * (features.mean() / scaled.mean())
