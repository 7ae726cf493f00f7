"""Walk a scheduler of diffusers from unit noise, with a denoiser in the unit frame.

A scheduler holds x in a frame of its own; the unit frame's x is that over its width:

    vp    x0/sqrt(1 + sigma^2) + eps·sigma/sqrt(1 + sigma^2)      width 1
    ve    x0 + sigma·eps                                          width sqrt(1 + sigma^2)
    flow  (1 - place)·x0 + place·eps,  place = sigma/(1 + sigma)  width sqrt(1 + sigma^2)/(1 + sigma)

The denoiser is exact, at the level that the scheduler assumes.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import diffusers
import diffusers.schedulers as library
import numpy as np
import torch
from mixtures import Array

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity_error()

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
TABLE = np.sqrt(1 / np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2) - 1)
LOW, HIGH = float(TABLE[0]), float(TABLE[-1])
Settings = Mapping[str, Any]
Levels = Callable[[int], list[float]]


@dataclass(frozen=True, eq=False)
class Peer:
    """Hold one scheduler with one choice of settings.

    settings: of the class. own_start: it starts at pure noise, or nearly, and is measured from there.
    levels or times: an own list for `set_timesteps`. built: settings that depend on the number of steps. step: further
    arguments of `step`.
    """

    name: str
    means: str
    frame: str = "vp"
    settings: Settings = field(default_factory=dict)
    levels: Levels | None = None
    times: Callable[[int], list[int]] | None = None
    built: Callable[[int], Settings] | None = None
    step: Settings = field(default_factory=dict)
    stochastic: bool = False
    own_start: bool = False

    def key(self) -> tuple[object, ...]:
        """Tell the settings that differ in effect: a default that is written out is none."""
        known = {name: entry.default for name, entry in inspect.signature(self.kind.__init__).parameters.items()}
        acting = {name: str(value) for name, value in self.settings.items() if known.get(name) != value}
        return self.name, tuple(sorted(acting.items())), self.levels, self.times, self.built, tuple(self.step.items())

    @cached_property
    def kind(self) -> type:
        return getattr(library, self.name)

    def ready(self, steps: int) -> Any:
        """Build the scheduler and set its grid of this many steps."""
        scheduler = self.kind(**self.settings, **(self.built(steps) if self.built else {}))
        if self.levels:
            scheduler.set_timesteps(sigmas=self.levels(steps))
        elif self.times:
            scheduler.set_timesteps(timesteps=self.times(steps))
        else:
            scheduler.set_timesteps(steps)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        return scheduler

    def within(self, calls: int) -> Any:
        """Build it with the most steps that this many network calls pay; raises ValueError when none is."""
        for steps in range(calls // self.kind.order + 1, 0, -1):
            try:
                scheduler = self.ready(steps)
            except (ValueError, IndexError, ZeroDivisionError, AssertionError):
                continue
            if len(scheduler.timesteps) <= calls:
                return scheduler
        raise ValueError(f"{self.name} has no grid of {calls} calls")

    def walk(self, scheduler: Any, denoise: Callable[[Array, float], Array], noise: Array, seed: int = 0) -> Array:
        """Walk from unit noise at the first level to the end; gives x as it ends, in the unit frame of level 0."""
        torch.manual_seed(seed)
        draws = {"generator": torch.Generator().manual_seed(seed)} if self.draws else {}
        x, kept = torch.from_numpy(noise), (None, None)
        for i, time in enumerate(scheduler.timesteps):
            level = self.level(scheduler, time)
            if i == 0:
                x = x * width(self.frame, level)
            scaled = getattr(scheduler, "scale_model_input", None)
            if scaled:
                scaled(x, time)
            unit = x / width(self.frame, level)
            x0 = torch.from_numpy(denoise(unit.double().numpy(), level))
            out = self.answer(scheduler, x, unit, x0, level)
            if self.name == "CogVideoXDPMScheduler":
                old, back = kept
                x, old = scheduler.step(out, old, time, back, x, **draws)
                kept = old, time
            else:
                x = scheduler.step(out, time, x, **draws, **self.step)[0]
        return x.double().numpy()

    @cached_property
    def draws(self) -> bool:
        """Tell whether its step takes a generator that is used."""
        return self.stochastic and "generator" in inspect.signature(self.kind.step).parameters

    def level(self, scheduler: Any, time: Any) -> float:
        """Return the sigma that the scheduler assumes."""
        if self.frame == "angle":
            place = (scheduler.timesteps == time).nonzero()[0]
            signal, spread = float(scheduler.alphas[place]), float(scheduler.betas[place])
            return spread / signal if signal else math.inf
        if not hasattr(scheduler, "sigmas"):
            kept = float(scheduler.alphas_cumprod[int(time)])
            return math.sqrt((1 - kept) / kept)
        if scheduler.step_index is None:
            scheduler._init_step_index(time)
        value = float(self.open_levels(scheduler)[scheduler.step_index])
        if self.frame == "flow":
            return math.inf if value >= 1 else value / (1 - value)
        return value

    def open_levels(self, scheduler: Any) -> torch.Tensor:
        """Return the levels among which the present question is: within a step some keep others."""
        if getattr(scheduler, "state_in_first_order", True):
            return scheduler.sigmas
        if self.name == "DPMSolverSDEScheduler":
            return scheduler.mid_point_sigma.expand(len(scheduler.sigmas))
        if self.name == "KDPM2AncestralDiscreteScheduler":
            return scheduler.sigmas_interpol.roll(1)
        return getattr(scheduler, "sigmas_interpol", scheduler.sigmas)

    def answer(self, scheduler: Any, x: Any, unit: Any, x0: Any, level: float) -> Any:
        """Turn the prediction of x0 into what the scheduler expects of its network."""
        signal, spread = (0.0, 1.0) if math.isinf(level) else (1 / math.hypot(1, level), level / math.hypot(1, level))
        if "sigma_data" in scheduler.config:
            data, total = scheduler.config.sigma_data, level**2 + scheduler.config.sigma_data**2
            sign = -1 if scheduler.config.prediction_type == "v_prediction" else 1
            return sign * (x0 - data**2 / total * x) * math.sqrt(total) / (level * data)
        eps = (unit - signal * x0) / spread
        if self.frame == "angle":
            return signal * eps - spread * x0
        flow = self.frame == "flow" and getattr(scheduler.config, "prediction_type", "flow") != "epsilon"
        return eps - x0 if flow else eps


def width(frame: str, sigma: float) -> float:
    """Return the factor of a frame over the unit frame."""
    if frame in ("vp", "angle") or math.isinf(sigma):
        return 1.0
    return math.hypot(1, sigma) / (1 if frame == "ve" else 1 + sigma)
