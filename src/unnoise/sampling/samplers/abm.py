"""ABM: predict as Adams and Bashforth do, and correct as Adams and Moulton do with the prediction at the end; no query.

    x~   glide(x, sum_j w_j·flow_j)     j = 0 the present flow, with up to predictor - 1 past ones; the query is at x~
    x'   the same step again, with the flow at its end and up to 3 before; w_j = mean of L_j over the step, in place

The step is `ipndm`'s: flow = eps-hat - x0-hat, a polynomial in place, finite at sigma = inf. The flow at the end is
that of x~, and is kept as it is for later steps. `share` is how much of the correction is applied: less in runs of few
steps. The last step, to sigma = 0, is not corrected and extrapolates through `last` flows: with one it returns x0-hat;
more leave a smaller error in long runs and a larger one in runs of few wide steps. A constant x0-hat is returned to
rounding.

Order predictor + 1, at most 3: a run starts cold, with one flow, and its first step, corrected once, leaves an error of
order 3 in the whole run. A share below 1 is of lower order. Finite levels should lie between 1e-6 and 1e6: beyond,
places nearly coincide, and the flow at the end of a step has the rounding error of x over its level. One query a step.
Source: Hairer, Norsett & Wanner 1993 (Solving ODEs I), section III.1: explicit and implicit Adams methods as PEC; Zhao
et al. 2023 (UniPC, arXiv 2302.04867), algorithm 1, for a corrector that needs no query.
"""

from dataclasses import dataclass
from typing import ClassVar

from unnoise.errors import InputError, check_whole
from unnoise.sampling.level import V, blend, flow_of, glide, place
from unnoise.sampling.multistep import adams
from unnoise.sampling.state import State, finish_step, unused

MOST = 4  # flows of the corrector


@dataclass(frozen=True, slots=True)
class ABM:
    """Step along the present and up to predictor - 1 past flows, predictor in 1 .. 4, and correct along four.

    last: flows of the last step, in 1 .. 4. share: of the correction that is applied, in [0, 1].
    """

    predictor: int = 3
    last: int = 3
    share: float = 1.0
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_whole("predictor", self.predictor, 1, MOST)
        check_whole("last", self.last, 1, MOST)
        if not 0 <= self.share <= 1:
            raise InputError(f"share {self.share!r}: from 0 to 1")

    @property
    def order(self) -> int:
        """The order of the run with the whole correction."""
        return min(self.predictor + 1, 3)

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Correct the last step and take the next; memory holds x where that step began and past flows."""
        unused(noise, self)
        flows = (flow_of(state.x, prediction, state.level), *state.memory[1:])
        levels = [state.grid[state.i - k] for k in range(len(flows))]
        known = list(zip(levels, flows, strict=True))
        x = state.x
        if state.memory:
            corrected = stepped(state.memory[0], [known[1], known[0], *known[2:]], state.level)
            x = (1.0 - self.share) * x + self.share * corrected
        used = known[: min(self.predictor, self.last) if state.step[1] == 0 else self.predictor]
        return finish_step(state, stepped(x, used, state.step[1]), memory=(x, *flows[: MOST - 1]))


def stepped(x: V, known: list[tuple[float, V]], there: float) -> V:
    """Carry x from the first of the known levels to another, along the polynomial through the flows at them."""
    weights = adams([place(level) for level, _ in known], place(there))
    return glide(x, blend(weights, [flow for _, flow in known]), known[0][0], there)
