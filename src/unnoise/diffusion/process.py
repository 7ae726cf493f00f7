"""Forward processes: the native time of a network and the scales of its input.

A process is x_t = a(time)*x0 + b(time)*eps with sigma = b/a. All other code uses sigma; `time` is used only here and
in denoiser.py. `time(sigma)` is finite for every sigma in [0, inf]: outside of sigma_min and sigma_max it is clamped.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import inf, isfinite, pi
from typing import Any, ClassVar, Final, Literal, Protocol, get_args

import torch
from torch import Tensor

from unnoise.diffusion.level_table import LevelTable
from unnoise.diffusion.prediction import signal, spread
from unnoise.errors import InputError, nearest
from unnoise.sampling import noise_schedules

Schedule = Literal["linear", "scaled-linear", "sigmoid-beta", "cosine", "sigmoid", "laplace", "exponential"]
SCHEDULES: Final[tuple[Schedule, ...]] = get_args(Schedule)


class Process(Protocol):
    """The forward process that a net was trained on; every field is a plain JSON value."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def sigma_min(self) -> float:
        """The lowest level of the process, in [0, inf)."""

    @property
    def sigma_max(self) -> float:
        """The highest level of the process, in (0, inf]."""

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return (a, b) of x_t = a*x0 + b*eps. time: any shape."""

    def sigma(self, time: Tensor) -> Tensor:
        """Return b/a. time: any shape."""

    def time(self, sigma: Tensor) -> Tensor:
        """Return the native time of a level, finite also at inf. sigma: any shape, in [0, inf]."""


def share(process: Process, sigma: Tensor) -> Tensor:
    """Return the position of a level in native time, which is the `strength` of img2img.

    Args:
        sigma: (B,).

    Returns:
        (B,), 0 at sigma_min, 1 at sigma_max.
    """
    ends = torch.tensor([process.sigma_min, process.sigma_max], dtype=torch.float64)
    low, high = process.time(ends).tolist()
    return (process.time(sigma) - low) / (high - low)


@dataclass(frozen=True, slots=True)
class Flow:
    """Flow matching: a = 1 - t, b = t with t = shift*time / (1 + (shift - 1)*time), so sigma = shift*time/(1 - time).

    The shift changes the time that the net gets. The nets of SD3 and FLUX get t itself, so they are Flow() with a
    shifted schedule, not Flow(shift=3). Training with a shift draws levels uniform in the time of Flow(shift). A shift
    given as mu is e^mu.

    Args:
        shift: above 0.

    Source: Lipman et al. 2023, eq. 20 (sigma_min = 0); Esser et al. 2024 (SD3), eq. 23 (shift).
    """

    shift: float = 1.0

    def __post_init__(self) -> None:
        _positive("shift", self.shift)

    @property
    def sigma_min(self) -> float:
        return 0.0

    @property
    def sigma_max(self) -> float:
        return inf

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        noise, data = self.shift * time, 1 - time
        return data / (noise + data), noise / (noise + data)

    def sigma(self, time: Tensor) -> Tensor:
        return self.shift * time / (1 - time)

    def time(self, sigma: Tensor) -> Tensor:
        return (1 + self.shift / sigma).reciprocal()


@dataclass(frozen=True, slots=True)
class EDM:
    """EDM: the unit frame itself, with time = ln(sigma * sigma_data) / 4. EDM's c_in*x is x of the unit frame.

    Args:
        sigma_data: deviation of the data in EDM's frame.
        sigma_min, sigma_max: levels, which are EDM's times deviation / sigma_data.
        deviation: of x0: 1 in the unit frame; sigma_data where x0 and levels are EDM's own.

    Source: Karras et al. 2022, table 1 (c_in, c_noise; sigma in [0.002, 80]).
    """

    sigma_data: float = 1.0
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        _positive("sigma_data", self.sigma_data)
        _positive("deviation", self.deviation)
        _ends(self.sigma_min, self.sigma_max)

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        sigma = self.sigma(time) / self.deviation
        return signal(sigma) / self.deviation, spread(sigma)

    def sigma(self, time: Tensor) -> Tensor:
        return torch.exp(4 * time) * (self.deviation / self.sigma_data)

    def time(self, sigma: Tensor) -> Tensor:
        return torch.log(sigma.clamp(self.sigma_min, self.sigma_max) * (self.sigma_data / self.deviation)) / 4


@dataclass(frozen=True, slots=True)
class VE:
    """Variance exploding: a = 1, b = sigma, time = ln(sigma / 2).

    Levels uniform in time are the log-linear schedule, in smalldiffusion between 0.02 and 10.

    Args:
        sigma_min, sigma_max: the range of levels, above 0.

    Source: Song et al. 2021, section 3.4; Karras et al. 2022, table 1 (c_noise; sigma in [0.02, 100]).
    """

    sigma_min: float = 0.02
    sigma_max: float = 100.0

    def __post_init__(self) -> None:
        _ends(self.sigma_min, self.sigma_max)

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(time), self.sigma(time)

    def sigma(self, time: Tensor) -> Tensor:
        return 2 * torch.exp(time)

    def time(self, sigma: Tensor) -> Tensor:
        return torch.log(sigma.clamp(self.sigma_min, self.sigma_max) / 2)


@dataclass(frozen=True, slots=True)
class Angle:
    """The cosine process in its angle: a = cos(pi*time/2), b = sin(pi*time/2), so that time = 2*atan(sigma)/pi.

    Args:
        sigma_min, sigma_max: the range of levels, in (0, inf).

    Source: Salimans & Ho 2022, section 4 (the cosine schedule in its angle); Evans et al. 2024 (Stable Audio Open).
    """

    sigma_min: float = 0.001
    sigma_max: float = 1000.0

    def __post_init__(self) -> None:
        _ends(self.sigma_min, self.sigma_max)

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cos(time * (pi / 2)), torch.sin(time * (pi / 2))

    def sigma(self, time: Tensor) -> Tensor:
        return torch.tan(time * (pi / 2))

    def time(self, sigma: Tensor) -> Tensor:
        return torch.atan(sigma.clamp(self.sigma_min, self.sigma_max)) * (2 / pi)


class _Discrete:
    """The common part of VP and Table: levels interpolated in the table that `table` returns."""

    __slots__ = ()

    def table(self) -> tuple[float, ...]:
        raise NotImplementedError

    @property
    def sigma_min(self) -> float:
        return _levels(self).sigma_min

    @property
    def sigma_max(self) -> float:
        return _levels(self).sigma_max

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        sigma = self.sigma(time)
        return signal(sigma), spread(sigma)

    def sigma(self, time: Tensor) -> Tensor:
        return _levels(self).sigma(time)

    def time(self, sigma: Tensor) -> Tensor:
        return _levels(self).time(sigma)


@lru_cache(maxsize=32)
def _levels(process: _Discrete) -> LevelTable:
    return LevelTable(process.table())


@dataclass(frozen=True, slots=True)
class VP(_Discrete):
    """Discrete variance-preserving (VP) steps: a^2 = product of (1 - beta), b^2 = 1 - a^2.

    time is in [0, steps - 1]; times between two steps are interpolated, see level_table.py.

    Args:
        schedule: the noise schedule, see sampling/noise_schedules.py for the sources. `sigmoid-beta` is `sigmoid` of
            diffusers and smalldiffusion, `sigmoid` that of lucidrains.
        steps: number of steps, from 2 up.
        beta_start, beta_end: the ends of `linear`, `scaled-linear` and `sigmoid-beta`, in (0, 1); None is
            BETAS[schedule]. The other schedules define a^2 and take no betas.
        zero_snr: rescale to zero terminal SNR, so that the last step is pure noise, sigma = inf.

    Source: Ho et al. 2020; Lin et al. 2023 (zero_snr).
    """

    schedule: Schedule = "linear"
    steps: int = 1000
    beta_start: float | None = None
    beta_end: float | None = None
    zero_snr: bool = False

    BETAS: ClassVar = {
        "linear": (1e-4, 0.02),  # Ho et al. 2020, section 4
        "scaled-linear": (0.00085, 0.012),  # CompVis/stable-diffusion, v1-inference.yaml
        "sigmoid-beta": (1e-4, 0.02),  # yuanchenyang/smalldiffusion, diffusion.py, ScheduleSigmoid
    }

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule {self.schedule!r}: {nearest(str(self.schedule), SCHEDULES)}")
        if self.steps < 2:
            raise InputError(f"steps {self.steps}: at least 2")
        ends = {"beta_start": self.beta_start, "beta_end": self.beta_end}
        given = {name: beta for name, beta in ends.items() if beta is not None}
        if given and self.schedule in noise_schedules.CURVES:
            raise InputError(f"{', '.join(given)}: the {self.schedule} schedule has no betas; leave them out")
        for name, beta in given.items():
            if not 0 < beta < 1:
                raise InputError(f"{name} {beta}: between 0 and 1, both excluded")

    def table(self) -> tuple[float, ...]:
        """Return a^2 of every step, in float64."""
        alphas_cumprod = noise_schedules.products(self._betas())
        return noise_schedules.zero_snr(alphas_cumprod) if self.zero_snr else alphas_cumprod

    def _betas(self) -> list[float]:
        if self.schedule in noise_schedules.CURVES:
            return noise_schedules.curve_betas(noise_schedules.CURVES[self.schedule], self.steps)
        start, end = self.BETAS[self.schedule]
        start = start if self.beta_start is None else self.beta_start
        end = end if self.beta_end is None else self.beta_end
        return noise_schedules.RAMPS[self.schedule](start, end, self.steps)


@dataclass(frozen=True, slots=True)
class Table(_Discrete):
    """A variance-preserving process given as a table. time is in [0, len - 1] and interpolated, see level_table.py.

    Args:
        alphas_cumprod: a^2 of each step: at least 2, below 1, strictly falling; the last may be 0.
    """

    alphas_cumprod: tuple[float, ...]

    def __post_init__(self) -> None:
        a = self.alphas_cumprod
        if len(a) < 2 or not (a[0] < 1 and a[-1] >= 0 and all(x > y for x, y in pairwise(a))):
            raise InputError("alphas_cumprod: at least 2 numbers, below 1, strictly falling, at least 0")

    def table(self) -> tuple[float, ...]:
        """Return the table itself."""
        return self.alphas_cumprod


def _positive(name: str, value: float) -> None:
    if not (value > 0 and isfinite(value)):
        raise InputError(f"{name} {value}: above 0 and finite")


def _ends(sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max < inf:
        raise InputError(f"sigma_min {sigma_min}, sigma_max {sigma_max}: 0 < sigma_min < sigma_max < inf")
