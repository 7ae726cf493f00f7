"""What a foreign model is made of, and what a family makes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import nn

from unnoise.card import Advice
from unnoise.components import ImageConditioner
from unnoise.diffusion.process import Process
from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.sampling.kinds import Kind
from unnoise.spaces.space import Space
from unnoise.text.encode import TextConditioner

LETTERS = 4  # of a token, about
TOKENIZED = ("tokenizer", "tokenizer_2", "tokenizer_3")


class EmptyTokenizer:
    """Stand for a tokenizer where only the number of tokens matters, and every text is as good as an empty one."""

    bos_token_id = eos_token_id = pad_token_id = 0

    def __call__(self, text: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(input_ids=[0])

    def encode(self, text: str) -> list[int]:
        """Give about as many tokens as a text has."""
        return [0] * (len(text) // LETTERS + 2)


@dataclass(frozen=True, slots=True, eq=False)
class ForeignComponents:
    """Hold the components of a model under the names that diffusers gives them.

    where: the folder or file; identity: its family, variant and what is known of its prediction; nets: "unet" or
    "transformer", "vae", "text_encoder", "text_encoder_2", ..., with their weights; tokenizers: "tokenizer", ..., made
    when first asked for; configs: of each component as the files say, also of "scheduler", and "" for the whole.
    """

    where: str
    identity: Identity
    nets: Mapping[str, nn.Module]
    tokenizers: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def net(self, name: str) -> Any:
        """Give a component. Raises InputError where the model has none of that name."""
        if name not in self.nets:
            raise InputError(f"{self.where}: has no {name}, which {self.identity} needs; it has {', '.join(self.nets)}")
        return self.nets[name]

    def config(self, name: str) -> Mapping[str, Any]:
        """Give the configuration of a component, empty where there is none."""
        return self.configs.get(name, {})

    def tokenizer(self, name: str) -> Callable[[], Any]:
        """Give what makes a tokenizer; what it makes says at its first use where the model has none."""

        def missing() -> Any:
            raise InputError(
                f"{self.where}: has no {name}, and words cannot be read without; give a folder that has one: "
                f"--parts FOLDER, or load(..., components=FOLDER)"
            )

        return self.tokenizers.get(name, missing)


@dataclass(frozen=True, slots=True, eq=False)
class Adapted:
    """Say what a family makes of its parts: everything that `Components` needs.

    net: in its native clock and frame, as `Model` calls it; image_conditioner: of an image that it cannot run without.
    """

    net: nn.Module
    process: Process
    kind: Kind
    space: Space
    text: TextConditioner | None
    advice: Advice
    modality: Literal["image", "video", "audio"] = "image"
    image_conditioner: ImageConditioner | None = None


Adapt = Callable[[ForeignComponents], Adapted]


def weights_dtype(net: nn.Module) -> torch.dtype:
    """Give the dtype of a network's weights."""
    return next(parameter.dtype for parameter in net.parameters() if parameter.is_floating_point())
