"""Encode the name of a class as a label: the prompts of a class-conditional model are the names of its classes."""

from collections.abc import Sequence

import torch
from torch import nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError, nearest, quoted
from unnoise.text.prompt_weighting import PromptWeighting


class LabelEncoder:
    """Encode names of classes, each as the number of the class; the empty prompt is the unconditional model.

    Args:
        labels: the names, in the order of their numbers. The number after the last is that of no class.
        net: the network that takes the labels, on whose device they are.
    """

    def __init__(self, labels: Sequence[str], net: nn.Module) -> None:
        self.labels = tuple(labels)
        self.numbers = {"": len(labels)} | {name: number for number, name in enumerate(labels)}
        self.net: nn.Module = nn.ModuleDict()  # labels are embedded in the network itself
        self._place = net

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "literal") -> list[Conditioning]:
        """Return a Conditioning of one row for each prompt. Raises InputError for a name of no class."""
        return [self._encode(prompt.strip()) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "literal") -> Conditioning:
        """Return the Conditioning of a negative prompt; the empty one is the unconditional model."""
        return self([prompt])[0]

    def _encode(self, name: str) -> Conditioning:
        if name not in self.numbers:
            raise InputError(f"prompt {quoted(name)}: no class of this model: {nearest(name, self.labels)}")
        device = next(self._place.parameters()).device
        return Conditioning(label=torch.tensor([self.numbers[name]], device=device))
