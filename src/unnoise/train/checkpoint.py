"""Checkpoints: everything that a run needs to resume bit for bit, in one safetensors file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from unnoise.errors import InputError
from unnoise.formats.atomic import replacing
from unnoise.formats.header import read_header
from unnoise.formats.tensors import dump_tensors
from unnoise.train.processes import world
from unnoise.train.sharded_checkpoint import is_split, read_like, write_split

FILE = "checkpoint.safetensors"
Tensors = Mapping[str, Tensor]
MOMENTS = ("step", "exp_avg", "exp_avg_sq", "momentum")  # the first three of AdamW, the last of Muon


def write_tensors(path: Path, tensors: Tensors, facts: Mapping[str, str]) -> None:
    """Write tensors and facts; an interruption leaves the old file or the new one.

    Where tensors are split among processes, all of them call it, and each writes its own.
    """
    if any(is_split(tensor) for tensor in tensors.values()):
        return write_split(path, tensors, facts, world())
    with replacing(path) as file:
        dump_tensors(file, tensors, facts)


def read_facts(path: Path) -> dict[str, str]:
    """Return the facts of a file of `write_tensors`. Raises InputError for another file."""
    try:
        return read_header(path).metadata
    except InputError as error:
        raise InputError(f"cannot resume from {str(path)!r}: {error}") from None


def save_checkpoint(
    path: Path,
    networks: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    averages: Sequence[Tensors],
    facts: Mapping[str, str],
) -> None:
    """Save the state of a run between two steps."""
    named = dict(networks.named_parameters())
    tensors = {f"weights.{name}": tensor for name, tensor in networks.state_dict().items()}
    for optimizer in optimizers:
        for name, parameter in named.items():
            for moment, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{moment}.{name}"] = value
    for i, average in enumerate(averages):
        tensors |= {f"track{i}.{name}": tensor for name, tensor in average.items()}
    write_tensors(path, tensors, facts)


def load_checkpoint(
    path: Path, networks: nn.Module, optimizers: Sequence[torch.optim.Optimizer], averages: Sequence[dict[str, Tensor]]
) -> None:
    """Load a file of `save_checkpoint` in place. Raises InputError where it is of another network."""
    names = {parameter: name for name, parameter in networks.named_parameters()}
    try:
        with safe_open(path, "pt") as file:
            own = networks.state_dict().items()
            networks.load_state_dict({name: read_like(file, f"weights.{name}", tensor) for name, tensor in own})
            stored = frozenset(file.keys())
            for optimizer in optimizers:
                for parameter in (member for group in optimizer.param_groups for member in group["params"]):
                    if moments := _moments(file, stored, names[parameter], parameter):
                        optimizer.state[parameter] = moments
            for i, average in enumerate(averages):
                for name, tensor in average.items():
                    tensor.copy_(read_like(file, f"track{i}.{name}", tensor))
            _check_complete(stored, networks)
    except (KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(f"cannot resume from {str(path)!r}: it is of another network ({error})") from error


def _check_complete(stored: frozenset[str], networks: nn.Module) -> None:
    """Raise KeyError for weights that a network does not have."""
    left = {name for name in stored if name.startswith("weights.")} - {f"weights.{n}" for n in networks.state_dict()}
    if left:
        raise KeyError(f"{min(left)} is not in it")


def _moments(file: Any, stored: frozenset[str], name: str, parameter: Tensor) -> dict[str, Tensor]:
    """Return the moments of a parameter, in its memory layout; none for one that never had a gradient."""
    found = {moment: f"{moment}.{name}" for moment in MOMENTS if f"{moment}.{name}" in stored}
    moments = {}
    for moment, key in found.items():
        same = tuple(file.get_slice(key).get_shape()) == tuple(parameter.shape)
        read = read_like(file, key, parameter) if same else file.get_tensor(key).to(parameter.device)
        moments[moment] = torch.empty_like(parameter).copy_(read) if same else read
    return moments
