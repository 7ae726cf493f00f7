"""From prompts to conditions: a tokenizer and a text network as one callable."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError
from unnoise.text.prompt_weighting import PromptWeighting, refuse


class Tokens(Protocol):
    """What is needed of a tokenizer: numbers from 0 to `size` - 1."""

    @property
    def size(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """Give the token numbers of a text: at least one, also for an empty text."""


class TextConditioner(Protocol):
    """What a pipeline needs of text: prompts to conditions, and the condition that guidance leads away from."""

    @property
    def net(self) -> nn.Module:
        """The text network, or several by name."""

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "refuse") -> list[Conditioning]:
        """Give one Cond of one row for each prompt, which depends on no other prompt.

        emphasis: what "(word:1.3)" is. Raises InputError for a prompt that cannot be read.
        """

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> Conditioning:
        """Give the Cond of a negative prompt; that of an empty one is the unconditional model."""


class PromptEncoder:
    """Read prompts, each on its own and all to one length, so that a prompt's features depend on no other prompt.

    net: ids (1, L) int64, mask (1, L) bool -> Cond, with the attribute `length`, the most tokens it reads (= L).
    An empty prompt is the unconditional model.
    """

    def __init__(self, tokenizer: Tokens, net: nn.Module) -> None:
        self.tokenizer = tokenizer
        self.net = net
        self.length = int(net.length)  # type: ignore[arg-type]

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "refuse") -> list[Conditioning]:
        """Give one Cond of one row for each prompt. Raises InputError for a prompt of too many tokens."""
        if prompt_weighting == "apply":
            raise InputError(
                "emphasis 'weigh': this model's text encoder has no weights of words; 'literal' or 'refuse'"
            )
        if prompt_weighting == "refuse":
            for prompt in prompts:
                refuse(prompt)
        return [self._read(prompt) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> Conditioning:
        """Give the Cond of a negative prompt."""
        return self([prompt], prompt_weighting)[0]

    def _read(self, prompt: str) -> Conditioning:
        tokens = cut(self.tokenizer, prompt, self.length)
        device = next(self.net.parameters()).device
        ids = torch.tensor([tokens + [0] * (self.length - len(tokens))], device=device)
        mask: Tensor = torch.arange(self.length, device=device)[None] < len(tokens)
        cond: Conditioning = self.net(ids, mask)
        return cond


def cut(tokenizer: Tokens, prompt: str, length: int) -> list[int]:
    """Cut a prompt into tokens. Raises InputError where there are more than `length`."""
    tokens = tokenizer.encode(prompt)
    if len(tokens) > length:
        short = prompt if len(prompt) <= 40 else prompt[:37] + "..."
        raise InputError(f"prompt {short!r} has {len(tokens)} tokens, the model reads at most {length}")
    return tokens
