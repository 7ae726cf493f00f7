"""Checkpoints: everything that a run needs to resume bit for bit, in one safetensors file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from unnoise.errors import InputError
from unnoise.formats.atomic import replacing
from unnoise.formats.header import read_header

FILE = "checkpoint.safetensors"
Tensors = Mapping[str, Tensor]
MOMENTS = ("step", "exp_avg", "exp_avg_sq", "momentum")  # the first three of AdamW, the last of Muon


def write_tensors(path: Path, tensors: Tensors, facts: Mapping[str, str]) -> None:
    """Write tensors and facts; an interruption leaves the old file or the new one."""
    with replacing(path) as file:
        file.write(save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, dict(facts)))


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
    tensors = load_file(path)
    try:
        networks.load_state_dict(
            {n.removeprefix("weights."): t for n, t in tensors.items() if n.startswith("weights.")}
        )
        names = {parameter: name for name, parameter in networks.named_parameters()}
        for optimizer in optimizers:
            for parameter in (member for group in optimizer.param_groups for member in group["params"]):
                optimizer.state[parameter] = _moments(tensors, names[parameter], parameter)
        for i, average in enumerate(averages):
            for name, tensor in average.items():
                tensor.copy_(tensors[f"track{i}.{name}"])
    except (KeyError, RuntimeError) as error:
        raise InputError(f"cannot resume from {str(path)!r}: it is of another network ({error})") from error


def _moments(tensors: Tensors, name: str, parameter: Tensor) -> dict[str, Tensor]:
    """Return the moments of a parameter, in its memory layout. Raises KeyError where there are none."""
    found = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS if f"{moment}.{name}" in tensors}
    if not found:
        raise KeyError(name)
    return {
        m: torch.empty_like(parameter).copy_(t) if t.shape == parameter.shape else t.to(parameter.device)
        for m, t in found.items()
    }
