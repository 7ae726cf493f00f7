"""What a single file is cut into: networks, each with its class, its config and its tensors under diffusers' names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unnoise.families.identity import Identity

Tensors = Mapping[str, Tensor]
# What no shape shows: how many heads share a width, how many channels a norm, what pools a text, what a latent is.
UNSEEN = {
    "attention_head_dim", "num_attention_heads", "num_heads", "num_cross_attention_heads", "cross_attention_head_dim",
    "d_kv", "axes_dims_rope", "norm_num_groups", "hidden_act", "bos_token_id", "eos_token_id", "sample_size",
    "scaling_factor", "shift_factor",
}  # fmt: skip


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


def whole(nets: Mapping[str, Cut | None]) -> dict[str, Cut]:
    """Leave out the networks that a file does not have."""
    return {name: cut for name, cut in nets.items() if cut is not None}


def count(tensors: Tensors, prefix: str) -> int:
    """Count the numbered blocks whose names begin with a prefix, such as "blocks."."""
    numbers = {name.removeprefix(prefix).partition(".")[0] for name in tensors if name.startswith(prefix)}
    return sum(number.isdigit() for number in numbers)


def agreed(cut: Cut, other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take the config of a folder's network in place of one read off shapes, where they agree in what shapes show."""
    told = {name: value for name, value in cut.config.items() if name not in UNSEEN}
    same = all(_alike(other.get(name, value), value) for name, value in told.items())
    return other if same else cut.config


def _alike(one: Any, other: Any) -> bool:
    """Compare settings, of which one number may stand for a list of equal ones."""
    if isinstance(other, list | tuple):
        return list(other) == (list(one) if isinstance(one, list | tuple) else [one] * len(other))
    return bool(one == other)
