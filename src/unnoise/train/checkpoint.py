"""Everything that a run needs to go on bit for bit, in one safetensors file: weights, moments, averages, step."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from unnoise.errors import Refusal
from unnoise.files.atomic import replacing

Tensors = Mapping[str, Tensor]
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def write_tensors(path: Path, tensors: Tensors, facts: Mapping[str, str]) -> None:
    """Write tensors and facts so that an interruption leaves the old file or the new one."""
    with replacing(path) as file:
        file.write(save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, dict(facts)))


def read_facts(path: Path) -> dict[str, str]:
    """Read the facts of a file that `write_tensors` wrote. Raises Refusal where it is no such file."""
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise Refusal(f"cannot resume from {str(path)!r}: {error}") from error


def save_run(
    path: Path, parts: nn.Module, optimizer: torch.optim.Optimizer, tracks: Sequence[Tensors], facts: Mapping[str, str]
) -> None:
    """Save a run between two steps."""
    named = dict(parts.named_parameters())
    tensors = {f"weights.{name}": tensor for name, tensor in parts.state_dict().items()}
    for name, parameter in named.items():
        for moment, value in optimizer.state[parameter].items():
            tensors[f"{moment}.{name}"] = value
    for i, track in enumerate(tracks):
        tensors |= {f"track{i}.{name}": tensor for name, tensor in track.items()}
    write_tensors(path, tensors, facts)


def load_run(
    path: Path, parts: nn.Module, optimizer: torch.optim.Optimizer, tracks: Sequence[dict[str, Tensor]]
) -> None:
    """Load what `save_run` saved, in place."""
    tensors = load_file(path)
    try:
        parts.load_state_dict({n.removeprefix("weights."): t for n, t in tensors.items() if n.startswith("weights.")})
        for name, parameter in parts.named_parameters():
            like = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
            optimizer.state[parameter] = {
                moment: torch.empty_like(like[moment]).copy_(tensors[f"{moment}.{name}"]) for moment in MOMENTS
            }
        for i, track in enumerate(tracks):
            for name, tensor in track.items():
                tensor.copy_(tensors[f"track{i}.{name}"])
    except (KeyError, RuntimeError) as error:
        raise Refusal(f"cannot resume from {str(path)!r}: another network was trained there ({error})") from error
