"""Time of a picture as a person waits for it: a warm process, one prompt, until the PNG is in memory.

    text       the text encoder
    network    all network calls
    decoder    from x0 to pixels
    PNG        the file with its metadata
    own        all between them: options, jobs, conditioning, samplers, checks, metadata

Import and loading are not in it. In every round each prompt is drawn by each way, the ways in turn; figures are the
median and the 90th percentile over prompts and rounds. With --cpu they are CPU time, of all threads, which other
programs disturb less. One way draws a batch of each prompt: its times are those of all its pictures.

    python bench/latency.py [--model NAME] [--threads N] [--rounds N] [--batch N] [--decoder full|small] [--dtype NAME]
                             [--cpu]
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

import unnoise
from unnoise.generation.media.image import encode
from unnoise.pipeline import Pipeline

PROMPTS = (
    "a red heart", "a cat face", "a slice of pizza", "a rocket on a blue background", "a guitar", "an octopus",
    "a green apple", "a sunflower", "a house", "a fish on a yellow background",
)  # fmt: skip
WARMING = 3  # pictures of each way before the first that counts


@dataclass
class Clock:
    """Seconds of the parts of one picture."""

    now: Callable[[], float]
    parts: dict[str, float] = field(default_factory=dict)

    def around(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, and adds its time to a part."""

        def timed(*args: Any, **how: Any) -> Any:
            began = self.now()
            try:
                return work(*args, **how)
            finally:
                self.parts[name] = self.parts.get(name, 0.0) + self.now() - began

        return timed


def watched(pipeline: Pipeline, clock: Clock) -> AbstractContextManager[Any]:
    """Time the networks of a pipeline within the block."""
    stack, encoder = ExitStack(), pipeline.text_encoder
    places = [(pipeline.denoiser, "forward", "network"), (pipeline.space, "decode", "decoder")]
    places += [] if encoder is None else [(encoder.net, "forward", "text")]
    places += [] if pipeline.small_decoder is None else [(pipeline.small_decoder, "forward", "decoder")]
    for owner, name, part in places:
        stack.enter_context(patch.object(owner, name, clock.around(part, getattr(owner, name))))
    return stack


def picture(pipeline: Pipeline, now: Callable[[], float], prompt: str, options: dict[str, Any]) -> dict[str, float]:
    """Draw the pictures of a prompt, encode them, and return the seconds of each part. now: a clock."""
    clock = Clock(now)
    with watched(pipeline, clock):
        began = now()
        samples = pipeline.generate(prompt, sampler="ddim", guidance_scale=1, progress=False, **options)
        drawn = now()
        for sample in samples:
            encode(sample.image, sample.metadata)
        ended = now()
    parts = clock.parts | {"PNG": ended - drawn, "all": ended - began}
    parts["own"] = drawn - began - sum(clock.parts.values())
    return parts


def row(name: str, found: Sequence[dict[str, float]], pictures: int) -> str:
    """Write the line of one way: milliseconds, and pictures a second."""
    whole = [one["all"] for one in found]
    ninth = statistics.quantiles(whole, n=10)[-1] if len(whole) > 1 else whole[0]
    parts = [statistics.median(one.get(part, 0.0) for one in found) for part in ("text", "network", "decoder")]
    parts += [statistics.median(one[part] for one in found) for part in ("PNG", "own")]
    figures = [statistics.median(whole), ninth, *parts]
    return f"{name:16}{''.join(f'{1e3 * one:9.1f}' for one in figures)}{pictures / figures[0]:10.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the time of one picture in a warm process.")
    parser.add_argument("--model", default="emoji")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--decoder", default=None)
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--cpu", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    pipeline = unnoise.load(asked.model)
    now, kind = (time.process_time, "CPU") if asked.cpu else (time.perf_counter, "wall")
    same = {"decoder": asked.decoder, "dtype": asked.dtype}
    ways = {
        "1 call": {"steps": 1, **same},
        "2 calls": {"steps": 2, **same},
        f"1 call, n = {asked.batch}": {"steps": 1, "n": asked.batch, "batch": asked.batch, **same},
    }
    prompts = PROMPTS * asked.rounds
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for k, prompt in enumerate((*PROMPTS[:WARMING], *prompts)):
        for name, options in ways.items():
            one = picture(pipeline, now, prompt, {"seed": k, **options})
            if k >= WARMING:
                found[name].append(one)
    heads = ("median", "90 %", "text", "network", "decoder", "PNG", "own")
    where = f"{pipeline.card.name}, {asked.threads} threads, {len(prompts)} prompts"
    print(f"{where}: milliseconds of {kind} time, load {os.getloadavg()[0]:.1f}")
    print(f"{'':16}{''.join(f'{head:>9}' for head in heads)}{'a second':>10}")
    for name, times in found.items():
        print(row(name, times, ways[name].get("n", 1)), flush=True)


if __name__ == "__main__":
    main()
