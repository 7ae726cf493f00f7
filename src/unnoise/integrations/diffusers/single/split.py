"""The networks in a single file, each with its class, its config and its tensors under diffusers' names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unnoise.errors import InputError
from unnoise.families.identity import Identity

Tensors = Mapping[str, Tensor]
PREFIX = "model.diffusion_model."  # of the denoiser's names
# Settings that shapes do not show.
UNSHAPED = {
    "attention_head_dim", "num_attention_heads", "num_heads", "num_cross_attention_heads", "cross_attention_head_dim",
    "d_kv", "axes_dims_rope", "norm_num_groups", "hidden_act", "bos_token_id", "eos_token_id", "sample_size",
    "scaling_factor", "shift_factor", "latents_mean", "latents_std",
}  # fmt: skip
# Settings of an autoencoder that are of the file, not of the folder, where one of the two has statistics of channels.
STATISTICS = ("latents_mean", "latents_std", "scaling_factor")


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Hold one network of a file. class_: a key of NETWORKS; tensors: under the names of its class."""

    class_: str
    config: Mapping[str, Any]
    tensors: Tensors


# (tensors of the file, its identity, the start of every message) -> networks by component name.
Split = Callable[[Tensors, Identity, str], Mapping[str, Cut]]


def below(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with a prefix, without the prefix."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def present(nets: Mapping[str, Cut | None]) -> dict[str, Cut]:
    """Return the networks without those that a file does not have."""
    return {name: cut for name, cut in nets.items() if cut is not None}


def count(tensors: Tensors, prefix: str) -> int:
    """Count the numbered blocks of a prefix such as "blocks."."""
    numbers = {name.removeprefix(prefix).partition(".")[0] for name in tensors if name.startswith(prefix)}
    return sum(number.isdigit() for number in numbers)


def missing_network(where: str, identity: Identity, network: str) -> InputError:
    """Return the error for a file without its denoiser."""
    return InputError(f"{where}: recognised as {identity} by {identity.known_by}, but it has no {network}")


def merged_config(cut: Cut, other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of a folder's network if it agrees with the config by shapes, else the config by shapes."""
    shaped = {name: value for name, value in cut.config.items() if name not in UNSHAPED}
    same = all(_is_equal(other.get(name, value), value) for name, value in shaped.items())
    if not same:
        return cut.config
    channels = cut.class_ == "AutoencoderKL" and any(config.get(STATISTICS[0]) for config in (cut.config, other))
    return {**other, **{name: cut.config.get(name) for name in STATISTICS if channels}}


def _is_equal(one: Any, other: Any) -> bool:
    """Compare settings; one number is equal to a list of that number."""
    if isinstance(other, list | tuple):
        return list(other) == (list(one) if isinstance(one, list | tuple) else [one] * len(other))
    return bool(one == other)
