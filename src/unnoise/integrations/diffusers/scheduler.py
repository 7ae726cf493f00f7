"""Our samplers as schedulers of diffusers, for any of its pipelines.

    pipe.scheduler = unnoise.diffusers_scheduler("dpmpp-3m", like=pipe.scheduler)

Every network call of a sampler is one timestep, so that samplers with several calls a step work in the loop of every
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
from unnoise.sampling import defaults, registry
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
STEPS = 50  # until a pipeline sets the number
CLOCK = 1000.0  # the time of pure noise in flow pipelines


def diffusers_scheduler(
    sampler: str | Sampler[Any, Any] | None = None, schedule: str | Sequence[float] | None = None, *, like: Any
) -> "UnnoiseScheduler":
    """Return a drop-in scheduler with one of our samplers.

    Args:
        sampler: a name or a sampler; None is the best for the number of steps.
        schedule: a name or every level of sigma; None is that of the pipeline, else the best.
        like: the pipeline's scheduler, which states the process and prediction type of its network; one of ours too.

    Raises:
        InputError: a name is unknown, or `like` does not state the process.
    """
    chosen = registry.sampler(sampler) if isinstance(sampler, str) else sampler
    if isinstance(schedule, str):
        registry.known("schedule", schedule, registry.GRIDS)
    levels = schedule if schedule is None or isinstance(schedule, str) else explicit(tuple(schedule))
    process, kind = trained_on(like)
    return UnnoiseScheduler(process, kind, chosen, levels, like.config)


def trained_on(like: Any) -> tuple[Process, Kind]:
    """Return the process and prediction type of a pipeline's network by its own scheduler."""
    if isinstance(like, UnnoiseScheduler):
        return like.process, like.kind
    config = like.config
    stated = str(config.get("prediction_type", "epsilon"))
    flow = type(like).__name__.startswith(("FlowMatch", "LTX"))
    if flow or config.get("use_flow_sigmas") or stated == "flow_prediction":
        return Flow(), "flow"
    table = getattr(like, "alphas_cumprod", None)
    if table is None:
        raise InputError(
            f"like {type(like).__name__}: neither a flow scheduler nor one with alphas_cumprod; its process is unknown"
        )
    if stated not in KINDS:
        raise InputError(f"prediction_type {stated!r}: {nearest(stated, KINDS)}")
    values = [float(value) for value in table.double()]
    if config.get("rescale_betas_zero_snr"):
        values[-1] = 0.0  # some schedulers store a value slightly above
    return Table(tuple(values)), KINDS[stated]


