"""Encode prompts: a tokenizer and a text network as one callable."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError
from unnoise.text.prompt_weighting import PromptWeighting, Segments, stretches


class Tokens(Protocol):
    """A tokenizer with tokens from 0 to `size` - 1."""

    @property
    def size(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text: at least one, also for an empty text."""


class TextConditioner(Protocol):
    """Encodes prompts and negative prompts."""

    @property
    def net(self) -> nn.Module:
        """The text network, or several by name."""

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "literal") -> list[Conditioning]:
        """Return a Conditioning of one row for each prompt, which does not depend on the other prompts.

        prompt_weighting: "apply" applies word weights, any other choice none.

        Raises InputError for a prompt that cannot be encoded.
        """

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> Conditioning:
        """Return the Conditioning of a negative prompt; the empty one is the unconditional model."""


class PromptEncoder:
    """Encode prompts with a text network of this program, each alone and padded to one length.

    net: ids (1, L) int64, mask (1, L) bool -> Conditioning; its attribute `length` is L, the most tokens of a prompt.
    An empty prompt is the unconditional model.
    """

    def __init__(self, tokenizer: Tokens, net: nn.Module) -> None:
        self.tokenizer = tokenizer
        self.net = net
        self.length = int(net.length)  # type: ignore[arg-type]

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "literal") -> list[Conditioning]:
        """Return a Conditioning of one row for each prompt. Raises InputError for a prompt of too many tokens."""
        return [self._encode(prompt, prompt_weighting == "apply") for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> Conditioning:
        """Return the Conditioning of a negative prompt."""
        return self([prompt], prompt_weighting)[0]

    def _encode(self, prompt: str, weighted: bool) -> Conditioning:
        segments = _one_stretch(prompt) if weighted else ((prompt, 1.0),)
        tokens, weights = self.tokenizer.encode(""), [1.0]
        for text, weight in segments:
            more = self.tokenizer.encode(text)[1:]
            tokens, weights = tokens + more, weights + [weight] * len(more)
        check_length(prompt, len(tokens), self.length)
        device = next(self.net.parameters()).device
        ids = torch.tensor([tokens + [0] * (self.length - len(tokens))], device=device)
        mask: Tensor = torch.arange(self.length, device=device)[None] < len(tokens)
        cond: Conditioning = self.net(ids, mask)
        if cond.tokens is None or all(weight == 1 for weight in weights):
            return cond
        scale = torch.tensor(weights + [1.0] * (self.length - len(tokens)), device=device)
        return replace(cond, tokens=cond.tokens * scale[:, None])


def _one_stretch(prompt: str) -> Segments:
    """Return the segments of a prompt with their weights. Raises InputError for BREAK."""
    found = stretches(prompt)
    if len(found) > 1:
        raise InputError("prompt: BREAK begins a chunk of tokens, and this model reads a prompt as one; leave it out")
    return found[0]


def cut(tokenizer: Tokens, prompt: str, length: int) -> list[int]:
    """Return the tokens of a prompt. Raises InputError if there are more than `length`."""
    tokens = tokenizer.encode(prompt)
    check_length(prompt, len(tokens), length)
    return tokens


def check_length(prompt: str, tokens: int, length: int) -> None:
    """Raise InputError for a prompt of more than `length` tokens."""
    if tokens > length:
        short = prompt if len(prompt) <= 40 else prompt[:37] + "..."
        raise InputError(f"prompt {short!r} has {tokens} tokens, at most {length} are allowed; shorten it")
