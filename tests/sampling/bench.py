"""Measure samplers and grids by network calls, for the table in unnoise/sampling/choose.py.

From tests/:  python -m sampling.bench
"""

import math
from collections.abc import Callable

import numpy as np

from sampling.oracle import Array, Mixture, scaled
from unnoise.sampling import DDIM, IPNDM, DPMpp2M, DPMpp3M, Heun, Sampler, calls, run, spread, start
from unnoise.sampling.choose import measured
from unnoise.sampling.grid import angle, exponential, flow_shift, karras

Grid = Callable[[int, float, float], tuple[float, ...]]
Case = tuple[Mixture, Array, Array]

BUDGETS = (4, 5, 8, 10, 12, 16, 20, 50)

GRIDS: dict[str, Grid] = {
    "default": measured,
    "flow": lambda steps, high, low: flow_shift(steps, 1.0, 1.0, high, low),
    "flow 3": lambda steps, high, low: flow_shift(steps, 3.0, 1.0, high, low),
    "angle": angle,
    "karras": lambda steps, high, low: karras(steps, high, low or 0.02),
    "exponential": lambda steps, high, low: exponential(steps, high, low or 0.02),
}
SAMPLERS: list[Sampler[Array, Array]] = [DDIM(), Heun(), DPMpp2M(), DPMpp3M(), IPNDM(2), IPNDM(3), IPNDM(4)]


def mixtures() -> dict[str, Mixture]:
    """Return four mixtures whose coordinates have unit variance on average and deviations from 0.005 to 1.4."""
    rng = np.random.default_rng(7)
    turn = np.arange(8) * np.pi / 4
    ring = Mixture(np.full(8, 1 / 8), np.stack([np.cos(turn), np.sin(turn)], 1), np.tile([[0.15, 0.05]], (8, 1)))

    def drawn(modes: int, size: int, spectrum: Array, low: float, high: float) -> Mixture:
        weights = rng.uniform(0.5, 1.5, modes)
        means = rng.normal(size=(modes, size)) * spectrum
        deviations = np.exp(rng.uniform(math.log(low), math.log(high), (modes, size)))
        return Mixture(weights / weights.sum(), means, deviations)

    falling = 1 / np.arange(1, 65)  # a power law, as the spectrum of pictures
    steep = drawn(8, 64, falling, math.exp(-1), 1.0)
    return {
        "ring 2": scaled(ring),
        "sharp 16": scaled(drawn(10, 16, np.ones(16), 0.05, 0.6)),
        "falling 64": scaled(Mixture(steep.weights, steep.means, steep.deviations * falling)),
        "soft 32": scaled(drawn(12, 32, np.full(32, 0.7), 0.3, 1.0)),
    }


def errors(sampler: Sampler[Array, Array], grid: tuple[float, ...], cases: list[Case], wrong: float) -> float:
    """Return the geometric mean over cases of the mean over points of the root mean square over coordinates.

    wrong: the deviation of random faults in each prediction, in units of the spread at its level.
    """
    found = []
    for mixture, noise, exact in cases:
        rng = np.random.default_rng(5)

        def denoise(x: Array, level: float, mixture: Mixture = mixture, rng: np.random.Generator = rng) -> Array:
            return mixture.denoise(x, level) + wrong * spread(level) * rng.normal(size=x.shape)

        away = run(sampler, denoise, start(noise, grid)) - exact
        found.append(math.log(np.sqrt((away**2).mean(1)).mean()))
    return math.exp(sum(found) / len(found))


def table(high: float, low: float, wrong: float = 0.0, budgets: tuple[int, ...] = BUDGETS, points: int = 128) -> None:
    """Print, for each sampler and grid, the error at each budget; Heun takes the most steps that the budget pays."""
    cases = []
    for mixture in mixtures().values():
        noise = np.random.default_rng(3).normal(size=(points, *mixture.means.shape[1:]))
        cases.append((mixture, noise, mixture.solve(noise, high, 0.0, steps=600)))
    print(
        f"\nfrom sigma {high:g}, never below {low:g}, faults {wrong:g}; calls:", *(f"{budget:8d}" for budget in budgets)
    )
    for sampler in SAMPLERS:
        for name, grid in GRIDS.items():
            if math.isinf(high) and name in ("karras", "exponential"):
                continue
            row = []
            for budget in budgets:
                steps = max(n for n in range(1, budget + 1) if calls(sampler, grid(n, high, low)) <= budget)
                row.append(errors(sampler, grid(steps, high, low), cases, wrong))
            print(f"{sampler!r:22} {name:12}", *(f"{error:8.4f}" for error in row), flush=True)


if __name__ == "__main__":
    table(math.inf, 0.0)
    table(math.inf, 0.0, wrong=0.03)
    table(80.0, 0.002)
    table(14.6, 0.03)
