"""Images a second of the training loop, against the bare step and the loop of diffusers; `make bench` prints it.

The bare step is forward, backward and optimizer on one fixed batch. The loop adds what training needs: data, noise,
text, checks, clipping, averages, log, and, in proportion to how often the recipe asks, sheets, snapshots, checkpoints.
Both are timed in turn, and the ratio is the median of the pairs; so with the peer, on equal networks of its own. The
peer as it is documented is in float32 and not compiled; it is shown at our precision too, and with all that makes ours
fast. Against the peer our loop has its optimizer, AdamW, in place of the recipe's Muon, which costs more.
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
from unnoise.data.dataset import open_source
from unnoise.diffusion.loss import loss
from unnoise.text import tokenizer as bpe
from unnoise.train.denoiser import DenoiserTask
from unnoise.train.latents import Latents, tokens_of, views_of
from unnoise.train.loop import attention, optimizers_of, train
from unnoise.train.recipe import CheckpointOptions, TrainingRecipe, read_recipe
from unnoise.train.train_recipe import card_of

ROOT = Path(__file__).parents[1]
STEPS, PAIRS, PEER_PAIRS = 10, 7, 3
PEERS = {
    "peer": ("no", False, "as documented: float32, not compiled"),
    "peer bf16": ("bf16", False, "bf16 autocast as ours, not compiled"),
    "peer tuned": ("bf16", True, "bf16, compiled, channels last, plain attention as ours"),
}
NEVER = 10**9
RARE = ("sheet", "snapshot", "checkpoint")


def main() -> None:
    recipe = read_recipe(ROOT / "recipes/emoji.toml")
    task = task_of(recipe)
    fit, keep = recipe.denoiser.fit, recipe.keep
    bare = bare_steps(task)
    next(bare)
    pairs = [(next(bare), loop_step(task, recipe)) for _ in range(PAIRS)]
    plain = statistics.median(looped for _, looped in pairs)
    often = {name: loop_step(task, recipe, name) - plain for name in RARE}
    rare = sum(seconds / getattr(keep, name) for name, seconds in often.items())
    shares = [one / (looped + rare) for one, looped in pairs]
    speeds = [fit.batch / statistics.median(column) for column in zip(*pairs, strict=True)]
    print(
        f"training   {100 * statistics.median(shares):8.1f} %     95.0 %  {speeds[0]:.1f} images/s bare, "
        f"{speeds[1]:.1f} in the loop; " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in often.items()),
        flush=True,
    )
    against(task, recipe)


def against(task: DenoiserTask, recipe: TrainingRecipe) -> None:
    """Print our loop's speed as a multiple of the peer's, both with AdamW; the peer has equal networks of its own."""
    recipe = replace(recipe, denoiser=replace(recipe.denoiser, fit=replace(recipe.denoiser.fit, optimizer="adamw")))
    eager = replace(recipe, denoiser=replace(recipe.denoiser, fit=replace(recipe.denoiser.fit, compile=False)))
    loops = [peer_steps(task_of(eager), STEPS // 2, precision, tuned) for precision, tuned, _ in PEERS.values()]
    for loop in loops:
        next(loop)
    rounds = [(loop_step(task, recipe), *(next(loop) for loop in loops)) for _ in range(PEER_PAIRS)]
    batch = recipe.denoiser.fit.batch
    for i, (name, (_, _, detail)) in enumerate(PEERS.items(), 1):
        ratio = statistics.median(row[i] / row[0] for row in rounds)
        speeds = [batch / statistics.median(row[j] for row in rounds) for j in (i, 0)]
        asked = "1.30" if name == "peer" else ""
        print(
            f"{name:10} {ratio:9.2f}  {asked:>9}  {speeds[0]:.1f} images/s in the loop of diffusers "
            f"{diffusers.__version__}, {speeds[1]:.1f} in ours; {detail}",
            flush=True,
        )


def task_of(recipe: TrainingRecipe) -> DenoiserTask:
    """Make the recipe's denoiser on random latents with the real captions."""
    source = open_source(recipe.data.source, recipe.data.size)
    views = views_of(source, replace(recipe.data, views=1), recipe.seed)
    tokenizer = bpe.train((view.caption for view in views), recipe.denoiser.text.vocab)
    pipeline = model_file.build(card_of(recipe, source, None, tokenizer))
    for net in pipeline.networks().values():
        net.to(memory_format=torch.channels_last)
    ids, lengths = tokens_of(views, tokenizer, recipe.denoiser.text.length)
    size = recipe.data.size
    x0 = torch.randn(len(source), 1, *pipeline.space.shape(size, size)).half()
    return DenoiserTask(recipe, source, Latents(x0, ids[:, None], lengths[:, None]), pipeline)


def bare_steps(task: DenoiserTask) -> Iterator[float]:
    """Give the seconds of a bare step, a mean over STEPS, each time it is asked."""
    own, batch = task.recipe.denoiser, task.recipe.denoiser.fit.batch
    optimizers = optimizers_of(task, own.fit)
    x0 = task.latents.x0[:batch, 0].float()
    noise, sigma = torch.randn_like(x0), torch.rand(batch)
    ids, lengths = task.latents.ids[:batch, 0], task.latents.lengths[:batch, 0]
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    while True:
        began = time.perf_counter()
        with attention(torch.device("cpu")):
            for _ in range(STEPS):
                with torch.autocast("cpu", torch.bfloat16, enabled=own.fit.bf16):
                    cond = task.text.net(ids, mask)
                    error = loss(task.model, x0, noise, sigma, cond, own.weighting).mean()
                error.backward()
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
        yield (time.perf_counter() - began) / STEPS


def loop_step(task: DenoiserTask, recipe: TrainingRecipe, each: str = "") -> float:
    """Give the seconds of a step of the loop, a mean over STEPS, or over two steps with one of RARE at each of them."""
    marks: list[float] = []

    def watch(progress: object) -> None:
        marks.append(time.perf_counter())
        if len(marks) > (2 if each else STEPS):
            raise StopIteration

    keep: CheckpointOptions = replace(recipe.keep, **{name: 1 if name == each else NEVER for name in RARE})
    with tempfile.TemporaryDirectory() as folder, suppress(StopIteration):
        train(task, replace(recipe.denoiser.fit, steps=NEVER), keep, Path(folder), watch)
    return (marks[-1] - marks[0]) / (len(marks) - 1)


if __name__ == "__main__":
    main()
