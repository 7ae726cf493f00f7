"""What a single file is cut into: one network each, with its class, its config and its tensors under diffusers' names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unnoise.files.families.identity import Identity

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Hold one network of a file. tensors: under the names that its class gives them; class_: a key of NETWORKS."""

    class_: str
    config: Mapping[str, Any]
    tensors: Tensors


# (tensors of the file, what it is, where it is) -> networks under the names that diffusers gives components.
Split = Callable[[Tensors, Identity, str], Mapping[str, Cut]]


def below(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """Take the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
