"""Stochastic samplers against those of diffusers: how far their end points are from samples of the mixtures.

A run that draws noise has no exact answer, its end points have: the figure is the sliced Wasserstein-2 distance between
POINTS end points and as many samples, root mean square over 64 directions, median over the mixtures of at most 8
dimensions. Two sets of samples are not at distance 0 either: that is the floor, a mean over eight pairs, and near it
nothing is left to see.
"""

import math
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache

import numpy as np
import torch
from catalogue import stochastic
from mixtures import Array, Stack, mixtures, stack
from peers import HIGH, LOW

from unnoise.errors import InputError
from unnoise.sampling import calls, run, start
from unnoise.sampling.registry import SAMPLERS, grid

BUDGETS = (10, 20, 50)
POINTS = 2048
GRIDS = ("default", "karras", "exponential")
KNOWN = stochastic()
Task = tuple[int, str, object]


@cache
def cases(seed: int) -> tuple[Stack, Array, Array]:
    """Return the mixtures, the noise, and a set of samples."""
    cloud = stack([one for one in mixtures(seed) if one.means.shape[1] <= 8])
    return cloud, cloud.noise(POINTS, 21), samples(cloud, 22)


def samples(cloud: Stack, seed: int) -> Array:
    """Draw POINTS samples of each mixture."""
    rng, sets = np.random.default_rng(seed), []
    for weights, means, deviations in zip(cloud.weights, cloud.means, cloud.deviations, strict=True):
        mode = rng.choice(len(weights), POINTS, p=weights)
        sets.append(means[mode] + deviations[mode] * rng.normal(size=(POINTS, means.shape[1])))
    return np.stack(sets)


def distance(cloud: Stack, x: Array, y: Array) -> float:
    """Return the sliced Wasserstein-2 distance, median over mixtures; infinite where x is no number."""
    found = []
    for a, b, real in zip(x, y, cloud.real, strict=True):
        dims = int(real.sum())
        directions = np.random.default_rng(24).normal(size=(dims, 64))
        directions /= np.linalg.norm(directions, axis=0)
        away = np.sort(a[:, :dims] @ directions, 0) - np.sort(b[:, :dims] @ directions, 0)
        found.append(math.sqrt((away**2).mean()))
    return float(np.median(found)) if np.isfinite(found).all() else math.inf


def row(task: Task) -> dict[int, float]:
    """Measure one row of the table in a worker."""
    torch.set_num_threads(1)
    seed, kind, what = task
    cloud, noise, truth = cases(seed)
    found = {}
    for budget in BUDGETS:
        try:
            if kind == "peer":
                peer = KNOWN[what]
                x = peer.walk(peer.within(budget), cloud.denoise, noise)
            else:
                x = ours(seed, *what, budget)
            found[budget] = distance(cloud, x, truth)
        except (InputError, ValueError, IndexError):
            found[budget] = math.inf
    return found


def ours(seed: int, name: str, spacing: str, budget: int) -> Array:
    """Return the end points of a sampler with the most steps that a budget pays."""
    cloud, noise, _ = cases(seed)
    sampler, rng = SAMPLERS[name].make(), np.random.default_rng(25)
    levels = [grid(spacing, steps, HIGH, LOW) for steps in range(1, budget + 1)]
    fit = [one for one in levels if calls(sampler, one) <= budget]
    if not fit:
        raise InputError(f"{name} has no grid of {budget} calls")
    return run(sampler, cloud.denoise, start(noise, fit[-1]), lambda step, like: rng.normal(size=like.shape))


def tables(seed: int, names: list[str], pool: ProcessPoolExecutor, version: str) -> None:
    """Print both sides: each sampler on default's grid and on its best, each scheduler at its own and at its best."""
    cloud, noise, truth = cases(seed)
    floor = float(np.mean([distance(cloud, samples(cloud, other), truth) for other in range(30, 38)]))
    mine = [(name, spacing) for name in names for spacing in GRIDS]
    tasks: list[Task] = [*((seed, "ours", one) for one in mine), *((seed, "peer", i) for i in range(len(KNOWN)))]
    answers = list(pool.map(row, tasks))
    print("\nstochastic: sliced Wasserstein-2 distance to samples; network calls:")
    print(f"{'':46}", *(f"{b:9d}" for b in BUDGETS))
    line("floor: samples against samples", [floor] * len(BUDGETS))
    line("the exact flow of the same noise", [distance(cloud, cloud.exact(noise, HIGH, 100), truth)] * len(BUDGETS))
    show("unnoise, on default's grid", mine, answers[: len(mine)])
    show(f"diffusers {version}", [(peer.name, peer.means) for peer in KNOWN], answers[len(mine) :])


def show(title: str, keys: list[tuple[str, str]], answers: list[dict[int, float]]) -> None:
    print(title)
    groups: dict[str, dict[str, Mapping[int, float]]] = {}
    for (name, means), found in zip(keys, answers, strict=True):
        groups.setdefault(name, {})[means] = found
    for name, rows in groups.items():
        first, *rest = rows.values()
        line(f"  {name}", first.values())
        if rest:
            which = [min(rows, key=lambda key, b=b: rows[key][b]) for b in BUDGETS]
            best = [rows[key][b] for key, b in zip(which, BUDGETS, strict=True)]
            line(f"    best of {len(rows)}", best, "; ".join(dict.fromkeys(which)))


def line(label: str, values: object, note: str = "") -> None:
    print(f"{label:46}", *(f"{v:9.4f}" if math.isfinite(v) else f"{'-':>9}" for v in values), "", note, flush=True)
