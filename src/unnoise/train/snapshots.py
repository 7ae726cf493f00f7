"""Snapshots of the averages of the weights, from which the average of another length is computed after the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from unnoise.train import checkpoint, ema
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.sharded_checkpoint import read_like


def write_snapshots(folder: Path, averages: Sequence[dict[str, Tensor]], gammas: Sequence[float], step: int) -> None:
    """Write a copy of each average after so many steps."""
    for i, (average, power) in enumerate(zip(averages, gammas, strict=True)):
        path = folder / "ema" / f"track{i}-{step:06d}.safetensors"
        checkpoint.write_tensors(path, average, {"gamma": repr(power), "step": str(step)})


def post_hoc_ema(
    folder: Path, checkpoints: CheckpointOptions, steps: int, length: float, like: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Compute the EMA of a length from the snapshots of a run of so many steps; see `ema`.

    It is split among processes as the weights `like` are.

    The snapshot of the last step of a run that was extended later is left out, as a longer run would not have it.
    """
    snapshots: dict[Path, ema.Snapshot] = {}
    for path in sorted((folder / "ema").glob("*.safetensors")):
        facts = checkpoint.read_facts(path)
        step = int(facts["step"])
        if step == steps or (step < steps and step % checkpoints.snapshot_every == 0):
            snapshots[path] = ema.Snapshot(float(facts["gamma"]), step)
    total: dict[str, Tensor] = {}
    weights = ema.coefficients([*snapshots.values()], length, steps)
    for path, weight in zip(snapshots, weights, strict=True):
        with safe_open(path, "pt") as file:
            for name, split in like.items():
                tensor = read_like(file, name, split)
                total[name] = total.get(name, torch.zeros_like(tensor)) + weight * tensor
    return total
