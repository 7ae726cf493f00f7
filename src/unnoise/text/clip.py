"""Encode a prompt with a CLIP text network of transformers, in chunks of 75 tokens.

CLIP was trained on a start token, 75 tokens of text and an end token. Each chunk of a longer prompt is encoded alone,
and the features are joined; the pooled vector is that of the first chunk. Where the grammar of weights applies, BREAK
ends a chunk, and so does a comma among the last 20 tokens of a full one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.text.prompt_weighting import PromptWeighting, stretches
from unnoise.text.tokenizer_length import own_length

CHUNKS = 16  # of a prompt: 1200 tokens
# Source: AUTOMATIC1111/stable-diffusion-webui, modules/sd_hijack_clip.py, comma_padding_backtrack.
BACK = 20  # tokens between the last comma and the end of a chunk, at most, that move to the next chunk

Weighted = list[tuple[int, float]]  # tokens with their weights


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
        """The tokens of a chunk, with start and end: those of the tokenizer, at most the positions of the network."""
        positions = int(self.net.config.max_position_embeddings)
        return own_length(self.tokenizer(), positions, least=3, most=positions)

    def chunks(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> list[Weighted]:
        """Return the tokens of each chunk, without start and end. Raises InputError for bad ones and too many."""
        tokenizer, inside = self.tokenizer(), self.length - 2
        applied = prompt_weighting == "apply"
        comma = _ids(tokenizer, ",") if applied else []
        found: list[Weighted] = []
        for segments in stretches(prompt) if applied else [((prompt, 1.0),)]:
            tokens = [(token, weight) for text, weight in segments for token in _ids(tokenizer, text)]
            check_ids([token for token, _ in tokens], self.net)
            found += _cut(tokens, inside, comma[0] if len(comma) == 1 else None)
        if len(found) > 1 and not found[-1]:
            found.pop()  # nothing follows the last BREAK
        if len(found) > CHUNKS:
            raise InputError(
                f"prompt of {sum(map(len, found))} tokens in {len(found)} chunks of {inside}: at most {CHUNKS} chunks, "
                f"{CHUNKS * inside} tokens, are allowed; shorten it"
            )
        return found

    def read(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> tuple[Tensor, Tensor]:
        """Return features (1, 77*chunks, C) and the pooled vector (1, P). Raises InputError for too long a prompt."""
        chunks = self.chunks(prompt, prompt_weighting)
        device = next(self.net.parameters()).device
        output = self.net(
            torch.tensor([self._padded([token for token, _ in chunk]) for chunk in chunks], device=device),
            output_hidden_states=True,
        )
        features = output.last_hidden_state if self.layer == -1 else output.hidden_states[self.layer]
        if any(weight != 1 for chunk in chunks for _, weight in chunk):
            scale = torch.ones(features.shape[:2])
            for row, chunk in zip(scale, chunks, strict=True):
                row[1 : 1 + len(chunk)] = torch.tensor([weight for _, weight in chunk])
            features = _weighted(features, scale.to(features))
        pooled = output.text_embeds if hasattr(output, "text_embeds") else output.pooler_output
        return features.reshape(1, -1, features.shape[-1]), pooled[:1]

    def _padded(self, ids: Sequence[int]) -> list[int]:
        tokenizer = self.tokenizer()
        chunk = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
        return chunk + [tokenizer.pad_token_id] * (self.length - len(chunk))


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def _cut(tokens: Weighted, inside: int, comma: int | None) -> list[Weighted]:
    """Cut tokens into chunks of at most `inside`, one of them at least; after a late comma where one is given."""
    chunks: list[Weighted] = []
    chunk, last = Weighted(), -1
    for token, weight in tokens:
        if token == comma:
            last = len(chunk)
        elif len(chunk) == inside and last >= inside - BACK:
            chunks.append(chunk[: last + 1])
            chunk, last = chunk[last + 1 :], -1
        if len(chunk) == inside:
            chunks.append(chunk)
            chunk, last = [], -1
        chunk.append((token, weight))
    return [*chunks, chunk] if chunk or not chunks else chunks


def check_ids(ids: Sequence[int], net: Any) -> None:
    """Raise InputError for a token that a text network of transformers does not have."""
    rows = net.get_input_embeddings().num_embeddings
    if max(ids, default=0) >= rows:
        raise InputError(
            f"prompt: token {max(ids)}, but the text network has {rows} tokens: the tokenizer is of another"
        )


def _weighted(features: Tensor, weights: Tensor) -> Tensor:
    """Multiply the features (chunks, L, C) of tokens by their weights (chunks, L), and restore the mean of each chunk.

    Source: AUTOMATIC1111/stable-diffusion-webui, modules/sd_emphasis.py, EmphasisOriginal.
    """
    scaled = features * weights[..., None]
    return scaled * (features.mean((1, 2), keepdim=True) / scaled.mean((1, 2), keepdim=True))
