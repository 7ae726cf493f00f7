"""Everything that a run needs to go on bit for bit, in one safetensors file: weights, moments, averages, step."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from unnoise.errors import InputError
from unnoise.formats.atomic import replacing

Tensors = Mapping[str, Tensor]
MOMENTS = ("step", "exp_avg", "exp_avg_sq", "momentum")  # of AdamW the first three, of Muon the last


def write_tensors(path: Path, tensors: Tensors, facts: Mapping[str, str]) -> None:
    """Write tensors and facts so that an interruption leaves the old file or the new one."""
    with replacing(path) as file:
        file.write(save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, dict(facts)))


def read_facts(path: Path) -> dict[str, str]:
    """Read the facts of a file that `write_tensors` wrote. Raises InputError where it is no such file."""
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot resume from {str(path)!r}: {error}") from error


def save_run(
    path: Path,
    parts: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    tracks: Sequence[Tensors],
    facts: Mapping[str, str],
) -> None:
    """Save a run between two steps."""
    named = dict(parts.named_parameters())
    tensors = {f"weights.{name}": tensor for name, tensor in parts.state_dict().items()}
    for optimizer in optimizers:
        for name, parameter in named.items():
            for moment, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{moment}.{name}"] = value
    for i, track in enumerate(tracks):
        tensors |= {f"track{i}.{name}": tensor for name, tensor in track.items()}
    write_tensors(path, tensors, facts)


def load_run(
    path: Path, parts: nn.Module, optimizers: Sequence[torch.optim.Optimizer], tracks: Sequence[dict[str, Tensor]]
) -> None:
    """Load what `save_run` saved, in place."""
    tensors = load_file(path)
    try:
        parts.load_state_dict({n.removeprefix("weights."): t for n, t in tensors.items() if n.startswith("weights.")})
        names = {parameter: name for name, parameter in parts.named_parameters()}
        for optimizer in optimizers:
            for parameter in (member for group in optimizer.param_groups for member in group["params"]):
                optimizer.state[parameter] = _moments(tensors, names[parameter], parameter)
        for i, track in enumerate(tracks):
            for name, tensor in track.items():
                tensor.copy_(tensors[f"track{i}.{name}"])
    except (KeyError, RuntimeError) as error:
        raise InputError(f"cannot resume from {str(path)!r}: another network was trained there ({error})") from error


def _moments(tensors: Tensors, name: str, parameter: Tensor) -> dict[str, Tensor]:
    """Give what an optimizer kept of a parameter, laid out as the parameter is. Raises KeyError for nothing."""
    kept = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS if f"{moment}.{name}" in tensors}
    if not kept:
        raise KeyError(name)
    return {m: torch.empty_like(parameter).copy_(t) if t.shape == parameter.shape else t for m, t in kept.items()}
