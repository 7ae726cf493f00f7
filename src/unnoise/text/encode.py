"""Encode prompts: a tokenizer and a text network as one callable."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError
from unnoise.text.prompt_weighting import PromptWeighting, check_unweighted


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

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "refuse") -> list[Conditioning]:
        """Return a Conditioning of one row for each prompt, which does not depend on the other prompts.

        prompt_weighting: the treatment of "(word:1.3)". Raises InputError for a prompt that cannot be encoded.
        """

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> Conditioning:
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

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "refuse") -> list[Conditioning]:
        """Return a Conditioning of one row for each prompt. Raises InputError for a prompt of too many tokens."""
        for prompt in prompts:
            check_unweighted(prompt, prompt_weighting)
        return [self._encode(prompt) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> Conditioning:
        """Return the Conditioning of a negative prompt."""
        return self([prompt], prompt_weighting)[0]

    def _encode(self, prompt: str) -> Conditioning:
        tokens = cut(self.tokenizer, prompt, self.length)
        device = next(self.net.parameters()).device
        ids = torch.tensor([tokens + [0] * (self.length - len(tokens))], device=device)
        mask: Tensor = torch.arange(self.length, device=device)[None] < len(tokens)
        cond: Conditioning = self.net(ids, mask)
        return cond


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
