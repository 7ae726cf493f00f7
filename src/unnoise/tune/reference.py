"""Reference trajectories: a few dozen seeds in fine steps, which runs of few steps are fitted to."""

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

ProgressCallback = Callable[[float], None]  # the share that is done, 0 to 1
FINE = 160  # steps; at 192 the embedded model's x0 is within 0.0004 of 384 steps and of 200 of heun
STRIDE = 5  # fine levels between two candidates: 32 candidates


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The state of each seed at each fine level. levels: FINE + 1, descending to 0; states: x (B, *d) at each level."""

    levels: tuple[float, ...]
    states: tuple[Tensor, ...]

    @property
    def x0(self) -> Tensor:
        """The ends of the trajectories: (B, *d)."""
        return self.states[-1]

    def at(self, level: float) -> Tensor:
        """Interpolate the states at any level: (B, *d), by the cubic through the four nearest fine levels.

        The cubic is in  place = sigma/(1 + sigma), of  y = x/(signal + spread), which has the least curvature.
        """
        near = bisect_left(self.levels, -level, key=lambda fine: -fine)
        first = max(0, min(near - 2, len(self.levels) - 4))
        around = self.levels[first : first + 4]
        nodes = [place(fine) for fine in around]
        wide = signal(level) + spread(level)
        shares = [wide * lagrange(nodes, j, place(level)) / (signal(s) + spread(s)) for j, s in enumerate(around)]
        return blend(shares, self.states[first : first + 4])


def with_progress(denoise: Denoise, calls: int, callback: ProgressCallback) -> Denoise:
    """Call `callback` after each network call with the share of `calls` that is done."""
    done = 0

    def counted(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal done
        x0, done = denoise(x, sigma), done + 1
        callback(min(1.0, done / calls))
        return x0

    return counted


def at_one_level(denoise: Denoise) -> Predict[Tensor]:
    """Turn a denoiser into a function of x and one level for all rows, which raises NonFiniteError for NaN or Inf."""

    def ask(x: Tensor, level: float) -> Tensor:
        x0 = denoise(x, torch.full((len(x),), float(level), dtype=torch.float32, device=x.device))
        if not x0.isfinite().all():
            raise NonFiniteError(f"fit: NaN or infinity in x0 at sigma {level:g}, dtype {x0.dtype}")
        return x0

    return ask


@torch.no_grad()
def trace(denoise: Denoise, noise: Tensor, sigma_max: float = inf, sigma_min: float = 0.0) -> Reference:
    """Integrate the probability flow from noise (B, *d) in FINE steps of order 4."""
    ask, sampler = at_one_level(denoise), IPNDM(4)
    state = start(noise, measured(FINE, sigma_max, sigma_min))
    states = [state.x]
    while not state.done:
        state = sampler.advance(state, ask(state.x, state.level))
        states.append(state.x)
    return Reference(state.grid, tuple(states))


def rms_difference(one: Tensor, other: Tensor) -> Tensor:
    """Return the root mean square difference of each row: (B, *d), (B, *d) -> (B,)."""
    return (one - other).flatten(1).square().mean(1).sqrt()
