"""Samplers against all schedulers of diffusers, at equal network calls, on mixtures whose exact answer is known.

    python bench/samplers.py           the tables that `make bench` prints
    python bench/samplers.py --all     every setting of every scheduler too
    python bench/samplers.py --seed 7  other mixtures: whoever tunes with one seed reports another

All start from the same unit noise at the last level of Stable Diffusion's schedule and shall end at 0. The error of a
sampler is the median over mixtures of the mean over points of the RMS over coordinates, against the exact solution.
"""

import argparse
import math
import os
import statistics
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one worker a core
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import diffusers
import distribution
import numpy as np
import torch
from catalogue import LEFT_OUT, forgotten, peers
from mixtures import Array, Stack, mixtures, stack
from peers import HIGH, LOW, Peer

from unnoise.sampling import calls, default, run, start
from unnoise.sampling.registry import SAMPLERS, grid
from unnoise.sampling.state import Sampler

BUDGETS = (5, 8, 10, 20, 50)
BETWEEN = (5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 25, 30, 40, 50)
ASKED = {10: 0.35, 20: 0.5}
POINTS, SEED = 24, 4100
KNOWN = list(peers())
GRIDS: dict[str, Callable[[int], tuple[float, ...]]] = {
    "default": lambda steps: grid("default", steps, HIGH, LOW),
    "flow": lambda steps: grid("flow", steps, HIGH, LOW),
    "flow 3": lambda steps: grid("flow", steps, HIGH, LOW, shift=3.0),
    "angle": lambda steps: grid("angle", steps, HIGH, LOW),
    "karras": lambda steps: grid("karras", steps, HIGH, LOW),
    "exponential": lambda steps: grid("exponential", steps, HIGH, LOW),
}
Errors = dict[int, Array]


@cache
def cases(seed: int, high: float) -> tuple[Stack, Array, Array]:
    """Return the mixtures, the noise, and the exact solutions from a level."""
    cloud = stack(mixtures(seed))
    noise = cloud.noise(POINTS, seed)
    return cloud, noise, cloud.exact(noise, high, steps=150)


def samplers(stochastic: bool) -> dict[str, Sampler]:
    """Return each distinct sampler under the first of its names."""
    found: dict[str, Sampler] = {}
    for name, entry in SAMPLERS.items():
        made = entry.make()
        if made.stochastic == stochastic and made not in found.values():
            found[name] = made
    return found


def ours(seed: int, sampler: Sampler, levels: Callable[[int], tuple[float, ...]], budget: int) -> Array:
    """Return the errors of a sampler with the most steps that a budget pays; infinite where it pays none."""
    cloud, noise, exact = cases(seed, HIGH)
    fit = [steps for steps in range(1, budget + 1) if calls(sampler, levels(steps)) <= budget]
    if not fit:
        return np.full(len(noise), math.inf)
    return cloud.errors(run(sampler, cloud.denoise, start(noise, levels(fit[-1]))), exact)


def chosen(seed: int, budget: int) -> Array:
    """Return the errors of what `default` takes for a budget."""
    cloud, noise, exact = cases(seed, HIGH)
    sampler, levels = default(budget, HIGH, LOW)
    assert calls(sampler, levels) <= budget
    return cloud.errors(run(sampler, cloud.denoise, start(noise, levels)), exact)


def theirs(seed: int, peer: Peer, budget: int) -> Array:
    """Return the errors of a scheduler; infinite where it cannot be run or does not give numbers."""
    cloud, noise, exact = cases(seed, math.inf if peer.own_start else HIGH)
    try:
        scheduler = peer.within(budget)
        asked = 0

        def denoise(x: Array, level: float) -> Array:
            nonlocal asked
            asked += 1
            return cloud.denoise(x, level)

        found = cloud.errors(peer.walk(scheduler, denoise, noise), exact)
    except (ValueError, IndexError, RuntimeError):  # RuntimeError: a singular matrix inside a scheduler
        return np.full(len(noise), math.inf)
    assert asked <= budget, f"{peer.name} {peer.means}: {asked} calls"
    return np.where(np.isfinite(found), found, math.inf)


def row(task: tuple[int, str, object, tuple[int, ...]]) -> Errors:
    """Measure one row of the table in a worker."""
    torch.set_num_threads(1)
    seed, kind, what, budgets = task
    if kind == "default":
        return {budget: chosen(seed, budget) for budget in budgets}
    if kind == "peer":
        return {budget: theirs(seed, KNOWN[what], budget) for budget in budgets}
    name, spacing = what
    return {budget: ours(seed, SAMPLERS[name].make(), GRIDS[spacing], budget) for budget in budgets}


def figures(errors: Errors) -> dict[int, float]:
    return {budget: float(np.median(found)) for budget, found in errors.items()}


def line(label: str, values: Iterable[float], note: str = "") -> None:
    print(f"{label:46}", *(f"{v:9.4f}" if math.isfinite(v) else f"{'-':>9}" for v in values), "", note, flush=True)


def best(rows: Mapping[object, Errors], budget: int) -> object:
    return min(rows, key=lambda key: float(np.median(rows[key][budget])))


