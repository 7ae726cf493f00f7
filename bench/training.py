"""Images a second of the training loop, against the bare step and the loop of diffusers; `make bench` prints it.

The bare step is forward, backward and optimizer on one fixed batch. The loop adds data, noise, text, checks, clipping,
averages, log, and, in proportion to their frequency in the recipe, sheets, snapshots and checkpoints. Both are timed in
turn, and the ratio is the median of the pairs; the same with the peer, on equal networks of its own, at equal dtype and
compilation. Against the peer our loop uses its optimizer, AdamW, instead of the recipe's Muon, which is slower.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
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
RARE = {"sheet": "sheet_every", "snapshot": "snapshot_every", "checkpoint": "every"}


def main() -> None:
    recipe = read_recipe(ROOT / "recipes/emoji.toml")
    task = task_of(recipe)
    fit = recipe.denoiser.fit
    bare = bare_steps(task)
    next(bare)
    pairs = [(next(bare), loop_step(task, recipe)) for _ in range(PAIRS)]
    plain = statistics.median(looped for _, looped in pairs)
    costs = {name: loop_step(task, recipe, name) - plain for name in RARE}
    rare = sum(seconds / getattr(recipe.checkpoints, RARE[name]) for name, seconds in costs.items())
    shares = [one / (looped + rare) for one, looped in pairs]
    speeds = [fit.batch / statistics.median(column) for column in zip(*pairs, strict=True)]
    print(
        f"training   {100 * statistics.median(shares):8.1f} %     97.0 %  {speeds[0]:.1f} images/s bare, "
        f"{speeds[1]:.1f} in the loop; " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in costs.items()),
        flush=True,
    )
    against(recipe)


def against(recipe: TrainingRecipe) -> None:
    """Print the speed of our loop as a multiple of the peer's, both with AdamW, on equal networks."""
    for name, (precision, compiled) in PEERS.items():
        fit = replace(recipe.denoiser.fit, optimizer="adamw", precision=precision, compile=compiled)
        equal = replace(recipe, denoiser=replace(recipe.denoiser, fit=fit))
        ours, peer = task_of(equal), peer_steps(task_of(equal), STEPS // 2, precision, compiled)
        next(peer)
        pairs = [(next(peer), loop_step(ours, equal)) for _ in range(PEER_PAIRS)]
        ratio = statistics.median(theirs / own for theirs, own in pairs)
        speeds = [fit.batch / statistics.median(column) for column in zip(*pairs, strict=True)]
        print(
            f"{name:10} {ratio:9.2f}       1.10  {speeds[0]:.1f} images/s in the loop of diffusers "
            f"{diffusers.__version__}, {speeds[1]:.1f} in ours",
            flush=True,
        )


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
        began = time.perf_counter()
        with plain_attention(torch.device("cpu")):
            for _ in range(STEPS):
                with torch.autocast("cpu", torch.bfloat16, enabled=fit.precision == "bfloat16"):
                    cond = task.networks["text"](ids, mask)
                    error = loss(task.denoiser, x0, noise, sigma, cond, options.weighting).mean()
                error.backward()
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
        yield (time.perf_counter() - began) / STEPS


def loop_step(task: DenoiserTask, recipe: TrainingRecipe, each: str = "") -> float:
    """Return the seconds of a step of the loop, a mean over STEPS, or over two steps with one of RARE at each."""
    marks: list[float] = []

    def callback(progress: object) -> None:
        marks.append(time.perf_counter())
        if len(marks) > (2 if each else STEPS):
            raise StopIteration

    frequency = {field: 1 if name == each else NEVER for name, field in RARE.items()}
    checkpoints: CheckpointOptions = replace(recipe.checkpoints, **frequency)
    with tempfile.TemporaryDirectory() as folder, suppress(StopIteration):
        train(task, replace(recipe.denoiser.fit, steps=NEVER), checkpoints, Path(folder), callback)
    return (marks[-1] - marks[0]) / (len(marks) - 1)


if __name__ == "__main__":
    main()
