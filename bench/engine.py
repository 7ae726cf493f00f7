"""Throughput of the engine on the embedded model: eight different requests together; `make bench` prints the table.

The requests differ in prompt, sampler, steps (6 to 20), guidance scale and adapters (`ink` with several weights, or
none). All samplers make one network call a step, so that the requests have 104 steps in all, 13 on average.

    one after another   the same requests, each on its own: throughput together is a multiple of that
    n = 8               one request of 8 samples with 13 steps and `ink` at weight 1, which is the same work
    n = 8, no adapter   the same without the adapter
    equal steps         the requests together with 13 steps each: the batch stays full, so that its ratio to `n = 8` is
                        what the mixture costs without what unequal numbers of steps cost

Encoding of prompts and decoding count. Methods alternate within a round; ratios are medians over rounds. `apart` is
the largest difference of an x0 drawn together from the same drawn alone.

    python bench/engine.py [--threads N] [--rounds N] [--small]
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

import unnoise
from unnoise.generation.engine import Engine
from unnoise.generation.job import Job
from unnoise.generation.sample import Sample
from unnoise.pipeline import Pipeline

REQUESTS: tuple[dict[str, Any], ...] = (
    {"prompt": "a red heart", "sampler": "ddim", "steps": 6, "guidance_scale": 1.5},
    {"prompt": "a cat face", "sampler": "dpmpp-2m", "steps": 8, "guidance_scale": 3.0, "lora": "ink:1"},
    {"prompt": "a slice of pizza", "sampler": "unipc", "steps": 10, "guidance_scale": 2.0},
    {"prompt": "a rocket on a blue background", "sampler": "ab", "steps": 12, "guidance_scale": 1.5, "lora": "ink:0.5"},
    {"prompt": "a guitar", "sampler": "sa-solver", "steps": 14, "guidance_scale": 4.0, "lora": "ink:0.8"},
    {"prompt": "an octopus", "sampler": "ipndm", "steps": 16, "guidance_scale": 2.5},
    {"prompt": "a green apple", "sampler": "ab-2", "steps": 18, "guidance_scale": 1.5, "lora": "ink:1.2"},
    {"prompt": "a sunflower", "sampler": "dpmpp-3m", "steps": 20, "guidance_scale": 3.0},
)


def draw(pipeline: Pipeline, jobs: Sequence[Job]) -> list[Sample]:
    """Admit all jobs to one engine, and draw their samples."""
    engine, found = Engine(pipeline), {}
    tickets = [ticket for job in jobs for ticket in engine.admit(job)]
    while not engine.idle:
        found.update(engine.step().finished)
    return [found[ticket] for ticket in tickets]


def seconds(work: Callable[[], object]) -> float:
    """Time a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the throughput of mixed requests.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--small", action="store_true", help="one round of a quarter of the steps")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    pipeline, part = unnoise.load("emoji"), 4 if asked.small else 1
    requests = [{**one, "steps": max(2, one["steps"] // part)} for one in REQUESTS]
    total = sum(one["steps"] for one in requests)
    jobs = [pipeline.plan(seed=seed, **one) for seed, one in enumerate(requests)]
    same = {"steps": round(total / len(jobs)), "sampler": "dpmpp-2m", "guidance_scale": 2.5, "n": len(jobs), "seed": 0}
    equal = {"lora": pipeline.plan("a cat face", lora="ink", **same), "none": pipeline.plan("a cat face", **same)}
    level = [pipeline.plan(seed=seed, **{**one, "steps": same["steps"]}) for seed, one in enumerate(requests)]
    ways: dict[str, Callable[[], object]] = {
        "together": lambda: draw(pipeline, jobs),
        "equal steps": lambda: draw(pipeline, level),
        "one after another": lambda: [draw(pipeline, [job]) for job in jobs],
        "n = 8": lambda: draw(pipeline, [equal["lora"]]),
        "n = 8, no adapter": lambda: draw(pipeline, [equal["none"]]),
    }
    mixed, alone = draw(pipeline, jobs), [draw(pipeline, [job])[0] for job in jobs]
    apart = max(float((one.x0 - other.x0).abs().max()) for one, other in zip(mixed, alone, strict=True))
    draw(pipeline, [equal["lora"]])
    rounds = [{name: seconds(way) for name, way in ways.items()} for _ in range(1 if asked.small else asked.rounds)]
    steps = {name: len(jobs) * same["steps"] for name in ways}
    steps["together"] = steps["one after another"] = total
    print(f"{len(jobs)} requests of {total} steps, {asked.threads} threads, {len(rounds)} rounds, apart {apart:.1e}")
    print(f"{'':20} {'seconds':>8} {'steps/s':>8}  {'together is':>12}  asked")
    limits = {"one after another": "1.50", "n = 8": "0.95"}
    for name in ways:
        took = statistics.median(one[name] for one in rounds)
        ratio = statistics.median(steps["together"] / one["together"] * one[name] / steps[name] for one in rounds)
        shown = "" if name == "together" else f"{ratio:.2f} times"
        print(f"{name:20} {took:8.2f} {steps[name] / took:8.1f}  {shown:>12}  {limits.get(name, '')}", flush=True)


if __name__ == "__main__":
    main()
