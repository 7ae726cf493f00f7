"""Our samplers in any pipeline of diffusers, as an object that it takes for one of its own schedulers.

    pipe.scheduler = unnoise.integrations.diffusers.scheduler.diffusers_scheduler("dpmpp-3m", like=pipe.scheduler)

Every network call of a sampler is one of the object's timesteps, so methods of several calls a step fit the loop of any
pipeline. The pipeline's x is that of its family: a*x0 + b*eps with a^2 + b^2 = 1, or with a + b = 1 for flow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, inf
from typing import Any

import torch
from torch import Tensor

from unnoise.diffusion.levels import named_schedule
from unnoise.diffusion.prediction import expand, to_x0
from unnoise.diffusion.process import Flow, Process, Table
from unnoise.errors import InputError, nearest
from unnoise.sampling import defaults as choose, registry as names
from unnoise.sampling.grid import explicit
from unnoise.sampling.kinds import Kind
from unnoise.sampling.state import Sampler, State, start

try:
    from diffusers.configuration_utils import ConfigMixin, FrozenDict
    from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput
    from diffusers.utils.torch_utils import randn_tensor
except ImportError as error:
    raise ImportError(
        f"unnoise.integrations.diffusers.scheduler needs diffusers ({error}): pip install 'unnoise[diffusers]'"
    ) from None

KINDS: Mapping[str, Kind] = {
    "epsilon": "eps", "v_prediction": "v", "sample": "x0", "flow_prediction": "flow",
}  # fmt: skip
STEPS = 50  # until a pipeline says how many
CLOCK = 1000.0  # to which pipelines of flow count time


def diffusers_scheduler(
    sampler: str | Sampler[Any, Any] | None = None, grid: str | Sequence[float] | None = None, *, like: Any
) -> "UnnoiseScheduler":
    """Make a drop-in scheduler of one of our samplers.

    sampler: a name, one itself, None = the best for the steps that are asked for; grid: a name, every level of sigma,
    None = as the pipeline asks, else the best; like: the pipeline's own, which says what its network was trained on.
    Raises InputError for unknown names and for a `like` that does not say it.
    """
    made = names.sampler(sampler) if isinstance(sampler, str) else sampler
    if isinstance(grid, str):
        names.known("grid", grid, names.GRIDS)
    levels = grid if grid is None or isinstance(grid, str) else explicit(tuple(grid))
    process, kind = trained_on(like)
    return UnnoiseScheduler(process, kind, made, levels, like.config)


def trained_on(like: Any) -> tuple[Process, Kind]:
    """Say on what process a pipeline's network was trained, and what it answers with, by its own scheduler."""
    config = like.config
    told = str(config.get("prediction_type", "epsilon"))
    if type(like).__name__.startswith("FlowMatch") or config.get("use_flow_sigmas") or told == "flow_prediction":
        return Flow(), "flow"
    table = getattr(like, "alphas_cumprod", None)
    if table is None:
        raise InputError(
            f"like {type(like).__name__}: neither of flow nor with a table of levels; its process is unknown"
        )
    if told not in KINDS:
        raise InputError(f"prediction_type {told!r}: {nearest(told, KINDS)}")
    values = [float(value) for value in table.double()]
    if config.get("rescale_betas_zero_snr"):
        values[-1] = 0.0  # some keep a little above it
    return Table(tuple(values)), KINDS[told]


