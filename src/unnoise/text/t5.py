"""Encode a prompt with one text network such as T5, UMT5 or Gemma, padded to a fixed number of tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.text.clip import check_ids
from unnoise.text.encode import check_length
from unnoise.text.prompt_weighting import PromptWeighting, without_weights
from unnoise.text.tokenizer_length import own_length


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """A text network of transformers and its tokenizer.

    Args:
        tokenizer: a function that returns a tokenizer of transformers.
        net: the text network.
        length: the most tokens of a prompt; shorter ones are padded to it.
        masked: whether the text network gets the mask of the padding.
        own: whether the tokenizer's own length, if it states one, takes the place of `length`.
    """

    tokenizer: Callable[[], Any]
    net: Any
    length: int
    masked: bool
    own: bool = False

    def read(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> tuple[Tensor, Tensor]:
        """Return features (1, length, C) and the mask (1, length) bool, True for real tokens.

        Raises InputError for too long a prompt, and for word weights, which such a network cannot apply.
        """
        tokenizer = self.tokenizer()
        ids = tokenizer(without_weights(prompt, prompt_weighting), add_special_tokens=True, verbose=False).input_ids
        length = own_length(tokenizer, self.length) if self.own else self.length
        check_length(prompt, len(ids), length)
        check_ids(ids, self.net)
        device = next(self.net.parameters()).device
        padded = torch.tensor([ids + [tokenizer.pad_token_id] * (length - len(ids))], device=device)
        mask: Tensor = torch.arange(length, device=device)[None] < len(ids)
        output = self.net(padded, attention_mask=mask.long() if self.masked else None)
        return output.last_hidden_state, mask


@dataclass(frozen=True, slots=True, eq=False)
class StackConditioner:
    """Conditioning by one text network: features with the mask of the padding."""

    stack: Stack

    @property
    def net(self) -> nn.Module:
        """The text network."""
        return nn.ModuleDict({"text_encoder": self.stack.net})

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "literal") -> list[Conditioning]:
        """Encode prompts. Raises InputError for one that is too long or has word weights."""
        return [self.encode(prompt, prompt_weighting) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> Conditioning:
        """Encode a negative prompt."""
        return self.encode(prompt, prompt_weighting)

    def encode(self, prompt: str, prompt_weighting: PromptWeighting) -> Conditioning:
        """Encode one prompt."""
        features, mask = self.stack.read(prompt, prompt_weighting)
        return Conditioning(tokens=features.float(), mask=mask)
