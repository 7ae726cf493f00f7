"""AB: Adams-Bashforth on an axis along which the combined values are nearly polynomials.

    x' = scale'·(x/scale + (span' - span)·sum_j w_j·value_j)       value = (x - scale·x0-hat)/spread
    flow    scale = signal + spread, span = place: `glide` along flow       eps    scale = signal, span = sigma: `drift`
    w_j = mean of L_j(u) over the step, by span      u = s/(1 + s)  with  s = sigma^(1/rho)

`IPNDM` approximates flow by a polynomial in place, `LMS` eps by one in sigma, `DEIS` by one in log(sigma), which has no
ends. Images form over decades of sigma: u is nearly log(sigma) in the middle, and runs from 1 at sigma = inf to 0 at 0.
As functions of u the values of most data are smoother, so fewer values and fewer steps suffice; rho = 1 of flow is
place itself.

The last step, to sigma = 0, extrapolates as the others do, through two values at most, since more would amplify the
errors of a model. Other samplers return x0-hat there, an error of first order in the lowest level above 0, which limits
all long runs of models that are not defined below some level. A constant x0-hat is returned exactly, to rounding. flow
may start at sigma = inf, eps may not.

Order 1 to 4 once as many values are known, between finite levels; on grids that go to inf or 0 that holds for rho = 1
of flow, and rho = 4 falls at orders measured from 1.7 to 2.3: it wins at few steps. A run starts cold, with orders 1,
2, 3, 4, and its first step leaves an error of order 2 in the whole run. One query a step.
Source: measured here, see `sampling/defaults.py`; Zhang & Chen 2022 (DEIS, arXiv 2204.13902), section 3, for the choice
of the variable of the polynomial.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from unnoise.errors import InputError, check_whole
from unnoise.sampling.level import V, blend, place, signal, spread
from unnoise.sampling.multistep import combined
from unnoise.sampling.state import State, finish_step, finite, unused

PANELS = 4  # of the quadrature over a step
SIDES = 0.5 - 12**-0.5, 0.5 + 12**-0.5  # the two Gauss-Legendre nodes of a panel


@dataclass(frozen=True, slots=True)
class AB:
    """Step along the present and up to order - 1 past values, order in 1 .. 4, polynomials in u; rho in [1, 16]."""

    order: int = 2
    rho: float = 4.0
    of: Literal["flow", "eps"] = "flow"
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_whole("order", self.order, 1, 4)
        if not 1 <= self.rho <= 16:
            raise InputError(f"rho {self.rho!r}: from 1 to 16")
        if self.of not in VARIABLES:
            raise InputError(f"of {self.of!r}: flow or eps")

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; memory holds spread·value of each step before.

        Raises InputError for eps in a step from or to sigma = inf.
        """
        unused(noise, self)
        here, there = state.step
        if self.of == "eps":
            finite(max(here, there), self)
        scale, span, pace = VARIABLES[self.of]
        known = (state.x + -scale(here) * prediction, *state.memory)
        used = known[:2] if there == 0 else known
        levels = [state.grid[state.i - k] for k in range(len(used))]
        nodes = [axis(level, self.rho) for level in levels]
        shares = means(nodes, axis(there, self.rho), lambda u: pace(u, self.rho))
        reach = scale(there) * (span(there) - span(here))
        weights = [reach * share / spread(level) for share, level in zip(shares, levels, strict=True)]
        x = blend((scale(there) / scale(here), *weights), (state.x, *used))
        return finish_step(state, x, memory=known[: self.order - 1])


def axis(sigma: float, rho: float) -> float:
    """Return  u = s/(1 + s)  with  s = sigma^(1/rho),  from 0 at sigma = 0 to 1 at inf."""
    return place(sigma ** (1.0 / rho))


def by_place(u: float, rho: float) -> float:
    """Return d(place)/du, u in [0, 1]:  rho·s^(rho - 1)·(1 + s)^2/(1 + s^rho)^2,  the same at 1 - u."""
    s = min(u, 1.0 - u) / max(u, 1.0 - u)
    return rho * s ** (rho - 1.0) * ((1.0 + s) / (1.0 + s**rho)) ** 2


def by_sigma(u: float, rho: float) -> float:
    """Return d(sigma)/du, u in [0, 1):  rho·s^(rho - 1)·(1 + s)^2."""
    s = u / (1.0 - u)
    return rho * s ** (rho - 1.0) * (1.0 + s) ** 2


Level = Callable[[float], float]
VARIABLES: dict[str, tuple[Level, Level, Callable[[float, float], float]]] = {
    "flow": (lambda sigma: signal(sigma) + spread(sigma), place, by_place),
    "eps": (signal, lambda sigma: sigma, by_sigma),
}


def means(nodes: Sequence[float], there: float, pace: Callable[[float], float]) -> list[float]:
    """Return the mean, weighted by pace, of each Lagrange polynomial over the step from nodes[0]; the sum is 1."""
    width = (there - nodes[0]) / PANELS
    at = [nodes[0] + width * (panel + side) for panel in range(PANELS) for side in SIDES]
    paces = [pace(u) for u in at]
    whole, powers = sum(paces), [1.0]
    for _ in nodes[1:]:
        paces = [speed * u for speed, u in zip(paces, at, strict=True)]
        powers.append(sum(paces) / whole)
    past = combined(nodes, powers)[1:]
    return [1.0 - sum(past), *past]
