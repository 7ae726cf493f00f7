"""A multistep method whose weights were fitted to one model on one grid.

    x' = glide(x, sum_k w_ik·flow_k)      flow = eps-hat - x0-hat, k = 0 the present one, i the step

Adams' weights, as in `ipndm`, are exact for any flow that is a polynomial, and add up to 1. The flow of a model over a
few wide steps is not a polynomial. Weights fitted to it step by step are much more accurate for the same calls, and
need not add up to 1. They are valid on this grid only, so the order is 0. One query a step.
Source: Shaul et al. 2024 (bespoke non-stationary solvers, arXiv 2403.01329), eq. 9, with x of the step alone.
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from unnoise.errors import InputError
from unnoise.sampling.level import V, blend, flow_of, glide
from unnoise.sampling.state import State, finish_step, unused

LARGEST = 1000.0  # of a weight; fitted ones are mostly below 3


@dataclass(frozen=True, slots=True)
class Fitted:
    """Step along present and past flows, newest first, with a row of weights for each step."""

    weights: tuple[tuple[float, ...], ...]
    order: ClassVar[int] = 0
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        try:
            rows = tuple(tuple(float(weight) for weight in row) for row in self.weights)
        except (TypeError, ValueError):
            raise InputError(f"weights {self.weights!r}: a list of numbers for each step") from None
        if not rows:
            raise InputError(f"weights {self.weights!r}: at least one row, each for a step")
        for i, row in enumerate(rows):
            if not 1 <= len(row) <= i + 1:
                raise InputError(
                    f"weights[{i}] has {len(row)} numbers: 1 to {i + 1}, one for each flow known at this step"
                )
            if not all(isfinite(weight) and abs(weight) <= LARGEST for weight in row):
                raise InputError(f"weights[{i}] is {list(row)}: numbers from -{LARGEST:g} to {LARGEST:g}")
        object.__setattr__(self, "weights", rows)

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; memory holds the flow of each step before.

        Raises InputError on a grid of another number of steps.
        """
        unused(noise, self)
        if len(state.grid) - 1 != len(self.weights):
            raise InputError(f"grid of {len(state.grid) - 1} steps: these weights were fitted to {len(self.weights)}")
        here, there = state.step
        flows = (flow_of(state.x, prediction, here), *state.memory)
        flow = blend(self.weights[state.i], flows[: len(self.weights[state.i])])
        kept = max(map(len, self.weights)) - 1
        return finish_step(state, glide(state.x, flow, here, there), memory=flows[:kept])