class UnnoiseScheduler(SchedulerMixin, ConfigMixin):
    """A scheduler for pipelines of diffusers; `diffusers_scheduler` returns one."""

    config_name = "scheduler_config.json"  # type: ignore[assignment]
    order = 1  # timesteps list every network call
    init_noise_sigma = 1.0

    def __init__(
        self,
        process: Process,
        kind: Kind,
        sampler: Sampler[Any, Any] | None,
        schedule: str | tuple[float, ...] | None,
        config: Mapping[str, Any],
    ) -> None:
        self.process, self.kind, self.chosen, self.schedule = process, kind, sampler, schedule
        self._internal_dict: Any = FrozenDict({**config, "sampler": type(sampler).__name__, "schedule": schedule})
        self.num_inference_steps: int | None = None
        self.begin_index = 0
        self._state: State[Tensor] | None = None
        self.set_timesteps(len(schedule) - 1 if isinstance(schedule, tuple) else STEPS)

    @property
    def step_index(self) -> int | None:
        """The index of the next network call; None before the first."""
        return None if self._state is None else self._call

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: torch.device | str | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Set the levels and the times of the network calls. Raises InputError if the arguments do not match."""
        levels = self._levels(num_inference_steps, timesteps, sigmas, mu)
        self.num_inference_steps = len(levels) - 1
        top, low = self.process.sigma_max, self.process.sigma_min
        self.sampler = self.chosen or defaults.default(len(levels) - 1, top, low, guided=True)[0]
        self.calls = calls(self.sampler, levels)
        call_levels = torch.tensor([level for _, _, level in self.calls], dtype=torch.float64)
        times = self.process.time(call_levels)
        scale = CLOCK if isinstance(self.process, Flow) else 1.0
        self.timesteps = (times * scale).to(device or "cpu", torch.float32)
        self.sigmas = torch.tensor([*(self._native(level) for _, _, level in self.calls), self._native(levels[-1])])
        self.levels, self._state, self._call, self.begin_index = levels, None, 0, 0

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at a later call, as image-to-image does."""
        self.begin_index = begin_index

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """Return the sample: x already has the scale of the network's input."""
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
        """Return the x of the next network call. Raises InputError for eta, which is part of a sampler here."""
        if eta:
            raise InputError(
                f"eta {eta}: noise is part of a sampler here; use 'ancestral' or another stochastic sampler"
            )
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
        """Add noise for the given times of the network. timesteps: (B,) or one."""
        scale = CLOCK if isinstance(self.process, Flow) else 1.0
        time = timesteps.to(original_samples.device, torch.float32).reshape(-1) / scale
        a, b = self.process.scales(time.expand(len(original_samples)))
        return expand(a, original_samples) * original_samples + expand(b, noise) * noise

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """Add noise; the name of this method in flow pipelines."""
        return self.add_noise(sample, noise, timestep)

    def __len__(self) -> int:
        return int(self.config.get("num_train_timesteps", CLOCK))

    def _levels(
        self, steps: int | None, times: Sequence[float] | None, shares: Sequence[float] | None, mu: float | None
    ) -> tuple[float, ...]:
        """Return the levels: of the schedule that was chosen, else of the pipeline, else the best."""
        listed = shares if shares is not None else times
        count = len(listed) if listed is not None else steps
        if count is None:
            raise InputError("set_timesteps: give a number of steps, timesteps or sigmas")
        if isinstance(self.schedule, tuple):
            if count != len(self.schedule) - 1:
                raise InputError(f"num_inference_steps {count}: the schedule has {len(self.schedule) - 1} steps")
            return self.schedule
        shift = exp(mu) if mu is not None else float(self.config.get("shift") or self.config.get("flow_shift") or 1.0)
        flow = isinstance(self.process, Flow)
        if self.schedule is not None or listed is None:
            own = {"shift": shift} if flow else {}
            return named_schedule(self.schedule or ("flow" if flow else "default"), count, self.process, **own)
        if shares is not None and flow:
            return (*(inf if share >= 1 else shift * share / (1 - share) for share in map(float, shares)), 0.0)
        if shares is not None:
            return (*map(float, shares), 0.0)
        clock = torch.tensor([float(time) for time in times or ()], dtype=torch.float64) / (CLOCK if flow else 1.0)
        return (*self.process.sigma(clock).tolist(), 0.0)

    def _begin(self, timestep: Any, sample: Tensor) -> State[Tensor]:
        """Start at the first call of the pipeline; if it is within a step, at the start of that step."""
        gaps = (self.timesteps - float(timestep)).abs()
        self._call = self.begin_index or int(gaps.argmin())
        first = self.calls[self._call][0]
        return start(sample.float(), self.levels[first:])

    def _size(self, level: float) -> float:
        """Return the scale of the pipeline's x relative to the unit frame."""
        if not isinstance(self.process, Flow):
            return 1.0
        share = self._native(level)
        return float((share**2 + (1 - share) ** 2) ** 0.5)

    def _native(self, level: float) -> float:
        """Return a level as in diffusers: the share of noise for flow, sigma otherwise."""
        return level if not isinstance(self.process, Flow) else 1.0 if level == inf else level / (1 + level)


def calls(sampler: Sampler[Any, Any], levels: tuple[float, ...]) -> list[tuple[int, int, float]]:
    """List step, stage and level of every network call of a run; they do not depend on the predictions."""
    state = start(0.0, levels)
    found: list[tuple[int, int, float]] = []
    while not state.done:
        found.append((state.i, state.stage, state.level))
        state = sampler.advance(state, 0.0, 0.0 if sampler.stochastic else None)
    return found