def show(title: str, groups: Mapping[str, Mapping[object, Errors]], settled: Mapping[str, float]) -> None:
    """Print for each group its first row and the best of each column."""
    last = f"{'at 200':>9}" if settled else ""
    print(f"\n{title:46}", *(f"{b:9d}" for b in BUDGETS), last)
    for name, rows in groups.items():
        first = next(iter(rows))
        note = f"{settled[name]:9.4f}" if name in settled else ""
        line(name, figures(rows[first]).values(), note)
        if len(rows) > 1:
            which = {budget: best(rows, budget) for budget in BUDGETS}
            label = f"  best of {len(rows)} settings" if settled else f"  best of {len(rows)} grids"
            tell = "; ".join(dict.fromkeys(str(key) or "default" for key in which.values()))
            line(label, (float(np.median(rows[which[b]][b])) for b in BUDGETS), tell)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare samplers with the schedulers of diffusers.")
    parser.add_argument("--all", action="store_true", help="print every setting")
    parser.add_argument("--seed", type=int, default=SEED, help="of the mixtures and the noise")
    options = parser.parse_args()
    seed = options.seed
    if missing := forgotten():
        raise SystemExit(f"diffusers has schedulers that bench/catalogue.py does not know: {', '.join(missing)}")
    cases(seed, HIGH), cases(seed, math.inf), distribution.cases(seed)
    mine = [(seed, "ours", (name, spacing), BUDGETS) for name in samplers(False) for spacing in GRIDS]
    foreign = [(seed, "peer", i, BUDGETS) for i in range(len(KNOWN))]
    firsts = {p.name: i for i, p in reversed(list(enumerate(KNOWN)))}
    long = [(seed, "peer", i, (200,)) for i in firsts.values()]
    with ProcessPoolExecutor(2) as pool:
        tasks = [(seed, "default", None, BETWEEN), *mine, *foreign, *long]
        answers = list(pool.map(row, tasks, chunksize=4))
        chief, answers = answers[0], answers[1:]
        own = grouped([(name, spacing) for _, _, (name, spacing), _ in mine], answers)
        peer = grouped([(p.name, p.means) for p in KNOWN], answers[len(mine) :])
        settled = {name: float(np.median(e[200])) for name, e in zip(firsts, answers[-len(long) :], strict=True)}
        count = len(cases(seed, HIGH)[1])
        print(f"{count} mixtures of seed {seed}, {POINTS} points each, sigma {HIGH:.4g} to 0, asked down to {LOW:.2g};")
        print("error against the exact solution, median over mixtures; columns are network calls")
        show("unnoise, on default's grid", own, {})
        show(f"diffusers {diffusers.__version__}", peer, settled)
        if options.all:
            for p, errors in zip(KNOWN, answers[len(mine) :], strict=False):
                line(f"{p.name[:-9]} {p.means}", figures(errors).values())
        rivals = {p: e for p, e in zip(KNOWN, answers[len(mine) :], strict=False) if not p.own_start}
        compare(seed, chief, rivals, pool)
        distribution.tables(seed, list(samplers(True)), pool, diffusers.__version__)
    print("\nschedulers of diffusers that are not here:")
    for reason, names in LEFT_OUT.items():
        print(f"  {reason}: {', '.join(names.split())}")


def grouped(keys: list[tuple[str, str]], answers: list[Errors]) -> dict[str, dict[object, Errors]]:
    groups: dict[str, dict[object, Errors]] = {}
    for (name, means), errors in zip(keys, answers, strict=False):
        groups.setdefault(name, {})[means] = errors
    return groups


def compare(seed: int, chief: Errors, rivals: Mapping[Peer, Errors], pool: ProcessPoolExecutor) -> None:
    """Print what was asked: `default` against the best scheduler of each column."""
    firsts = [peer for peer in {p.name: p for p in reversed(KNOWN)}.values() if peer in rivals]
    print(f"\n{'default against the best of diffusers':46}", *(f"{b:9d}" for b in BUDGETS))
    line("default", (float(np.median(chief[b])) for b in BUDGETS))
    for title, field in (
        ("best as they come", {p: rivals[p] for p in firsts}),
        (f"best of {len(rivals)} settings", dict(rivals)),
    ):
        winners = {budget: best(field, budget) for budget in BUDGETS}
        pairs = {b: (chief[b], field[winners[b]][b]) for b in BUDGETS}
        names = [f"{p.name.removesuffix('Scheduler')} {p.means}".removesuffix(" default") for p in winners.values()]
        line(title, (float(np.median(theirs)) for _, theirs in pairs.values()), "; ".join(dict.fromkeys(names)))
        line("  ratio", (float(np.median(own) / np.median(theirs)) for own, theirs in pairs.values()))
        line("  median of the mixtures' ratios", (statistics.median(own / theirs) for own, theirs in pairs.values()))
        line("  largest of the mixtures' ratios", (float(np.max(own / theirs)) for own, theirs in pairs.values()))
    print(f"{'asked':46}", *(f"{ASKED.get(b, 1.0):9.2f}" for b in BUDGETS))
    between(seed, chief, rivals, pool)


def between(seed: int, chief: Errors, rivals: Mapping[Peer, Errors], pool: ProcessPoolExecutor) -> None:
    """Print the ratio at other numbers of calls, against those that are near the best in some column."""
    near = {p for b in BUDGETS for p in sorted(rivals, key=lambda p: float(np.median(rivals[p][b])))[:5]}
    more = list(pool.map(row, [(seed, "peer", KNOWN.index(p), BETWEEN) for p in near]))
    ratios = [float(np.median(chief[b])) / min(float(np.median(e[b])) for e in more) for b in BETWEEN]
    print(f"\nratio against the best of the {len(near)} schedulers that are among the first five of a column, calls:")
    print(*(f"{b:6d}" for b in BETWEEN))
    print(*(f"{r:6.2f}" for r in ratios))


if __name__ == "__main__":
    main()
