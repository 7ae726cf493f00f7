"""Images a second of the training loop, against the bare step and the loop of diffusers; `make bench` prints it.

Two cases: the recipe of emoji, and a small U-Net whose step takes about 0.1 s on one core, where what the loop adds
counts for more. With OMP_NUM_THREADS=1 the clock is CPU time, which other work on the machine changes less.

The bare step is forward, backward and optimizer on one fixed batch. The loop adds data, noise, text, checks, clipping,
averages, log, and, in proportion to their frequency in the recipe, sheets, snapshots and checkpoints. Both are timed in
turn, and the ratio is the median of the pairs; the same with the peer, on equal networks, at equal dtype and
compilation. It has a process of its own, as our loop changes how memory is allocated for its whole process. Against the
peer our loop uses its optimizer, AdamW, instead of the recipe's Muon, which is slower.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import diffusers
import torch
from peer_loop import peer_steps

from unnoise import model_file
from unnoise.data.open import open_source
from unnoise.data.shuffle import members_of
from unnoise.diffusion.loss import loss
from unnoise.pipeline import Pipeline
from unnoise.text import tokenizer as bpe
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.denoiser import DenoiserTask
from unnoise.train.latents import Latents, tokenize_views, views_of
from unnoise.train.loop import train
from unnoise.train.machine import prepared, settled
from unnoise.train.optimizers import make_optimizers
from unnoise.train.processes import World
from unnoise.train.recipe import TrainingRecipe, read_recipe
from unnoise.train.train_recipe import sheet_prompts
from unnoise.train.training_card import make_card
from unnoise.train.weights import plain_attention

ROOT = Path(__file__).parents[1]
STEPS, PAIRS, PEER_PAIRS = 10, 7, 3
PEERS = {  # dtype and compilation of both loops
    "float32": ("float32", False),
    "bfloat16": ("bfloat16", False),
    "compiled": ("bfloat16", True),
}
NEVER = 10**9
clock = time.process_time if os.environ.get("OMP_NUM_THREADS") == "1" else time.perf_counter
RARE = {"sheet": "sheet_every", "snapshot": "snapshot_every", "checkpoint": "every"}


def main() -> None:
    emoji = read_recipe(ROOT / "recipes/emoji.toml")
    for name, recipe in {"training": emoji, "small": small_recipe(emoji)}.items():
        against_bare(name, recipe)
        against_peer(recipe)


def small_recipe(emoji: TrainingRecipe) -> TrainingRecipe:
    """Return a recipe of 0.7 million parameters and batches of 32, eager in float32."""
    options = emoji.denoiser
    args = {**options.net.args, "widths": [32, 64, 96], "depths": [1, 1, 1], "heads": [0, 2, 2]}
    net = replace(options.net, args={**args, "context": 64, "vector": 64})
    text = replace(options.text, width=64, depth=1, heads=2)
    fit = replace(options.fit, batch=32, optimizer="adamw", precision="float32", compile=False, channels_last=False)
    return replace(emoji, denoiser=replace(options, net=net, text=text, fit=fit))


def against_bare(name: str, recipe: TrainingRecipe) -> None:
    """Print the speed of our loop as a share of that of the bare step."""
    task, fit = task_of(recipe), recipe.denoiser.fit
    bare = bare_steps(task)
    next(bare)
    pairs = [(next(bare), loop_step(task, recipe)) for _ in range(PAIRS)]
    plain = statistics.median(looped for _, looped in pairs)
    costs = {rare: loop_step(task, recipe, rare) - plain for rare in RARE}
    often = sum(seconds / getattr(recipe.checkpoints, RARE[rare]) for rare, seconds in costs.items())
    alone = statistics.median(one / looped for one, looped in pairs)
    shares = [one / (looped + often) for one, looped in pairs]
    speeds = [fit.batch / statistics.median(column) for column in zip(*pairs, strict=True)]
    print(
        f"{name:10} {100 * statistics.median(shares):8.1f} %     97.0 %  {100 * alone:.1f} % without what is rare; "
        f"{speeds[0]:.1f} images/s bare, {speeds[1]:.1f} in the loop; "
        + ", ".join(f"{rare} {seconds:.1f} s" for rare, seconds in costs.items()),
        flush=True,
    )


def against_peer(recipe: TrainingRecipe) -> None:
    """Print the speed of our loop as a multiple of the peer's, both with AdamW, on equal networks."""
    for name, (precision, compiled) in PEERS.items():
        fit = replace(recipe.denoiser.fit, optimizer="adamw", precision=precision, compile=compiled)
        equal = replace(recipe, denoiser=replace(recipe.denoiser, fit=fit))
        ours = task_of(equal)
        with closing(peer_process(equal)) as peer:
            next(peer)
            pairs = [(next(peer), loop_step(ours, equal)) for _ in range(PEER_PAIRS)]
        ratio = statistics.median(theirs / own for theirs, own in pairs)
        speeds = [fit.batch / statistics.median(column) for column in zip(*pairs, strict=True)]
        print(
            f"{name:10} {ratio:9.2f}       1.10  {speeds[0]:.1f} images/s in the loop of diffusers "
            f"{diffusers.__version__}, {speeds[1]:.1f} in ours",
            flush=True,
        )