class UnnoiseScheduler(SchedulerMixin, ConfigMixin):
    """What a pipeline of diffusers calls its scheduler. Made by `diffusers_scheduler`."""

    config_name = "scheduler_config.json"  # type: ignore[assignment]
    order = 1  # timesteps list every call of the network
    init_noise_sigma = 1.0

    def __init__(
        self,
        process: Process,
        kind: Kind,
        sampler: Sampler[Any, Any] | None,
        grid: str | tuple[float, ...] | None,
        config: Mapping[str, Any],
    ) -> None:
        self.process, self.kind, self.asked, self.grid = process, kind, sampler, grid
        self._internal_dict: Any = FrozenDict({**config, "sampler": type(sampler).__name__, "grid": grid})
        self.num_inference_steps: int | None = None
        self.begin_index = 0
        self._state: State[Tensor] | None = None
        self.set_timesteps(len(grid) - 1 if isinstance(grid, tuple) else STEPS)

    @property
    def step_index(self) -> int | None:
        """Give the number of the next call of the network; None before the first."""
        return None if self._state is None else self._call

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: torch.device | str | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Lay out the levels and the times at which the network is called. Raises InputError for what cannot be."""
        levels = self._levels(num_inference_steps, timesteps, sigmas, mu)
        self.num_inference_steps = len(levels) - 1
        top, low = self.process.sigma_max, self.process.sigma_min
        self.sampler = self.asked or choose.default(len(levels) - 1, top, low)[0]
        self.calls = calls(self.sampler, levels)
        asked = torch.tensor([level for _, _, level in self.calls], dtype=torch.float64)
        times = self.process.time(asked)
        scale = CLOCK if isinstance(self.process, Flow) else 1.0
        self.timesteps = (times * scale).to(device or "cpu", torch.float32)
        self.sigmas = torch.tensor([*(self._native(level) for _, _, level in self.calls), self._native(levels[-1])])
        self.levels, self._state, self._call, self.begin_index = levels, None, 0, 0

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at a later call, as image to image does."""
        self.begin_index = begin_index

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """Give the sample: x already has the size that the network wants."""
        return sample

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
        eta: float = 0.0,
    ) -> SchedulerOutput | tuple[Tensor, ...]:
        """Take an answer of the network and give the x of its next call. Raises InputError for eta: samplers name it."""
        if eta:
            raise InputError(f"eta {eta}: noise is part of a sampler here; take 'ancestral' or another that draws")
        state = self._begin(timestep, sample) if self._state is None else self._state
        state = replace(state, x=sample.float() / self._size(state.level))
        sigma = torch.full((len(sample),), state.level, device=sample.device)
        x0 = to_x0(self.kind, model_output.float(), state.x, sigma)
        noise = None
        if self.sampler.stochastic:
            noise = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=torch.float32)
        self._state = self.sampler.advance(state, x0, noise)
        self._call += 1
        there = self.levels[-1] if self._state.done else self._state.level
        found = (self._state.x * self._size(there)).to(sample.dtype)
        return SchedulerOutput(prev_sample=found) if return_dict else (found, x0.to(sample.dtype))

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Corrupt to the level of times of the network. timesteps: (B,) or one."""
        scale = CLOCK if isinstance(self.process, Flow) else 1.0
        time = timesteps.to(original_samples.device, torch.float32).reshape(-1) / scale
        a, b = self.process.scales(time.expand(len(original_samples)))
        return expand(a, original_samples) * original_samples + expand(b, noise) * noise

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """Corrupt, as pipelines of flow call it."""
        return self.add_noise(sample, noise, timestep)

    def __len__(self) -> int:
        return int(self.config.get("num_train_timesteps", CLOCK))

    def _levels(
        self, steps: int | None, times: Sequence[float] | None, shares: Sequence[float] | None, mu: float | None
    ) -> tuple[float, ...]:
        """Settle the levels: ours where they were named, those of the pipeline where it has any, else the best."""
        listed = shares if shares is not None else times
        count = len(listed) if listed is not None else steps
        if count is None:
            raise InputError("set_timesteps: a number of steps, timesteps or sigmas")
        if isinstance(self.grid, tuple):
            if count != len(self.grid) - 1:
                raise InputError(f"num_inference_steps {count}: the grid that was given has {len(self.grid) - 1} steps")
            return self.grid
        shift = exp(mu) if mu is not None else float(self.config.get("shift") or self.config.get("flow_shift") or 1.0)
        flow = isinstance(self.process, Flow)
        if self.grid is not None or listed is None:
            own = {"shift": shift} if flow else {}
            return named_schedule(self.grid or ("flow" if flow else "default"), count, self.process, **own)
        if shares is not None and flow:
            return (*(inf if share >= 1 else shift * share / (1 - share) for share in map(float, shares)), 0.0)
        if shares is not None:
            return (*map(float, shares), 0.0)
        clock = torch.tensor([float(time) for time in times or ()], dtype=torch.float64) / (CLOCK if flow else 1.0)
        return (*self.process.sigma(clock).tolist(), 0.0)

    def _begin(self, timestep: Any, sample: Tensor) -> State[Tensor]:
        """Start at the call that the pipeline begins with, and where that is within a step, at its beginning."""
        gaps = (self.timesteps - float(timestep)).abs()
        self._call = self.begin_index or int(gaps.argmin())
        first = self.calls[self._call][0]
        return start(sample.float(), self.levels[first:])

    def _size(self, level: float) -> float:
        """Give the size of the pipeline's x where that of the unit frame is 1."""
        if not isinstance(self.process, Flow):
            return 1.0
        share = self._native(level)
        return float((share**2 + (1 - share) ** 2) ** 0.5)

    def _native(self, level: float) -> float:
        """Write a level as diffusers does: the share of noise for flow, sigma else."""
        return level if not isinstance(self.process, Flow) else 1.0 if level == inf else level / (1 + level)


def calls(sampler: Sampler[Any, Any], levels: tuple[float, ...]) -> list[tuple[int, int, float]]:
    """List the step, the stage and the level of every network call of a run; they do not depend on the answers."""
    state = start(0.0, levels)
    found: list[tuple[int, int, float]] = []
    while not state.done:
        found.append((state.i, state.stage, state.level))
        state = sampler.advance(state, 0.0, 0.0 if sampler.stochastic else None)
    return found
