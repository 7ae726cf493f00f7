"""Draw from a network that was trained in Python: `unnoise.sample`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.guidance import autoguide
from unnoise.diffusion.levels import named_schedule
from unnoise.diffusion.loop import run
from unnoise.diffusion.noise import START, draw
from unnoise.errors import InputError, check_number, check_whole, quoted
from unnoise.generation.choose_sampler import named_sampler
from unnoise.generation.job import AnySampler
from unnoise.generation.limits import GUIDANCE
from unnoise.generation.own_net import ALONE, NetInputs, net_inputs
from unnoise.generation.trained_net import TrainedNet
from unnoise.sampling import defaults, registry
from unnoise.sampling.grid import explicit
from unnoise.sampling.state import start

STEPS = 20
VALUES = 1 << 22  # numbers of x in one call of the net


def sample(
    model: TrainedNet,
    n: int = 1,
    steps: int | None = None,
    *,
    sampler: str | AnySampler | None = None,
    schedule: str | Sequence[float] | None = None,
    seed: int = 0,
    cond: Any = None,
    guidance_scale: float = 1.0,
) -> Tensor:
    """Draw n samples; sample k has seed + k, and does not depend on the others.

    Args:
        model: what `unnoise.train.fit` returned.
        steps: 1 to 1000; 20 by default.
        sampler, schedule: names as on the command line, a sampler, or explicit levels; the best measured by default.
        cond: a class for all, or one row for each sample: a tensor or a dict of tensors, as the training had.
        guidance_scale: 1 is off; needs a training with cond_dropout.

    Returns:
        (n, *d) in the units of the data, in float32 on the CPU.

    Raises:
        InputError: an argument is out of range or does not fit the model.
        NonFiniteError: the network returned NaN or infinity.
    """
    if not isinstance(model, TrainedNet):
        raise InputError(f"model {quoted(model)}: what unnoise.train.fit returns; a pipeline draws with generate")
    check_whole("n", n, 1, 10**9)
    check_whole("seed", seed, 0, 2**64 - n)
    check_number("guidance_scale", guidance_scale, 0, GUIDANCE)
    inputs = _inputs(model, cond, n)
    guided = guidance_scale != 1
    if guided and (inputs is None or not model.facts.dropped):
        raise InputError(f"guidance_scale {guidance_scale:g}: the net was trained without cond_dropout; use 1")
    made, grid = _route(model, steps, sampler, schedule, guided)
    rows = max(1, VALUES // max(1, torch.Size(model.facts.shape).numel()))
    was, parts = model.net.training, []
    model.net.eval()
    try:
        for first in range(0, n, rows):
            part = None if inputs is None else inputs.rows(slice(first, first + rows))
            seeds = range(seed + first, seed + min(first + rows, n))
            parts.append(_drawn(model, part, guidance_scale, (made, grid), seeds))
    finally:
        model.net.train(was)
    return torch.cat(parts)


@torch.no_grad()
def _drawn(
    model: TrainedNet,
    cond: NetInputs | None,
    guidance_scale: float,
    how: tuple[AnySampler, tuple[float, ...]],
    seeds: Sequence[int],
) -> Tensor:
    """Draw the samples of seeds in one batch. how: sampler and levels."""
    device = next(model.net.parameters()).device
    noise = draw(seeds, START, torch.empty(len(seeds), *model.facts.shape)).to(device)
    denoise = _denoise(model, None if cond is None else cond.to(device), guidance_scale)
    return model.facts.affine.to_code(run(how[0], denoise, start(noise, how[1]), draw, seeds).cpu())


def _denoise(model: TrainedNet, cond: NetInputs | None, guidance_scale: float) -> Denoise:
    if cond is None:
        return model.denoiser.bind(Conditioning())
    plain = model.denoiser.bind(cond)
    if guidance_scale == 1:
        return plain
    return autoguide(plain, model.denoiser.bind(null_inputs(cond, model.facts.classes)), guidance_scale)


def null_inputs(cond: NetInputs, classes: Mapping[str, int]) -> NetInputs:
    """Return conditioning that is left out: the class after the last, and zeros."""
    return NetInputs(
        {
            name: torch.zeros_like(value) if value.is_floating_point() else torch.full_like(value, classes[name])
            for name, value in cond.tensors.items()
        }
    )


def _inputs(model: TrainedNet, cond: Any, n: int) -> NetInputs | None:
    """Return the conditioning of n samples. Raises InputError where it does not fit the model."""
    if not model.facts.names:
        if cond is not None:
            raise InputError("cond: the net was trained without conditioning; leave it out")
        return None
    if cond is None:
        raise InputError(f"cond: the net was trained with {_described(model)}; give one row for each sample")
    if isinstance(cond, int | float):
        cond = [cond] * n
    inputs = net_inputs(cond)
    if set(inputs.tensors) != set(model.facts.names) or len(inputs) != n:
        shown = ", ".join(sorted(inputs.tensors)) if ALONE not in inputs.tensors else "one tensor"
        raise InputError(f"cond: {shown} of {len(inputs)} rows; {_described(model)}, {n} rows")
    check_classes(inputs, model.facts.classes)
    return inputs


def _described(model: TrainedNet) -> str:
    return "one tensor" if model.facts.names == (ALONE,) else ", ".join(model.facts.names)


def check_classes(cond: NetInputs, classes: Mapping[str, int]) -> None:
    """Raise InputError for a class that is out of range."""
    for name, count in classes.items():
        value = cond.tensors[name]
        bad = (value < 0) | (value >= count) if count else value < 0
        if bad.any():
            limit = f"to {count - 1}" if count else "or more"
            raise InputError(f"cond{f'[{name!r}]' * bool(name)} {int(value[bad][0])}: a class, 0 {limit}")


def _route(
    model: TrainedNet,
    steps: int | None,
    sampler: str | AnySampler | None,
    schedule: str | Sequence[float] | None,
    guided: bool,
) -> tuple[AnySampler, tuple[float, ...]]:
    """Choose sampler and levels."""
    process = model.denoiser.process
    ends = process.sigma_max, process.sigma_min
    named, spacing = named_sampler(sampler, schedule if isinstance(schedule, str) or schedule is None else (*schedule,))
    count = len(spacing) - 1 if isinstance(spacing, tuple) else STEPS if steps is None else steps
    check_whole("steps", count, 1, 1000)
    if steps not in (None, count):
        raise InputError(f"steps {steps}: the schedule has {count} steps; leave steps out")
    best, grid = defaults.default(count, *ends, guided)
    if isinstance(spacing, tuple):
        grid = registry.within(explicit(spacing), *ends)
    elif spacing is not None or named is not None:
        grid = named_schedule(spacing or "default", count, process)
    return best if named is None else registry.sampler(named) if isinstance(named, str) else named, grid
