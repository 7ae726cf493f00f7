"""Train one's own network on one's own data, in one call: `unnoise.train.fit`."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from unnoise.devices import known_device
from unnoise.diffusion import process as processes
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.loss import factor
from unnoise.diffusion.process import Process
from unnoise.errors import InputError, NonFiniteError, checked_path, nearest, quoted
from unnoise.formats.strict_json import Strict
from unnoise.generation.own_net import NetInputs
from unnoise.generation.sample_net import check_classes, null_inputs
from unnoise.generation.trained_net import NetFacts, TrainedNet, part_of, trained_net
from unnoise.train.checkpoint_options import LONGEST_EMA, CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.loop import train
from unnoise.train.net_task import POINTS, NetTask, Objective
from unnoise.train.own_data import Batch, measured, own_data
from unnoise.train.own_options import FitKeywords, OwnOptions, split_options
from unnoise.train.run_folder import bytes_of_run, claimed_folder
from unnoise.train.task import Progress

PROCESSES: dict[str, Callable[[], Process]] = {
    "flow": processes.Flow, "vp": processes.VP, "ve": processes.VE, "edm": processes.EDM, "angle": processes.Angle,
}  # fmt: skip
FILE = "net.safetensors"  # in the folder of a run
NEVER = 10**9


@dataclass(frozen=True, slots=True)
class NetRecipe(Strict):
    """What must be the same for a run to resume; functions by their names."""

    net: str
    data: str
    fit: FitOptions
    facts: NetFacts
    objective: dict[str, Any] = field(default_factory=dict)
    checkpoints: CheckpointOptions = field(default_factory=CheckpointOptions)

    def fits(self) -> dict[str, tuple[str, FitOptions]]:
        """Return the place and the options of the only task."""
        return {"net": ("fit", self.fit)}


def fit(net: nn.Module, data: Any, process: str | Process = "flow", **options: Unpack[FitKeywords]) -> TrainedNet:
    """Train a network, in place, and return it with all that `unnoise.sample` needs.

    Args:
        net: called as net(x, time) or net(x, time, cond); x (B, *d) has unit variance, time (B,) is the process's.
        data: a tensor (N, *d), a pair (x, cond), a Dataset, an iterable of batches, or a function (n, generator) -> x.
            cond is a tensor or a dict of tensors; integers are classes.
        process: "flow", "vp", "ve", "edm", "angle", or a `Process`.
        options: see `OwnOptions` and `FitOptions`.

    Raises:
        InputError: an argument is unknown, out of range, or does not fit the others.
        NonFiniteError: the loss or a gradient is NaN or infinite.
    """
    _check_net(net)
    own, fit_options, optimizer = split_options(options, sum(one.numel() for one in net.parameters()))
    if own.device is not None:
        net.to(known_device(own.device))
    source, made = own_data(data, own.seed, fit_options.batch), known_process(process)
    first = source.first()
    facts = _facts(first, source.count == len(first[0]), made, own)
    model = trained_net(net, made, facts)
    objective = _objective(own, fit_options.batch, facts)
    net.train()
    _try(model, first, own)
    shown = None if first[1] is None else first[1].rows(slice(POINTS))
    task = NetTask(model, source, objective, optimizer, shown)
    seen = list[Progress]()
    averaged = _run(task, fit_options, own, seen)
    if own.ema_length:
        task.networks.load_state_dict(averaged)
    net.eval()
    tail = seen[-max(1, len(seen) // 10) :]
    figures = {"steps": fit_options.steps, "loss": sum(one.loss for one in tail) / len(tail)} if tail else {}
    result = replace(model, facts=replace(facts, figures=figures))
    if own.out is not None:
        result.save(Path(own.out) / FILE)
    return result


def known_process(process: str | Process) -> Process:
    """Return a process by its name, or as it is. Raises InputError for an unknown one."""
    if isinstance(process, str):
        if process.lower() not in PROCESSES:
            raise InputError(f"process {process!r}: {nearest(process.lower(), PROCESSES)}, or a Process")
        return PROCESSES[process.lower()]()
    if not all(hasattr(process, name) for name in ("sigma_min", "sigma_max", "scales", "sigma", "time")):
        raise InputError(f"process {quoted(process)}: {', '.join(PROCESSES)}, or an object with what Process lists")
    return process


def _check_net(net: nn.Module) -> None:
    if not isinstance(net, nn.Module):
        raise InputError(f"net {quoted(net)}: a torch.nn.Module, called as net(x, time) or net(x, time, cond)")
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise InputError(f"net {type(net).__name__}: has no parameter to train")


def _facts(first: Batch, whole: bool, process: Process, own: OwnOptions) -> NetFacts:
    """Measure the data. whole: `first` is all of it, so that classes can be counted."""
    x, cond = first
    affine = measured(x)
    kind = own.kind or ("flow" if isinstance(process, processes.Flow) else "v")
    if kind == "eps" and process.sigma_max == inf:
        raise InputError("kind 'eps': does not determine x0 at sigma inf, which the process reaches; use 'v' or 'flow'")
    classes = {}
    for name, value in () if cond is None else cond.tensors.items():
        if not value.is_floating_point():
            classes[name] = own.classes or (max(0, int(value.max())) + 1 if whole else 0)
    if cond is None and (own.cond_dropout or own.classes):
        raise InputError("cond_dropout, classes: the data has no conditioning; leave them out, or give data (x, cond)")
    if own.cond_dropout and 0 in classes.values():
        raise InputError("cond_dropout: the class that stands for none is the one after the last; give classes, too")
    if cond is not None:
        check_classes(cond, classes)
    names = () if cond is None else tuple(cond.tensors)
    return NetFacts(
        part_of(process), kind, tuple(x.shape[1:]), affine.shift, affine.scale, names, classes, own.cond_dropout > 0
    )


def _objective(own: OwnOptions, batch: int, facts: NetFacts) -> Objective:
    weighting = own.weighting or facts.kind
    factor(weighting, facts.kind, torch.ones(1))
    return Objective(own.seed, batch, own.levels, weighting, own.cond_dropout, own.loss)


@torch.no_grad()
def _try(model: TrainedNet, first: Batch, own: OwnOptions) -> None:
    """Run the net once, on samples with and without their conditioning. Raises InputError where it does not work."""
    device = next(model.net.parameters()).device
    state = {name: value.clone() for name, value in model.net.state_dict().items()}
    x0, cond = model.facts.affine.to_x0(first[0][:2]).to(device), first[1]
    inputs: list[NetInputs | Conditioning] = [Conditioning()] if cond is None else [cond.rows(slice(2))]
    if cond is not None and own.cond_dropout:
        inputs.append(null_inputs(cond.rows(slice(2)), model.facts.classes))
    called = f"net{tuple(['x', 'time', 'cond'][: 2 + bool(model.facts.names)])}".replace("'", "")
    try:
        with torch.random.fork_rng():
            for one in inputs:
                model.denoiser.predict(x0, torch.ones(len(x0), device=device), one.to(device))
    except (InputError, NonFiniteError):
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        classes = {name: count + 1 for name, count in model.facts.classes.items() if own.cond_dropout}
        more = f"; with cond_dropout there are {', '.join(map(str, classes.values()))} classes" if classes else ""
        shapes = f"x {tuple(x0.shape)}, time ({len(x0)},)"
        raise InputError(f"net {type(model.net).__name__}: fails as {called} with {shapes}{more}: {reason}") from error
    finally:
        model.net.load_state_dict(state)


def _run(task: NetTask, fit_options: FitOptions, own: OwnOptions, seen: list[Progress]) -> dict[str, Tensor]:
    """Train, in the folder of the options if there is one."""

    def hook(progress: Progress) -> None:
        seen.append(progress)
        for callback in own.callbacks:
            callback(progress)

    length, steps = own.ema_length or 0.05, fit_options.steps
    lengths = (length, min(2 * length, LONGEST_EMA))
    every = max(1, min(500, steps // 10))
    checkpoints = CheckpointOptions(lengths, length, min(4, steps), 2 * every, every, NEVER)
    if own.out is None:
        return train(task, fit_options, checkpoints, None, hook)
    folder = checked_path("out", own.out)
    recipe = _recipe(task, fit_options, checkpoints)
    count = sum(parameter.numel() for parameter in task.networks.parameters())
    with claimed_folder(recipe, folder, True, bytes_of_run(count, fit_options, checkpoints)):
        return train(task, fit_options, checkpoints, folder / "net", hook)


def _recipe(task: NetTask, fit_options: FitOptions, checkpoints: CheckpointOptions) -> NetRecipe:
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in task.model.net.state_dict().items())
    objective = {
        name: value if isinstance(value, int | float | str) else _named(value)
        for name, value in ((one, getattr(task.objective, one)) for one in task.objective.__slots__)
    }
    objective["optimizer"] = _named(task.own_optimizer)
    net = f"{type(task.model.net).__name__} {hashlib.sha256(shapes.encode()).hexdigest()[:12]}"
    return NetRecipe(net, task.data.description, fit_options, task.model.facts, objective, checkpoints)


def _named(value: Any) -> str:
    return getattr(value, "__qualname__", None) or str(value)
