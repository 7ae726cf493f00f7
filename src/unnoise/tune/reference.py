"""Fine trajectories of a few dozen seeds: what a run of few steps should come close to, at every level."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from unnoise.diffusion.denoiser import Denoise
from unnoise.errors import NonFiniteError
from unnoise.sampling.defaults import measured
from unnoise.sampling.level import blend, place, signal, spread
from unnoise.sampling.multistep import lagrange
from unnoise.sampling.samplers.ipndm import IPNDM
from unnoise.sampling.schedule_search import Predict
from unnoise.sampling.state import start

Watch = Callable[[float], None]  # the share that is done, 0 ... 1
FINE = 160  # steps; at 192 the embedded model's x0 is within 0.0004 of 384 steps and of 200 of heun
STRIDE = 5  # fine levels between two candidates: 32 candidates


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """Hold where each seed is at each fine level. levels: FINE + 1, descending to 0; states: of each, x: (B, *d)."""

    levels: tuple[float, ...]
    states: tuple[Tensor, ...]

    @property
    def x0(self) -> Tensor:
        """Give where the trajectories end: (B, *d)."""
        return self.states[-1]

    def at(self, level: float) -> Tensor:
        """Give where each seed is at any level between: (B, *d), by the cubic through the four fine levels around it.

        It runs in  place = sigma/(1 + sigma), on  y = x/(signal + spread), which bends least.
        """
        near = bisect_left(self.levels, -level, key=lambda fine: -fine)
        first = max(0, min(near - 2, len(self.levels) - 4))
        around = self.levels[first : first + 4]
        nodes = [place(fine) for fine in around]
        wide = signal(level) + spread(level)
        shares = [wide * lagrange(nodes, j, place(level)) / (signal(s) + spread(s)) for j, s in enumerate(around)]
        return blend(shares, self.states[first : first + 4])


def counted(denoise: Denoise, calls: int, watch: Watch) -> Denoise:
    """Tell a watcher after each call which share of so many calls is done."""
    done = 0

    def told(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal done
        x0, done = denoise(x, sigma), done + 1
        watch(min(1.0, done / calls))
        return x0

    return told


def asking(denoise: Denoise) -> Predict[Tensor]:
    """Turn a denoiser into one that takes a level for all rows. It raises NonFiniteError at an answer that is not."""

    def ask(x: Tensor, level: float) -> Tensor:
        x0 = denoise(x, torch.full((len(x),), float(level), dtype=torch.float32, device=x.device))
        if not x0.isfinite().all():
            raise NonFiniteError(f"fit: NaN or infinity in the answer at sigma {level:g}, dtype {x0.dtype}")
        return x0

    return ask


@torch.no_grad()
def trace(denoise: Denoise, noise: Tensor, sigma_max: float = inf, sigma_min: float = 0.0) -> Teacher:
    """Follow the probability flow from noise: (B, *d), in FINE steps of order 4."""
    ask, sampler = asking(denoise), IPNDM(4)
    state = start(noise, measured(FINE, sigma_max, sigma_min))
    states = [state.x]
    while not state.done:
        state = sampler.advance(state, ask(state.x, state.level))
        states.append(state.x)
    return Teacher(state.grid, tuple(states))


def apart(one: Tensor, other: Tensor) -> Tensor:
    """Give the root mean square difference of each row: (B, *d), (B, *d) -> (B,)."""
    return (one - other).flatten(1).square().mean(1).sqrt()
