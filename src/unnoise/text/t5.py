"""Read a prompt with a text network of one stack, such as T5, UMT5 or Gemma, filled up to a fixed number of tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.text.prompt_weighting import PromptWeighting, refuse


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """A text network of transformers and its tokenizer.

    length: tokens that it is filled up to, and the most that it reads; masked: whether it leaves out that filling;
    tokenizer: makes one of transformers' when first asked.
    """

    tokenizer: Callable[[], Any]
    net: Any
    length: int
    masked: bool

    def read(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> tuple[Tensor, Tensor]:
        """Give features (1, length, C) and the mask (1, length) bool of what is no filling.

        Raises InputError for too long a prompt, and for weights of words, which such a network cannot apply.
        """
        if prompt_weighting == "apply":
            raise InputError(
                "emphasis 'weigh': this model's text encoder has no weights of words; 'literal' or 'refuse'"
            )
        if prompt_weighting == "refuse":
            refuse(prompt)
        tokenizer = self.tokenizer()
        ids = tokenizer(prompt, add_special_tokens=True, verbose=False).input_ids
        if len(ids) > self.length:
            short = prompt if len(prompt) <= 40 else prompt[:37] + "..."
            raise InputError(f"prompt {short!r} has {len(ids)} tokens, the model reads at most {self.length}")
        rows = self.net.get_input_embeddings().num_embeddings
        if max(ids, default=0) >= rows:
            raise InputError(
                f"prompt: token {max(ids)} of a tokenizer that is not this text network's, which has {rows}"
            )
        device = next(self.net.parameters()).device
        filled = torch.tensor([ids + [tokenizer.pad_token_id] * (self.length - len(ids))], device=device)
        mask: Tensor = torch.arange(self.length, device=device)[None] < len(ids)
        answer = self.net(filled, attention_mask=mask.long() if self.masked else None)
        return answer.last_hidden_state, mask
