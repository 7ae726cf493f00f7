"""The components of a foreign model under diffusers' names, and as the family's module adapts them."""

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

CHARACTERS = 4  # of a token, on average
RESOLUTION = "resolution"  # key of the index: (width, height) that a single file states
TOKENIZED = ("tokenizer", "tokenizer_2", "tokenizer_3")


class EmptyTokenizer:
    """A stand-in for a tokenizer where only the number of tokens matters."""

    bos_token_id = eos_token_id = pad_token_id = 0

    def __call__(self, text: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(input_ids=[0])

    def encode(self, text: str) -> list[int]:
        """Return about as many tokens as a text has."""
        return [0] * (len(text) // CHARACTERS + 2)


@dataclass(frozen=True, slots=True, eq=False)
class ForeignComponents:
    """Hold the components of a foreign model under diffusers' names.

    Args:
        where: the folder or file.
        identity: its family, variant and prediction type.
        nets: "unet" or "transformer", "vae", "text_encoder", "text_encoder_2", ..., with weights.
        tokenizers: "tokenizer", ..., each a function that loads it.
        configs: of each component and of "scheduler", and "" for the index.
    """

    where: str
    identity: Identity
    nets: Mapping[str, nn.Module]
    tokenizers: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def net(self, name: str) -> Any:
        """Return a network. Raises InputError if the model has none of that name."""
        if name not in self.nets:
            raise InputError(f"{self.where}: has no {name}, which {self.identity} needs; it has {', '.join(self.nets)}")
        return self.nets[name]

    def config(self, name: str) -> Mapping[str, Any]:
        """Return the config of a component, empty if there is none."""
        return self.configs.get(name, {})

    def tokenizer(self, name: str) -> Callable[[], Any]:
        """Return the function that loads a tokenizer. It raises InputError if the model has none."""

        def missing() -> Any:
            raise InputError(
                f"{self.where}: has no {name}, which prompts need; name a folder that has one: "
                f"--components FOLDER, or load(..., components=FOLDER)"
            )

        return self.tokenizers.get(name, missing)


@dataclass(frozen=True, slots=True, eq=False)
class AdaptedModel:
    """Hold everything that `Components` needs of a foreign model.

    Args:
        net: in its native time and frame, as `Denoiser` calls it.
        process, kind, space, text: as in `Components`.
        advice: default settings.
        modality: of the samples.
        image_conditioner: of a network that needs an image.
        size_inputs: as in `Components`.
    """

    net: nn.Module
    process: Process
    kind: Kind
    space: Space
    text: TextConditioner | None
    advice: Advice
    modality: Literal["image", "video", "audio"] = "image"
    image_conditioner: ImageConditioner | None = None
    size_inputs: tuple[str, ...] = ()


Adapt = Callable[[ForeignComponents], AdaptedModel]


def weights_dtype(net: nn.Module) -> torch.dtype:
    """Return the dtype of a network's weights, apart from layers that stay in float32 in any network."""
    kept = set(getattr(net, "_keep_in_fp32_modules", None) or ())
    return next(
        parameter.dtype
        for name, parameter in net.named_parameters()
        if parameter.is_floating_point() and not kept & set(name.split("."))
    )