def peer_process(recipe: TrainingRecipe) -> Iterator[float]:
    """Yield what `peer_steps` yields, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=answer, args=(there, recipe), daemon=True)
    process.start()
    there.close()
    try:
        while True:
            here.send(None)
            yield here.recv()
    finally:
        here.close()
        process.join()


def answer(asked: Connection, recipe: TrainingRecipe) -> None:
    """Measure the peer's steps each time the other end asks, until it closes."""
    fit = recipe.denoiser.fit
    steps = peer_steps(task_of(recipe), STEPS // 2, fit.precision, fit.compile is True, clock)
    with suppress(EOFError):
        while True:
            asked.recv()
            asked.send(next(steps))


def task_of(recipe: TrainingRecipe) -> DenoiserTask:
    """Make the denoiser task of the recipe, with random latents and the real captions."""
    dataset = open_source(recipe.data.source, recipe.data.size)
    views = views_of(dataset, replace(recipe.data, views=1), recipe.seed, range(len(dataset)))
    tokenizer = bpe.train((view.caption for view in views), recipe.denoiser.text.vocab)
    pipeline = Pipeline.of(model_file.build(make_card(recipe, dataset, tokenizer)))
    ids, lengths = tokenize_views(views, tokenizer, recipe.denoiser.text.length)
    size = recipe.data.size
    x0 = torch.randn(len(dataset), 1, *pipeline.space.shape(size, size)).half()
    latents = Latents(x0, members_of(dataset.concepts, range(len(dataset))), ids[:, None], lengths[:, None])
    return DenoiserTask(recipe, [latents], pipeline, sheet_prompts(recipe, dataset, tokenizer))


def bare_steps(task: DenoiserTask) -> Iterator[float]:
    """Yield the seconds of a bare step, a mean over STEPS."""
    options, batch = task.recipe.denoiser, task.recipe.denoiser.fit.batch
    fit = settled(task, options.fit, None, World())
    prepared(task, fit)
    optimizers = make_optimizers(task, fit)
    (latents,) = task.latents
    x0 = latents.x0[:batch, 0].float()
    noise, sigma = torch.randn_like(x0), torch.rand(batch)
    ids, lengths = latents.ids[:batch, 0], latents.lengths[:batch, 0]
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    while True:
        began = clock()
        with plain_attention(torch.device("cpu")):
            for _ in range(STEPS):
                with torch.autocast("cpu", torch.bfloat16, enabled=fit.precision == "bfloat16"):
                    cond = task.networks["text"](ids, mask)
                    error = loss(task.denoiser, x0, noise, sigma, cond, options.weighting).mean()
                error.backward()
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
        yield (clock() - began) / STEPS


def loop_step(task: DenoiserTask, recipe: TrainingRecipe, each: str = "") -> float:
    """Return the seconds of a step of the loop, a mean over STEPS, or over two steps with one of RARE at each."""
    marks: list[float] = []

    def callback(progress: object) -> None:
        marks.append(clock())
        if len(marks) > (2 if each else STEPS):
            raise StopIteration

    frequency = {field: 1 if name == each else NEVER for name, field in RARE.items()}
    checkpoints: CheckpointOptions = replace(recipe.checkpoints, **frequency)
    with tempfile.TemporaryDirectory() as folder, suppress(StopIteration):
        train(task, replace(recipe.denoiser.fit, steps=NEVER), checkpoints, Path(folder), callback)
    return (marks[-1] - marks[0]) / (len(marks) - 1)


if __name__ == "__main__":
    main()
