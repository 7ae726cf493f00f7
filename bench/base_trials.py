"""Try variants of the embedded model's recipe at equal time: `python bench/base_trials.py MODEL --minutes 4`.

Each variant is trained for so many minutes of one thread, at a learning rate that falls to zero, on the same views,
encoded by the autoencoder of a trained model. The table has the samples that it saw and its loss on held-out images.
Such trials say what is learnt fast, and not what a long training reaches.

    python bench/base_trials.py MODEL [--minutes M] [--precision P] [--only NAME ...] [--folder DIR]
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from unnoise import model_file
from unnoise.data.open import open_source
from unnoise.nets.text import TextEncoder
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.recipe import AutoencoderOptions, TrainingRecipe, read_recipe
from unnoise.train.train_recipe import train_recipe

RECIPE: Final = Path(__file__).parents[1] / "recipes/emoji.toml"
VIEWS: Final = 4  # variations of an image
PROBED: Final = 8  # steps whose time decides how many fit; the first half warms up
MASKED: Final = 0.3  # share of the tokens that are hidden while a text encoder is trained alone
CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Trial:
    """A variant of the recipe.

    Args:
        net, text, fit: fields that differ, of the network, the text encoder and the training of the denoiser.
        captions_first: share of the time in which the text encoder is trained alone, on masked captions.
    """

    net: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    captions_first: float = 0.0


TRIALS: Final[dict[str, Trial]] = {
    "the recipe": Trial(),
    "8 x 8 positions": Trial(net={"patch": 2, "widths": [160, 384], "depths": [1, 3], "heads": [0, 6]}),
    "attention at 8 x 8": Trial(net={"heads": [0, 3, 11]}),
    "without the mean of x0": Trial(net={"mean": []}),
    "half as wide": Trial(net={"widths": [32, 96, 192], "heads": [0, 0, 3]}),
    "native clock": Trial(net={"clock": "native"}),
    "wider text encoder": Trial(text={"width": 384, "heads": 6}, net={"context": 384, "vector": 384}),
    "text encoder on captions first": Trial(captions_first=0.15),
    "AdamW": Trial(fit={"optimizer": "adamw", "learning_rate": 1e-3}),
    "in float32": Trial(fit={"precision": "float32"}),
    "batch of 64": Trial(fit={"batch": 64}),
}


class Silent:
    """A report of nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


def varied(base: TrainingRecipe, one: Trial, model: Path, folder: Path, precision: str) -> TrainingRecipe:
    """Return the recipe of a trial, with the autoencoder of a model. folder: of the encoded views of all trials."""
    options = base.denoiser
    machine = {"precision": precision, "compile": False, "channels_last": False}
    fit = replace(options.fit, decay=1.0, **machine | one.fit)
    # All is trained in the time of the trial. The rate of the recipe is for a text encoder that is trained before.
    alone = {"fit": None, "learning_rate_multiple": 1.0}
    text = options.text and replace(options.text, **alone | one.text)
    return replace(
        base,
        autoencoder=AutoencoderOptions(source=str(model)),
        data=replace(base.data, views=VIEWS, cache=str(folder / "cache")),
        denoiser=replace(options, net=replace(options.net, args=options.net.args | one.net), text=text, fit=fit),
        prompts=("red heart",),
    )


def trained(recipe: TrainingRecipe, steps: int, folder: Path) -> list[dict[str, Any]]:
    """Train for so many steps, and return the lines of the log. The loss on held-out images is in the last."""
    checkpoints = CheckpointOptions(every=10**6, sheet_every=10**6, snapshot_every=10**6, validate_every=steps)
    fit = replace(recipe.denoiser.fit, steps=steps, warmup=min(recipe.denoiser.fit.warmup, steps // 2))
    recipe = replace(recipe, checkpoints=checkpoints, denoiser=replace(recipe.denoiser, fit=fit))
    train_recipe(recipe, folder, CPU, False, Silent())
    lines = (folder / "denoiser/log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def with_captions_first(recipe: TrainingRecipe, seconds: float, folder: Path) -> TrainingRecipe:
    """Train the text encoder alone, to name hidden tokens of captions, and begin the denoiser from it.

    Source: Devlin et al. 2019 (BERT), section 3.1, without its replacements by other tokens.
    """
    fit = replace(recipe.denoiser.fit, steps=recipe.checkpoints.ema_every, batch=2, warmup=0)
    start = replace(recipe, denoiser=replace(recipe.denoiser, fit=fit))
    components = model_file.load(train_recipe(start, folder / "start", CPU, False, Silent()))
    encoder = components.text_encoder
    net, tokenizer = encoder.net, encoder.tokenizer  # type: ignore[union-attr]
    assert isinstance(net, TextEncoder)
    assert isinstance(tokenizer, Tokenizer)
    train_on_captions(net, tokenizer, seconds)
    path = folder / "captions.safetensors"
    model_file.save(path, components, torch.float32)
    return replace(recipe, autoencoder=None, denoiser=replace(recipe.denoiser, init=str(path)))


def train_on_captions(net: TextEncoder, tokenizer: Tokenizer, seconds: float) -> None:
    """Train a text encoder to name hidden tokens of the names and keywords of the data set."""
    dataset = open_source("emoji", 64)
    texts = sorted({text for row in (*dataset.captions, *dataset.keywords) for text in row})
    rows = [torch.tensor(tokenizer.encode(text)[: net.length]) for text in texts]
    net.requires_grad_(True)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    stream, began = torch.Generator().manual_seed(1), time.perf_counter()
    while time.perf_counter() - began < seconds:
        picked = [rows[k] for k in torch.randint(len(rows), (64,), generator=stream).tolist()]
        ids = nn.utils.rnn.pad_sequence(picked, batch_first=True)
        mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in picked])[:, None]
        hidden = mask & (torch.rand(ids.shape, generator=stream) < MASKED)
        hidden[0, 1] = True  # so that there is one
        found: Tensor = net(ids * ~hidden, mask).tokens
        loss = nn.functional.cross_entropy(found[hidden] @ net.embed.weight.T, ids[hidden])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.requires_grad_(False)


def main() -> None:
    """Print the table, one row when it is known."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path, help="a model file with the trained autoencoder")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--only", nargs="+", choices=[*TRIALS], default=[*TRIALS])
    parser.add_argument("--folder", type=Path, default=Path("runs/trials"))
    given = parser.parse_args()
    base = read_recipe(RECIPE)
    print("| variant | samples a second | samples | loss on held-out images |\n|---|---|---|---|", flush=True)
    for name in given.only:
        one, place = TRIALS[name], given.folder / name.replace(" ", "-")
        recipe = varied(base, one, given.model, given.folder, given.precision)
        first = 60 * given.minutes * one.captions_first
        if first:
            recipe = with_captions_first(recipe, first, place)
        lines = trained(recipe, PROBED, place / "probe")
        each = (lines[-1]["seconds"] - lines[PROBED // 2 - 1]["seconds"]) / (PROBED - PROBED // 2)
        lines = trained(recipe, max(PROBED, round((60 * given.minutes - first) / each)), place / "run")
        batch = recipe.denoiser.fit.batch
        loss = lines[-1]["validation"]
        print(f"| {name} | {batch / each:.0f} | {len(lines) * batch:,} | {loss:.4f} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
