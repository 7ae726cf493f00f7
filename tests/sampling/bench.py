"""Measure samplers and grids by network calls, for the table in unnoise/sampling/defaults.py.

From tests/:  python -m sampling.bench
"""

import math
from collections.abc import Callable

import numpy as np

from sampling.oracle import Array, Mixture, mixture, scaled
from unnoise.sampling import AB, DDIM, DEIS, IPNDM, DPMpp2M, Heun, Sampler, UniPC, calls, default, run, spread, start
from unnoise.sampling.defaults import measured
from unnoise.sampling.grid import angle, exponential, flow_shift, karras

Grid = Callable[[int, float, float], tuple[float, ...]]
Case = tuple[Mixture, Array, Array]

BUDGETS = (3, 4, 5, 6, 8, 10, 12, 16, 20, 50)
GRIDS: dict[str, Grid] = {
    "default": measured,
    "flow": lambda steps, high, low: flow_shift(steps, 1.0, 1.0, high, low),
    "flow 3": lambda steps, high, low: flow_shift(steps, 3.0, 1.0, high, low),
    "angle": angle,
    "karras": lambda steps, high, low: karras(steps, high, low or 0.02),
    "exponential": lambda steps, high, low: exponential(steps, high, low or 0.02),
}
SAMPLERS: list[Sampler[Array, Array]] = [
    DDIM(),
    Heun(),
    DPMpp2M(),
    UniPC(),
    UniPC(3),
    DEIS(),
    IPNDM(2),
    IPNDM(3),
    IPNDM(4),
    AB(2, rho=1.0),
    AB(),
    AB(4, rho=1.0),
]


def mixtures() -> list[Mixture]:
    """Return thirteen mixtures in 2 to 64 dimensions: sharp and soft modes, few and many, flat and falling spectra."""
    rng = np.random.default_rng(7)

    def drawn(modes: int, spectrum: Array, low: float, high: float) -> Mixture:
        weights = rng.uniform(0.5, 1.5, modes)
        means = rng.normal(size=(modes, len(spectrum))) * spectrum
        deviations = spectrum * np.exp(rng.uniform(math.log(low), math.log(high), (modes, len(spectrum))))
        return scaled(Mixture(weights / weights.sum(), means, deviations))

    turn, rank = np.arange(8) * np.pi / 4, np.arange(1, 65)
    ring = Mixture(np.full(8, 1 / 8), np.stack([np.cos(turn), np.sin(turn)], 1), np.tile([[0.15, 0.05]], (8, 1)))
    signs = Mixture(np.full(4, 1 / 4), np.sign(rng.normal(size=(4, 16))), np.full((4, 16), 0.1))
    return [
        scaled(ring),
        scaled(signs),
        drawn(12, np.ones(8), 0.02, 0.1),
        drawn(10, np.ones(16), 0.05, 0.6),
        drawn(30, np.ones(24), 0.05, 0.2),
        drawn(8, np.ones(12), 0.15, 0.4),
        drawn(8, 1 / rank, 0.37, 1.0),
        drawn(6, 1 / rank[:32] ** 0.5, 0.2, 0.6),
        drawn(20, 1 / rank[:32] ** 0.75, 0.1, 0.3),
        drawn(12, np.ones(32), 0.4, 1.4),
        mixture((8,), modes=5),
        mixture((8,), modes=5, seed=2),
        mixture((24,), modes=9, seed=10),
    ]


def errors(sampler: Sampler[Array, Array], grid: tuple[float, ...], cases: list[Case], wrong: float) -> float:
    """Return the geometric mean over cases of the mean over points of the root mean square over coordinates.

    wrong: the deviation of random errors in each prediction, in units of the spread at its level.
    """
    found = []
    for cloud, noise, exact in cases:
        rng = np.random.default_rng(5)

        def denoise(x: Array, level: float, cloud: Mixture = cloud, rng: np.random.Generator = rng) -> Array:
            return cloud.denoise(x, level) + wrong * spread(level) * rng.normal(size=x.shape)

        away = run(sampler, denoise, start(noise, grid)) - exact
        found.append(math.log(np.sqrt((away**2).mean(1)).mean()))
    return math.exp(sum(found) / len(found))


def table(high: float, low: float, wrong: float = 0.0, points: int = 64) -> None:
    """Print the error at each budget of each sampler on the best of the grids, and of the default on its own."""
    cases = []
    for cloud in mixtures():
        noise = np.random.default_rng(3).normal(size=(points, *cloud.means.shape[1:]))
        cases.append((cloud, noise, cloud.solve(noise, high, 0.0, steps=300)))
    print(f"\nfrom sigma {high:g}, never below {low:g}, faults {wrong:g}; calls:", *(f"{b:8d}" for b in BUDGETS))
    for sampler in SAMPLERS:
        row = [
            min(errors(sampler, grid, cases, wrong) for grid in within(sampler, budget, high, low))
            for budget in BUDGETS
        ]
        print(f"{sampler!r:44}", *(f"{error:8.4f}" for error in row), flush=True)
    row = [errors(*default(budget, high, low), cases, wrong) for budget in BUDGETS]
    print(f"{'the default':44}", *(f"{error:8.4f}" for error in row), flush=True)


def within(sampler: Sampler[Array, Array], budget: int, high: float, low: float) -> list[tuple[float, ...]]:
    """Return every grid with the most steps that the budget pays; from inf only those that can start there."""
    named = [GRIDS[name] for name in GRIDS if math.isfinite(high) or name not in ("karras", "exponential")]
    steps = max(n for n in range(1, budget + 1) if calls(sampler, flow_shift(n, sigma_max=80.0)) <= budget)
    return [grid(steps, high, low) for grid in named]


if __name__ == "__main__":
    table(math.inf, 0.0)
    table(math.inf, 0.0, wrong=0.03)
    table(80.0, 0.002)
    table(14.6, 0.03)
    table(14.6, 0.03, wrong=0.03)
