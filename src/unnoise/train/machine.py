"""How a step is computed on this machine: dtype, compilation and memory layout.

The fields of `FitOptions` that are "auto" are settled here, so that the loop only meets values: measured on a few real
passes where the run is long enough to pay for them, and kept in the folder of the run, so that it resumes to the bit.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, Final, Literal, cast

import torch
from torch import Tensor, nn

from unnoise.devices import autocast, narrow_dtype
from unnoise.errors import InputWarning
from unnoise.formats.atomic import replacing
from unnoise.formats.open_file import read_text
from unnoise.formats.strict_json import Strict, dump, parse
from unnoise.train import checkpoint
from unnoise.train.fit_options import FitOptions, check_compiler, has_compiler
from unnoise.train.processes import World
from unnoise.train.task import Task
from unnoise.train.weights import plain_attention

FILE: Final = "machine.json"
UNMEASURED: Final = {"precision": "float32", "compile": False, "channels_last": True}  # what "auto" is in a short run
SHARE: Final = 0.03  # of the run, which measuring may take
PASSES: Final = 3  # of one choice: the first warms up, and is not counted
NARROW_GAIN, LAYOUT_GAIN = 1.15, 1.03  # how much faster bfloat16, or the other layout, must be
LONG: Final = 1200.0  # seconds of a run, from which compilation is tried; it takes one or two minutes
SLOW: Final = 6.0  # a second pass that takes so many times the best is the last; the first also prepares kernels
Measure = Callable[[FitOptions, float], tuple[float, float]]  # (options, best) -> seconds of the first, of a pass
Now = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Machine(Strict):
    """What was chosen for the fields that were "auto", and the seconds of a pass of each choice that was measured."""

    precision: Literal["float32", "bfloat16"]
    compile: bool
    channels_last: bool
    seconds: dict[str, Any] = field(default_factory=dict)

    def applied(self, fit: FitOptions) -> FitOptions:
        """Return the options with the choice in the fields that are "auto"."""
        chosen = {name: getattr(self, name) for name in UNMEASURED if getattr(fit, name) == "auto"}
        return replace(fit, **chosen)

    def __str__(self) -> str:
        parts = [self.precision, "compiled" if self.compile else "not compiled"]
        parts.append("channels last" if self.channels_last else "contiguous")
        base = next(iter(self.seconds.values()), 0.0)
        ratios = [f"{name} {base / value:.2f} x" for name, value in self.seconds.items()]
        return f"{', '.join(parts)} (speed of a pass: {', '.join(ratios)})"


def settled(task: Task, fit: FitOptions, folder: Path | None, world: World) -> FitOptions:
    """Return the options with a value for every field that is "auto": of the folder's run, measured, or exact.

    Of several processes, the first measures, while the others wait.
    """
    if not any(getattr(fit, name) == "auto" for name in UNMEASURED):
        return fit
    if fit.shard:  # the whole network may not fit into one process, and its parts have no layout
        return replace(Machine(**UNMEASURED), channels_last=False).applied(fit)  # type: ignore[arg-type]
    text = world.same(lambda: _choice(task, fit, folder, world.size))
    return _possible(parse(Machine, text, FILE), fit, next(task.networks.parameters()).device).applied(fit)


def _choice(task: Task, fit: FitOptions, folder: Path | None, size: int) -> str:
    path = None if folder is None else folder / FILE
    if path is not None and path.exists():
        return read_text(path)
    begun = folder is not None and (folder / checkpoint.FILE).exists()
    machine = None if begun else measured(task, fit, size)
    if machine is not None:
        print(f"{task.name}: {machine}", file=sys.stderr)
    text = dump(machine or Machine(**UNMEASURED))  # type: ignore[arg-type]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(text.encode())
    return text


def _possible(machine: Machine, fit: FitOptions, device: torch.device) -> Machine:
    """Return what of a choice works here; a line says what does not, since the last bits will differ."""
    wrong = {}
    if fit.precision == "auto" and machine.precision == "bfloat16" and narrow_dtype(device) != torch.bfloat16:
        wrong["precision"] = "float32"
    if fit.compile == "auto" and machine.compile and device.type == "cpu" and not has_compiler():
        wrong["compile"] = False  # type: ignore[assignment]
    if wrong:
        shown = ", ".join(f"{name} {getattr(machine, name)}" for name in wrong)
        warnings.warn(
            f"{shown}: chosen on the machine where the run began, and impossible on this one: the bits will differ",
            InputWarning,
            stacklevel=4,
        )
    return replace(machine, **wrong)  # type: ignore[arg-type]


def measured(task: Task, fit: FitOptions, size: int = 1, now: Now = time.perf_counter) -> Machine | None:
    """Measure the choices of a task on a few passes. None where the run is too short to pay for it.

    Args:
        size: processes that share a batch.
        now: the clock, in seconds.
    """
    if SHARE * fit.steps < PASSES:
        return None
    device = next(task.networks.parameters()).device
    rows = range(fit.micro_batch or -(-fit.batch // size))

    def seconds(options: FitOptions, best: float) -> tuple[float, float]:
        return _pass_seconds(prepared(task, options), rows, best, now)

    narrow = narrow_dtype(device) == torch.bfloat16
    compiler = device.type != "cpu" or has_compiler()
    with _unchanged(task), plain_attention(device):
        return choose(fit, seconds, narrow, compiler, _has_layouts(task))


def choose(fit: FitOptions, seconds: Measure, narrow: bool, compiler: bool, layouts: bool) -> Machine:
    """Choose by the seconds of passes, within SHARE of the run.

    Args:
        seconds: measures options. The best so far is measured again beside each other choice, since other programs may
            have begun or ended.
        narrow, compiler, layouts: whether the device has bfloat16, code can be compiled, a layout can matter.
    """
    machine = Machine(**UNMEASURED)  # type: ignore[arg-type]
    found: dict[str, float] = {
        "float32" if fit.precision == "auto" else fit.precision: seconds(machine.applied(fit), inf)[1]
    }
    best = next(iter(found.values()))
    budget = SHARE * fit.steps * best - PASSES * best
    trials: list[tuple[str, dict[str, Any], float]] = []
    if fit.precision == "auto" and narrow:
        trials.append(("bfloat16", {"precision": "bfloat16"}, NARROW_GAIN))
    if fit.channels_last == "auto" and layouts:
        trials.append(("contiguous", {"channels_last": False}, LAYOUT_GAIN))
    for name, change, gain in trials:
        if budget < 2 * PASSES * best:
            break
        trial = replace(machine, **change)
        first, taken = seconds(trial.applied(fit), best)
        beside = seconds(machine.applied(fit), best)[1]
        budget -= first + (PASSES - 1) * taken + PASSES * beside
        found[name] = taken * best / beside
        if best >= gain * found[name]:
            machine, best = trial, found[name]
    if fit.compile == "auto" and compiler and fit.steps * best >= LONG:
        trial = replace(machine, compile=True)
        first, found["compiled"] = seconds(trial.applied(fit), best)
        if (best - found["compiled"]) * fit.steps > first:
            machine = trial
    return replace(machine, seconds={name: float(f"{value:.4g}") for name, value in found.items()})


def _pass_seconds(task: Task, rows: range, best: float, now: Now) -> tuple[float, float]:
    """Return the seconds of the first pass, with its compilation, and of the fastest of the others."""
    taken: list[float] = []
    for _ in range(PASSES):
        began = now()
        task.loss(0, rows).mean().backward()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(now() - began)
        task.networks.zero_grad(set_to_none=True)
        if len(taken) > 1 and SLOW * best < taken[-1] and not _compiled(task):
            break
    return taken[0], min(taken[1:])


@contextmanager
def _unchanged(task: Task) -> Iterator[None]:
    """Leave weights, buffers, random numbers, what a task keeps and compilation as they were before the block."""
    state = {name: value.clone() for name, value in task.networks.state_dict().items()}
    with torch.random.fork_rng():
        try:
            yield
        finally:
            task.networks.load_state_dict(state)
            getattr(task, "clear_cache", lambda: None)()
            for net in _compilable(task):
                net._compiled_call_impl = None


def _compilable(task: Task) -> list[nn.Module]:
    """Return what is compiled: the first network, and those that a task runs without training them."""
    return [next(iter(task.networks.values())), *getattr(task, "frozen", ())]


def _compiled(task: Task) -> bool:
    return _compilable(task)[0]._compiled_call_impl is not None


def _has_layouts(task: Task) -> bool:
    return any(parameter.ndim == 4 for parameter in task.networks.parameters())


def prepared(task: Task, fit: FitOptions) -> Task:
    """Return a task that computes as settled options say. Raises InputError where compilation needs a compiler."""
    check_compiler(fit)
    for net in (task.networks, *_compilable(task)):
        lay_out(net, fit.channels_last is True)
    if fit.compile and not _compiled(task):
        for net in _compilable(task):
            net.compile()
    return cast(Task, _Narrow(task)) if fit.precision == "bfloat16" else task


def lay_out(net: nn.Module, channels_last: bool) -> None:
    """Change the memory layout of the weights of two-dimensional convolutions."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


class _Narrow:
    """A task whose loss is computed in bfloat16, where the device has it; all else is that of the task."""

    def __init__(self, task: Task) -> None:
        self._task, self._device = task, next(task.networks.parameters()).device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        with autocast(self._device, True):
            return self._task.loss(step, rows)
