"""Measure what an adapter costs: applied, merged, and in training; `make bench` prints the table.

applied, merged  a step with an adapter of rank 16 on every attention layer, over the step without; median of pairs
training         300 steps of recipes/ink.toml, whose layers, rank and batch are kept, from the pace of 40
memory           the peak of `unnoise lora train` over that of a process which loads the model and makes one forward
                 and backward pass, with the inputs of every layer in memory
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from cost import peak

import unnoise
from unnoise.adapters.lora.inject import injected
from unnoise.adapters.lora.read import Adapter
from unnoise.adapters.lora.targets import select_layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.pipeline import Pipeline

ROOT = Path(__file__).parents[1]
RANK, TRAINED = 16, 40
HELD = """
import sys, torch
from itertools import pairwise
from pathlib import Path
from unnoise.data.open import open_source
from unnoise.diffusion.conditioning import collate
from unnoise.loading import load
from unnoise.train.adapter_recipe import read_adapter_recipe
recipe = read_adapter_recipe(Path(sys.argv[1]))
source, pipeline = open_source(recipe.data.source, recipe.data.size), load(recipe.base)
batch = recipe.fit.batch
with torch.no_grad():
    cond = collate(pipeline.text_encoder([source.captions[0][0]] * batch, "literal"))
x = torch.randn(batch, *pipeline.space.shape(recipe.data.size, recipe.data.size), requires_grad=True)
pipeline.denoiser.requires_grad_(True)
with torch.autocast("cpu", torch.bfloat16, enabled=recipe.fit.precision == "bfloat16"):
    error = pipeline.denoiser(x, torch.ones(batch), cond).square().mean()
torch.autograd.grad(error, x)
"""


def random_adapter(pipeline: Pipeline) -> Adapter:
    """Make an adapter of every attention layer of the denoiser."""
    torch.manual_seed(0)
    learned = TrainableLora(pipeline.adaptable(), select_layers(pipeline.adaptable(), ("attention",)), RANK, RANK)
    for up in learned.up:
        torch.nn.init.normal_(up, std=1e-3)
    return Adapter("random", learned.deltas())


def cost(name: str, pipeline: Pipeline, size: int, steps: int, pairs: int) -> None:
    """Print what a step costs with an adapter that is applied, and with one that is merged."""
    adapter = random_adapter(pipeline)

    def seconds(lora: tuple[Adapter, ...]) -> float:
        marks: list[float] = []
        pipeline.generate(
            "a", seed=1, steps=steps, size=size, guidance_scale=2.0, lora=lora,
            callback=lambda count, x0: marks.append(time.perf_counter()),
        )  # fmt: skip
        return statistics.median(after - before for before, after in pairwise(marks))

    def merged() -> float:
        with injected(pipeline, [(adapter, 1.0)]):
            return seconds(())

    seconds(())
    rounds = [(seconds(()), seconds((adapter,)), merged()) for _ in range(pairs)]
    live, folded = (statistics.median(row[k] / row[0] for row in rounds) - 1 for k in (1, 2))
    step = statistics.median(row[0] for row in rounds)
    layers = f"{len(adapter.deltas)} layers"
    print(f"{name:34} {1000 * step:8.1f} ms  applied {live:+6.1%}  merged {folded:+6.1%}  {layers}", flush=True)


def training(gradient_checkpointing: bool) -> None:
    """Print the time and the memory of a training."""
    with tempfile.TemporaryDirectory() as folder:
        pictures, recipe = f"{folder}/pictures", Path(folder) / "ink.toml"
        made = [sys.executable, str(ROOT / "examples/style/make.py"), pictures]
        subprocess.run(made, check=True, capture_output=True)
        text = (ROOT / "recipes/ink.toml").read_text(encoding="utf-8").replace("runs/ink-pictures", pictures)
        text = f"gradient_checkpointing = {str(gradient_checkpointing).lower()}\n{text}"
        lines = [f"steps = {TRAINED}" if line.startswith("steps = ") else line for line in text.splitlines()]
        recipe.write_text("\n".join(lines), encoding="utf-8")
        whole = peak("-m", "unnoise", "lora", "train", str(recipe), "--out", f"{folder}/run")
        held = peak("-c", HELD, str(recipe))
        log = (Path(folder) / "run/adapter/log.jsonl").read_text().splitlines()
    first, last = json.loads(log[4]), json.loads(log[-1])
    pace = (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])
    name = f"training{', gradient checkpointing' if gradient_checkpointing else ''}"
    print(f"{name:34} {300 * pace / 60:8.1f} min  memory {whole / held:.2f}, {whole:.0f} of {held:.0f} MB", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="leave out the network of Stable Diffusion 1.5's size")
    asked = parser.parse_args()
    threads = torch.get_num_threads()
    for used in sorted({1, threads}):
        torch.set_num_threads(used)
        cost(f"emoji, 64 x 64, {used} threads", unnoise.load("emoji"), 64, 20, 15)
    if not asked.small:
        with tempfile.TemporaryDirectory() as folder:
            made = [sys.executable, str(ROOT / "bench/load.py"), "--make", f"{folder}/sd", "float32"]
            subprocess.run(made, check=True, capture_output=True)
            cost("Stable Diffusion 1.5, 256 x 256", unnoise.load(f"{folder}/sd"), 256, 3, 3)
    training(gradient_checkpointing=False)
    training(gradient_checkpointing=True)


if __name__ == "__main__":
    main()
